package life

import (
	"regexp"
	"slices"
	"strings"

	"rplan/tests/judge"
)

// message is one that the user sees in a folder.
type message struct{ folder, uid, token string }

var uidOf = regexp.MustCompile(`[( ]UID (\d+)`)

// on does something to one of a folder's messages, if there is one.
func (s *session) on(folder string, do func(message) error) error {
	if _, err := s.Command("SELECT %q", folder); err != nil {
		if over(err) == nil {
			return s.list() // somebody renamed it
		}
		return err
	}
	answers, err := s.Command("UID FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
	if err != nil {
		return over(err)
	}
	var messages []message
	times := map[string]int{}
	for _, answer := range answers {
		uid, _, _ := strings.Cut(answer, "BODY[")
		_, subject, _ := strings.Cut(answer, "\r\n")
		m := uidOf.FindStringSubmatch(uid)
		if token := judge.TokenOf(subject); m != nil && token != "" {
			messages = append(messages, message{folder, m[1], token})
			times[token]++
		}
	}
	// Which of two the same is meant, no ledger could say.
	messages = slices.DeleteFunc(messages, func(m message) bool { return times[m.token] > 1 })
	if len(messages) == 0 {
		return nil
	}
	return do(pick(s.r, messages))
}

func (m message) event(act judge.Act) judge.Event {
	return judge.Event{Act: act, Token: m.token, Folder: m.folder}
}

// read shows a message, by which it is \Seen.
func (s *session) read(m message) error {
	answers, err := s.Command("UID FETCH %s (FLAGS BODY[])", m.uid)
	e := m.event(judge.Flagged)
	e.Flags = []string{`\Seen`}
	return s.event(e, shows(answers, m, `\Seen`), err)
}

// shows says whether the server told what it did to just this message.
func shows(answers []string, m message, word string) bool {
	return slices.ContainsFunc(answers, func(answer string) bool {
		head, _, _ := strings.Cut(answer, "BODY[")
		uid := uidOf.FindStringSubmatch(answer[max(len(answer)-40, 0):])
		if first := uidOf.FindStringSubmatch(head); first != nil {
			uid = first
		}
		return uid != nil && uid[1] == m.uid && strings.Contains(head, word)
	})
}

func (s *session) flag(m message) error {
	e := m.event(judge.Flagged)
	e.Flags = []string{pick(s.r, flags)}
	answers, err := s.Command("UID STORE %s +FLAGS (%s)", m.uid, e.Flags[0])
	return s.event(e, shows(answers, m, e.Flags[0]), err)
}

func (s *session) unflag(m message) error {
	e := m.event(judge.Cleared)
	e.Flags = []string{pick(s.r, flags)}
	answers, err := s.Command("UID STORE %s -FLAGS (%s)", m.uid, e.Flags[0])
	return s.event(e, shows(answers, m, "FLAGS"), err)
}

// elsewhere draws a folder where no message of this token is.
func (s *session) elsewhere(m message) (folder string, err error) {
	folder = pick(s.r, places)
	if folder == m.folder {
		return "", nil
	}
	if err := s.need(folder); err != nil || !slices.Contains(s.folders, folder) {
		return "", err
	}
	answers, err := s.Command("STATUS %q (MESSAGES)", folder)
	if err != nil || len(answers) == 0 {
		return "", over(err)
	}
	if _, err := s.Command("EXAMINE %q", folder); err != nil {
		return "", over(err)
	}
	answers, err = s.Command("UID SEARCH HEADER SUBJECT %q", m.token)
	if err != nil {
		return "", over(err)
	}
	if there := slices.ContainsFunc(answers, func(a string) bool { return strings.HasPrefix(a, "* SEARCH ") && len(strings.Fields(a)) > 2 }); there {
		return "", nil
	}
	if _, err := s.Command("SELECT %q", m.folder); err != nil {
		return "", over(err)
	}
	return folder, nil
}

func (s *session) move(m message) error {
	to, err := s.elsewhere(m)
	if err != nil || to == "" {
		return err
	}
	e := m.event(judge.Moved)
	e.To = to
	answers, err := s.Command("UID MOVE %s %q", m.uid, to)
	return s.event(e, slices.ContainsFunc(answers, copied), err)
}

func (s *session) copy(m message) error {
	to, err := s.elsewhere(m)
	if err != nil || to == "" {
		return err
	}
	e := m.event(judge.Copied)
	e.To = to
	_, err = s.Command("UID COPY %s %q", m.uid, to)
	return s.event(e, copied(s.Status), err)
}

// copied says whether an answer tells where a copy is (RFC 4315): without, there was nothing to copy.
func copied(answer string) bool { return strings.Contains(answer, "[COPYUID ") }

// remove deletes a message for good.
func (s *session) remove(m message) error {
	mark := m.event(judge.Flagged)
	mark.Flags = []string{`\Deleted`}
	answers, err := s.Command("UID STORE %s +FLAGS (%s)", m.uid, mark.Flags[0])
	if err != nil || !shows(answers, m, mark.Flags[0]) {
		return s.event(mark, false, err)
	}
	mark.User, mark.Maybe = s.user, true // until the second half is done
	s.ledger.Write(mark)
	answers, err = s.Command("UID EXPUNGE %s", m.uid)
	gone := slices.ContainsFunc(answers, func(a string) bool { return strings.HasSuffix(a, " EXPUNGE\r\n") })
	return s.event(m.event(judge.Deleted), gone, err)
}
