package merge

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rplan/lib/diag"
)

// doveadm makes a shell script the doveadm of this test.
func doveadm(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "doveadm"), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

// framed is a text as frames, the last one included.
func framed(parts ...string) string {
	var b bytes.Buffer
	f := frames{&b}
	for _, part := range parts {
		_, _ = f.Write([]byte(part))
	}
	_ = f.Close()
	return b.String()
}

func TestFrames(t *testing.T) {
	long := strings.Repeat("0123456789", maxFrame/5)
	in := newLines(strings.NewReader(framed("a", long, "b") + "next\n"))
	var out bytes.Buffer
	if err := in.unframe(&out); err != nil || out.String() != "a"+long+"b" {
		t.Errorf("%d bytes, %v", out.Len(), err)
	}
	if rest, _ := io.ReadAll(in.in); string(rest) != "next\n" {
		t.Errorf("what comes behind: %.40q", rest)
	}
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte(framed("a", "bc")))
	f.Add([]byte("\x00\x01\x00\x00"))
	f.Add([]byte("\x00\x01\x00\x01" + strings.Repeat("x", 100)))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var out bytes.Buffer
		err := newLines(bytes.NewReader(text)).unframe(&out)
		if out.Len() > len(text) {
			t.Errorf("%d bytes of %d", out.Len(), len(text))
		}
		if err == nil && !bytes.Contains(text, []byte("\x00\x00\x00\x00")) {
			t.Error("an end without a last frame")
		}
	})
}

// conversation is one with a server in this process.
type conversation struct {
	t       *testing.T
	ask     io.WriteCloser
	answers *lines
	ended   chan error
}

func converse(t *testing.T, s *Server) *conversation {
	in, ask := io.Pipe()
	answers, tell := io.Pipe()
	c := &conversation{t, ask, newLines(answers), make(chan error, 1)}
	go func() {
		err := s.Mail(t.Context(), in, tell)
		tell.Close()
		c.ended <- err
	}()
	return c
}

func (c *conversation) says(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.ask, text); err != nil {
		c.t.Fatal(err)
	}
}

func (c *conversation) hears() (a answer) {
	c.t.Helper()
	if err := c.answers.next(&a); err != nil {
		c.t.Fatal(err)
	}
	return a
}

func (c *conversation) framed() string {
	c.t.Helper()
	var out bytes.Buffer
	if err := c.answers.unframe(&out); err != nil {
		c.t.Fatal(err)
	}
	return out.String()
}

// dsync is one whole request.
func (c *conversation) dsync(parts ...string) (said string, a answer) {
	c.t.Helper()
	go func() { _, _ = io.WriteString(c.ask, `{"do":"dsync"}`+"\n"+framed(parts...)) }()
	said = c.framed()
	return said, c.hears()
}

// TestServedDsync: Dovecot's side runs on the mailbox that is open and on no other,
// and however it ends the conversation goes on.
func TestServedDsync(t *testing.T) {
	doveadm(t, `
		echo "$# $*"
		[ -z "$DOVECOT_SETTING" ] || echo "$DOVECOT_SETTING"
		read line
		case $line in
		fail) echo no room >&2; exit 75;;
		wrong) echo broken >&2; exit 1;;
		again) exit 2;;
		esac
		cat`)
	t.Setenv("DOVECOT_SETTING", "of the parent")
	s := server(t)
	c := converse(t, s)
	if said, a := c.dsync("x\n"); said != "" || !strings.Contains(a.Error, "no mailbox is open") {
		t.Errorf("of no mailbox: %q, %+v", said, a)
	}
	c.says(`{"do":"open","address":"` + user + `"}` + "\n")
	if a := c.hears(); a.Error != "" {
		t.Fatalf("%+v", a)
	}
	head := "3 dsync-server -u " + user + "\n"
	long := strings.Repeat("forty-two", 100_000)
	for _, x := range []struct {
		tells []string
		hears string
		says  string
		kind  diag.Kind
	}{
		{[]string{"go\n", "a", long, "b"}, head + "a" + long + "b", "", 0},
		{[]string{"fail\n", long, "b"}, head, "no room", diag.TryAgain},
		{[]string{"wrong\n"}, head, "broken", diag.Failed},
		{[]string{"again\n"}, head, "exit status 2", diag.Failed},
		{[]string{"go\n"}, head, "", 0},
		{nil, head, "", 0},
	} {
		said, a := c.dsync(x.tells...)
		if said != x.hears || diag.Kind(a.Kind) != x.kind || !strings.Contains(a.Error, x.says) || (x.says == "") != (a.Error == "") {
			t.Errorf("%.40q: %.80q, %+v", x.tells, said, a)
		}
	}
	// Who goes in the middle of it, or sends what is no frame, ends it.
	c.says(`{"do":"dsync"}` + "\n" + "\x00\x00\x00\x09go\n")
	c.ask.Close()
	if c.framed() != head {
		t.Error("what came before the loss of the connection is not heard")
	}
	go func() { _, _ = io.Copy(io.Discard, c.answers.in) }()
	if err := <-c.ended; diag.KindOf(err) != diag.TryAgain {
		t.Error(err)
	}
	if held, err := lockMailbox(t.Context(), s.State, user, 0); err != nil {
		t.Error(err)
	} else {
		held.Release()
	}
}

