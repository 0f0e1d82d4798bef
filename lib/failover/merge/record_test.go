package merge

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

const user = "alice@example.org"

func TestRecord(t *testing.T) {
	state := t.TempDir()
	r, err := loadRecord(state, user)
	if err != nil || r.Peers == nil || r.Gone == nil {
		t.Fatalf("%+v, %v", r, err)
	}
	r.Local, r.Since, r.Why = "l", 5, "n2 sleeps"
	r.Peers["n2"], r.Gone["Q1.mx"], r.Aside["Q2.mx"], r.Took["Q3.mx"] = peerRecord{"a", "b", true, 7, "s", "t", true, "u", map[string]logEnd{"/x": {1, 2}}, true}, deletion{8, 9}, 10, adoption{"g", 11}
	r.Left = map[string][]int64{"g": {time.Now().Unix()}}
	if err := r.save(state, user); err != nil {
		t.Fatal(err)
	}
	if back, err := loadRecord(state, user); err != nil || !reflect.DeepEqual(back, r) {
		t.Errorf("%+v, %v", back, err)
	}
	if other, _ := loadRecord(state, "alice@example.net"); len(other.Peers) > 0 {
		t.Error("another mailbox has the same record")
	}
}

// TestRecordInPieces: what is no record is none, and costs a full comparison.
func TestRecordInPieces(t *testing.T) {
	state := t.TempDir()
	path := recordPath(state, user) + ".json"
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "\x00\x00\x00", "null", "[]", "{", `{"local":"x","peers":{"n2":{"equal":tr`, `{"local":"x","gone":{"a":"b"}}`, `{"peers":null}`, `{"local":"x"}{}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := loadRecord(state, user)
		if err != nil || r.Local != "" || r.Peers == nil || r.Gone == nil {
			t.Errorf("%q: %+v, %v", text, r, err)
			continue
		}
		if r.needs(Task{Address: user, Peer: "n2", Others: []string{"n2"}}, Stamp{Real: "a"}, Stamp{Real: "b"}, now, false) != full {
			t.Errorf("%q: not compared", text)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := loadRecord(state, user); err == nil {
		t.Error("a record that cannot be read is taken for none: what was deleted would be forgotten")
	}
}

func TestPrune(t *testing.T) {
	old := now.Add(-remembered - time.Hour).Unix()
	young := now.Add(-remembered + time.Hour).Unix()
	for why, c := range map[string]struct {
		deleted int64
		others  []string
		peers   map[string]peerRecord
		kept    bool
	}{
		"old, and known there":      {old, []string{"n2"}, map[string]peerRecord{"n2": {At: old + 1}}, false},
		"young":                     {young, []string{"n2"}, map[string]peerRecord{"n2": {At: young + 1}}, true},
		"not known there":           {old, []string{"n2"}, map[string]peerRecord{"n2": {At: old - 1}}, true},
		"never seen there":          {old, []string{"n2"}, nil, true},
		"not known to a third":      {old, []string{"n2", "n3"}, map[string]peerRecord{"n2": {At: old + 1}}, true},
		"no other node":             {old, nil, nil, false},
		"by a clock of tomorrow":    {now.Add(time.Hour).Unix(), nil, nil, true},
		"and known by this clock":   {now.Add(time.Hour).Unix(), []string{"n2"}, map[string]peerRecord{"n2": {At: now.Unix()}}, true},
		"of a node that is no more": {old, []string{"n2"}, map[string]peerRecord{"n2": {At: old + 1}, "n9": {At: 1}}, false},
	} {
		r := &record{Peers: c.peers, Gone: deletions{"Q1.mx": {1, c.deleted}}, Aside: map[string]int64{"Q1.mx": c.deleted}, Took: map[string]adoption{"Q1.mx": {"g", c.deleted}}}
		r.prune(c.others, now)
		if n := len(r.Gone) + len(r.Aside) + len(r.Took); n != 0 && n != 3 || n > 0 != c.kept {
			t.Errorf("%s: kept %+v", why, r)
		}
	}
}

func TestNeeds(t *testing.T) {
	long, short := now.Add(-settle-time.Minute).Unix(), now.Add(-settle/2).Unix()
	known := func(local, remote string, equal bool) *record {
		return &record{Local: local, Peers: map[string]peerRecord{"n2": {local, remote, equal, 1, "s", "t", false, boot(), nil, false}}}
	}
	adopted := known("a", "b", true)
	adopted.Took = map[string]adoption{"Q1.mx": {"g", short}, "Q2.mx": {"h", 1}}
	restarted := known("a", "b", true)
	restarted.Peers["n2"] = peerRecord{Local: "a", Remote: "b", Equal: true, At: 1, Tree: "t", Boot: "another"}
	again := known("a", "b", true)
	again.Peers["n2"] = peerRecord{Local: "a", Remote: "b", Equal: true, At: 1, Tree: "t", Again: true, Boot: boot()}
	lacked := known("a", "b", true)
	lacked.Peers["n2"] = peerRecord{Local: "a", Remote: "b", Equal: true, At: 1, Tree: "t", Boot: boot(), Lacked: true}
	for why, c := range map[string]struct {
		r           *record
		here, there Stamp
		alone       bool
		want        need
	}{
		"a mailbox that nobody has":                 {&record{}, Stamp{}, Stamp{}, false, nothing},
		"one that was never merged":                 {&record{}, Stamp{Real: "a"}, Stamp{}, false, full},
		"one that only the other node has":          {&record{}, Stamp{}, Stamp{Real: "b"}, false, full},
		"only copies, there":                        {&record{}, Stamp{}, Stamp{Copies: 1, OldestCopy: short}, false, full},
		"unchanged":                                 {known("a", "b", true), Stamp{Real: "a"}, Stamp{Real: "b"}, false, nothing},
		"used here":                                 {known("a", "b", true), Stamp{Real: "x", Tree: "t"}, Stamp{Real: "b"}, false, quick},
		"used after a restart":                      {restarted, Stamp{Real: "x", Tree: "t"}, Stamp{Real: "b"}, false, full},
		"unchanged after a restart":                 {restarted, Stamp{Real: "a", Tree: "t"}, Stamp{Real: "b"}, false, nothing},
		"folders had changed here":                  {again, Stamp{Real: "a", Tree: "t"}, Stamp{Real: "b"}, false, quick},
		"folders changed here":                      {known("a", "b", true), Stamp{Real: "x", Tree: "y"}, Stamp{Real: "b"}, false, quick},
		"the last list lacked what came":            {lacked, Stamp{Real: "a", Tree: "t"}, Stamp{Real: "b"}, false, full},
		"used there":                                {known("a", "b", true), Stamp{Real: "a"}, Stamp{Real: "x"}, false, full},
		"gone here":                                 {known("a", "b", true), Stamp{}, Stamp{Real: "b"}, false, full},
		"gone there":                                {known("a", "b", true), Stamp{Real: "a"}, Stamp{}, false, full},
		"not seen to be equal":                      {known("a", "b", false), Stamp{Real: "a"}, Stamp{Real: "b"}, false, full},
		"the last doveadm sync broke off":           {known("", "b", true), Stamp{Real: "a"}, Stamp{Real: "b"}, false, full},
		"copies here":                               {known("a", "b", true), Stamp{Real: "a", Copies: 1, OldestCopy: short}, Stamp{Real: "b"}, false, full},
		"copies there that wait":                    {known("a", "b", true), Stamp{Real: "a"}, Stamp{Real: "b", Copies: 1, OldestCopy: short}, false, nothing},
		"and have waited":                           {known("a", "b", true), Stamp{Real: "a"}, Stamp{Real: "b", Copies: 1, OldestCopy: long}, false, full},
		"a deletion":                                {known("a", "b", true), Stamp{Real: "x", Deleted: 1}, Stamp{Real: "b"}, false, full},
		"a twin may come":                           {adopted, Stamp{Real: "x", Tree: "t"}, Stamp{Real: "b"}, false, full},
		"a twin may come, but nothing did":          {adopted, Stamp{Real: "a"}, Stamp{Real: "b"}, false, nothing},
		"alone, unchanged":                          {known("a", "b", true), Stamp{Real: "a"}, Stamp{}, true, nothing},
		"alone, used":                               {known("a", "b", true), Stamp{Real: "x"}, Stamp{}, true, full},
		"alone, with copies":                        {known("a", "b", true), Stamp{Real: "a", Copies: 1}, Stamp{}, true, full},
		"a copy of tomorrow, by the other's clock":  {known("a", "b", true), Stamp{Real: "a"}, Stamp{Real: "b", Copies: 1, OldestCopy: now.Add(time.Hour).Unix()}, false, full},
		"a copy of an hour ago, by the other's one": {known("a", "b", true), Stamp{Real: "a"}, Stamp{Real: "b", Copies: 1, OldestCopy: now.Add(-time.Hour).Unix()}, false, full},
	} {
		task := Task{Address: user, Peer: "n2", Others: []string{"n2"}}
		if c.alone {
			task.Peer = ""
		}
		want := c.want
		for _, task.Overlap = range []bool{false, true} {
			if got := c.r.needs(task, c.here, c.there, now, false); got != want {
				t.Errorf("%s, overlap %v: %v, want %v", why, task.Overlap, got, want)
			}
			if want == quick {
				want = full // the other side may have been used meanwhile
			}
		}
	}
}

func TestUsedThere(t *testing.T) {
	r := &record{Peers: map[string]peerRecord{"n2": {Local: "a", Remote: "b", Equal: true, At: 1}, "n3": {Local: "a", Remote: "b", At: 1}}}
	for peer, want := range map[string][3]bool{"n2": {false, true, false}, "n3": {true, true, false}, "n4": {true, true, false}} {
		for i, stamp := range []string{"b", "x", ""} {
			if r.usedThere(peer, Stamp{Real: stamp}) != want[i] {
				t.Errorf("%s with %q: %v", peer, stamp, !want[i])
			}
		}
	}
}

// TestStates: what a doveadm sync brought from one node no state of another one tells of,
// and one that failed with a state is tried without.
func TestStates(t *testing.T) {
	peers := func() *record {
		return &record{Peers: map[string]peerRecord{"n2": {State: "old"}, "n3": {State: "other"}}}
	}
	m := &merger{task: Task{Peer: "n2"}, before: Stamp{Real: "x"}, step: func(string) {}}
	for _, c := range []struct {
		with string
		says error
		want string
		err  error
	}{
		{"old", nil, "new", nil},
		{"", nil, "new", nil},
		{"old", errProtocol, "", errAgain},
		{"", errProtocol, "", errProtocol},
	} {
		m.record = peers()
		m.join = func(_ context.Context, state string) (string, error) {
			if state != c.with {
				t.Errorf("asked with %q, not %q", state, c.with)
			}
			return "new", c.says
		}
		if err := m.sync(t.Context(), c.with); !errors.Is(err, c.err) {
			t.Errorf("%+v: %v", c, err)
		}
		if n2, n3 := m.record.Peers["n2"], m.record.Peers["n3"]; n2.State != c.want || n3.State != "" {
			t.Errorf("%+v: %+v, %+v", c, n2, n3)
		}
	}
}
