package links

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"rplan/lib/diag"
	"rplan/tests/need"
)

func TestPublish(t *testing.T) {
	need.Program(t, "httxt2dbm")
	tree := tree(t)
	expired := Link{"dev/2018-March/000001.html", "x@y", "dev", "m", Expired}
	top := Link{"dev/index.html", "", "dev", "", 0}
	long := Link{"p", strings.Repeat("<", 998), "dev", "m", 0}
	far := Link{"q/" + strings.Repeat("r", 1000), "id", "dev", "m", 0}
	add(t, tree, first, second, index, talk, expired, top, long, far)
	m, err := Publish(t.Context(), tree)
	if want := (Maps{Rows: 8, TooLong: 1, DBM: true}); m != want || err != nil {
		t.Fatalf("%+v, %v", m, err)
	}
	const want = `dev/2018-March/000001.html *expired
dev/2019-March/000001.html dev,5723NVAHPMAJYMSR6P66QNOTL2MTX5LY,a@x
dev/2019-March/000002.html dev,*,*
dev/2019-March/thread.html *
dev/index.html *
dev/ *
p dev,*,*
talk/2020-May/000009.html talk,ZDAILNPHQKBZAEHZ3DEPFKXL4WGFUPOD,b/c+d@y
`
	if got := content(t, tree, ".rplan/links.txt"); got != want {
		t.Errorf("the map is\n%s", got)
	}
	for _, name := range []string{".rplan/links.txt", ".rplan/links.db"} {
		if info, err := tree.Stat(name); err != nil || info.Mode() != 0o644 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if m, err := Publish(t.Context(), tree); m != (Maps{DBM: true}) || err != nil {
		t.Errorf("again: %+v, %v", m, err)
	}
	add(t, tree, Link{"z", "z", "z", "z", 0})
	if m, err := Publish(t.Context(), tree); m.Rows != 9 || err != nil {
		t.Errorf("one more: %+v, %v", m, err)
	}
}

// Apache needs its maps before there is anything in them.
func TestPublishNothing(t *testing.T) {
	need.Program(t, "httxt2dbm")
	tree := tree(t)
	if m, err := Publish(t.Context(), tree); m != (Maps{DBM: true}) || err != nil {
		t.Fatalf("%+v, %v", m, err)
	}
	if content(t, tree, ".rplan/links.txt") != "" || len(content(t, tree, ".rplan/links.db")) == 0 {
		t.Error("the maps are not those of nothing")
	}
}

// A run that was killed before it published is made good by the next.
func TestPublishAfterCrash(t *testing.T) {
	need.Program(t, "httxt2dbm")
	tree := tree(t)
	add(t, tree, first)
	if _, err := Publish(t.Context(), tree); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"links.txt", "links.db"} {
		if err := tree.Chtimes(Dir+"/"+name, time.Time{}, time.Now()); err != nil {
			t.Fatal(err)
		}
		before := content(t, tree, Dir+"/"+name)
		if err := tree.WriteFile(Dir+"/"+name, []byte("old"), 0o644); err != nil {
			t.Fatal(err)
		}
		if m, err := Publish(t.Context(), tree); !m.DBM || err != nil {
			t.Errorf("%+v, %v", m, err)
		}
		if name == "links.txt" && content(t, tree, Dir+"/"+name) != before {
			t.Error("links.txt was not made again")
		}
		if content(t, tree, Dir+"/"+name) == "old" {
			t.Errorf("%s is old", name)
		}
	}
}

// Without Debian's apache2-utils there is the slow form, and an old quick one is no secret.
func TestWithoutHttxt2dbm(t *testing.T) {
	need.Program(t, "httxt2dbm")
	tree, theirs := tree(t), httxt2dbm
	t.Cleanup(func() { httxt2dbm = theirs })
	httxt2dbm = "rplan-none"
	add(t, tree, first)
	if m, err := Publish(t.Context(), tree); m != (Maps{Rows: 1}) || err != nil {
		t.Errorf("%+v, %v", m, err)
	}
	httxt2dbm = theirs
	if m, err := Publish(t.Context(), tree); m != (Maps{DBM: true}) || err != nil {
		t.Errorf("%+v, %v", m, err)
	}
	httxt2dbm = "rplan-none"
	if m, err := Publish(t.Context(), tree); m != (Maps{DBM: true}) || err != nil {
		t.Errorf("%+v, %v", m, err)
	}
	add(t, tree, second)
	m, err := Publish(t.Context(), tree)
	if m != (Maps{Rows: 2}) || diag.KindOf(err) != diag.Unavailable || !strings.Contains(diag.HintOf(err), "apache2-utils") {
		t.Errorf("%+v, %v", m, err)
	}
	if got := content(t, tree, ".rplan/links.txt"); strings.Count(got, "\n") != 2 {
		t.Errorf("the map is\n%s", got)
	}
}

// The hash is the one of Mailman 3 and HyperKitty.
func TestHashIsMailmans(t *testing.T) {
	python := need.Program(t, "/usr/bin/python3")
	need.File(t, "/usr/lib/python3/dist-packages/mailman/utilities/email.py")
	const script = `
import sys
from email.message import Message
from mailman.utilities.email import add_message_hash
m = Message()
m['Message-ID'] = '<' + sys.argv[1] + '>'
print(add_message_hash(m), end='')`
	for _, id := range []string{"a@x", "b/c+d@y", "CAF+x=_y$z@mail.gmail.com", "87myp4yc5h.fsf@example.org"} {
		out, err := exec.Command(python, "-c", script, id).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if got := strings.Split((Link{ID: id, List: "l", Mbox: "m"}).value(), ",")[1]; got != string(out) {
			t.Errorf("%q: %s, Mailman has %s", id, got, out)
		}
	}
}
