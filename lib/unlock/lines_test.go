package unlock

import (
	"context"
	"io"
	"testing"
	"time"

	"rplan/lib/diag"
	"rplan/lib/store"
)

// What happens while a passphrase is handed over, and after it: lines that are cut, answers
// that do not come, other admins.

// TestOtherSystem: the booted system answers where the initramfs is expected.
func TestOtherSystem(t *testing.T) {
	d := newDesk(t, "root")
	d.enrolled()
	stop := d.listens("sys", d.boot)
	d.refused(d.do(Options{}), diag.Refused, "another host key", "may be in its other system", "nothing sent")
	stop()
	// The key is the right one, and another one a moment later.
	stop = d.listens("boot", d.boot)
	err := d.asked(Options{}, func() { stop(); d.listens("other", d.boot) })
	d.refused(err, diag.Refused, "another host key", "a moment before", "No passphrase was sent", "ask who was at the machine")
	d.unlocked()
	d.untouched("root", 0)
}

// TestPromptOfAnother: the prompt names a disk that is none of the node's.
func TestPromptOfAnother(t *testing.T) {
	d := newDesk(t, "root", "data_1")
	d.listens("boot", d.boot)
	d.enrolled()
	d.lists("n1", "data_1")
	d.refused(d.do(Options{}), diag.Refused, `disk "root", which the store does not know. Nothing was sent`, "nodes/n1.toml")
	d.lists("n2", "root")
	d.refused(d.do(Options{}), diag.Refused, `disk "root", which is one of node "n2": you are not where you believe to be`)
	d.unlocked()
	d.untouched("root", 0)

	// Behind one that is known.
	d.lists("n1", "root", "third")
	d.seal("n1", "third", "secret of third")
	d.refused(d.do(Options{}), diag.Partial, "some disks are open, and not all", `disk "data_1", which the store does not know. Its passphrase was not sent, and a try may be spent`)
	d.unlocked("root: open, data_1: prompt for an unknown disk")
	d.untouched("data_1", 1)
}

// TestDiskForgotten: the node asks for one disk more than the store knows.
func TestDiskForgotten(t *testing.T) {
	d := newDesk(t, "root", "data_1")
	d.listens("boot", d.boot)
	d.enrolled()
	d.lists("n1", "root")
	var o Options
	o.patience.boot = 4 * time.Second
	d.refused(d.do(o), diag.TryAgain, "its system did not answer", `waits for the passphrase of disk "data_1", with 0 of 3 tries spent`)
	d.unlocked("root: open")
}

// TestLineCutBefore: no passphrase is sent, and no try spent.
func TestLineCutBefore(t *testing.T) {
	d := newDesk(t, "root")
	d.listens("boot", d.boot)
	d.enrolled()
	d.hold()
	err := d.asked(Options{}, func() {
		d.other()("wrong")
		d.until("it is tried", d.sent)
		before := len(d.processes("cryptroot-unlock"))
		go func() {
			d.until("a session", func() bool { return len(d.processes("cryptroot-unlock")) > before })
			d.cut()
		}()
	})
	d.refused(err, diag.TryAgain, "session lost before the prompt", "no passphrase was sent; run it again")
	d.release()
	d.until("what the session ran has ended", func() bool { return len(d.processes("cryptroot-unlock")) == 0 })
	d.unlocked()
	d.untouched("root", 1) // by the other
}

// TestLineCutAfter: only the system tells what came of it.
func TestLineCutAfter(t *testing.T) {
	cutWhenSent := func(d *desk) {
		go func() {
			d.until("it is tried", d.sent)
			d.cut()
			d.release()
		}()
	}
	t.Run("and the boot follows", func(t *testing.T) {
		d := newDesk(t, "root")
		d.listens("boot", d.boot)
		d.enrolled()
		d.hold()
		cutWhenSent(d)
		d.comesUp("root")
		d.ok(d.do(Options{JSON: true}))
		d.says("disk root: session lost after sending", `"outcome": "open"`, "node n1 is up")
		d.unlocked("open")
	})
	t.Run("and no boot follows", func(t *testing.T) {
		d := newDesk(t, "root")
		d.listens("boot", d.boot)
		d.enrolled()
		d.seal("n1", "root", "wrong")
		d.hold()
		cutWhenSent(d)
		var o Options
		o.patience.boot = 3 * time.Second
		d.refused(d.do(o), diag.TryAgain, "all that node \"n1\" asked for was sent", "did not answer at root@127.0.0.1", "in 3 s")
		d.unlocked("root: session lost after sending")
		d.untouched("root", 1)
	})
	t.Run("and another disk is locked", func(t *testing.T) {
		d := newDesk(t, "root", "data_1")
		d.listens("boot", d.boot)
		d.enrolled()
		d.hold()
		cutWhenSent(d)
		d.refused(d.do(Options{}), diag.TryAgain, `disk "root": session lost after sending`, "the next run says how many are left")
		d.unlocked("root: session lost after sending")
		d.listens("boot", d.boot)
		d.until("the second prompt", d.asks)
		d.comesUp("root", "data_1")
		d.ok(d.do(Options{})) // the next run goes on from there
		d.unlocked("root: session lost after sending", "open")
	})
}