// TestLetsGoOfDsync: a node that is taken for lost keeps no doveadm sync at work, whether
// that waits for it or has much to say.
func TestLetsGoOfDsync(t *testing.T) {
	for _, work := range []string{"exec sleep 1000", "exec yes"} {
		t.Run(work, func(t *testing.T) { letsGoOfDsync(t, work) })
	}
}

func letsGoOfDsync(t *testing.T, work string) {
	pid := filepath.Join(t.TempDir(), "pid")
	doveadm(t, `echo $$ >`+pid+`; `+work)
	s := server(t)
	out := canBeOut(s)
	c := converse(t, s)
	c.says(`{"do":"open","address":"` + user + `"}` + "\n")
	c.hears()
	c.says(`{"do":"dsync"}` + "\n")
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if text, _ := os.ReadFile(pid); len(text) > 0 {
			break
		}
		if time.Since(began) > 20*time.Second {
			t.Fatal("doveadm does not start")
		}
	}
	out.Store(true)
	// Nobody reads the answer, as nobody is there.
	held, err := lockMailbox(t.Context(), s.State, user, 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	held.Release()
	text, _ := os.ReadFile(pid)
	if _, err := os.Stat("/proc/" + strings.TrimSpace(string(text))); !errors.Is(err, os.ErrNotExist) {
		t.Error("the lock is free while doveadm is at work")
	}
	// If it is there after all, it is told.
	if said := c.framed(); (said != "") != (work == "exec yes") {
		t.Errorf("%.80q", said)
	}
	c.says(framed("x"))
	if a := c.hears(); a.Error != "n2 is out" || diag.Kind(a.Kind) != diag.TryAgain {
		t.Errorf("%+v", a)
	}
	c.ask.Close()
	if err := <-c.ended; err != nil {
		t.Error(err)
	}
}

// TestDsyncOverSession: this node's doveadm talks to what the other node says, and
// what is wrong on either side is told.
func TestDsyncOverSession(t *testing.T) {
	const last, end = `\000\000\000\000`, `{"end":true}\n`
	refused := `{"end":true,"error":"n1 is out","kind":75}\n`
	for why, c := range map[string]struct {
		here, there string // here runs as doveadm, with the remote command in "$@"
		again       bool
		kind        diag.Kind
		says        []string
		lost        bool
	}{
		"both agree":                 {`printf hello | "$@" | grep -qx world`, `printf '\000\000\000\006world\n` + last + end + `'`, false, 0, nil, false},
		"it changed meanwhile":       {`"$@" </dev/null; exit 2`, `printf '` + last + end + `'`, true, 0, nil, false},
		"this side fails":            {`"$@" </dev/null; echo no space here >&2; exit 75`, `printf '` + last + end + `'`, false, diag.TryAgain, []string{"no space here"}, false},
		"a folder is gone":           {`"$@" </dev/null; echo deleted under us >&2; exit 68`, `printf '` + last + `{"end":true,"error":"cut off","kind":75}\n'`, false, diag.TryAgain, []string{"deleted under us"}, false},
		"the other refuses":          {`"$@" </dev/null`, `printf '` + last + refused + `'`, false, diag.TryAgain, []string{"n1 is out"}, false},
		"it refuses what is changed": {`"$@" </dev/null; exit 2`, `printf '` + last + refused + `'`, false, diag.TryAgain, []string{"n1 is out"}, false},
		"both fail":                  {`"$@" </dev/null; echo no end here >&2; exit 75`, `printf '` + last + refused + `'`, false, diag.TryAgain, []string{"no end here", "n1 is out"}, false},
		"the connection is lost":     {`"$@" </dev/null; exit 75`, `echo 'ssh: broken pipe' >&2; exit 255`, false, diag.TryAgain, []string{"broken pipe"}, true},
		"it is lost in a frame":      {`"$@" </dev/null; exit 75`, `printf '\000\000\000\006wo'; exit 255`, false, diag.TryAgain, []string{"connection was lost"}, true},
		"it sends no frame":          {`"$@" </dev/null; exit 75`, `echo Welcome to n2`, false, diag.Failed, []string{"language"}, true},
		"this side fails for good":   {`"$@" </dev/null; echo AQAAstate; echo no file >&2; exit 73`, `printf '` + last + `{"end":true,"error":"cut off","kind":75}\n'`, false, diag.Failed, []string{"no file", "cut off"}, false},
		"there is no doveadm":        {``, `printf '` + last + end + `'`, false, diag.TryAgain, []string{"doveadm"}, false},
		"it takes nothing":           {`printf hello >&2; exit 1`, `printf '` + last + end + `'`, false, diag.Failed, []string{"hello"}, false},
	} {
		t.Run(why, func(t *testing.T) {
			doveadm(t, `shift 10; [ "$1" = /bin/sh ] || exit 99; echo the state; `+c.here)
			s := talk(t, t.Context(), `read x; `+c.there+`; cat >/dev/null`)
			if c.here == "" {
				t.Setenv("PATH", "/nowhere")
			}
			state, err := remote{s}.dsync(t.Context(), local{address: user}, "")
			if (state == "the state") != (c.kind == 0 && !c.again) {
				t.Errorf("the state is %q", state)
			}
			switch {
			case c.again:
				if !errors.Is(err, errAgain) {
					t.Error(err)
				}
			case c.kind == 0:
				if err != nil {
					t.Error(err)
				}
			case diag.KindOf(err) != c.kind || errors.Is(err, errAgain):
				t.Errorf("%v: %v", diag.KindOf(err), err)
			}
			if err != nil && strings.Contains(err.Error(), "AQAA") {
				t.Errorf("the state is in the error: %v", err)
			}
			for _, text := range c.says {
				if err == nil || !strings.Contains(err.Error(), text) {
					t.Errorf("%v, without %q", err, text)
				}
			}
			if (s.lost != nil) != c.lost {
				t.Errorf("the conversation: %v", s.lost)
			}
		})
	}
}

