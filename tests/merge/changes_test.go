package merge

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestChangesOnly: pass after pass that looks at nothing but what changed leaves
// both sides equal to the last message, flag and folder, and as soon as a pass finds
// nothing to do, to the last subscription. The seeds are
// those of TestRandom.
func TestChangesOnly(t *testing.T) {
	collective(t)
	for i, seed := range seeds() {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			reset(t)
			w := &world{t: t, rand: rand.New(rand.NewPCG(seed, 1)), run: fmt.Sprint("c", i, "x"), seed: seed}
			var users []string
			for i := range formats {
				b := &box{user: player(i), active: "n1"}
				w.boxes, users = append(w.boxes, b), append(users, b.user)
				w.mail(b)
			}
			w.quiet()
			short := 0
			for range 25 {
				for range 1 + w.rand.IntN(4) {
					w.arrange(w.boxes[w.rand.IntN(len(w.boxes))])
				}
				before := len(w.log)
				shown := map[*box][]string{}
				for _, b := range w.boxes {
					shown[b] = w.shown(b)
				}
				for again := range 4 { // where a folder was renamed, one pass may not be enough
					r := w.pass("n1", users, false)
					if r.Failed+r.Busy == 0 {
						break
					}
					if again == 3 {
						w.fatal("the pass failed: %+v: %s", *r, strings.Join(w.log[before:], "\n"))
					}
					w.t.Logf("again: %+v", *r)
				}
				passed := w.log[before:]
				for _, b := range w.boxes {
					about := slices.DeleteFunc(slices.Clone(passed), func(line string) bool { return !strings.Contains(line, b.user) })
					if slices.Equal(about, []string{"note: " + b.user + ": doveadm sync"}) {
						short++
					}
					if now := w.shown(b); !slices.Equal(now, shown[b]) {
						w.fatal("%s sees something else after a pass:\nwas %q\nis  %q", b.user, shown[b], now)
					}
					if err := w.same(b); err != nil {
						w.fatal("%v", err)
					}
					w.sameFolders(b, "status", "guid", "*")
				}
				for more := 0; w.pass("n1", users, false).Merged > 0; more++ {
					if more == 3 {
						w.fatal("a pass finds something to do again and again:\n%s", strings.Join(w.log[before:], "\n"))
					}
				}
				for _, b := range w.boxes {
					w.sameFolders(b, "list", "-s")
				}
			}
			t.Logf("seed %d: %d mailboxes were carried over by what changed", seed, short)
			if short < 12 {
				t.Error("hardly a pass was a short one")
			}
		})
	}
}

// arrange is any of what users do in a mail program, or a mail that comes.
func (w *world) arrange(b *box) {
	if w.rand.IntN(3) == 0 {
		l := w.newLetter(b, true)
		l.pending = []delivery{{}, {copy: true}}
		w.settle(b, l)
		return
	}
	s, err := login(b.active, b.user)
	if err != nil {
		w.fatal("login: %v", err)
	}
	defer s.Close()
	folder := func() string { return append(folders, "Work", "Archive/Old")[w.rand.IntN(len(folders)+2)] }
	from, to := folder(), folder()
	_, _ = s.Command("CREATE %q", to)
	all, err := look(b.active, b.user, "*")
	if err != nil {
		w.fatal("%v", err)
	}
	commands := map[string]string{ // any of them may be refused
		"subscribe":   fmt.Sprintf("SUBSCRIBE %q", to),
		"unsubscribe": fmt.Sprintf("UNSUBSCRIBE %q", to),
		"rename":      fmt.Sprintf("RENAME %q %q", from, to+"-renamed"),
		"back":        fmt.Sprintf("RENAME %q %q", to+"-renamed", from),
		"append":      fmt.Sprintf("APPEND %q (\\Seen) {%d+}\r\n%s", to, len("Subject: draft\r\n\r\n"), "Subject: draft\r\n\r\n"),
	}
	if w.rand.IntN(4) == 0 {
		commands["delete"] = fmt.Sprintf("DELETE %q", from)
	}
	if len(all) > 0 {
		m := all[w.rand.IntN(len(all))]
		if _, err := s.Command("SELECT %q", m.Mailbox); err != nil {
			w.fatal("%v", err)
		}
		flag := []string{`\Seen`, `\Flagged`, `\Answered`, "$Label1", "$Forwarded"}[w.rand.IntN(5)]
		commands["set"] = fmt.Sprintf("UID STORE %s +FLAGS (%s)", m.UID, flag)
		commands["clear"] = fmt.Sprintf("UID STORE %s -FLAGS (%s)", m.UID, flag)
		commands["clear all"] = "UID STORE 1:* FLAGS ()"
		commands["move"] = fmt.Sprintf("UID MOVE %s %q", m.UID, to)
		commands["move all"] = fmt.Sprintf("UID MOVE 1:* %q", to)
		if to != m.Mailbox {
			commands["copy"] = fmt.Sprintf("UID COPY %s %q", m.UID, to)
		}
		if _, err := s.Command("UID STORE %s +FLAGS (\\Deleted)", all[w.rand.IntN(len(all))].UID); err == nil && w.rand.IntN(3) == 0 {
			commands["expunge"] = "EXPUNGE"
		}
	}
	if from == "INBOX" { // doveadm sync leaves the messages in the inbox, too
		delete(commands, "rename")
	}
	names := slices.Sorted(maps.Keys(commands))
	name := names[w.rand.IntN(len(names))]
	_, err = s.Command("%s", commands[name])
	w.say("%s: %s: %v", b.user, strings.TrimSpace(commands[name]), err)
}

// shown is which messages the user finds in which folders at the active node. Two of one
// delivery in a folder become one.
func (w *world) shown(b *box) []string {
	messages, err := look(b.active, b.user, "*")
	if err != nil {
		w.fatal("%v", err)
	}
	var all []string
	for _, m := range messages {
		all = append(all, m.Mailbox+" "+m.Token)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// sameFolders compares what doveadm mailbox says of a user's folders on both nodes.
func (w *world) sameFolders(b *box, words ...string) {
	said := func(node string) []string {
		args := append([]string{"mailbox", words[0], "-u", b.user}, words[1:]...)
		out, err := exec.Command(filepath.Join(programs(node), "doveadm"), args...).Output()
		if err != nil {
			w.fatal("%q for %s at %s: %v", words, b.user, node, err)
		}
		lines := strings.Split(string(out), "\n")
		slices.Sort(lines)
		return lines
	}
	if here, there := said("n1"), said("n2"); !slices.Equal(here, there) {
		w.fatal("%s has other folders by %q:\nn1 %q\nn2 %q", b.user, words, here, there)
	}
}
