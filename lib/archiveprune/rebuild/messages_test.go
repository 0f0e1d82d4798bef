package rebuild

import (
	"encoding/base64"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// part is a MIME part with binary content.
func part(kind, disposition string, content []byte) string {
	return fmt.Sprintf("Content-Type: %s\r\nContent-Disposition: %s\r\nContent-Transfer-Encoding: base64\r\n\r\n%s\r\n", kind, disposition, base64.StdEncoding.EncodeToString(content))
}

func mixed(id, subject string, parts ...string) string {
	s := "From: A <a@example.org>\r\nSubject: " + subject + "\r\nMessage-ID: <" + id + ">\r\nDate: Fri, 1 Mar 2019 10:00:00 +0100\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"=_b\"\r\n\r\npreamble\r\n"
	for _, p := range parts {
		s += "--=_b\r\n" + p
	}
	return s + "--=_b--\r\n"
}

func simple(id, subject, kind, body string) string {
	return "From x Fri Mar  1 10:00:00 2019\nFrom: =?utf-8?q?J=C3=B6rg?= <j@example.org>\nSubject: " + subject + "\nMessage-ID: <" + id + ">\nDate: Fri, 1 Mar 2019 10:00:00 +0100\n" + kind + "\n" + body
}

// What was in the mails is in the pages: each message, once, its subject, its text, its files.
func TestMessages(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	bytes := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return b
	}
	type mail struct {
		text  string
		want  page
		files [][]byte
	}
	big, odd := bytes(3<<20), bytes(70_001)
	mails := []mail{
		{text: simple("plain@x", "plain", "", "a line\nFrom here on\nFrom a@b Fri Mar  1 10:00:00 2019\n\nFrom c@d Fri Mar  1 10:00:00 2019\n>From old\n>>From older\nlast"),
			want: page{subject: "plain", body: "a line\nFrom here on\nFrom a@b Fri Mar  1 10:00:00 2019\n\nFrom c@d Fri Mar  1 10:00:00 2019\n>From old\n>>From older\nlast"}},
		{text: simple("latin@x", "=?iso-8859-1?q?gr=FC=DFe?= and =?koi8-r?b?8NLJ18XU?=", "Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n", "sch=F6n <b>&amp; g=\nut</b>\n"),
			want: page{subject: "grüße and Привет", body: "schön <b>&amp; gut</b>"}},
		{text: simple("utf8--8bit@x", "grüße", "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n", "€ “quoted” -- done -->\n"), want: page{subject: "grüße", body: "€ “quoted” -- done -->"}},
		{text: strings.ReplaceAll(simple("crlf@x", "crlf", "", "one\ntwo\n"), "\n", "\r\n"), want: page{subject: "crlf", body: "one\ntwo"}},
		{text: "Message-ID: <header@x>\nSubject: nothing else\nFrom: A <a@example.org>\n", want: page{subject: "nothing else", body: ""}},
		{text: simple("flowed@x", "flowed", "Content-Type: text/plain; format=flowed\n", "a long \nline\n> quoted \n> too\n"), want: page{subject: "flowed", body: "a long \nline\n> quoted \n> too"}},
		{text: simple("html@x", "html", "Content-Type: text/html; charset=utf-8\n", "<html><head><style>p { x: y }</style></head><body><p>one &lt;two&gt; <b>three</b></p>\n<script>evil()</script><p>1 < 2 &amp;&amp; 4 > 3</body></html>\n"),
			want: page{subject: "html", body: "one <two> three\n\n1 < 2 && 4 > 3"}},
		{text: simple("alternative@x", "both", "Content-Type: multipart/alternative; boundary=q\n", "--q\nContent-Type: text/plain\n\nas text\n--q\nContent-Type: text/html\n\n<p>as html\n--q--\n"), want: page{subject: "both", body: "as text"}},
		{text: mixed("files@x", "files", "\r\nthe text\r\n", part("application/octet-stream", `attachment; filename="big.bin"`, big), part("application/pdf", `attachment; filename="../../../x.pdf"`, odd),
			part("image/png", "inline", odd[:999]), part("image/svg+xml", `inline; filename=".htaccess"`, []byte("<svg onload='x()'/>")), part("application/ms-tnef", "attachment", odd[:5]), part("strange/type", "attachment", odd[:6]), part("audio/x-wav", "attachment", nil), part("application/xhtml+xml", "inline", odd[:7])),
			want: page{subject: "files"}, files: [][]byte{big, odd, odd[:999], []byte("<svg onload='x()'/>"), odd[:5], odd[:6], nil, odd[:7]}},
		{text: mixed("textfile@x", "text file", "\r\nsee below\r\n", part("text/x-patch", "attachment; filename=x.diff", []byte("--- a\n+++ b\n+<c>\n"))), want: page{subject: "text file", body: "see below\n--- a\n+++ b\n+<c>"}},
		{text: mixed("forwarded@x", "forwarded", "Content-Type: message/rfc822\r\n\r\nFrom: b@example.org\r\nSubject: inner\r\nMessage-ID: <inner@x>\r\n\r\ninner text\r\n"), want: page{subject: "forwarded"}},
		{text: simple("last@x", "no final newline", "", "the end"), want: page{subject: "no final newline", body: "the end"}},
	}
	var texts []string
	for _, m := range mails {
		texts = append(texts, m.text)
	}
	tree := tree(t)
	texts = append(texts, mails[0].text) // again
	if r := rebuilt(t, tree, Options{}, texts...); r.Pages != len(mails) {
		t.Errorf("%+v", r)
	}
	got := read(t, tree)
	if len(got) != len(mails) {
		t.Fatalf("%d pages of %d messages", len(got), len(mails))
	}
	for i, m := range mails {
		id := regexp.MustCompile(`Message-ID: <(.*?)>`).FindStringSubmatch(m.text)[1]
		g := got[i]
		if g.id != id || g.subject != m.want.subject {
			t.Errorf("%s: page of %q, %q", id, g.id, g.subject)
		}
		if m.want.body != "" && g.body != m.want.body {
			t.Errorf("%s: the text is\n%q, want\n%q", id, g.body, m.want.body)
		}
		// An image is linked to where it is shown.
		for _, file := range m.files {
			if !slices.Contains(g.files, string(file)) {
				t.Errorf("%s: no link to a file of %d bytes", id, len(file))
			}
		}
		if len(g.files) != len(m.files) {
			t.Errorf("%s: links to %d files, want %d", id, len(g.files), len(m.files))
		}
	}
	if !strings.Contains(got[0].from, "Jörg") || !strings.Contains(got[10].body, "inner text") {
		t.Errorf("%q, %q", got[0].from, got[10].body)
	}
}