// TestLate: the node gives up waiting for its cryptsetup, and comes up all the same.
func TestLate(t *testing.T) {
	d := newDesk(t, "root")
	d.listens("boot", d.boot)
	d.enrolled()
	d.hold()
	go func() {
		d.until("it is tried", d.sent)
		d.until("nobody waits for it", func() bool { return len(d.processes("cryptroot-unlock")) == 0 })
		d.release()
	}()
	d.comesUp("root")
	d.ok(d.do(Options{JSON: true}))
	d.says("disk root: no answer in time", `"outcome": "open late"`, "the passphrase was right", "node n1 is up")
	d.unlocked("open late")
}

// TestSecondDisk: the journal says which of two disks failed.
func TestSecondDisk(t *testing.T) {
	d := newDesk(t, "root", "data_1")
	d.listens("boot", d.boot)
	d.enrolled()
	d.seal("n1", "data_1", "wrong")
	d.refused(d.do(Options{JSON: true}), diag.Partial, `node "n1", disk "data_1": wrong passphrase`, "one of three")
	d.says("disk root: open", "disk data_1: wrong passphrase", `"outcome": "wrong passphrase"`)
	d.unlocked("root: open, data_1: wrong passphrase")
	d.untouched("data_1", 1)
}

// TestTwoAdmins: another is at it before, meanwhile and at the same moment.
func TestTwoAdmins(t *testing.T) {
	d := newDesk(t, "root")
	d.listens("boot", d.boot)
	d.enrolled()
	give := d.other()
	d.refused(d.do(Options{}), diag.TryAgain, "somebody else is at it", "Nothing was sent", "ask the other admins")
	give("wrong")
	d.untouched("root", 1)

	// Both have seen the prompt: the node takes what both say for one passphrase.
	give = d.other()
	h := d.hand(map[string]string{"root": "secret of root"})
	h.write = func(out io.Writer, b []byte) (int, error) {
		d.until("both are at the prompt", func() bool { return d.atPrompt() == 2 })
		n, err := out.Write(b)
		give("secret of root")
		return n, err
	}
	d.gives(h, "root", Wrong)
	d.refused((&command{Options: Options{Node: "n1"}, node: &store.Node{}}).failed("root", Wrong, ""), diag.Failed, `node "n1", disk "root": wrong passphrase`, "somebody else gave one at the same time")
	d.untouched("root", 2)
	d.unlocked()
	d.refused(d.do(Options{Yes: true}), diag.Refused, "has one try left of 3: it is not spent")
}

// TestAnotherWasFaster: it opens the node while this one looks.
func TestAnotherWasFaster(t *testing.T) {
	for what, booted := range map[string]bool{"the initramfs is there yet": false, "the system runs": true} {
		t.Run(what, func(t *testing.T) {
			d := newDesk(t, "root")
			stop := d.listens("boot", d.boot)
			d.enrolled()
			err := d.asked(Options{}, func() {
				d.other()("secret of root")
				d.until("it is open", func() bool { return d.opened("root") })
				if booted {
					stop()
				}
				d.listens("sys", d.sys)
			})
			d.ok(err)
			if booted {
				d.says("node n1 runs: somebody else unlocked it")
			} else {
				d.says("node n1 is up")
			}
			d.unlocked()
		})
	}
}

// TestNoPrompt: somebody else's passphrase is being tried, and no prompt comes.
func TestNoPrompt(t *testing.T) {
	d := &desk{machine: wait(t, nil, "root")}
	d.hold()
	d.other()("wrong")
	d.until("it is tried", d.sent)
	d.gives(d.hand(map[string]string{"root": "secret of root"}), "", NoPrompt)
	d.release()
	d.untouched("root", 1)
	d.refused((&command{Options: Options{Node: "n1"}}).failed("", NoPrompt, ""), diag.TryAgain, "no prompt came", "no passphrase was sent")
}

// TestInterrupted: what was sent is in the journal, also if nobody waits for the system.
func TestInterrupted(t *testing.T) {
	d := newDesk(t, "root")
	d.listens("boot", d.boot)
	d.enrolled()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		for !d.opened("root") && ctx.Err() == nil {
			time.Sleep(20 * time.Millisecond)
		}
		time.Sleep(3 * time.Second) // now it waits for the system
		cancel()
	}()
	d.refused(d.during(ctx, Options{}), diag.Failed, "interrupted before the system", "in the journal")
	if all := d.entries(); len(all) != 1 || all[0].Result != "root: open" {
		t.Errorf("%+v", all)
	}
}

// TestSeenRunning: by what the journal says of an earlier run, the node was seen to run, or may have come up.
func TestSeenRunning(t *testing.T) {
	for result, want := range map[string][2]bool{
		"open":                               {true, true},
		"open late":                          {true, true},
		"it runs; mail: wrong passphrase":    {true, true},
		"root: open, mail: wrong passphrase": {false, true},
		"root: session lost after sending":   {false, true},
		"root: no answer in time":            {false, true},
		"root: wrong passphrase":             {false, false},
		"root: session lost while sending":   {false, false},
		"root: prompt for an unknown disk":   {false, false},
	} {
		if got := [2]bool{seenRunning(result), mayHaveBooted(result)}; got != want {
			t.Errorf("%q: %v, want %v", result, got, want)
		}
	}
}
