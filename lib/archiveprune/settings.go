package archiveprune

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"rplan/lib/archiveprune/layout"
	"rplan/lib/conf"
	"rplan/lib/diag"
	origin "rplan/lib/source"
)

// Undated is what becomes of a message without a date of its own.
type Undated string

const (
	UndatedKeep     Undated = "keep"     // it stays, and so does its page
	UndatedReceived Undated = "received" // the date of its From_ line counts
)

// Compression is what closed months of messages are compressed with.
type Compression string

const (
	NoCompression Compression = "none"
	Gzip          Compression = "gzip"
	Zstd          Compression = "zstd"
)

var (
	layouts      = []string{string(layout.Pipermail), string(layout.Mlmmj), string(layout.Mailman3), string(layout.MHonArc)}
	undateds     = []string{string(UndatedKeep), string(UndatedReceived)}
	compressions = []string{string(NoCompression), string(Gzip), string(Zstd)}
)

// Settings are the keys of rplan.toml's [archive].
type Settings struct {
	Trees          []string                `toml:"trees"`           // directories that archives are looked for in
	Layout         layout.Layout           `toml:"layout"`          // of all of them; "" is found by looking
	KeepHTML       Keep                    `toml:"keep-html"`       // pages, and what leads to them
	KeepMbox       Keep                    `toml:"keep-mbox"`       // messages
	Undated        Undated                 `toml:"undated"`         //
	Compress       Compression             `toml:"compress"`        //
	CompressAfter  Keep                    `toml:"compress-after"`  // months that ended so long ago are closed
	ScrubAddresses bool                    `toml:"scrub-addresses"` // take clients' addresses out of stored headers
	TrashDays      int                     `toml:"trash-days"`      // what was removed can be brought back for so long
	MailmanLocks   string                  `toml:"mailman-locks"`   // of Mailman 2
	Lists          map[string]ListSettings `toml:"lists"`           // by name or address
}

// ListSettings are the keys of [archive.lists."NAME"]. What is not set is as the
// list's entry says, else as [archive] does.
type ListSettings struct {
	Tree     string  `toml:"tree"`    // the only one of trees that this holds in; "" is all
	Address  string  `toml:"address"` // in full, where the tree says the local part only
	KeepHTML *Keep   `toml:"keep-html"`
	KeepMbox *Keep   `toml:"keep-mbox"`
	Undated  Undated `toml:"undated"`
}

// Defaults are the settings of an rplan.toml without [archive].
func Defaults() Settings {
	return Settings{
		Trees:         []string{"/var/lib/mailman/archives/private"},
		KeepHTML:      mustKeep("90d"),
		KeepMbox:      Forever,
		Undated:       UndatedKeep,
		Compress:      NoCompression,
		CompressAfter: mustKeep("2m"),
		TrashDays:     14,
		MailmanLocks:  "/var/lib/mailman/locks",
	}
}

// maxTrashDays is more than anybody regrets a deletion for.
const maxTrashDays = 3650

// Configuration is all that a run takes from rplan.toml.
type Configuration struct {
	Settings
	path string
	from *origin.Configuration // nil where there is no [directory], and so no node to ask about
}

