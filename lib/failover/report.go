package failover

import (
	"time"

	"rplan/lib/source"
)

// NodeReport is what a node says of itself.
type NodeReport struct {
	Node      string         `json:"node"`
	Time      time.Time      `json:"time"`      // by its own clock
	Version   string         `json:"version"`   // of rplan
	Dovecot   string         `json:"dovecot"`   // its version; "" where it is not installed
	Directory source.Version `json:"directory"` // of its copy; "" where it cannot be read
	Maps      MapsReport     `json:"maps"`
	Disks     []Disk         `json:"disks"`
	Unmounted []string       `json:"unmounted"` // directories of "mounts" that are no mount points
	Queue     int            `json:"queue"`     // messages in Postfix's queue; -1 if not known
	Sync      *SyncState     `json:"sync"`      // of the last pass; nil if there was none
}

// MapsReport is where a node's maps stand.
type MapsReport struct {
	Version source.Version `json:"version"` // that all of them have at least
	States  source.Version `json:"states"`  // from which the nodes' states are that they follow
	At      time.Time      `json:"at"`      // when they were last found or made current
	Error   string         `json:"error,omitempty"`
}

// Disk is a file system that holds mail or maps.
type Disk struct {
	Path  string `json:"path"`
	Free  uint64 `json:"free"` // bytes
	Total uint64 `json:"total"`
}

// free is the free share in percent.
func (d Disk) free() float64 {
	if d.Total == 0 {
		return 0
	}
	return 100 * float64(d.Free) / float64(d.Total)
}

// SyncState is sync.json in the state directory: the last pass of sync, for all peers.
type SyncState struct {
	At             time.Time `json:"at"`
	Mailboxes      int       `json:"mailboxes"`
	Merged         int       `json:"merged"`
	Repaired       int       `json:"repaired"`
	Failed         int       `json:"failed"`
	Busy           int       `json:"busy"`
	Skipped        int       `json:"skipped"`
	OldestUnmerged float64   `json:"oldest_unmerged"` // seconds
}

// SyncReport is what sync --peer --json prints.
type SyncReport struct {
	Mailboxes int `json:"mailboxes"` // that were looked at
	Merged    int `json:"merged"`    // that differed, and are equal now
	Repaired  int `json:"repaired"`  // messages that were there twice
	Adopted   int `json:"adopted"`   // messages that were saved from blind copies
	Recovered int `json:"recovered"` // messages that only the other node had; for in: only the node that comes back
	Failed    int `json:"failed"`
	Busy      int `json:"busy"` // another merge is at them
	Skipped   int `json:"skipped"`
	Left      int `json:"left"` // that are not equal yet
}

// sum counts what was done elsewhere at the same time.
func (r *SyncReport) sum(more SyncReport) {
	r.Mailboxes += more.Mailboxes
	r.Merged += more.Merged
	r.Repaired += more.Repaired
	r.Adopted += more.Adopted
	r.Recovered += more.Recovered
	r.Failed += more.Failed
	r.Busy += more.Busy
	r.Skipped += more.Skipped
	r.Left += more.Left
}

// add counts what further passes did; of what is left, the last says it.
func (r *SyncReport) add(more SyncReport) {
	r.Merged += more.Merged
	r.Repaired += more.Repaired
	r.Adopted += more.Adopted
	r.Recovered += more.Recovered
	r.Mailboxes = max(r.Mailboxes, more.Mailboxes)
	r.Failed, r.Busy, r.Skipped, r.Left = more.Failed, more.Busy, more.Skipped, more.Left
}
