package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"rplan/lib/atomicfile"
	"rplan/lib/diag"
)

// Entry is one line of what admins did: a file of its own, which no two admins write,
// signed by who did it. It is not in the manifest, so that an admin can unlock a
// node while another changes the store.
type Entry struct {
	Store    string          `json:"store"` // id
	Date     time.Time       `json:"date"`
	By       string          `json:"by"` // admin
	What     string          `json:"what"`
	Node     string          `json:"node"`
	Verdict  string          `json:"verdict,omitempty"`
	Why      string          `json:"why,omitempty"`      // one line, in the admin's words
	Result   string          `json:"result,omitempty"`   // one line
	Rotate   bool            `json:"rotate,omitempty"`   // the passphrases of the node are to be replaced after this
	Until    time.Time       `json:"until,omitzero"`     // of a planned reboot
	Seen     json.RawMessage `json:"seen,omitempty"`     // what the node said of itself then
	Previous string          `json:"previous,omitempty"` // SHA-256 of the same admin's entry before this one
}

// What an entry is about.
const (
	Unlocked = "unlock"
	Planned  = "planned"
)

const (
	journalDir  = "journal"
	stampFormat = "20060102T150405Z"
	maxEntry    = 1 << 20 // bytes: a reading of /boot may have a thousand files
)

// Note signs an entry and adds it to the journal.
func (s *Store) Note(ctx context.Context, by *Keyring, e Entry) error {
	k := key(s.manifest.Signers, by.Admin)
	if k == "" {
		return diag.Refused.Errorf("%q may not sign in this store", by.Admin)
	}
	dir := filepath.Join(s.place.Dir, journalDir)
	if err := atomicfile.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	e.Store, e.By, e.Why, e.Result = s.manifest.ID, by.Admin, plain(e.Why), plain(e.Result)
	if e.Date.IsZero() {
		e.Date = s.place.Now()
	}
	e.Date = e.Date.UTC().Truncate(time.Second)
	last, err := s.lastBy(by.Admin)
	if err != nil {
		return err
	}
	e.Previous = last
	text, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if len(text) > maxEntry {
		return diag.BadData.Errorf("an entry of the journal would have more than %d bytes", maxEntry)
	}
	signature, err := by.prove(ctx, ForJournal, k, text)
	if err != nil {
		return err
	}
	var unique [3]byte
	_, _ = rand.Read(unique[:]) // never fails
	base := filepath.Join(dir, fmt.Sprintf("%s_%s_%s_%s", e.Date.Format(stampFormat), by.Admin, e.Node, hex.EncodeToString(unique[:])))
	// The signature first: an entry is there when its text is.
	if _, err := atomicfile.WriteFile(base+".json.sig", signature, 0o600); err != nil {
		return err
	}
	s.place.did("signed an entry")
	_, err = atomicfile.WriteFile(base+".json", text, 0o600)
	return err
}

// lastBy is the digest of an admin's newest entry, "" without any.
func (s *Store) lastBy(admin string) (string, error) {
	found, err := s.entries(admin, "")
	if err != nil || len(found) == 0 {
		return "", err
	}
	text, err := s.place.read(found[len(found)-1], maxEntry)
	if err != nil {
		return "", err
	}
	return sum(text), nil
}

// entries are the paths of an admin's entries about a node, or of all with "", by date.
func (s *Store) entries(admin, node string) ([]string, error) {
	list, err := os.ReadDir(filepath.Join(s.place.Dir, journalDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, diag.BadData.Errorf("the journal: %w", err)
	}
	var all []string
	for _, e := range list {
		base, ok := strings.CutSuffix(e.Name(), ".json")
		parts := strings.Split(base, "_") // date, admin, node, and what makes it unique
		if ok && len(parts) == 4 && (admin == "" || parts[1] == admin) && (node == "" || parts[2] == node) {
			all = append(all, path.Join(journalDir, e.Name()))
		}
	}
	slices.Sort(all)
	return all, nil
}

// Journal is what admins noted about a node, by date, as far as their signatures are
// valid. Wrong says what is not, for people.
func (s *Store) Journal(ctx context.Context, node string) (all []Entry, wrong []string, err error) {
	found, err := s.entries("", node)
	if err != nil {
		return nil, nil, err
	}
	there, err := s.digests()
	if err != nil {
		return nil, nil, err
	}
	for _, name := range found {
		e, err := s.entry(ctx, name)
		if err == nil && e.Previous != "" && !there[e.Previous] {
			wrong = append(wrong, fmt.Sprintf("%s: the entry of %q before it is missing", name, e.By))
		}
		switch {
		case err != nil:
			wrong = append(wrong, fmt.Sprintf("%s: %v", name, err))
		case e.Node == node:
			all = append(all, *e)
		}
	}
	slices.SortStableFunc(all, func(a, b Entry) int { return a.Date.Compare(b.Date) })
	return all, wrong, nil
}

// digests are those of all entries.
func (s *Store) digests() (map[string]bool, error) {
	found, err := s.entries("", "")
	if err != nil {
		return nil, err
	}
	all := map[string]bool{}
	for _, name := range found {
		if text, err := s.place.read(name, maxEntry); err == nil {
			all[sum(text)] = true
		}
	}
	return all, nil
}

func (s *Store) entry(ctx context.Context, name string) (*Entry, error) {
	text, err := s.place.read(name, maxEntry)
	if err != nil {
		return nil, err
	}
	signature, err := s.place.read(name+".sig", maxSignature)
	if err != nil {
		return nil, err
	}
	e := &Entry{}
	if err := json.Unmarshal(text, e); err != nil {
		return nil, err
	}
	k := key(s.manifest.Signers, e.By)
	if e.Store != s.manifest.ID || k == "" {
		return nil, fmt.Errorf("it is not of an admin of this store")
	}
	if err := verify(ctx, ForJournal, Signer{e.By, k}, text, signature); err != nil {
		return nil, err
	}
	return e, nil
}
