package judge

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Session is an IMAP session of a user. Command returns the untagged
// answers, with literals in place, and fails if the server refuses.
type Session interface {
	Command(format string, args ...any) ([]string, error)
}

// Message is what a mailbox shows of a message.
type Message struct {
	UID      uint32
	GUID     string
	Flags    []string // sorted, without \Recent
	Token    string
	Delivery string // the first X-RPlan-ID
	Sum      string
}

// Folder is one of a user's.
type Folder struct {
	Validity string
	Messages []Message
}

// Box are a user's folders, by name.
type Box map[string]Folder

// Read reads all of a user's folders and changes nothing.
func Read(s Session) (Box, error) {
	answers, err := s.Command(`LIST "" "*"`)
	if err != nil {
		return nil, err
	}
	box := Box{}
	for _, answer := range answers {
		v, err := parse(answer)
		if err != nil || len(v) < 5 || v[1] != "LIST" {
			continue
		}
		if attributes, ok := v[2].([]any); ok && slices.ContainsFunc(attributes, noSelect) {
			continue
		}
		name, ok := v[4].(string)
		if !ok {
			return nil, fmt.Errorf("LIST answered %q", answer)
		}
		if box[name], err = readFolder(s, name); err != nil {
			return nil, fmt.Errorf("folder %q: %w", name, err)
		}
	}
	return box, nil
}

func noSelect(attribute any) bool {
	word, _ := attribute.(string)
	return strings.EqualFold(word, `\Noselect`) || strings.EqualFold(word, `\NonExistent`)
}

var validity = regexp.MustCompile(`\[UIDVALIDITY (\d+)\]`)

func readFolder(s Session, name string) (f Folder, err error) {
	answers, err := s.Command("EXAMINE %s", Quote(name))
	if err != nil {
		return f, err
	}
	empty := false
	for _, answer := range answers {
		if m := validity.FindStringSubmatch(answer); m != nil {
			f.Validity = m[1]
		}
		empty = empty || strings.HasPrefix(answer, "* 0 EXISTS")
	}
	if empty {
		return f, nil
	}
	if answers, err = s.Command("UID FETCH 1:* (UID FLAGS X-GUID BODY.PEEK[])"); err != nil {
		return f, err
	}
	for _, answer := range answers {
		if !strings.Contains(answer, " FETCH (") {
			continue
		}
		v, err := parse(answer)
		if err != nil {
			return f, err
		}
		if pairs, ok := v[len(v)-1].([]any); ok {
			f.Messages = append(f.Messages, newMessage(pairs))
		}
	}
	slices.SortFunc(f.Messages, func(a, b Message) int { return int(a.UID) - int(b.UID) })
	return f, nil
}

func newMessage(pairs []any) (m Message) {
	for i := 0; i+1 < len(pairs); i += 2 {
		word, _ := pairs[i+1].(string)
		switch pairs[i] {
		case "UID":
			uid, _ := strconv.ParseUint(word, 10, 32)
			m.UID = uint32(uid)
		case "X-GUID":
			m.GUID = word
		case "FLAGS":
			flags, _ := pairs[i+1].([]any)
			for _, f := range flags {
				if flag, _ := f.(string); flag != `\Recent` {
					m.Flags = append(m.Flags, flag)
				}
			}
			slices.Sort(m.Flags)
		case "BODY[]":
			m.Token, m.Delivery, m.Sum = TokenOf(word), header(word, "X-RPlan-ID"), Sum(word)
		}
	}
	return m
}

// TokenOf is the token in the Subject of a message, or "".
func TokenOf(text string) string { return token.FindString(header(text, "Subject")) }

// header is the first of a message's fields of this name.
func header(text, name string) string {
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			break
		}
		if field, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(field, name) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// Quote is a word as a quoted string of IMAP.
func Quote(word string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(word) + `"`
}
