package merge

import (
	"path/filepath"
	"strings"
	"testing"

	"rplan/lib/diag"
)

func TestRanges(t *testing.T) {
	for want, uids := range map[string][]uint32{"": nil, "5": {5}, "1:3,7": {1, 2, 3, 7}, "1,3,5:6": {1, 3, 5, 6}, "4294967294:4294967295": {4294967294, 4294967295}} {
		if got := ranges(uids); got != want {
			t.Errorf("%v: %q, want %q", uids, got, want)
		}
	}
}

func TestCheck(t *testing.T) {
	one := []uint32{1}
	for why, c := range map[string]struct {
		step step
		ok   bool
	}{
		"aside":                      {step{Op: aside, Folder: inbox, UIDs: one}, true},
		"flag":                       {step{Op: flag, Folder: inbox, UIDs: one, Flags: `$Label1 \Seen -x`}, true},
		"adopt":                      {step{Op: adopt, UIDs: one}, true},
		"purge":                      {step{Op: purge, UIDs: one}, true},
		"forget":                     {step{Op: forget, UIDs: one}, true},
		"name":                       {step{Op: name, Folder: inbox, Name: "Wörk/2026 -u all"}, true},
		"an operation of no merge":   {step{Op: "expunge", UIDs: one}, false},
		"none":                       {step{UIDs: one}, false},
		"without messages":           {step{Op: purge}, false},
		"too many":                   {step{Op: purge, UIDs: make([]uint32, mostUIDs+1)}, false},
		"UID 0":                      {step{Op: purge, UIDs: []uint32{0}}, false},
		"a folder by name":           {step{Op: aside, Folder: "INBOX", UIDs: one}, false},
		"a folder by a long GUID":    {step{Op: aside, Folder: inbox + "a", UIDs: one}, false},
		"no folder":                  {step{Op: aside, UIDs: one}, false},
		"a folder of the copies":     {step{Op: purge, Folder: inbox, UIDs: one}, false},
		"no flags":                   {step{Op: flag, Folder: inbox, UIDs: one}, false},
		"flags of aside":             {step{Op: aside, Folder: inbox, UIDs: one, Flags: "x"}, false},
		"a flag that is another arg": {step{Op: flag, Folder: inbox, UIDs: one, Flags: "x\nmailbox"}, false},
		"a flag in brackets":         {step{Op: flag, Folder: inbox, UIDs: one, Flags: "(x"}, false},
		"a flag of nothing":          {step{Op: flag, Folder: inbox, UIDs: one, Flags: `\`}, false},
		"two blanks":                 {step{Op: flag, Folder: inbox, UIDs: one, Flags: "x  y"}, false},
		"a flag of 8 bits":           {step{Op: flag, Folder: inbox, UIDs: one, Flags: "ü"}, false},
		"a long flag":                {step{Op: flag, Folder: inbox, UIDs: one, Flags: strings.Repeat("x", 256)}, false},
		"a name with a control byte": {step{Op: name, Folder: inbox, Name: "a\x00b"}, false},
		"a name that is no UTF-8":    {step{Op: name, Folder: inbox, Name: "a\xff"}, false},
		"no name":                    {step{Op: name, Folder: inbox}, false},
		"a name and messages":        {step{Op: name, Folder: inbox, Name: "x", UIDs: one}, false},
		"a name of aside":            {step{Op: aside, Folder: inbox, Name: "x", UIDs: one}, false},
	} {
		if err := c.step.check(); (err == nil) != c.ok {
			t.Errorf("%s: %v", why, err)
		}
	}
}

// TestMended: an index that Dovecot finds to be wrong, and mends, is in nobody's way; one that stays so is.
func TestMended(t *testing.T) {
	calls := filepath.Join(t.TempDir(), "calls")
	doveadm(t, `echo >>`+calls+`; [ $(wc -l <`+calls+`) -gt 1 ] || exit 75; echo '[]'`)
	l := local{address: "ada@example.org"}
	if messages, err := l.fetch(t.Context(), "*"); err != nil || len(messages) > 0 {
		t.Errorf("%v, %v", messages, err)
	}
	doveadm(t, `exit 75`)
	if _, err := l.fetch(t.Context(), "*"); diag.KindOf(err) != diag.TryAgain {
		t.Error(err)
	}
}