// Load reads rplan.toml. Its errors are of kind diag.Config.
func Load(path string) (*Configuration, error) {
	c := &Configuration{path: path, Settings: Defaults()}
	var directory map[string]any
	if err := conf.Load(path, map[string]any{"archive": &c.Settings, "directory": &directory}); err != nil {
		return nil, err
	}
	if directory != nil {
		var err error
		if c.from, err = origin.Configure(path, nil); err != nil {
			return nil, err
		}
	}
	if err := c.complete(); err != nil {
		return nil, diag.Config.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// complete checks what no type does, and lower-cases the names of lists.
func (s *Settings) complete() error {
	for _, of := range []struct {
		key, value string
		names      []string
	}{{"undated", string(s.Undated), undateds}, {"compress", string(s.Compress), compressions}} {
		if err := oneOf("archive."+of.key, of.value, of.names); err != nil {
			return err
		}
	}
	if s.Layout != "" {
		if err := oneOf("archive.layout", string(s.Layout), layouts); err != nil {
			return err
		}
	}
	if s.TrashDays < 0 || s.TrashDays > maxTrashDays {
		return diag.Config.Errorf("archive.trash-days %d is not a number from 0 to %d", s.TrashDays, maxTrashDays)
	}
	if !filepath.IsAbs(s.MailmanLocks) {
		return diag.Config.Errorf("archive.mailman-locks %q is not an absolute path", s.MailmanLocks)
	}
	if s.KeepHTML.Outlasts(s.KeepMbox) {
		return outlasting("archive", s.KeepHTML, s.KeepMbox)
	}
	return errors.Join(s.checkTrees(), s.checkLists())
}

func oneOf(key, value string, names []string) error {
	if slices.Contains(names, value) {
		return nil
	}
	return diag.Config.Errorf("%s %q is not one of %s", key, value, strings.Join(names, ", "))
}

func outlasting(where string, html, mbox Keep) error {
	return diag.Config.Errorf("%s: keep-html %q can be longer than keep-mbox %q: pages would show messages that are gone", where, html, mbox)
}

// checkTrees refuses trees of which one is in another: what is in both would be pruned twice.
func (s *Settings) checkTrees() error {
	if len(s.Trees) == 0 {
		return diag.Config.Errorf("archive.trees: there is none").WithHint("that of Mailman 2 is \"/var/lib/mailman/archives/private\"")
	}
	for i, tree := range s.Trees {
		if !filepath.IsAbs(tree) || filepath.Clean(tree) != tree || tree == "/" || strings.ContainsFunc(tree, unicode.IsControl) {
			return diag.Config.Errorf("archive.trees: %q is not the absolute path of a directory below /", tree).
				WithHint("write it without \"..\" and without a slash at its end")
		}
		for _, other := range s.Trees[:i] {
			if tree == other || strings.HasPrefix(tree, other+"/") || strings.HasPrefix(other, tree+"/") {
				return diag.Config.Errorf("archive.trees: %q and %q: one is in the other", other, tree)
			}
		}
	}
	return nil
}

func (s *Settings) checkLists() error {
	lists := map[string]ListSettings{}
	for _, name := range slices.Sorted(maps.Keys(s.Lists)) {
		l, where := s.Lists[name], fmt.Sprintf("archive.lists.%q", name)
		if !isListName(name) {
			return diag.Config.Errorf("%s: that is no name of a list", where)
		}
		if l.Tree != "" && !slices.Contains(s.Trees, l.Tree) {
			return diag.Config.Errorf("%s.tree %q is not one of archive.trees", where, l.Tree)
		}
		if l.Undated != "" {
			if err := oneOf(where+".undated", string(l.Undated), undateds); err != nil {
				return err
			}
		}
		if l.KeepHTML != nil && l.KeepMbox != nil && l.KeepHTML.Outlasts(*l.KeepMbox) {
			return outlasting(where, *l.KeepHTML, *l.KeepMbox)
		}
		name, l.Address = strings.ToLower(name), strings.ToLower(l.Address)
		if l.Address != "" && (!isListName(l.Address) || !isAddress(l.Address)) {
			return diag.Config.Errorf("%s.address %q is not an address", where, l.Address)
		}
		if isAddress(name) && l.Address != "" && l.Address != name {
			return diag.Config.Errorf("%s.address is %q", where, l.Address).WithHint("leave it out where the name is an address already")
		}
		if _, twice := lists[name]; twice {
			return diag.Config.Errorf("%s is there twice, in upper and in lower case", where)
		}
		lists[name] = l
	}
	s.Lists = lists
	return nil
}

// isListName says whether a list can be called so: it is a name or an address, and no path.
func isListName(name string) bool {
	return name != "" && name[0] != '.' && len(name) <= 255 && !strings.ContainsFunc(name, func(r rune) bool {
		return r == '/' || unicode.IsSpace(r) || !unicode.IsPrint(r)
	})
}

// isAddress says whether a list's name is its address in full.
func isAddress(name string) bool {
	local, domain, at := strings.Cut(name, "@")
	return at && local != "" && domain != "" && !strings.Contains(domain, "@")
}
