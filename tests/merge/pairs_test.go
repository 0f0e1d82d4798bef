package merge

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"rplan/tests/imap"
)

// habits are what users do with a message in the inbox: steps, each of which begins with the folder of what it is about.
var habits = map[string][]string{
	"nothing":          {},
	"move":             {"INBOX move 1"},
	"copy":             {"INBOX copy 1"},
	"delete":           {"INBOX delete"},
	"copy, delete":     {"INBOX copy 1", "INBOX delete"},
	"move, copy":       {"INBOX move 1", "1 copy 2"},
	"copy, move":       {"INBOX copy 2", "INBOX move 1"},
	"move, move":       {"INBOX move 2", "2 move 1"},
	"copy, move it on": {"INBOX copy 2", "2 move 1"},
}

// habitsOn does one step of each habit with a message of its own, then another, and says in which folders they are then.
func (s *scene) habitsOn(node string, tokens map[string]string) map[string][]string {
	s.t.Helper()
	session, err := login(node, s.user)
	s.must(err)
	defer session.Close()
	where := map[string][]string{}
	for token := range tokens {
		where[token] = []string{"INBOX"}
	}
	for n := range 2 {
		for token, habit := range tokens {
			if steps := habits[habit]; n < len(steps) {
				where[token] = s.habit(session, node, token, strings.Fields(steps[n]), where[token])
			}
		}
		time.Sleep(1100 * time.Millisecond) // Dovecot counts in seconds
	}
	return where
}

func (s *scene) habit(session *imap.Session, node, token string, step, where []string) []string {
	s.t.Helper()
	folder := func(name string) string { return strings.NewReplacer("1", node+"-1", "2", node+"-2").Replace(name) }
	say := func(format string, args ...any) string {
		answer, err := session.Command(format, args...)
		s.must(err)
		return strings.Join(answer, "")
	}
	from := step[0]
	if from != "INBOX" {
		from = folder(from)
	}
	say("SELECT %q", from)
	uid := strings.TrimSpace(strings.TrimPrefix(say("UID SEARCH SUBJECT %s", token), "* SEARCH"))
	if step[1] != "copy" {
		where = slices.DeleteFunc(where, func(f string) bool { return f == from })
	}
	switch step[1] {
	case "delete":
		say(`UID STORE %s +FLAGS (\Deleted)`, uid)
		say("UID EXPUNGE %s", uid)
		return where
	case "move":
		say("UID MOVE %s %q", uid, folder(step[2]))
	case "copy":
		say("UID COPY %s %q", uid, folder(step[2]))
	}
	return append(where, folder(step[2]))
}

// together is where a message is to be that was in these folders of each side: where its user put it on either, and in the inbox if it is
// on both. What they moved on both is where they moved it on the active side.
func together(there, here []string) (want []string) {
	moved := func(folders []string) bool { return len(folders) > 0 && !slices.Contains(folders, "INBOX") }
	for _, f := range slices.Concat(there, here) {
		inbox := f == "INBOX" && slices.Contains(there, f) && slices.Contains(here, f)
		if inbox || f != "INBOX" && (f != "n2-1" || !moved(there) || !moved(here)) {
			want = append(want, f)
		}
	}
	slices.Sort(want)
	return slices.Compact(want)
}

// TestEveryPair: each habit on the node that is lost then, with each on the one that is active meanwhile.
func TestEveryPair(t *testing.T) {
	everyFormat(t, func(s *scene) {
		for _, known := range []bool{true, false} { // whether the other node has the message itself, or a copy of it
			for _, late := range []bool{true, false} { // whether the lost node was at work the longer
				s.everyPair(known, late)
			}
		}
	})
}

func (s *scene) everyPair(known, late bool) {
	s.t.Helper()
	reset(s.t)
	s.imap("n2", "CREATE n2-1", "CREATE n2-2", "CREATE n1-1", "CREATE n1-2")
	s.merge("n2")
	does := map[string]map[string]string{"n1": {}, "n2": {}} // by node and message
	for there := range habits {
		for here := range habits {
			token := fmt.Sprintf("m%dm", len(does["n1"]))
			does["n1"][token], does["n2"][token] = here, there
			s.mail("n2", token)
		}
	}
	if known {
		s.carries()
	}
	where := map[string]map[string][]string{} // likewise
	if !late {
		where["n2"] = s.habitsOn("n2", does["n2"])
	}
	s.alone("n1")
	where["n1"] = s.habitsOn("n1", does["n1"])
	if late {
		where["n2"] = s.habitsOn("n2", does["n2"])
	}
	s.pass("n1")
	s.merge("n1")
	s.merge("n2")
	for _, node := range []string{"n1", "n2"} {
		messages, err := look(node, s.user, "*")
		s.must(err)
		have := map[string][]string{}
		for _, m := range messages {
			have[m.Token] = append(have[m.Token], m.Mailbox)
		}
		for token, here := range where["n1"] {
			want := together(where["n2"][token], here)
			if !known && does["n2"][token] == "delete" && len(here) > 1 && slices.Contains(here, "INBOX") {
				want = append(want, "INBOX") // it is another message, of which its user made a copy
			}
			slices.Sort(want)
			slices.Sort(have[token])
			if !slices.Equal(want, have[token]) {
				s.t.Errorf("there %q, here %q: %s has it in %q, want %q; the other node had it: %v, and was at work the longer: %v",
					does["n2"][token], does["n1"][token], node, have[token], want, known, late)
			}
		}
	}
}
