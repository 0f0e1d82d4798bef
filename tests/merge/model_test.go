package merge

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"rplan/lib/failover/merge"
)

// seen is a message as the user finds it on a node.
type seen struct {
	Mailbox string `json:"mailbox"`
	UID     string `json:"uid"`
	GUID    string `json:"guid"`
	Flags   string `json:"flags"`
	ID      string `json:"hdr.x-rplan-id"`
	Token   string `json:"hdr.subject"`
}

// look lists all messages of a user on a node, by doveadm and nothing of rplan's.
func look(node, user, folders string) ([]seen, error) {
	cmd := exec.Command(filepath.Join(programs(node), "doveadm"), "-f", "json", "fetch", "-u", user,
		"mailbox uid guid flags hdr.x-rplan-id hdr.subject", "mailbox", folders, "all")
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s on %s: %w: %s", user, node, err, &said)
	}
	var all []seen
	if out.Len() == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(out.Bytes(), &all); err != nil {
		return nil, err
	}
	for i := range all {
		flags := slices.DeleteFunc(strings.Fields(all[i].Flags), func(f string) bool { return f == `\Recent` })
		slices.Sort(flags)
		all[i].Flags = strings.Join(flags, " ")
	}
	return all, nil
}

// letter is what the model knows of one message.
type letter struct {
	token    string
	text     string
	pending  []delivery // that Postfix has yet to make
	deleted  bool       // the user did, and was told that it is done
	maybe    bool       // deleted, but a node was lost before the other heard of it: it may be back
	flags    map[string]bool
	onlyOn   string          // the lost node that alone has it; "" for none
	merged   bool            // a pass has seen it
	copied   bool            // by its user, or put into two places while it was there twice
	kept     map[string]bool // folders that its user copied it to, and whether a pass of both nodes has seen that
	accepted bool
}

type delivery struct {
	copy  bool
	again bool // the answer to the first was lost, and Postfix waits before it tries again
}

// box is one user's mailbox in the model.
type box struct {
	user    string
	letters []*letter
	active  string // node
}

func other(node string) string { return map[string]string{"n1": "n2", "n2": "n1"}[node] }

// recent is how much of the log a failure shows.
const recent = 300

// world draws what happens by lot.
type world struct {
	t     *testing.T
	rand  *rand.Rand
	boxes []*box
	cut   bool // the node that is not active cannot be reached
	count int
	log   []string
	run   string
	seed  uint64
}

func (w *world) say(format string, args ...any) { w.log = append(w.log, fmt.Sprintf(format, args...)) }

func (w *world) fatal(format string, args ...any) {
	w.t.Helper()
	what := fmt.Sprintf(format, args...)
	log := w.about(what)
	w.t.Fatalf("%s\nwhat happened:\n%s\nRPLAN_SEED=%d plays this again", what, strings.Join(log[max(0, len(log)-recent):], "\n"), w.seed)
}

// about is the log without the lines about other users than the one that a failure is about.
func (w *world) about(failure string) []string {
	log := w.log
	for _, b := range w.boxes {
		if !strings.Contains(failure, b.user) {
			log = slices.DeleteFunc(slices.Clone(log), func(line string) bool { return strings.Contains(line, b.user) })
		}
	}
	return log
}

func (w *world) one(b *box) *letter {
	var live []*letter
	for _, l := range b.letters {
		if l.accepted && !l.deleted && l.onlyOn == "" && !slices.Contains(l.pending, delivery{}) {
			live = append(live, l)
		}
	}
	if len(live) == 0 {
		return nil
	}
	return live[w.rand.IntN(len(live))]
}

// newLetter is a message, of which some have the Message-ID of another, or none.
func (w *world) newLetter(b *box, id bool) *letter {
	w.count++
	l := &letter{token: fmt.Sprintf("token-%s-%d", w.run, w.count), flags: map[string]bool{}, kept: map[string]bool{}, accepted: true}
	if id {
		l.text = fmt.Sprintf("Received: by n1 (Postfix) id Q%s%d\nX-RPlan-ID: Q%s%d.mx%d.example.net\n", w.run, w.count, w.run, w.count, w.rand.IntN(3))
	}
	switch w.rand.IntN(4) {
	case 0:
		l.text += "Message-ID: <always-the-same@example.net>\n"
	case 1:
	default:
		l.text += "Message-ID: <" + l.token + "@example.net>\n"
	}
	l.text += "Subject: " + l.token + "\n\nbody of " + l.token + "\n"
	b.letters = append(b.letters, l)
	return l
}

