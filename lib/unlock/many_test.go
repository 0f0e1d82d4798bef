package unlock

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"rplan/lib/diag"
	"rplan/lib/store"
	"rplan/tests/crypt"
)

// beside is another node of the same store, which waits for a disk too.
func (d *desk) beside(node string) *desk {
	d.Helper()
	other := &desk{machine: wait(d.T, nil, "root"), dir: d.dir, now: d.now, boot: port(d.T), sys: port(d.T)}
	other.furnish([]string{"root"})
	d.add(node, other.described("root"))
	d.seal(node, "root", "secret of root")
	other.enrolledAs(node)
	return other
}

// TestAll: two nodes wait, one is not there, and one is not this admin's.
func TestAll(t *testing.T) {
	d := newDesk(t, "root")
	d.enrolled()
	n2 := d.beside("n2")
	d.listens("boot", d.boot)
	n2.listens("boot", n2.boot)
	away := &desk{machine: d.machine, dir: d.dir, boot: port(t), sys: port(t)}
	d.add("n3", away.described("root"))
	d.seal("n3", "root", "secret of root")
	away.enrolledAs("n3")
	d.foreign("n4")

	d.refused(d.do(Options{All: true, Check: true}), diag.Partial, "2 of 4 nodes well; not n3, n4", "n3: ", "n4: ", "never enrolled")
	d.comesUp("root")
	n2.comesUp("root")
	d.refused(d.do(Options{All: true}), diag.Partial, "2 of 3 nodes up; not n3", "n1: disk root: open", "n2: disk root: open", "node n1 is up", "node n2 is up", "n3: node", "n4: left to others")
	if !d.opened("root") || !n2.opened("root") {
		t.Error("a disk is not open")
	}
	for _, node := range []string{"n1", "n2"} {
		if entries := d.entriesOf(node); len(entries) != 1 {
			t.Errorf("%s: %+v", node, entries)
		}
	}
}

// foreign is a node whose disk another admin opens.
func (d *desk) foreign(node string) {
	d.Helper()
	d.run("age-keygen", "-o", d.path("identity of bob"))
	to := strings.TrimSpace(d.run("age-keygen", "-y", d.path("identity of bob")))
	change, err := store.AdminChange(&store.Admin{Name: "bob", Recipients: []string{to}})
	d.ok(err)
	d.commit(change)
	d.add(node, strings.ReplaceAll(d.described("root"), `["ada"]`, `["bob"]`))
	sealed, err := store.Seal(crypt.Secret(d, "secret"), []string{to}, nil)
	d.ok(err)
	d.commit(store.SealedChange("sealed", node, "root", sealed, []string{to}))
}

// TestAllJSON: one list, in which what failed says why.
func TestAllJSON(t *testing.T) {
	d := newDesk(t, "root")
	d.enrolled()
	d.listens("boot", d.boot)
	d.put("boot/vmlinuz-6.1", "another kernel")
	d.add("n2", d.described("root"))
	d.seal("n2", "root", "secret of root")
	d.refused(d.do(Options{All: true, JSON: true}), diag.Suspicious, "0 of 2 nodes up; not n1, n2")
	var got []Report
	if err := json.Unmarshal(d.out.Bytes(), &got); err != nil {
		t.Fatalf("%v in %s", err, &d.out)
	}
	if len(got) != 2 || got[0].Node != "n1" || got[0].Verdict != Suspicious || got[1].Verdict != "" || !strings.Contains(got[1].Error, "never enrolled") {
		t.Errorf("%s", fmt.Sprint(got))
	}
}
