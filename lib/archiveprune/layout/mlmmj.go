package layout

import (
	"bytes"
	"regexp"
	"strings"
)

var messageName = regexp.MustCompile(`^[1-9]\d*$`)

// isMlmmj tells whether d is a list's directory of mlmmj: with an address, an archive, and the
// counter of its messages or its subscribers (mlmmj-make-ml(1)).
func (f *finder) isMlmmj(d *dir) bool {
	if d.sub("archive") == nil || !strings.Contains(f.address(d), "@") {
		return false
	}
	_, ok := d.file("index")
	return ok || d.sub("subscribers.d") != nil
}

// address is the list's, from its control directory.
func (f *finder) address(d *dir) string {
	control := d.sub("control")
	if control == nil {
		return ""
	}
	e, ok := control.file("listaddress")
	if !ok {
		return ""
	}
	line, _, _ := strings.Cut(f.head(control, e), "\n")
	return strings.TrimSpace(line)
}

func (f *finder) mlmmj(a *Archive, d *dir) {
	a.List = f.address(d)
	archive := d.sub("archive")
	f.all(a, d, func(at *dir, e entry) (Kind, string) {
		if at == archive && messageName.MatchString(e.name) {
			return Message, ""
		}
		return Other, ""
	})
}

// isMaildir tells whether d is a list's maildir of Mailman 3's prototype archiver: named for the list's address, with
// the three directories of a maildir and nothing else, below "prototype", or with messages that Mailman 3 has marked.
// A mailbox of a user, which may be named for an address too, is none.
func (f *finder) isMaildir(d *dir) bool {
	if len(d.dirs) != 3 || len(d.files) > 0 || d.sub("new") == nil || d.sub("cur") == nil || d.sub("tmp") == nil {
		return false
	}
	if !strings.Contains(d.name, "@") {
		return false
	}
	if f.above(d) == "prototype" {
		return true
	}
	some := 0
	for _, in := range []*dir{d.sub("new"), d.sub("cur")} {
		for _, e := range sample(in.files) {
			if !marked(f.head(in, e)) {
				return false
			}
			some++
		}
	}
	return some > 0
}

// marked tells whether a message has the field that Mailman 3 gives to each one that it accepts, by an older or its present name.
func marked(message string) bool {
	header, _, _ := bytes.Cut([]byte(message), []byte("\n\n"))
	header = bytes.ToLower(header)
	return bytes.Contains(header, []byte("\nmessage-id-hash:")) || bytes.Contains(header, []byte("\nx-message-id-hash:"))
}

func (f *finder) maildir(a *Archive, d *dir) {
	f.all(a, d, func(at *dir, _ entry) (Kind, string) {
		if at.parent == d && at.name != "tmp" {
			return Message, ""
		}
		return Other, ""
	})
}