// settle makes deliveries that Postfix has kept back.
func (w *world) settle(b *box, l *letter) {
	for _, d := range l.pending {
		node, port := b.active, "24"
		if d.copy {
			node, port = other(b.active), "10024"
			if w.cut {
				continue // the copy route is "discard" while the standby is out
			}
		}
		if err := deliver(node, port, b.user, l.text); err != nil {
			w.fatal("delivering %s: %v", l.token, err)
		}
		l.maybe = l.maybe || d.again && l.deleted // nothing tells it from what the user put back
	}
	l.pending = nil
}

func (w *world) mail(b *box) {
	l := w.newLetter(b, true)
	l.pending = []delivery{{}, {copy: true}}
	how := w.rand.IntN(10)
	switch {
	case how == 0 && !w.cut: // the active node does not answer for a moment
		if err := deliver(other(b.active), "10024", b.user, l.text); err != nil {
			w.fatal("%v", err)
		}
		l.pending = []delivery{{}}
	case how == 1: // the standby does not
		l.pending = []delivery{{copy: true}}
		if err := deliver(b.active, "24", b.user, l.text); err != nil {
			w.fatal("%v", err)
		}
	case how == 2: // the answer of the active node is lost: Postfix delivers again
		l.pending = []delivery{{}, {}, {copy: true}}
		w.settle(b, l)
	case how == 3: // delivery "one"
		l.pending = []delivery{{}}
		w.settle(b, l)
	case how == 4: // Postfix delivers again, but not yet
		w.settle(b, l)
		l.pending = []delivery{{again: true}}
	default:
		w.settle(b, l)
	}
	w.say("%s: mail %s, still to deliver %v", b.user, l.token, l.pending)
}

var folders = []string{"INBOX", "Archive", "Work/2026", "A*b"}

// act is something that the user does at the active node.
func (w *world) act(b *box) {
	s, err := login(b.active, b.user)
	if err != nil {
		w.fatal("login: %v", err)
	}
	defer s.Close()
	if w.rand.IntN(4) == 0 { // a sent message, which no Postfix delivers
		l := w.newLetter(b, false)
		_, _ = s.Command(`CREATE "Sent"`)
		text := strings.ReplaceAll(l.text, "\n", "\r\n")
		if _, err := s.Command("APPEND \"Sent\" (\\Seen) {%d+}\r\n%s", len(text), text); err != nil {
			w.fatal("append: %v", err)
		}
		l.flags[`\Seen`] = true
		w.say("%s: appended %s at %s", b.user, l.token, b.active)
		return
	}
	l := w.one(b)
	if l == nil {
		return
	}
	here, err := look(b.active, b.user, "*")
	if err != nil {
		w.fatal("%v", err)
	}
	at := slices.IndexFunc(here, func(m seen) bool { return m.Token == l.token })
	if at < 0 {
		return // in a copy that the next pass adopts
	}
	m := here[at]
	if _, err := s.Command("SELECT %q", m.Mailbox); err != nil {
		w.fatal("%v", err)
	}
	to := folders[w.rand.IntN(len(folders))]
	_, _ = s.Command("CREATE %q", to)
	switch w.rand.IntN(5) {
	case 0, 1:
		flag := []string{`\Seen`, `\Flagged`, `\Answered`, "$Label1"}[w.rand.IntN(4)]
		_, err = s.Command("UID STORE %s +FLAGS (%s)", m.UID, flag)
		l.flags[flag] = true
		w.say("%s: %s on %s at %s", b.user, flag, l.token, b.active)
	case 2:
		_, err = s.Command("UID MOVE %s %q", m.UID, to)
		delete(l.kept, m.Mailbox)
		l.copied = l.copied || slices.ContainsFunc(here, func(o seen) bool { return o.Token == l.token && o != m })
		w.say("%s: moved %s from %s to %s at %s", b.user, l.token, m.Mailbox, to, b.active)
	case 3:
		if to != m.Mailbox {
			_, err = s.Command("UID COPY %s %q", m.UID, to)
			l.copied, l.kept[to] = true, false
			w.say("%s: copied %s from %s to %s at %s", b.user, l.token, m.Mailbox, to, b.active)
		}
	case 4:
		for _, m := range here { // every copy of it
			if m.Token == l.token && err == nil {
				if _, err = s.Command("SELECT %q", m.Mailbox); err == nil {
					if _, err = s.Command("UID STORE %s +FLAGS (\\Deleted)", m.UID); err == nil {
						_, err = s.Command("UID EXPUNGE %s", m.UID)
					}
				}
			}
		}
		l.deleted, l.kept = true, map[string]bool{}
		w.say("%s: deleted %s at %s", b.user, l.token, b.active)
	}
	if err != nil {
		w.fatal("%s: %v", b.user, err)
	}
}

