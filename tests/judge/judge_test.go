package judge

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for answer, want := range map[string][]any{
		"* 3 FETCH (UID 7 FLAGS (\\Seen $X) X-GUID ab12 BODY[] {5}\r\n(\"\r\n))\r\n": {"*", "3", "FETCH",
			[]any{"UID", "7", "FLAGS", []any{`\Seen`, "$X"}, "X-GUID", "ab12", "BODY[]", "(\"\r\n)"}},
		"* LIST (\\HasNoChildren) \"/\" \"a \\\"b\\\\\"\r\n":              {"*", "LIST", []any{`\HasNoChildren`}, "/", `a "b\`},
		"* 1 FETCH (BODY[HEADER.FIELDS (SUBJECT)] {2}\r\n\r\n UID 1)\r\n": {"*", "1", "FETCH", []any{"BODY[HEADER.FIELDS (SUBJECT)]", "\r\n", "UID", "1"}},
		"* 1 FETCH (FLAGS () BODY[] \"\")\r\n":                            {"*", "1", "FETCH", []any{"FLAGS", []any(nil), "BODY[]", ""}},
	} {
		if got, err := parse(answer); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %#v %v", answer, got, err)
		}
	}
	for _, broken := range []string{"* 1 FETCH (UID 1\r\n", "* )\r\n", "* \"a\r\n", "* {9}\r\nabc\r\n", "* {x}\r\nabc\r\n", "* {-1}\r\n"} {
		if got, err := parse(broken); err == nil {
			t.Errorf("%q: %#v", broken, got)
		}
	}
}

// script is a session with fixed answers.
type script map[string][]string

func (s script) Command(format string, args ...any) ([]string, error) {
	answers, ok := s[fmt.Sprintf(format, args...)]
	if !ok {
		return nil, errors.New("unexpected " + fmt.Sprintf(format, args...))
	}
	return answers, nil
}

func TestRead(t *testing.T) {
	letter := NewLetter(rand.New(rand.NewPCG(1, 1)), "a@elsewhere.example", "b@example.org")
	text := "X-RPlan-ID: 4abc.n1\r\nx-rplan-id: forged\r\n" + strings.ReplaceAll(letter.Text, "\n", "\r\n")
	box, err := Read(script{
		`LIST "" "*"`:     {"* LIST (\\Noselect) \"/\" Work\r\n", "* LIST () \"/\" INBOX\r\n", "* LIST () \"/\" Work/Old\r\n"},
		`EXAMINE "INBOX"`: {"* 1 EXISTS\r\n", "* OK [UIDVALIDITY 17] UIDs valid\r\n"},
		"UID FETCH 1:* (UID FLAGS X-GUID BODY.PEEK[])": {fmt.Sprintf("* 1 FETCH (UID 9 FLAGS (\\Seen \\Recent) X-GUID g BODY[] {%d}\r\n%s)\r\n", len(text), text),
			"* 2 EXISTS\r\n"},
		`EXAMINE "Work/Old"`: {"* 0 EXISTS\r\n", "* OK [UIDVALIDITY 18] UIDs valid\r\n"},
	})
	want := Box{"INBOX": {"17", []Message{{9, "g", []string{`\Seen`}, letter.Token, "4abc.n1", Sum(letter.Text)}}}, "Work/Old": {Validity: "18"}}
	if err != nil || !reflect.DeepEqual(box, want) {
		t.Errorf("%+v %v, want %+v", box, err, want)
	}
}

// one is a box with messages of token "t", one in each folder, with flags.
func one(folders ...string) Box {
	box := Box{}
	for i, folder := range folders {
		name, flags, _ := strings.Cut(folder, " ")
		f := box[name]
		f.Messages = append(f.Messages, Message{UID: uint32(i + 1), GUID: fmt.Sprint("g", i), Token: "t", Flags: strings.Fields(flags), Sum: "s"})
		box[name] = f
	}
	return box
}

func event(act Act, words ...string) Event {
	e := Event{User: "u", Act: act, Token: "t", Folder: "INBOX", Sum: "s"}
	for _, w := range words {
		switch w[0] {
		case '\\':
			e.Flags = append(e.Flags, w)
		case '?':
			e.Maybe = true
		case '>':
			e.To = w[1:]
		default:
			e.Folder = w
		}
	}
	return e
}

// Each row is a ledger, what the active side holds, and what is to be found: l lost, d doubled, w filed twice, b back, f flags, p places, x damaged.
func TestJudge(t *testing.T) {
	arrived := event(Accepted)
	for name, c := range map[string]struct {
		events []Event
		box    Box
		want   string
	}{
		"there":                         {[]Event{arrived}, one("INBOX"), ""},
		"lost":                          {[]Event{arrived}, one(), "l"},
		"doubled":                       {[]Event{arrived}, one("INBOX", "INBOX"), "d"},
		"sent again":                    {[]Event{event(Accepted, "?"), arrived}, one("INBOX", "INBOX"), ""},
		"sent again, lost":              {[]Event{event(Accepted, "?"), arrived}, one(), "l"},
		"perhaps taken":                 {[]Event{event(Accepted, "?")}, one(), ""},
		"deleted":                       {[]Event{arrived, event(Deleted)}, one(), ""},
		"back":                          {[]Event{arrived, event(Deleted)}, one("INBOX"), "b"},
		"perhaps deleted":               {[]Event{arrived, event(Deleted, "?")}, one("INBOX"), ""},
		"perhaps deleted 2":             {[]Event{arrived, event(Deleted, "?")}, one(), ""},
		"seen before taken":             {[]Event{event(Deleted), arrived}, one(), ""},
		"flag":                          {[]Event{arrived, event(Flagged, `\Seen`)}, one(`INBOX \Seen`), ""},
		"flag is gone":                  {[]Event{arrived, event(Flagged, `\Seen`)}, one("INBOX"), "f"},
		"flag of nobody":                {[]Event{arrived}, one(`INBOX \Seen`), "f"},
		"flag perhaps":                  {[]Event{arrived, event(Flagged, `\Seen`, "?")}, one(`INBOX`), ""},
		"flag stays certain":            {[]Event{arrived, event(Flagged, `\Seen`), event(Flagged, `\Seen`, "?")}, one(`INBOX`), "f"},
		"flag cleared":                  {[]Event{arrived, event(Flagged, `\Seen`), event(Cleared, `\Seen`)}, one(`INBOX`), ""},
		"moved":                         {[]Event{arrived, event(Moved, ">Work")}, one("Work"), "p"}, // nobody made Work
		"moved, made":                   {[]Event{event(Created, "Work"), arrived, event(Moved, ">Work")}, one("Work"), ""},
		"moved back":                    {[]Event{arrived, event(Moved, ">Work"), event(Created, "Work")}, merge(one("INBOX"), "Work"), "p"},
		"moved and lost":                {[]Event{arrived, event(Created, "Work"), event(Moved, ">Work")}, merge(one(), "Work"), "l"},
		"perhaps moved":                 {[]Event{arrived, event(Created, "Work"), event(Moved, ">Work", "?")}, merge(one("INBOX"), "Work"), ""},
		"moved half":                    {[]Event{arrived, event(Created, "Work"), event(Moved, ">Work", "?")}, one("INBOX", "Work"), ""},
		"was twice":                     {[]Event{arrived, event(Created, "Work"), event(Moved, ">Work"), event(Deleted)}, one("Work"), ""},
		"back, and moved":               {[]Event{arrived, event(Flagged, `\Seen`), event(Created, "Work"), event(Deleted), event(Moved, ">Work")}, one("Work"), ""},
		"was not moved":                 {[]Event{arrived, event(Created, "Work"), event(Moved, ">Work"), event(Deleted)}, merge(one(), "Work"), ""},
		"both deleted":                  {[]Event{arrived, event(Created, "Work"), event(Moved, ">Work"), event(Deleted), event(Deleted, "Work")}, one("Work"), "b"},
		"copied":                        {[]Event{arrived, event(Created, "Work"), event(Copied, ">Work")}, one("INBOX", "Work"), ""},
		"copy lost":                     {[]Event{arrived, event(Created, "Work"), event(Copied, ">Work")}, merge(one("INBOX"), "Work"), "l"},
		"original lost":                 {[]Event{arrived, event(Created, "Work"), event(Copied, ">Work")}, one("Work"), "l"},
		"copied to itself":              {[]Event{arrived, event(Created, "Work"), event(Moved, ">Work"), event(Copied, ">Work")}, one("Work"), ""},
		"copied from where it is not":   {[]Event{arrived, event(Created, "Work"), event(Created, "A"), event(Moved, ">Work"), event(Copied, ">A")}, merge(one("Work"), "A"), "l"},
		"copied, then moved":            {[]Event{arrived, event(Created, "Work"), event(Copied, ">Work"), event(Flagged, "Work", `\Seen`), event(Moved, ">Work")}, one(`Work \Seen`), ""},
		"met, and the flag is gone":     {[]Event{arrived, event(Created, "Work"), event(Copied, ">Work"), event(Flagged, "Work", `\Seen`), event(Moved, ">Work")}, one(`Work`), "f"},
		"met what may be there":         {[]Event{arrived, event(Created, "Work"), event(Moved, ">Work", "?"), event(Moved, ">Work")}, merge(one(), "Work"), "l"},
		"met to and fro":                {[]Event{arrived, event(Created, "Work"), event(Created, "A"), event(Copied, ">Work"), event(Moved, ">Work"), event(Moved, "Work", ">A"), event(Moved, "A", ">Work")}, merge(one(), "Work", "A"), "l"},
		"two of no delivery":            {[]Event{event(Appended), event(Created, "Work"), event(Copied, ">Work"), event(Moved, ">Work")}, one(`Work`), "l"},
		"divided, merged before":        {[]Event{arrived, event(Created, "Work"), event(Moved, ">Work"), event(Merged), event(Divided)}, merge(one("INBOX"), "Work"), "p"},
		"divided, flag merged before":   {[]Event{arrived, event(Created, "Work"), event(Flagged, `\Seen`), event(Merged), event(Divided), event(Moved, ">Work")}, one("Work"), "f"},
		"divided, folder from before":   {[]Event{arrived, event(Created, "Work"), event(Merged), event(Divided)}, one("INBOX"), "p"},
		"divided, a mark":               {[]Event{arrived, event(Created, "Work"), event(Copied, ">Work"), event(Divided), event(Flagged, `\Deleted`)}, one(`INBOX \Deleted`, `Work \Deleted`), "f"},
		"divided, a copy":               {[]Event{arrived, event(Created, "Work"), event(Copied, ">Work"), event(Divided), event(Flagged, `\Seen`)}, one(`INBOX \Seen`, `Work \Seen`), ""},
		"a copy's own flag":             {[]Event{arrived, event(Created, "Work"), event(Copied, ">Work"), event(Flagged, `\Seen`)}, one(`INBOX \Seen`, `Work \Seen`), "f"},
		"copy, one deleted":             {[]Event{arrived, event(Created, "Work"), event(Copied, ">Work"), event(Deleted)}, one("Work"), ""},
		"copied, then the other side's": {[]Event{arrived, event(Created, "Work"), event(Copied, ">Work"), event(Divided), event(Deleted), event(Flagged, `\Seen`)}, merge(one("Work"), "INBOX"), ""},
		"copied, then moved on a side":  {[]Event{arrived, event(Created, "Work"), event(Created, "A"), event(Copied, ">Work"), event(Divided), event(Moved, "Work", ">A"), event(Flagged, "Work", `\Seen`)}, one("INBOX", `A \Seen`), ""},
		"and the flag is gone":          {[]Event{arrived, event(Created, "Work"), event(Created, "A"), event(Copied, ">Work"), event(Divided), event(Moved, "Work", ">A"), event(Flagged, "Work", `\Seen`)}, one("INBOX", "A"), "f"},
		"copied, deleted, and back":     {[]Event{arrived, event(Created, "Work"), event(Copied, ">Work"), event(Deleted), event(Flagged, `\Seen`)}, one(`INBOX \Seen`, "Work"), "bp"},
		"copy's flags":                  {[]Event{arrived, event(Flagged, `\Seen`), event(Created, "Work"), event(Copied, ">Work"), event(Flagged, `\Seen`)}, one(`INBOX \Seen`, `Work \Seen`), ""},
		"renamed":                       {[]Event{arrived, event(Created, "Work"), event(Moved, ">Work"), event(Renamed, "Work", ">New")}, one("New"), ""},
		"renamed twice":                 {[]Event{arrived, event(Created, "A"), event(Moved, ">A"), event(Renamed, "A", ">B"), event(Renamed, "A", ">C")}, one("C"), ""},
		"renamed on":                    {[]Event{arrived, event(Created, "A"), event(Renamed, "A", ">B"), event(Renamed, "B", ">C")}, one("INBOX"), "p"},
		"not renamed":                   {[]Event{arrived, event(Created, "Work"), event(Renamed, "Work", ">New")}, merge(one("INBOX"), "Work"), "pp"},
		"divided, adopted":              {[]Event{arrived, event(Created, "Work"), event(Moved, ">Work"), event(Divided)}, one("INBOX"), ""},
		"divided, deleted":              {[]Event{arrived, event(Deleted), event(Divided), event(Moved, ">Work"), event(Created, "Work")}, one("Work"), ""},
		"divided, flag stays":           {[]Event{arrived, event(Flagged, `\Seen`), event(Divided), event(Flagged, `\Flagged`)}, one(`INBOX \Flagged`), "f"},
		"divided, both moved":           {[]Event{arrived, event(Created, "A"), event(Created, "B"), event(Moved, ">A"), event(Divided), event(Moved, ">B")}, merge(one("B"), "A"), ""},
		"damaged":                       {[]Event{event(Accepted), {User: "u", Act: Created, Folder: "X"}}, Box{"INBOX": {Messages: []Message{{Token: "t", Sum: "other"}}}, "X": {}}, "x"},
		"somebody else's":               {nil, one("INBOX"), "x"},
	} {
		l := &Ledger{}
		for _, e := range c.events {
			l.Write(e)
		}
		v := Judge(l, map[string]Sides{"u": {Active: c.box}})
		got := ""
		for i, f := range v.findings() {
			got += strings.Repeat("ldwbfpxs"[i:i+1], len(f.all))
		}
		if got != c.want {
			t.Errorf("%s: found %q, want %q\n%s", name, got, c.want, v.Details(9))
		}
	}
}

// merge adds empty folders.
func merge(box Box, folders ...string) Box {
	for _, f := range folders {
		box[f] = Folder{}
	}
	return box
}

func TestSides(t *testing.T) {
	l := &Ledger{}
	l.Write(event(Accepted))
	equal := one("INBOX")
	for name, c := range map[string]struct {
		standby Box
		want    int
	}{
		"equal":   {equal, 0},
		"empty":   {Box{"INBOX": {}}, 1},
		"none":    {Box{}, 1},
		"more":    {merge(one("INBOX"), "Work"), 1},
		"flags":   {one(`INBOX \Seen`), 1},
		"guid":    {Box{"INBOX": {Messages: []Message{{UID: 1, GUID: "other", Token: "t"}}}}, 1},
		"uid":     {Box{"INBOX": {Messages: []Message{{UID: 2, GUID: "g0", Token: "t"}}}}, 2},
		"renewed": {Box{"INBOX": {Validity: "2"}}, 1},
	} {
		if v := Judge(l, map[string]Sides{"u": {equal, c.standby}}); len(v.Sides) != c.want {
			t.Errorf("%s: %v", name, v.Sides)
		}
	}
}

// A delivery that is in a folder twice is found even where the ledger allows for two.
func TestDeliveryTwice(t *testing.T) {
	l := &Ledger{}
	l.Write(event(Accepted, "?"))
	l.Write(event(Accepted))
	box := one("INBOX", "INBOX")
	for i := range box["INBOX"].Messages {
		box["INBOX"].Messages[i].Delivery = "4abc.n1"
	}
	if v := Judge(l, map[string]Sides{"u": {Active: box}}); len(v.Doubled) != 1 {
		t.Errorf("doubled: %v", v.Doubled)
	}
}

// Who is shown a message twice, and files both, has it twice. It is doubled if one of the two is still in the inbox, or
// where nobody was shown two, as on two sides that did not know of each other.
func TestFiledTwice(t *testing.T) {
	moved, again := event(Moved, ">Work"), event(Moved, ">Trash")
	for name, c := range map[string]struct {
		events         []Event
		places         []string
		filed, doubled int
	}{
		"both":               {[]Event{moved, again}, []string{"Work", "Trash"}, 1, 0},
		"one":                {[]Event{moved}, []string{"Work", "Trash"}, 0, 1},
		"one, the other not": {[]Event{moved, again}, []string{"Work", "INBOX"}, 0, 1},
		"two of three":       {[]Event{moved, again}, []string{"Work", "Trash", "Archive"}, 0, 1},
		"on two sides":       {[]Event{moved, event(Divided), again}, []string{"Work", "Trash"}, 0, 1},
		"once, of two":       {[]Event{moved, again}, []string{"Trash"}, 0, 0},
	} {
		l := &Ledger{}
		for _, e := range append([]Event{event(Accepted)}, c.events...) {
			l.Write(e)
		}
		if v := Judge(l, map[string]Sides{"u": {Active: one(c.places...)}}); len(v.Filed) != c.filed || len(v.Doubled) != c.doubled {
			t.Errorf("%s: filed %v, doubled %v", name, v.Filed, v.Doubled)
		}
	}
}

// Who copies a message on two sides and deletes it there soon after has moved it, as far as anybody can see. Each row is
// how many seconds after the copies it was deleted, and how many are lost if one of the two copies is.
func TestLikeMoves(t *testing.T) {
	for after, lost := range map[time.Duration]int{0: 0, 10: 0, 12: 1} {
		l := &Ledger{}
		at := time.Unix(0, 0)
		for _, e := range []Event{event(Accepted), event(Divided), event(Copied, ">Archive"), event(Copied, ">Work"), event(Deleted), event(Deleted)} {
			if e.At = at; e.Act == Deleted {
				e.At = at.Add(after * time.Second)
			}
			l.events = append(l.events, e)
		}
		if v := Judge(l, map[string]Sides{"u": {Active: one("Work")}}); len(v.Lost) != lost {
			t.Errorf("%d seconds: %v", after, v.Lost)
		}
		if v := Judge(l, map[string]Sides{"u": {Active: one()}}); len(v.Lost) != 1 {
			t.Errorf("%d seconds, and both are gone: %v", after, v.Lost)
		}
	}
}

// Each row is what users tried, one second after the other: who, and "!" if it failed, "-" for a second in which nobody
// does anything; or a try that takes several: "a9!".
func TestOutage(t *testing.T) {
	for tries, want := range map[string]Outage{
		"":                    {},
		"a a b":               {},
		"a a! a a":            {"a", 2 * time.Second},
		"a a! a! a! a":        {"a", 4 * time.Second},
		"a a! a! a! b":        {"a", 3 * time.Second}, // it has not ended yet
		"a a9! a":             {"a", 10 * time.Second},
		"a! b! b a":           {"a", 4 * time.Second},
		"a! - - - a! b! b! b": {"a", 5 * time.Second},
		"a! a! a a a! a":      {"a", 3 * time.Second}, // the longest, not all of them
	} {
		l, now, worked := &Ledger{}, time.Unix(0, 0), 0
		for _, try := range strings.Fields(tries) {
			began, took := now, 1
			_, _ = fmt.Sscanf(try[1:], "%d", &took)
			now = now.Add(time.Duration(took) * time.Second)
			if failed := strings.HasSuffix(try, "!"); try != "-" {
				l.Tried(try[:1], began, now, !failed)
				worked += map[bool]int{false: 1}[failed]
			}
		}
		if v := Judge(l, nil); v.Outage != want || v.Worked != worked {
			t.Errorf("%q: %+v and %d that worked, want %+v and %d", tries, v.Outage, v.Worked, want, worked)
		}
	}
}

func TestWrong(t *testing.T) {
	v := &Verdict{Counts: Counts{Refused: 1, Worked: 5}, Acts: 7, Outage: Outage{"u", 61 * time.Second}, Lost: []Finding{{}}}
	for _, c := range []struct {
		limits Limits
		want   string
	}{
		{Limits{}, "1 lost, 1 refused, an outage of 61.0 s for u"},
		{Limits{"lost": 1, "refused": -1, "outage": 60}, "an outage of 61.0 s for u"},
		{Limits{"lost": 1, "refused": 1, "outage": 61, "acts": 7, "worked": 5}, ""},
		{Limits{"lost": 1, "refused": 1, "outage": -1, "acts": 8, "worked": 6}, "only 5 worked, only 7 acts"},
	} {
		if got := v.Wrong(c.limits); got != c.want {
			t.Errorf("%v: %q, want %q", c.limits, got, c.want)
		}
	}
}
