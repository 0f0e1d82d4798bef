package merge

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rplan/lib/diag"
)

func server(t *testing.T) *Server {
	root := t.TempDir()
	return &Server{
		Store: Store{Home: root + "/%d/%n", Mail: "mail"}, State: root + "/state", Peer: "n2",
		Has: func(address string) error {
			if address != user {
				return diag.Refused.Errorf("%q is not for you", address)
			}
			return nil
		},
		All: func(use func(string) error) error { return use(user) },
	}
}

// canBeOut lets the server's peer be taken out, and brought back.
func canBeOut(s *Server) *atomic.Bool {
	out := &atomic.Bool{}
	s.Has = func(string) error {
		if out.Load() {
			return diag.TryAgain.Errorf("n2 is out")
		}
		return nil
	}
	return out
}

// asks sends requests and returns the ends of the answers.
func asks(t *testing.T, s *Server, requests ...string) (ends []answer, err error) {
	t.Helper()
	var out bytes.Buffer
	err = s.Mail(t.Context(), strings.NewReader(strings.Join(requests, "\n")+"\n"), &out)
	for d := json.NewDecoder(&out); d.More(); {
		var a answer
		if err := d.Decode(&a); err != nil {
			t.Fatal(err)
		}
		if a.End {
			ends = append(ends, a)
		}
	}
	return ends, err
}

func TestServerRefuses(t *testing.T) {
	open := `{"do":"open","address":"` + user + `"}`
	for why, c := range map[string]struct {
		requests []string
		says     string
	}{
		"a list of no mailbox":       {[]string{`{"do":"list"}`}, "no mailbox is open"},
		"a step of no mailbox":       {[]string{`{"do":"step","step":{"op":"purge","uids":[1]}}`}, "no mailbox is open"},
		"after close":                {[]string{open, `{"do":"close"}`, `{"do":"stamp"}`}, "no mailbox is open"},
		"another's mailbox":          {[]string{`{"do":"open","address":"bob@example.org"}`}, "is not for you"},
		"and the one before is shut": {[]string{open, `{"do":"open","address":"bob@example.org"}`, `{"do":"list"}`}, "no mailbox is open"},
		"no address":                 {[]string{`{"do":"open","address":"../../etc@x"}`}, "no address"},
		"all mailboxes":              {[]string{`{"do":"open","address":"*"}`}, "no address"},
		"no request":                 {[]string{open, `{"do":"expunge"}`}, "no request"},
		"a step without one":         {[]string{open, `{"do":"step"}`}, "no request"},
		"traces of no mailbox":       {[]string{`{"do":"traces","ids":["` + inbox + `"]}`}, "no mailbox is open"},
		"traces of all":              {[]string{open, `{"do":"traces","ids":["*"]}`}, "no GUIDs"},
		"equal without a mailbox":    {[]string{`{"do":"equal"}`}, "no mailbox is open"},
		"no step of a merge":         {[]string{open, `{"do":"step","step":{"op":"aside","folder":"INBOX","uids":[1]}}`}, "no step of a merge"},
	} {
		ends, err := asks(t, server(t), c.requests...)
		if err != nil || len(ends) != len(c.requests) {
			t.Errorf("%s: %+v, %v", why, ends, err)
			continue
		}
		last := ends[len(ends)-1]
		if !strings.Contains(last.Error, c.says) {
			t.Errorf("%s: %+v", why, last)
		}
		for _, a := range ends[:len(ends)-1] {
			if a.Error != "" && a.Error != `"bob@example.org" is not for you` {
				t.Errorf("%s: %+v", why, a)
			}
		}
	}
	for _, nonsense := range []string{"help", `{"do":"open","address":"` + user + `","as":"root"}`, `{"do":"` + strings.Repeat("x", maxLine) + `"}`} {
		if _, err := asks(t, server(t), nonsense); diag.KindOf(err) != diag.BadData {
			t.Errorf("%.40q: %v", nonsense, err)
		}
	}
}