// merge is a pass on each active node; now and then one is killed first.
func (w *world) merge(all bool) {
	for _, node := range []string{"n1", "n2"} {
		var addresses []string
		for _, b := range w.boxes {
			if b.active == node {
				addresses = append(addresses, b.user)
			}
		}
		if addresses == nil {
			continue
		}
		if w.rand.IntN(3) == 0 && !all {
			at := 1 + w.rand.IntN(12)
			w.say("a pass on %s is killed at its step %d", node, at)
			w.kill(at, node, addresses)
		}
		if w.rand.IntN(3) == 0 && !all {
			after := time.Duration(w.rand.IntN(1200)) * time.Millisecond
			w.say("doveadm is killed on both nodes, %v after a pass on %s began", after, node)
			w.killDoveadm(after, node, addresses)
		}
		report := w.pass(node, addresses, all)
		w.say("a pass on %s: %+v", node, *report)
		if report.Failed > 0 || report.Busy > 0 {
			w.fatal("the pass failed: %s", strings.Join(w.log[max(0, len(w.log)-5):], "; "))
		}
	}
	for _, b := range w.boxes {
		for _, l := range b.letters {
			if !w.cut {
				l.onlyOn = ""
			}
		}
		w.present(b, all)
		for _, l := range b.letters {
			l.merged = l.merged || !w.cut
			for folder := range l.kept {
				l.kept[folder] = l.kept[folder] || !w.cut
			}
		}
	}
}

func (w *world) kill(at int, node string, addresses []string) {
	args := append([]string{"pass", strconv.Itoa(at), node, other(node)}, addresses...)
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	said, _ := cmd.Output()
	for line := range strings.Lines(string(said)) {
		w.say("note: %s", strings.TrimSpace(line))
	}
	time.Sleep(50 * time.Millisecond) // for what it left at the other node to see that it is gone
}

