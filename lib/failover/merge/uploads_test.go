package merge

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rplan/lib/diag"
)

func TestMarkUploads(t *testing.T) {
	const long = int64(remembered / time.Second)
	at := func(folder string, uid uint32, guid, id string, saved int64) Message {
		return Message{Folder: folder, UID: uid, GUID: guid, ID: id, Saved: saved}
	}
	first := at("w", 1, "a", "x", 100)
	was := origin{500, 100}
	for why, c := range map[string]struct {
		first, other Message
		its          origin
		upload       bool
	}{
		"delivered again":            {first, at("i", 2, "b", "x", 100+long), origin{500, 100 + long}, false},
		"after too long":             {first, at("i", 2, "b", "x", 101+long), origin{500, 101 + long}, true},
		"with a line more":           {first, at("i", 2, "b", "x", 101), origin{520, 101}, true},
		"that cannot be read":        {first, at("i", 2, "b", "x", 101), origin{}, true},
		"a copy":                     {first, at("i", 2, "a", "x", 101+long), origin{500, 100}, false},
		"another delivery":           {first, at("i", 2, "b", "y", 101+long), origin{520, 101}, false},
		"of what was moved since":    {at("w", 1, "a", "x", 100+3*long), at("i", 2, "b", "x", 101+3*long), origin{500, 101 + 3*long}, true},
		"with the date of the first": {first, at("i", 2, "b", "x", 101+long), origin{500, 100}, true},
	} {
		for _, order := range [][]Message{{c.first, c.other}, {c.other, c.first}} {
			all := slices.Clone(order)
			origins := map[place]origin{c.first.place(): was, c.other.place(): c.its}
			markUploads(namesakes(all), origins)
			for _, m := range all {
				if want := m.UID == c.other.UID && c.upload; m.Upload != want {
					t.Errorf("%s: %+v", why, m)
				}
			}
		}
	}
}

// TestMovedWhileAsked: of two messages of one delivery the user moves one between the two questions. Neither
// is taken for an upload then, nor for damaged.
func TestMovedWhileAsked(t *testing.T) {
	calls := filepath.Join(t.TempDir(), "calls")
	row := func(folder, uid, guid string) string {
		return fmt.Sprintf(`{"mailbox-guid":"%s","uid":"%s","guid":"%s","flags":"","date.saved.unixtime":"100","hdr.x-rplan-id":"Q1.mx"}`, folder, uid, guid)
	}
	doveadm(t, `
echo "$*" >>`+calls+`
moved=$(grep -c "mailbox \* all" `+calls+`)
case "$*" in
*"mailbox * all") [ $moved -lt 2 ] && echo '[`+row(inbox, "1", "a")+","+row(inbox, "2", "b")+`]' || echo '[`+row(inbox, "1", "a")+","+row(archive, "7", "b")+`]' ;;
*"mailbox-guid `+inbox+` "*) echo '[{"uid":"1","size.virtual":"500","date.received.unixtime":"100"}]' ;;
*) echo '[{"uid":"7","size.virtual":"500","date.received.unixtime":"101"}]' ;;
esac`)
	l := local{address: "ada@example.org"}
	messages, err := l.real(t.Context())
	if err != nil || len(messages) != 2 || messages[1].Folder != archive || messages[0].Upload || messages[1].Upload {
		t.Errorf("%+v, %v", messages, err)
	}
	if text, _ := os.ReadFile(calls); strings.Count(string(text), "\n") != 5 { // two lists, one question about one folder, one about two
		t.Errorf("it asked\n%s", text)
	}

	doveadm(t, `case "$*" in *"mailbox * all") echo '[`+row(inbox, "1", "a")+","+row(inbox, "2", "b")+`]' ;; *) echo '[]' ;; esac`)
	if messages, err = l.real(t.Context()); diag.KindOf(err) != diag.TryAgain {
		t.Errorf("%+v, %v", messages, err)
	}
}

func TestAdoptedIsNoUpload(t *testing.T) {
	r := &record{Took: map[string]adoption{"x": {GUID: "b"}}}
	all := []Message{{GUID: "a", ID: "x"}, {GUID: "b", ID: "x", Upload: true}, {GUID: "c", ID: "x", Upload: true}}
	r.unmark(all)
	if all[0].Upload || all[1].Upload || !all[2].Upload {
		t.Errorf("%+v", all)
	}
}
