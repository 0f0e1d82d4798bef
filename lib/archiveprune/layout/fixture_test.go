package layout

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func openRoot(t testing.TB, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

// write makes a file, and the directories above it.
func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// kinds counts the files of an archive.
func kinds(a Archive) string {
	n := map[Kind]int{}
	for _, f := range a.Files {
		n[f.Kind]++
	}
	var all []string
	for k, c := range n {
		all = append(all, fmt.Sprint(k, " ", c))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// article is what pipermail makes a page of.
type article struct {
	id                    string // the field's value
	author, date, subject string // as they stand in a page, escaped
	email                 string
	charset               string
	body                  string // escaped
}

// escapeID percent-encodes as urllib.quote of Python 2 does.
func escapeID(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || strings.IndexByte("_.-/", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// page has the order and the elements of Mailman 2.1's article.html.
func (a article) page() string {
	link := "mailto:list%40example.org?Subject=Re%3A%20" + escapeID(a.subject) + "&In-Reply-To=" + escapeID(a.id)
	meta := ""
	if a.charset != "" {
		meta = `<META http-equiv="Content-Type" content="text/html; charset=` + a.charset + `">`
	}
	return `<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01 Transitional//EN">
<HTML>
 <HEAD>
   <TITLE> ` + a.subject + `
   </TITLE>
   <LINK REL="Index" HREF="index.html" >
   <LINK REL="made" HREF="` + link + `">
   ` + meta + `
   <LINK REL="Next"  HREF="000002.html">
 </HEAD>
 <BODY BGCOLOR="#ffffff">
   <H1>` + a.subject + `</H1>
    <B>` + a.author + `</B> 
    <A HREF="` + link + `"
       TITLE="` + a.subject + `">` + a.email + `
       </A><BR>
    <I>` + a.date + `</I>
    <P><UL>
        <LI>Next message (by thread): <A HREF="000002.html">another
</A></li>
         <LI> <B>Messages sorted by:</B> 
              <a href="date.html#1">[ date ]</a>
              <a href="thread.html#1">[ thread ]</a>
         </LI>
       </UL>
    <HR>  
<!--beginarticle-->
<PRE>` + a.body + `
</PRE>
<!--endarticle-->
    <HR>
</body></html>
`
}

// writePipermail makes an archive of Mailman 2 with these volumes, and two pages in each.
func writePipermail(t testing.TB, dir, list string, volumes ...string) {
	t.Helper()
	n := 0
	mbox := ""
	contents := ""
	for _, v := range volumes {
		at := filepath.Join(dir, list, v)
		for range 2 {
			a := article{id: fmt.Sprintf("<%d@example.org>", n), author: "Joe Doe", date: "Tue Mar  5 10:00:00 UTC 2019", subject: fmt.Sprint("mail ", n)}
			write(t, filepath.Join(at, fmt.Sprintf("%06d.html", n)), a.page())
			mbox += fmt.Sprintf("From joe@example.org Tue Mar  5 10:00:00 2019\nFrom: Joe Doe <joe@example.org>\nDate: Tue, 05 Mar 2019 10:00:00 +0000\nSubject: mail %d\nMessage-ID: <%d@example.org>\n\nHello.\n\n", n, n)
			n++
		}
		for name := range pipermailIndexes {
			write(t, filepath.Join(at, name), "<HTML><ul><li>"+`<a href="thread.html#start">[ Thema ]</a><a href="date.html#start">[ Datum ]</a>`+"</ul><!--0 01551780000.0- -->\n")
		}
		if err := os.Symlink("thread.html", filepath.Join(at, "index.html")); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, list, v+".txt.gz"), "\x1f\x8b")
		write(t, filepath.Join(dir, list, "database", v+"-article"), "pickle")
		contents += `<A href="` + v + `/thread.html">[ Thread ]</a><A href="` + v + `/date.html">[ Date ]</a>`
	}
	write(t, filepath.Join(dir, list, "index.html"), "<HTML>"+contents)
	write(t, filepath.Join(dir, list, "pipermail.pck"), "pickle")
	write(t, filepath.Join(dir, list, "attachments", "20190305", "0123abcd", "attachment.pdf"), "%PDF")
	write(t, filepath.Join(dir, list+".mbox", list+".mbox"), mbox)
}