// killDoveadm makes a pass in the middle of which all doveadm are killed, as they may be while they write to a mailbox.
func (w *world) killDoveadm(after time.Duration, node string, addresses []string) {
	cmd := exec.Command("/proc/self/exe", append([]string{"pass", "0", node, other(node)}, addresses...)...)
	var said bytes.Buffer
	cmd.Stdout = &said
	if err := cmd.Start(); err != nil {
		w.fatal("%v", err)
	}
	time.Sleep(after)
	names, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, name := range names {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if text, _ := os.ReadFile(name); err == nil && string(text) == "doveadm\n" {
			args, _ := os.ReadFile(filepath.Join(filepath.Dir(name), "cmdline"))
			w.say("killed %.200q", args)
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	_ = cmd.Wait()
	for line := range strings.Lines(said.String()) {
		w.say("note: %s", strings.TrimSpace(line))
	}
}

func (w *world) pass(node string, addresses []string, all bool) *merge.Report {
	become(node)
	p := pass(node, other(node))
	p.All, p.Steps = all, true
	p.Note = func(address, text string) { w.say("note: %s: %s", address, text) }
	report, err := p.Run(context.Background(), tasks(other(node), addresses))
	if err != nil {
		w.fatal("%v", err)
	}
	return report
}

// present holds the mailbox at the active node, just merged, against the model.
func (w *world) present(b *box, strict bool) {
	here, err := look(b.active, b.user, "*")
	if err != nil {
		w.fatal("%v", err)
	}
	found := map[string][]seen{}
	twice := map[string]string{}
	for _, m := range here {
		found[m.Token] = append(found[m.Token], m)
		if m.ID != "" {
			key := m.Mailbox + " " + m.ID
			if was := twice[key]; was != "" && strict {
				w.fatal("%s at %s: %s is twice in %s: UIDs %s and %s", b.user, b.active, m.ID, m.Mailbox, was, m.UID)
			}
			twice[key] = m.UID
		}
	}
	for _, l := range b.letters {
		copies := found[l.token]
		switch {
		case l.maybe, l.onlyOn != "", slices.Contains(l.pending, delivery{}):
		case l.deleted && len(copies) > 0:
			w.fatal("%s at %s: %s was deleted and is back: %+v", b.user, b.active, l.token, copies)
		case l.accepted && !l.deleted && len(copies) == 0:
			w.fatal("%s at %s: %s is lost", b.user, b.active, l.token)
		case !l.deleted && lacks(l.kept, copies) != "":
			w.fatal("%s at %s: the copy of %s in %s is lost: %+v", b.user, b.active, l.token, lacks(l.kept, copies), copies)
		case strict && len(copies) > 1 && !l.copied:
			w.fatal("%s at %s: %s is there %d times: %+v", b.user, b.active, l.token, len(copies), copies)
		}
	}
}

// lacks is a folder that a message is to be in and is not, or "".
func lacks(folders map[string]bool, copies []seen) string {
	for folder := range folders {
		if !slices.ContainsFunc(copies, func(m seen) bool { return m.Mailbox == folder }) {
			return folder
		}
	}
	return ""
}

// lose cuts the active nodes off; their standbys take over.
func (w *world) lose(lost string) {
	w.cut = true
	_ = os.WriteFile(state(lost)+".cut", nil, 0o600)
	for _, b := range w.boxes {
		if b.active != lost {
			continue
		}
		b.active = other(lost)
		// What is not on the other node now is missing until the lost one is back.
		there := map[string]bool{}
		for _, folder := range []string{"*", "rplan-copies/*"} {
			messages, err := look(b.active, b.user, folder)
			if err != nil {
				w.fatal("%v", err)
			}
			for _, m := range messages {
				there[m.Token] = true
			}
		}
		for _, l := range b.letters {
			maps.DeleteFunc(l.kept, func(_ string, merged bool) bool { return !merged })
			if l.deleted && (there[l.token] || len(l.pending) > 0) {
				l.maybe = true
			}
			if !l.deleted && !there[l.token] && !slices.Contains(l.pending, delivery{}) {
				if l.merged {
					w.fatal("%s: %s was merged and is not on %s", b.user, l.token, b.active)
				}
				l.onlyOn = lost
			}
		}
		w.say("%s: %s is lost, %s is active", b.user, lost, b.active)
	}
}

// back lets the lost node come back.
func (w *world) back() {
	for _, node := range []string{"n1", "n2"} {
		_ = os.Remove(state(node) + ".cut")
	}
	w.cut = false
	w.say("both nodes are there")
}

// same says how the two sides of a mailbox differ.
func (w *world) same(b *box) error {
	var sides [2]map[string]int
	for i, node := range []string{"n1", "n2"} {
		messages, err := look(node, b.user, "*")
		if err != nil {
			return err
		}
		sides[i] = map[string]int{}
		for _, m := range messages {
			sides[i][fmt.Sprintf("%+v", m)]++
		}
	}
	if !maps.Equal(sides[0], sides[1]) {
		return fmt.Errorf("%s differs:\nn1 %s\nn2 %s", b.user, strings.Join(slices.Sorted(maps.Keys(sides[0])), "\n   "), strings.Join(slices.Sorted(maps.Keys(sides[1])), "\n   "))
	}
	return nil
}

// quiet merges until nothing changes any more, and compares.
func (w *world) quiet() {
	if w.cut {
		w.back()
	}
	for _, b := range w.boxes {
		for _, l := range b.letters {
			w.settle(b, l)
		}
	}
	w.merge(true)
	w.merge(true)
	for _, b := range w.boxes {
		if err := w.same(b); err != nil {
			w.fatal("%v", err)
		}
		w.flags(b)
	}
	for _, node := range []string{"n1", "n2"} {
		var addresses []string
		for _, b := range w.boxes {
			if b.active == node {
				addresses = append(addresses, b.user)
			}
		}
		if r := w.pass(node, addresses, true); r.Repaired+r.Adopted+r.Recovered+r.Left > 0 {
			w.fatal("with nothing to do, a pass did %+v", r)
		}
	}
	for _, b := range w.boxes {
		if err := w.same(b); err != nil {
			w.fatal("a pass with nothing to do changed something: %v", err)
		}
	}
}

// flags are the union of what was set on either side.
func (w *world) flags(b *box) {
	here, err := look(b.active, b.user, "*")
	if err != nil {
		w.fatal("%v", err)
	}
	for _, l := range b.letters {
		all := map[string]bool{}
		for _, m := range here {
			if m.Token == l.token {
				for _, f := range strings.Fields(m.Flags) {
					all[f] = true
				}
			}
		}
		if l.maybe || l.deleted {
			continue
		}
		for f := range l.flags {
			if !all[f] {
				w.fatal("%s: %s lost its flag %s: has %v", b.user, l.token, f, slices.Sorted(maps.Keys(all)))
			}
		}
	}
}

// play is one game of so many moves.
func (w *world) play(moves int) {
	for range moves {
		b := w.boxes[w.rand.IntN(len(w.boxes))]
		switch n := w.rand.IntN(100); {
		case n < 45:
			w.mail(b)
		case n < 75:
			w.act(b)
		case n < 82 && len(b.letters) > 0:
			if l := b.letters[w.rand.IntN(len(b.letters))]; len(l.pending) > 0 {
				w.settle(b, l)
				w.say("%s: the rest of %s is delivered", b.user, l.token)
			}
		case n < 92:
			w.merge(false)
		case n < 96 && !w.cut:
			w.lose([]string{"n1", "n2"}[w.rand.IntN(2)])
		case n < 98 && w.cut:
			w.back()
		case n >= 98 && !w.cut: // a planned move
			w.merge(true)
			w.merge(true)
			for _, b := range w.boxes {
				b.active = other(b.active)
			}
			w.say("all users move to their other node")
		}
	}
	w.quiet()
}

// seeds are of the games to play: two that are always the same, and another one each time. RPLAN_SEED replays one, and RPLAN_GAMES plays more.
func seeds() []uint64 {
	seeds := []uint64{1, 2, rand.Uint64()}
	if games, err := strconv.Atoi(os.Getenv("RPLAN_GAMES")); err == nil {
		seeds = nil
		for range games {
			seeds = append(seeds, rand.Uint64())
		}
	}
	if seed, err := strconv.ParseUint(os.Getenv("RPLAN_SEED"), 10, 64); err == nil {
		seeds = []uint64{seed}
	}
	return seeds
}

// TestRandom plays games against the model.
func TestRandom(t *testing.T) {
	collective(t)
	for i, seed := range seeds() {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			w := &world{t: t, rand: rand.New(rand.NewPCG(seed, 0)), run: fmt.Sprint("r", i, "x"), seed: seed}
			reset(t)
			for i := range formats {
				w.boxes = append(w.boxes, &box{user: player(i), active: "n1"})
			}
			w.play(120)
			sent := 0
			for _, b := range w.boxes {
				sent += len(b.letters)
			}
			t.Logf("seed %d: %d messages, all accounted for", seed, sent)
		})
	}
}

// reset empties both nodes.
func reset(t *testing.T) {
	t.Helper()
	for _, node := range []string{"n1", "n2"} {
		for _, dir := range []string{"/var/vmail/" + node, state(node)} {
			err := os.RemoveAll(dir)
			for end := time.Now().Add(5 * time.Second); err != nil && time.Now().Before(end); err = os.RemoveAll(dir) {
				time.Sleep(50 * time.Millisecond) // a session that was closed just now writes its last
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		_ = os.Remove(state(node) + ".cut")
	}
}