// TestLetsGo: a node that was lost does not say so, and must not keep a mailbox
// locked until its connection is known to be dead.
func TestLetsGo(t *testing.T) {
	s := server(t)
	out := canBeOut(s)
	c := converse(t, s)
	says := func(request string) answer {
		t.Helper()
		c.says(request + "\n")
		return c.hears()
	}
	if a := says(`{"do":"open","address":"` + user + `"}`); a.Error != "" {
		t.Fatalf("%+v", a)
	}
	if _, err := lockMailbox(t.Context(), s.State, user, 2*watched); diag.KindOf(err) != diag.TryAgain {
		t.Errorf("while the node may: %v", err)
	}
	out.Store(true)
	held, err := lockMailbox(t.Context(), s.State, user, 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	held.Release()
	if a := says(`{"do":"stamp"}`); a.Error != "n2 is out" || diag.Kind(a.Kind) != diag.TryAgain {
		t.Errorf("%+v", a)
	}
	out.Store(false)
	if a := says(`{"do":"open","address":"` + user + `"}`); a.Error != "" {
		t.Errorf("once it is back: %+v", a)
	}
	c.ask.Close()
	if err := <-c.ended; err != nil {
		t.Error(err)
	}
}

// TestOpenedOnce: one merge of a mailbox is at work at a time.
func TestOpenedOnce(t *testing.T) {
	s := server(t)
	if err := s.open(t.Context(), user); err != nil {
		t.Fatal(err)
	}
	third := &Server{Store: s.Store, State: s.State, Peer: "n3", Has: s.Has, All: s.All}
	if err := third.open(t.Context(), user); diag.KindOf(err) != diag.TryAgain {
		t.Errorf("opened twice: %v", err)
	}
	s.shut()
	if err := third.open(t.Context(), user); err != nil {
		t.Errorf("after it was shut: %v", err)
	}
	third.shut()
	// The end of the conversation shuts it too.
	if _, err := asks(t, s, `{"do":"open","address":"`+user+`"}`); err != nil {
		t.Fatal(err)
	}
	if err := third.open(t.Context(), user); err != nil {
		t.Errorf("after the conversation: %v", err)
	}
	third.shut()
}

// TestServedTraces: what users removed is known until both sides are equal, and since when only until the peer is the active node.
func TestServedTraces(t *testing.T) {
	s := server(t)
	log := filepath.Join(s.Store.home(user), "mail/mailboxes/INBOX/dbox-Mails/dovecot.index.log")
	write(t, log, string(aLog(came(5))))
	ends, err := s.Store.ends(user)
	if err != nil || len(ends) != 1 {
		t.Fatal(ends, err)
	}
	if err := os.WriteFile(log, aLog(came(5), left(5, 7)), 0o600); err != nil {
		t.Fatal(err)
	}
	rec := &record{Left: map[string][]int64{"g": {time.Now().Unix()}}, Peers: map[string]peerRecord{"n2": {Equal: true, Ends: ends}, "n3": {Ends: ends}}}
	if err := rec.save(s.State, user); err != nil {
		t.Fatal(err)
	}
	doveadm(t, "exit 0")
	c := converse(t, s)
	c.says(`{"do":"open","address":"` + user + `"}` + "\n")
	c.hears()
	ask := func(what string) (a answer) {
		t.Helper()
		c.says(what + "\n")
		for next := c.hears(); !next.End; next = c.hears() {
			a = next
		}
		return a
	}
	traces := `{"do":"traces","ids":["` + numbered(7) + `"]}`
	if a := ask(traces); a.Trace == nil || *a.Trace != (trace{Folder: "/mailboxes/INBOX/dbox-Mails", UID: 5, GUID: numbered(7), New: true}) {
		t.Errorf("%+v", a)
	}
	c.dsync()
	if a := ask(traces); a.Trace == nil || a.Trace.New || a.Trace.Old {
		t.Errorf("after the peer's doveadm sync: %+v", a)
	}
	if back, err := loadRecord(s.State, user); err != nil || len(back.Left) != 1 || back.Peers["n2"].Ends != nil || back.Peers["n3"].Ends == nil {
		t.Errorf("%+v, %v", back, err)
	}
	ask(`{"do":"equal"}`)
	if back, err := loadRecord(s.State, user); err != nil || len(back.Left) > 0 || !back.Peers["n2"].Equal {
		t.Errorf("%+v, %v", back, err)
	}
}
