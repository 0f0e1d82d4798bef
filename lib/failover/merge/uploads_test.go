package merge

import (
	"slices"
	"testing"
	"time"
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
			if c.its == (origin{}) {
				delete(origins, c.other.place())
			}
			markUploads(namesakes(all), origins)
			for _, m := range all {
				if want := m.UID == c.other.UID && c.upload; m.Upload != want {
					t.Errorf("%s: %+v", why, m)
				}
			}
		}
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
