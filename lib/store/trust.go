package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"rplan/lib/atomicfile"
	"rplan/lib/diag"
)

// Trust is what an admin's machine remembers of a store, so that nobody who can
// write the store can put an older state back or let others sign it. It is
// no secret; to lose it means to compare keys with another admin once more.
type Trust struct {
	ID       string    `json:"id"`
	Epoch    int       `json:"epoch"`
	Manifest string    `json:"manifest"` // SHA-256 of that epoch's
	Seen     time.Time `json:"seen"`
	With     Signer    `json:"with"`    // who signed it
	Signers  []Signer  `json:"signers"` // who may sign the next one
}

func trustPath(state, id string) string { return filepath.Join(state, "store-"+id+".json") }

// loadTrust returns nil where the machine has never seen the store.
func loadTrust(state, id string) (*Trust, error) {
	path := trustPath(state, id)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	t := &Trust{}
	if err == nil {
		err = json.Unmarshal(text, t)
	}
	if err == nil && (t.ID != id || t.Epoch < 1 || !isSum(t.Manifest) || t.With.Key == "") {
		err = fmt.Errorf("it is not of this store")
	}
	if err != nil {
		return nil, diag.BadData.Errorf("what this machine remembers of the store, %q: %w", path, err).
			WithHint("remove it, and compare keys with another admin once more: rp-rekey trust")
	}
	return t, nil
}

// save makes the directory of state where there is none. Epochs only rise.
func (t *Trust) save(state string) error {
	if err := atomicfile.MkdirAll(state, 0o700); err != nil {
		return err
	}
	text, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return err
	}
	_, err = atomicfile.WriteFile(trustPath(state, t.ID), append(text, '\n'), 0o600)
	return err
}

// changed says how the signers are others than they were, "" where they are the same.
func changed(was, are []Signer) (texts []string) {
	for _, s := range are {
		if !slices.Contains(was, s) {
			texts = append(texts, fmt.Sprintf("%q may sign now, with %s", s.Admin, s.Fingerprint()))
		}
	}
	for _, s := range was {
		if !slices.Contains(are, s) {
			texts = append(texts, fmt.Sprintf("%q may not sign any more with %s", s.Admin, s.Fingerprint()))
		}
	}
	return texts
}
