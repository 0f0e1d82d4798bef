package genmaps

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"rplan/lib/diag"
	"rplan/lib/directory"
)

// loss is what would vanish from a map, of how much.
type loss struct {
	of    int // rows or names before
	count int
	first []string // the first maxLost of them
}

// maxLost is how many keys a refusal names.
const maxLost = 20

func (l *loss) add(key string) {
	if l.count++; l.count <= maxLost {
		l.first = append(l.first, key)
	}
}

// compare counts the names of a file that are not there any more.
func (l *loss) compare(was, is []string) {
	stays := map[string]bool{}
	for _, name := range is {
		stays[name] = true
	}
	l.of += len(was)
	for _, name := range was {
		if !stays[name] {
			l.add(name)
		}
	}
}

// tooMuch says whether that is more than the settings allow.
func (l *loss) tooMuch(s *Settings) bool {
	return l.count >= max(s.MaxLossRows, 1) && float64(l.count) > float64(s.MaxLoss)/100*float64(l.of)
}

func (l *loss) String() string {
	more := ""
	if n := l.count - len(l.first); n > 0 {
		more = fmt.Sprintf("\n  and %d more", n)
	}
	return "\n  " + strings.Join(l.first, "\n  ") + more
}

// checkNotEmpty refuses a directory that has nothing to serve: a tree that was
// emptied, a wrong base or a lost right looks like that.
func checkNotEmpty(s *directory.Snapshot) error {
	if len(s.Nodes) > 0 && len(s.Mailboxes)+len(s.Forwards)+len(s.Sites)+len(s.Lists) > 0 {
		return nil
	}
	return diag.Refused.Errorf("the directory has %d nodes, %d mailboxes, %d forwards, %d sites, %d lists: nothing to make maps from; nothing was changed",
		len(s.Nodes), len(s.Mailboxes), len(s.Forwards), len(s.Sites), len(s.Lists)).
		WithHint("is directory.base right, and may this node read what lies below it?")
}

// checkLosses refuses a plan that removes more rows of a guarded map, or more
// names of the zones, than the settings allow. A node's state removes neither.
func checkLosses(p *plan, s *Settings) error {
	var refused []string
	for _, c := range p.changes {
		if c.Guarded && c.loss.tooMuch(s) {
			refused = append(refused, fmt.Sprintf("%s would lose %d of its %d rows:%s", paths(c.File)[0], c.loss.count, c.loss.of, &c.loss))
		}
	}
	if p.zones.tooMuch(s) {
		refused = append(refused, fmt.Sprintf("the zones would lose %d of their %d names:%s", p.zones.count, p.zones.of, &p.zones))
	}
	if refused == nil {
		return nil
	}
	return diag.Refused.Errorf("%s\n%s's maps stay as they are", strings.Join(refused, "\n"), p.service).
		WithHint("if they are meant to go, run once with --allow-loss; --dry-run --diff shows all of it")
}

// zoneNames are the names that a zone which rp-genmaps made has records for, each once.
func zoneNames(text []byte) []string {
	var names []string
	seen := map[string]bool{}
	for line := range bytes.Lines(text) {
		if line[0] == ';' || line[0] == '$' || line[0] <= ' ' {
			continue
		}
		name := string(bytes.Fields(line)[0])
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names
}

// countRemovedZones adds the names of zones that are not made any more.
func (p *planner) countRemovedZones(out *plan) error {
	for _, path := range out.removed {
		if !strings.HasPrefix(path, "dns/") || strings.HasSuffix(path, ".conf") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(p.maps, path))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return diag.CantCreate.Errorf("looking at a zone that is no longer made: %w", err)
		}
		out.zones.compare(zoneNames(text), nil)
	}
	return nil
}