// attack is what strangers try.
const attack = `"'><script>alert(1)</script><img src=x onerror=alert(2)><!--#exec cmd="id"--><svg/onload=alert(3)>--><a href="javascript:alert(4)">$HTTP$$ENV(PATH)$ ${X} %0a</title></pre></h1></li>`

// safe is all the markup that pages may have. No link leads anywhere but to a file beside the page or to an author's mailbox.
var safe = regexp.MustCompile(`^<(?:/?(?:html|head|title|body|hr|ul|li|h1|em|strong|pre|br|p|tt|table|tr|td|blockquote|b|i|small)|!DOCTYPE html|/a|meta http-equiv="Content-(?:Type|Security-Policy)" content="(?:text/html; charset=utf-8|default-src 'none'; img-src 'self')"` +
	`|a (?:name="[0-9]+" )?href="(?:(?:msg|mail|thrd)[0-9]+\.html|index\.html|threads\.html|(?:png|jpg|pdf|bin)[A-Za-z0-9_]+\.(?:png|jpg|pdf|bin))?(?:#[0-9]+)?" ?|a href="mailto:[^"<>]*"|a name="[0-9]+"|img src="png[A-Za-z0-9_]+\.png" ?alt="[A-Za-z ]+"|p|/p)>`)

// A comment of ours ends where a browser thinks that it does.
var comment = regexp.MustCompile(`(?s)<!--.*?-->`)

