package layout

import (
	"testing"
	"time"

	"rplan/tests/need"
)

// A page that does not name its message is told by author, date and subject, as pipermail changes them.
func TestKeyOfPipermail(t *testing.T) {
	local := time.Local
	t.Cleanup(func() { time.Local = local })
	need.File(t, "/usr/share/zoneinfo/Europe/Berlin")
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	time.Local = berlin
	page := article{author: "Jörg Müller", date: "Tue Mar  5 10:00:00 UTC 2019", subject: "[dev] Grüße an joe at example.org", charset: "utf-8"}
	key := func(change func(*article)) string {
		a := page
		if change != nil {
			change(&a)
		}
		return readPage(t, a.page()).Key()
	}
	const from, date, subject = "=?utf-8?q?J=C3=B6rg_M=C3=BCller?= <j@example.org>", "Tue, 5 Mar 2019 12:00:00 +0200", "Re: [dev] =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n an  joe@example.org"
	want := Key(from, date, subject)
	if want == "" || want != key(nil) {
		t.Errorf("keys %q and %q", want, key(nil))
	}
	for name, got := range map[string]string{
		"the server's own zone": key(func(a *article) { a.date = "Tue Mar  5 11:00:00 CET 2019" }),
		"a quoted name":         Key(`"Jörg Müller" <j@example.org>`, date, subject),
		"a name behind":         Key(`j@example.org (Jörg Müller)`, date, subject),
		"raw Latin-1":           Key("J\xf6rg M\xfcller <j@example.org>", date, "[dev] Gr\xfc\xdfe an joe@example.org"),
		"more answers":          Key(from, date, "RE: re[2]: Re : [dev] Grüße an joe@example.org"),
	} {
		if got != want {
			t.Errorf("%s: another key", name)
		}
	}
	for name, got := range map[string]string{
		"another second":       Key(from, "Tue, 5 Mar 2019 12:00:01 +0200", subject),
		"another author":       Key("Joerg <j@example.org>", date, subject),
		"another subject":      Key(from, date, "[dev] Grüße"),
		"a zone like no other": key(func(a *article) { a.date = "Tue Mar  5 10:00:00 XYZ 2019" }),
		"in German":            key(func(a *article) { a.date = "Di Mär  5 10:00:00 UTC 2019" }),
		"no author":            key(func(a *article) { a.author = "" }),
	} {
		if got == want {
			t.Errorf("%s: the same key", name)
		}
	}
	if Key(from, "", subject) != "" || Key("", date, subject) != "" || key(func(a *article) { a.date = "Tue Mar  5 10:00:00 XYZ 2019" }) != "" {
		t.Error("a key of a message that cannot be told")
	}
	// Address only, and no subject.
	page = article{author: "joe at example.org", date: "Tue Mar  5 10:00:00 GMT 2019", subject: "No subject"}
	if k := Key("<joe@example.org>", date, ""); k == "" || k != key(nil) {
		t.Errorf("keys %q and %q", k, key(nil))
	}
}
