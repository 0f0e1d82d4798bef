package store

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rplan/lib/diag"
)

func TestJournal(t *testing.T) {
	w := newTeam(t)
	ada, bob := w.open("ada"), w.open("bob")
	day := time.Date(2026, 11, 27, 8, 0, 0, 0, time.UTC)
	until := day.Add(time.Hour)
	w.ok(ada.Note(ctx, w.keyring("ada"), Entry{What: Planned, Node: "n1", Why: "new\nkernel \x1b]0;x\a", Until: until, Date: day}))
	w.ok(bob.Note(ctx, w.keyring("bob"), Entry{What: Unlocked, Node: "n1", Verdict: "clean", Result: "2 disks are open", Date: day.Add(time.Minute)}))
	w.ok(ada.Note(ctx, w.keyring("ada"), Entry{What: Unlocked, Node: "n2", Date: day.Add(2 * time.Minute)}))
	w.ok(ada.Note(ctx, w.keyring("ada"), Entry{What: Unlocked, Node: "n1", Rotate: true, Date: day.Add(3 * time.Minute)}))

	for _, who := range []string{"ada", "bob"} {
		all, wrong, err := w.open(who).Journal(ctx, "n1")
		w.ok(err)
		if len(wrong) > 0 || len(all) != 3 {
			t.Fatalf("%+v, %q", all, wrong)
		}
		if e := all[0]; e.By != "ada" || e.What != Planned || e.Why != "new kernel ]0;x" || !e.Until.Equal(until) || !e.Date.Equal(day) || e.Previous != "" || e.Store != storeID {
			t.Errorf("%+v", e)
		}
		if e := all[2]; e.By != "ada" || !e.Rotate || e.Previous == "" || all[1].Previous != "" {
			t.Errorf("%+v", e)
		}
	}
	err := bob.Note(ctx, &Keyring{"bob", w.keyring("ada").File}, Entry{What: Unlocked, Node: "n1"})
	refused(t, err, diag.Config, `is not that of "bob"`)
	err = bob.Note(ctx, w.keyring("mallory"), Entry{What: Unlocked, Node: "n1"})
	refused(t, err, diag.Refused, `"mallory" may not sign`)

	// What is not by an admin is told, and does not count.
	files, err := filepath.Glob(w.path("journal/*_n1_*.json"))
	w.ok(err)
	if len(files) != 3 {
		t.Fatalf("%q", files)
	}
	first := "journal/" + filepath.Base(files[0])
	text := w.read(first)
	w.write(first, []byte(strings.Replace(string(text), "kernel", "colonel", 1)))
	w.write("journal/20300101T000000Z_ada_n1_ffffff.json", text)
	w.write("journal/20300101T000000Z_mallory_n1_ffffff.json", []byte(`{"store":"`+storeID+`","by":"mallory","node":"n1"}`))
	sig, err := w.keyring("mallory").Sign(ctx, ForJournal, w.read("journal/20300101T000000Z_mallory_n1_ffffff.json"))
	w.ok(err)
	w.write("journal/20300101T000000Z_mallory_n1_ffffff.json.sig", sig)
	w.write("journal/20300101T000000Z_ada_n1_eeeeee.json", []byte("{"))
	w.write("journal/20300101T000000Z_ada_n1_eeeeee.json.sig", sig)
	w.write("journal/20300101T000000Z_ada_n1_dddddd.json.sig", sig)
	all, wrong, err := w.open("bob").Journal(ctx, "n1")
	w.ok(err)
	if len(all) != 2 || len(wrong) != 4 {
		t.Errorf("%d entries, %s", len(all), strings.Join(wrong, "\n"))
	}
	// Each entry names the one before it.
	w.ok(os.Remove(w.path("journal/20300101T000000Z_ada_n1_ffffff.json")))
	if _, wrong, err = w.open("bob").Journal(ctx, "n2"); err != nil || len(wrong) != 1 || !strings.Contains(wrong[0], `the entry of "ada" before it is missing`) {
		t.Errorf("%q, %v", wrong, err)
	}

	// An entry about one node under the name of another does not count there.
	from := strings.TrimSuffix(files[1], ".json")
	to := strings.Replace(from, "_n1_", "_n2_", 1)
	w.ok(os.Rename(from+".json", to+".json"))
	w.ok(os.Rename(from+".json.sig", to+".json.sig"))
	all, _, err = w.open("bob").Journal(ctx, "n2")
	w.ok(err)
	if len(all) != 1 {
		t.Errorf("%+v", all)
	}
}

// TestJournalKilled: an entry is there whole or not at all.
func TestJournalKilled(t *testing.T) {
	w := newTeam(t)
	p := w.place("ada")
	stop := fmt.Errorf("stopped")
	p.step = func(string) { panic(stop) }
	s, err := p.Open(ctx)
	w.ok(err)
	func() {
		defer func() { _ = recover() }()
		_ = s.Note(ctx, w.keyring("ada"), Entry{What: Unlocked, Node: "n1"})
		t.Error("it was not stopped")
	}()
	all, wrong, err := w.open("ada").Journal(ctx, "n1")
	if err != nil || len(all)+len(wrong) != 0 {
		t.Errorf("%v %v %v", all, wrong, err)
	}
}