func TestHostileMail(t *testing.T) {
	folded := strings.ReplaceAll(attack, "\n", " ")
	word := "=?utf-8?b?" + base64.StdEncoding.EncodeToString([]byte(attack)) + "?="
	utf7 := "+ADw-script+AD4-alert(1)+ADw-/script+AD4-"
	var texts []string
	add := func(format string, args ...any) { texts = append(texts, fmt.Sprintf(format, args...)) }
	for i, x := range []string{folded, word, "=?utf-7?q?" + utf7 + "?=", "=?us-ascii?q?=3Cscript=3Ealert(1)=3C/script=3E?=", "=?\"><script>?q?x?=", "=?iso-2022-jp?b?GyRCPGJzY3JpcHQ+?="} {
		add("From: %s <a%d@example.org>\nSubject: %s\nMessage-ID: <%d%s>\nDate: %s\nTo: %s\nCc: %s\nReferences: <%s> <r@x>\nIn-Reply-To: <%s>\nContent-Description: %s\n\n%s\n", x, i, x, i, folded, x, x, x, folded, folded, x, attack)
		add("From: \"%s\" <%d%s@example.org>\nSubject: Re: %s\nMessage-ID: %s%d\nDate: Fri, 1 Mar 2019 10:00:00 +0100 (%s)\nContent-Type: text/html; charset=\"%s\"\n\n%s\n", x, i, x, x, x, i, x, x, attack)
	}
	for i, kind := range []string{"text/html", "text/plain", "text/enriched", "text/richtext", "text/tab-separated-values", "text/x-html", "text/xml", "message/partial", "message/external-body; access-type=URL; URL=\"javascript:alert(1)\"", "message/delivery-status",
		"message/rfc822", "multipart/mixed", "multipart/related; boundary=x", "application/xhtml+xml", "application/xml", "application/x-javascript", "application/x-script", "application/x-sh", "image/svg+xml", "image/svg-xml", "image/x-icon", "image/png", "application/octet-stream; name=\"" + attack + "\"", "x-sun-attachment", "text/html; charset=utf-7", "text/plain; charset=utf-7", "text/html; charset=utf-16", "\"><script>/x", "text", "/", ""} {
		add("From: a@example.org\nSubject: k%d\nMessage-ID: <k%d@x>\nContent-Type: %s\nContent-Disposition: attachment; filename=\"%s\"\nContent-ID: <%s>\nContent-Location: %s\nContent-Base: javascript:\n\n%s\n%s\n<style>\n<script", i, i, kind, strings.ReplaceAll(attack, `"`, `\"`), attack, attack, attack, utf7)
		add("From: a@example.org\nMessage-ID: <m%d@x>\nContent-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: %s\nContent-Disposition: inline; filename=\".htaccess\"\nContent-Transfer-Encoding: \"%s\n\n%s\n--x\nContent-Type: text/html\n\n<img src=\"cid:c\"><img src=http://example.net/spy.gif>\n--x\nContent-Type: text/html\nContent-ID: <c>\n\n<script>alert(1)</script>\n--x--\n", i, kind, attack, attack)
	}
	add("From: a@example.org\nMessage-ID: <../../../../etc/x@x>\nSubject: /../../x\n\nbegin 644 x.html\n#86)C\n`\nend\n")
	add("From: a@example.org\nMessage-ID: <urls@x>\n\njavascript:alert(1) http://example.net/\"onmouseover=x data:text/html,<script> mailto:x\"y@example.org <URL:javascript:x>\n")
	add("From: a@example.org\nMessage-ID: <deep@x>\nContent-Type: text/html\n\n%s\n", strings.Repeat("<style>", 100_000)+strings.Repeat("<", 100_000)+strings.Repeat("<div>&", 50_000))
	for _, hide := range []bool{false, true} {
		tree := tree(t)
		rebuilt(t, tree, Options{HideAddresses: hide, Title: attack}, texts...)
		err := fs.WalkDir(tree.FS(), ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			if path.Dir(name) != dest || !regexp.MustCompile(`^(?:[a-z]+[0-9]*\.html|\.rplan-rebuilt|(png|jpg|pdf|bin)[A-Za-z0-9_]+\.(png|jpg|pdf|bin))$`).MatchString(path.Base(name)) {
				t.Errorf("a file of another name: %q", name)
			}
			if path.Ext(name) == ".html" {
				b, err := fs.ReadFile(tree.FS(), name)
				if err != nil {
					return err
				}
				markup(t, name, string(b))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// markup fails for each tag that is not safe.
func markup(t *testing.T, name, text string) {
	t.Helper()
	for _, c := range comment.FindAllString(text, -1) {
		if strings.Contains(c[4:], "<") || strings.HasPrefix(c, "<!--#") {
			t.Errorf("%s: comment %q", name, c)
		}
	}
	text = comment.ReplaceAllString(text, "")
	for i := 0; i < len(text); i++ {
		if text[i] != '<' {
			continue
		}
		tag := safe.FindString(text[i:])
		if tag == "" {
			t.Errorf("%s: markup %q", name, text[i:min(len(text), i+120)])
			return
		}
		i += len(tag) - 1
	}
}
