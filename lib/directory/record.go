package directory

// Kind is one of the six kinds of entries.
type Kind uint8

const (
	KindNode Kind = iota
	KindDomain
	KindMailbox
	KindForward
	KindSite
	KindList
	NumKinds
)

var kindNames = [NumKinds]string{"node", "domain", "mailbox", "forward", "site", "list"}

func (k Kind) String() string { return kindNames[k] }

// Field is one field of an entry, an index into Record.Values. What it means depends on the kind.
type Field uint8

const (
	NodeName Field = iota
	NodeState
	NodeVPN
	NodePublic
	NodeRoles
	NodeRing
	NodeClass
	NodeVPNKeys
	NodeSSHKeys
	NodeReason
	NodeSince
	NodeBy
)

const (
	DomainName Field = iota
	DomainServices
)

const (
	MailboxAddress Field = iota
	MailboxAliases
	MailboxPlacement
	MailboxStatus
	MailboxDelivery
)

const (
	ForwardAddress Field = iota
	ForwardTargets
)

const (
	SiteName Field = iota
	SiteAliases
	SiteMode
	SitePlacement
	SiteRoot
	SiteContact
)

const (
	ListAddress Field = iota
	ListManager
	ListCandidates
	ListNode
	ListOwners
	ListEpoch
	ListKeepHTML
	ListKeepMbox
)

// maxFields is the largest number of fields of any kind.
const maxFields = 12

// Fields are the names of a kind's fields, as rplan.toml spells them, in the order of the constants.
func (k Kind) Fields() []string { return fieldNames[k] }

var fieldNames = [NumKinds][]string{
	KindNode: {"name", "state", "vpn-address", "public-address", "role", "ring", "class", "vpn-key", "ssh-key",
		"reason", "since", "by"},
	KindDomain:  {"name", "service"},
	KindMailbox: {"address", "alias", "placement", "status", "delivery"},
	KindForward: {"address", "target"},
	KindSite:    {"name", "alias", "mode", "placement", "document-root", "contact"},
	KindList:    {"address", "manager", "candidate", "node", "owner", "epoch", "keep-html", "keep-mbox"},
}

// Record is one entry as a source hands it over: untrusted bytes, valid only during the call.
type Record struct {
	Kind    Kind
	DN      []byte
	Created int64 // seconds since 1970 of the entry's createTimestamp; 0 if not known
	Values  [maxFields][][]byte
}

// Reset empties the record for the next entry and keeps its memory.
func (r *Record) Reset(kind Kind) {
	r.Kind, r.DN, r.Created = kind, r.DN[:0], 0
	for i := range r.Values {
		r.Values[i] = r.Values[i][:0]
	}
}
