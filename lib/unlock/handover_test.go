package unlock

import (
	"context"
	"errors"
	"io"
	"os/exec"
	"testing"
	"time"

	"rplan/lib/diag"
	"rplan/lib/secret"
	"rplan/tests/crypt"
)

// hand is a conversation with a waiting node in which each disk has this passphrase, by name.
func (w *machine) hand(passphrases map[string]string) *hand {
	return &hand{argv: w.inside("/bin/cryptroot-unlock"), asks: cryptroot, prompt: 20 * time.Second, answer: 20 * time.Second, open: func(name string) *secret.Secret {
		text, ok := passphrases[name]
		if !ok {
			return nil
		}
		return crypt.Secret(w, text)
	}}
}

func (w *machine) gives(h *hand, wantDisk string, want Outcome) {
	w.Helper()
	disk, out, said, err := h.give(context.Background())
	for end := time.Now().Add(10 * time.Second); out == Early && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		disk, out, said, err = h.give(context.Background())
	}
	if disk != wantDisk || out != want || err != nil {
		w.Errorf("disk %q: %s, %v, want %q: %s; it said %q", disk, out, err, wantDisk, want, said)
	}
}

// TestHandOver: two disks, one after the other, to Debian's own script.
func TestHandOver(t *testing.T) {
	w := wait(t, nil, "root", "data_1")
	h := w.hand(map[string]string{"root": "secret of root", "data_1": "secret of data_1"})
	w.gives(h, "root", Opened)
	if !w.opened("root") || w.opened("data_1") {
		t.Error("not that disk is open, or not it alone")
	}
	w.gives(h, "data_1", Opened)
	w.gives(h, "", Nothing)
	if !w.opened("data_1") {
		t.Error("the second disk is not open")
	}
}

// prompts is what the probe says of them.
func (w *machine) prompts() map[string]Prompt {
	w.Helper()
	argv := w.inside("/bin/sh", "/usr/lib/rplan/rplan-probe")
	out, err := exec.Command(argv[0], argv[1:]...).Output()
	w.ok(err)
	r, err := parseReading(out)
	w.ok(err)
	return r.Prompts
}

// TestTries: the probe says how many are left, and a session that ends without a passphrase spends one.
func TestTries(t *testing.T) {
	w := wait(t, nil, "root")
	left := func(tried int) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			got := w.prompts()
			if got["root"] == (Prompt{tried, 3}) && len(got) == 1 {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%v, want %d tried", got, tried)
			}
		}
	}
	left(0)
	w.gives(w.hand(nil), "root", Unknown)
	left(1)
	w.gives(w.hand(map[string]string{"root": "wrong"}), "root", Wrong)
	left(2)
	w.gives(w.hand(map[string]string{"root": "wrong"}), "root", LastTry)
}

// TestHandOverFaults: what is told apart, and what was sent.
func TestHandOverFaults(t *testing.T) {
	w := wait(t, nil, "root")
	w.gives(w.hand(nil), "root", Unknown)
	right := map[string]string{"root": "secret of root"}
	w.gives(w.hand(map[string]string{"root": "wrong"}), "root", Wrong)
	if w.opened("root") {
		t.Error("it opened")
	}
	w.gives(w.hand(right), "root", Opened)
}

var errBroken = errors.New("broken")

// TestLineCut: the line is cut after half the passphrase.
func TestLineCut(t *testing.T) {
	w := wait(t, nil, "root")
	h := w.hand(map[string]string{"root": "secret of root"})
	h.write = func(out io.Writer, b []byte) (int, error) {
		n, _ := out.Write(b[:len(b)/2])
		return n, errBroken
	}
	w.gives(h, "root", LostDuring)
	d := &desk{machine: w}
	d.untouched("root", 1)
	d.refused((&command{Options: Options{Node: "n1"}}).failed("root", LostDuring, ""), diag.TryAgain,
		`node "n1", disk "root": session lost while sending`, "a try may be spent; the next run says how many are left")
	w.gives(w.hand(map[string]string{"root": "secret of root"}), "root", Opened)
}