// TestDsyncNeverHangs: doveadm ends while much comes in, and while the other node reads nothing.
func TestDsyncNeverHangs(t *testing.T) {
	for why, c := range map[string]struct{ here, there string }{
		"much comes in": {
			`"$@" </dev/null | head -c 10 >/dev/null; exit 75`,
			`i=0; while [ $i -lt 100 ]; do printf '\000\000\020\000'; head -c 4096 /dev/zero; i=$((i+1)); done; printf '\000\000\000\000{"end":true}\n'`,
		},
		"nothing goes out": {`head -c 2000000 /dev/zero | timeout 1 "$@" >/dev/null; exit 75`, `exec sleep 1000`},
	} {
		t.Run(why, func(t *testing.T) {
			defer func(was time.Duration) { farewell = was }(farewell)
			farewell = time.Second
			doveadm(t, `shift 10; `+c.here)
			s := talk(t, t.Context(), `read x; `+c.there+`; cat >/dev/null`)
			ended := make(chan error, 1)
			go func() {
				_, err := remote{s}.dsync(t.Context(), local{address: user}, "")
				ended <- err
			}()
			select {
			case err := <-ended:
				if diag.KindOf(err) != diag.TryAgain {
					t.Error(err)
				}
			case <-time.After(30 * time.Second):
				t.Fatal("it waits for ever")
			}
		})
	}
}

// TestState: with a state doveadm sync looks at what changed only, without at all, and says the next one.
func TestState(t *testing.T) {
	file := filepath.Join(t.TempDir(), "asked")
	doveadm(t, `echo "$2$3 $4" >>`+file+`; if [ "$3" = long ]; then seq 1 100000; else echo " next "; fi`)
	for _, c := range [][2]string{{"", "next"}, {"some", "next"}, {"long", ""}} {
		state, err := local{address: user}.sync(t.Context(), relay, c[0])
		if err != nil || state != c[1] {
			t.Errorf("%q: %q, %v", c[0], state, err)
		}
	}
	asked, err := os.ReadFile(file)
	if err != nil || string(asked) != "-s -f\n-ssome -l\n-slong -l\n" {
		t.Errorf("%q, %v", asked, err)
	}
}

// What this side says arrives whole, and in frames.
func TestDsyncSends(t *testing.T) {
	doveadm(t, `shift 10; seq 1 100000 | "$@"`)
	file := filepath.Join(t.TempDir(), "heard")
	s := talk(t, t.Context(), `printf '\000\000\000\000{"end":true}\n'; exec cat >`+file)
	if _, err := (remote{s}).dsync(t.Context(), local{address: user}, ""); err != nil {
		t.Fatal(err)
	}
	s.close()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	in := newLines(bytes.NewReader(raw))
	var r request
	if err := in.next(&r); err != nil || r.Do != "dsync" {
		t.Errorf("%+v, %v", r, err)
	}
	var out bytes.Buffer
	if err := in.unframe(&out); err != nil || strings.Count(out.String(), "\n") != 100000 {
		t.Errorf("%d bytes, %v", out.Len(), err)
	}
}
