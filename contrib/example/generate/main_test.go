package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"rplan/lib/directory"
)

var reference = collective{nodes: 5, mailboxes: 5000, sites: 700, lists: 700, seed: 1}

func text(t *testing.T, c collective) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := c.write(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// generated is the snapshot of what is generated.
func generated(t *testing.T, c collective) *directory.Snapshot {
	t.Helper()
	path := filepath.Join(t.TempDir(), "generated.ldif")
	if err := os.WriteFile(path, text(t, c), 0o600); err != nil {
		t.Fatal(err)
	}
	return read(t, path)
}

func TestReference(t *testing.T) {
	s := generated(t, reference)
	if len(s.Nodes) != 5 || len(s.Mailboxes) != 5000 || len(s.Sites) != 700 || len(s.Lists) != 700 || len(s.Forwards) != 200 {
		t.Errorf("%d nodes, %d mailboxes, %d sites, %d lists, %d forwards",
			len(s.Nodes), len(s.Mailboxes), len(s.Sites), len(s.Lists), len(s.Forwards))
	}
	if n := len(s.Placements()); n != 5*4 {
		t.Errorf("%d placements, want all 20 ordered pairs", n)
	}
	modes := map[string]int{}
	for i := range s.Sites {
		modes[s.Sites[i].Mode.String()]++
	}
	if len(modes) != 5 {
		t.Errorf("modes of sites: %v, want all five", modes)
	}
	aliases := 0
	for i := range s.Mailboxes {
		aliases += len(s.Mailboxes[i].Aliases)
	}
	if aliases < 1500 || aliases > 2500 {
		t.Errorf("%d aliases, want about 2,000", aliases)
	}
}

// Every size that check lets through gives a collective without a fault.
func TestSizes(t *testing.T) {
	for _, c := range []collective{
		{nodes: 1},
		{nodes: 1, mailboxes: 1, sites: 1, lists: 1, seed: 2},
		{nodes: 2, mailboxes: 300, sites: 10, lists: 10, seed: 3},
		{nodes: 250, sites: 60, lists: 60},
	} {
		if err := c.check(); err != nil {
			t.Error(err)
		}
		s := generated(t, c)
		if len(s.Nodes) != c.nodes || len(s.Mailboxes) != c.mailboxes {
			t.Errorf("%+v: %d nodes, %d mailboxes", c, len(s.Nodes), len(s.Mailboxes))
		}
	}
	for _, c := range []collective{{nodes: 0}, {nodes: 251}, {nodes: 1, lists: -1}} {
		if c.check() == nil {
			t.Errorf("%+v passes", c)
		}
	}
}

func TestDeterministic(t *testing.T) {
	first := text(t, reference)
	if !bytes.Equal(first, text(t, reference)) {
		t.Error("the same flags gave other bytes")
	}
	other := reference
	other.seed = 2
	if bytes.Equal(first, text(t, other)) {
		t.Error("another seed gave the same bytes")
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWriteError(t *testing.T) {
	if err := reference.write(full{}); err == nil {
		t.Error("a failed write is not reported")
	}
}
