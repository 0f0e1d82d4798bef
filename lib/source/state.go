package source

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"rplan/lib/diag"
	"rplan/lib/directory"
)

// Writer writes the states of nodes, and nothing else, at the provider: the
// one server that takes writes. A write is a comparison too, so of two admins
// who saw the same, one wins and the other is told.
type Writer struct {
	servers  []*server
	settings Settings
	password []byte
	plan     *plan
}

// forWriting is an error in which the keys are those of the settings for writing.
func forWriting(err error) error {
	e, ok := errors.AsType[*diag.Error](err)
	if !ok {
		return err
	}
	keys := strings.NewReplacer("directory.urls", "failover.write-urls", "directory.password-file", "failover.admin-password-file")
	kept := *e
	kept.Err = &renamed{keys.Replace(e.Err.Error()), e.Err}
	if code, ok := errors.AsType[*resultError](err); ok && code.code == ldap.LDAPResultInvalidCredentials {
		kept.Hint = "check admin-dn in [failover] and its password"
	}
	return &kept
}

// renamed is an error in other words.
type renamed struct {
	text string
	err  error
}

func (r *renamed) Error() string { return r.text }
func (r *renamed) Unwrap() error { return r.err }

// NodeState is a node as the provider had it when it was read.
type NodeState struct {
	directory.Node

	csn          string // entryCSN
	state, since []byte // as they were read; nil for none
}

// Change is what a write makes of a node's state.
type Change struct {
	State  directory.State
	Since  time.Time
	Reason string
	By     string
}

// NewWriter takes the settings of [directory], of which URLs, BindDN and
// PasswordFile are those for writing; or the password, where somebody typed it.
func NewWriter(s Settings, password []byte) (*Writer, error) {
	s = s.OfNodes()
	w := &Writer{settings: s, password: password}
	for _, u := range s.URLs {
		if strings.HasPrefix(u, "ldif:") {
			return nil, diag.Config.Errorf("%q is a file: states of nodes are written to a server only", u).
				WithHint("write-urls in [failover] names the provider; in an LDIF file, edit the line of the state")
		}
	}
	if s.BindDN != "" && s.PasswordFile == "" && len(password) == 0 {
		return nil, diag.Config.Errorf("failover.admin-dn: there is no password").WithHint("admin-password-file in [failover] is a file that has it")
	}
	src, err := newSource(s)
	if err != nil {
		return nil, forWriting(err)
	}
	if len(src.plan.kinds) == 0 || s.Node.Attributes["state"] == "" {
		return nil, diag.Config.Errorf("directory.node: without a filter and an attribute for the state there is nothing to write")
	}
	w.plan = src.plan
	for _, p := range src.places {
		srv := p.(*server)
		srv.password = password
		w.servers = append(w.servers, srv)
	}
	return w, nil
}

// States are all nodes as the provider has them, sorted by name, and its version.
func (w *Writer) States(ctx context.Context) ([]NodeState, Version, error) {
	p, err := w.open(ctx)
	if err != nil {
		return nil, "", err
	}
	defer p.close()
	return p.states()
}

// Write makes one change of what was read, if it is still so; else its error
// wraps a *Changed. The version is the provider's after it.
func (w *Writer) Write(ctx context.Context, was NodeState, to Change) (Version, error) {
	p, err := w.open(ctx)
	if err != nil {
		return "", err
	}
	defer p.close()
	return p.write(was, to)
}

// theirs is a state as the directory spells it.
func (w *Writer) theirs(state directory.State) string {
	table := w.settings.Node.Values["state"]
	for _, value := range slices.Sorted(maps.Keys(table)) {
		if strings.EqualFold(table[value], state.String()) {
			return value
		}
	}
	return state.String()
}

// Changed is the error of a write that somebody else's came before.
type Changed struct {
	Now NodeState
}

func (c *Changed) Error() string {
	text := fmt.Sprintf("node %q was changed meanwhile: %s is %s", c.Now.Name, "it", c.Now.State)
	if !c.Now.Since.IsZero() {
		text += " since " + c.Now.Since.Format(time.RFC3339)
	}
	if c.Now.By != "" {
		text += ", by " + c.Now.By
	}
	if c.Now.Reason != "" {
		text += fmt.Sprintf(" (%s)", c.Now.Reason)
	}
	return text
}

// Later says whether the entry of n was written after that of m, in the order of
// the provider's writes: no admin's clock has a say. Only where the provider does
// not tell does the time in the entry decide, and at last the name.
func (n *NodeState) Later(m *NodeState) bool {
	switch {
	case n.csn != "" && m.csn != "" && n.csn != m.csn:
		return n.csn > m.csn
	case !n.Since.Equal(m.Since):
		return n.Since.After(m.Since)
	}
	return n.Name > m.Name
}
