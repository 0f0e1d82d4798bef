package apache

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rplan/lib/archiveprune/links"
	"rplan/tests/need"
)

// archive is a tree with pages, links of pages that went, and an Apache that serves it with contrib's
// rplan-archive.conf.
type archive struct {
	*Server
	tree    *os.Root
	dir     string
	address string
}

// forms are both kinds of maps.
var forms = []string{"txt:%s/.rplan/links.txt", "dbm=db:%s/.rplan/links.db"}

// newArchive serves the tree at /lists/, and Mailman's way, by links from a directory public beside it, at
// /pipermail/ of other.example.
func newArchive(t *testing.T, form string, config string, gone ...links.Link) *archive {
	t.Helper()
	need.Root(t)
	need.Program(t, "apache2", "httxt2dbm")
	top := t.TempDir()
	if err := os.Chmod(filepath.Dir(top), 0o755); err != nil {
		t.Fatal(err)
	}
	a := &archive{dir: filepath.Join(top, "private"), address: fmt.Sprintf("127.0.0.1:%d", freePort(t, []string{"127.0.0.1"}, 0, 0))}
	mkdir(t, filepath.Join(a.dir, "dev", "2020-May"))
	mkdir(t, filepath.Join(a.dir, "secret"))
	mkdir(t, filepath.Join(top, "public"))
	write(t, filepath.Join(a.dir, "dev", "2020-May", "000007.html"), "kept")
	write(t, filepath.Join(a.dir, "dev", "index.html"), "all of dev")
	if err := os.Symlink("../private/dev", filepath.Join(top, "public", "dev")); err != nil {
		t.Fatal(err)
	}
	var err error
	if a.tree, err = os.OpenRoot(a.dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.tree.Close() })
	a.publish(t, gone...)
	site := func(name, alias, dir string) string {
		return fmt.Sprintf("<VirtualHost *>\nServerName %s\nAlias /%s/ %s/\nUnDefine RPLAN_ARCHIVE\nDefine RPLAN_ARCHIVE %s\n"+
			"<Directory %s>\nOptions FollowSymLinks Indexes\nRequire all granted\n</Directory>\nInclude %q\n</VirtualHost>\n",
			name, alias, dir, dir, dir, Contrib("rplan-archive.conf"))
	}
	a.Server = Run(t, Options{Listen: []string{a.address}, Config: "Define RPLAN_LINKS \"" + fmt.Sprintf(form, a.dir) + "\"\n" + config +
		site("lists.example", "lists", a.dir) + site("other.example", "pipermail", filepath.Join(top, "public"))})
	return a
}

func (a *archive) publish(t *testing.T, gone ...links.Link) {
	t.Helper()
	if err := links.Add(a.tree, gone); err != nil {
		t.Fatal(err)
	}
	if m, err := links.Publish(t.Context(), a.tree); err != nil || !m.DBM {
		t.Fatalf("%+v, %v", m, err)
	}
}

// get asks for a path, as it is to stand in the request.
func (a *archive) get(t *testing.T, host, path string, header ...string) answer {
	t.Helper()
	conn, err := net.DialTimeout("tcp", a.address, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	lines := append([]string{"GET " + path + " HTTP/1.1", "Host: " + host, "Connection: close"}, header...)
	if _, err := io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%.200q: %v", path, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{status: response.StatusCode, header: response.Header, body: string(body), location: response.Header.Get("Location")}
}

// says fails unless the answer is 410 with these words.
func says(t *testing.T, a answer, words string) {
	t.Helper()
	if a.status != http.StatusGone || !strings.Contains(a.body, words) {
		t.Errorf("got %v, want 410 and %q", a, words)
	}
	if kind := a.header.Get("Content-Type"); !strings.HasPrefix(kind, "text/html") || a.header.Get("Content-Security-Policy") != "default-src 'none'" {
		t.Errorf("the header is %v", a.header)
	}
}

func status(t *testing.T, a answer, want int) {
	t.Helper()
	if a.status != want || strings.Contains(a.body, "Message-ID") {
		t.Errorf("got %v, want %d", a, want)
	}
}

func gone(page, id string) links.Link {
	return links.Link{Page: page, ID: id, List: "dev", Mbox: "dev.mbox/dev.mbox"}
}

func TestOldLinks(t *testing.T) {
	for _, form := range forms {
		a := newArchive(t, form, "",
			gone("dev/2019-March/000001.html", "CAF+x=_y/z$w@mail.gmail.com"), gone("dev/2019-March/000002.html", ""),
			gone("dev/2020-May/000006.html", "six@x"), gone("dev/2020-May/000007.html", "seven@x"),
			links.Link{Page: "dev/2019-March/000003.html", Offset: links.Expired, List: "dev"}, links.Link{Page: "dev/2019-March/thread.html", List: "dev"},
			links.Link{Page: "dev/2019-March.txt.gz", List: "dev"},
			gone("empty/2018-May/1.html", "e@x"), links.Link{Page: "empty/index.html", List: "empty"}, gone("secret/2018-May/1.html", "s@x"), gone("dev/index.html", "was@x"))
		for host, at := range map[string]string{"lists.example": "/lists/", "other.example": "/pipermail/"} {
			says(t, a.get(t, host, at+"dev/2019-March/000001.html"), "Message-ID is <code>&lt;CAF+x=_y/z$w@mail.gmail.com&gt;</code>")
			says(t, a.get(t, host, at+"dev/2019-March/000001.html?x=y"), "CAF+x")
			says(t, a.get(t, host, at+"dev/./2019-March//%3000001.html"), "CAF+x") // the same
			says(t, a.get(t, host, at+"dev/2019-March/000002.html"), "no Message-ID that")
			says(t, a.get(t, host, at+"dev/2020-May/000006.html"), "&lt;six@x&gt;") // its directory is still there
			says(t, a.get(t, host, at+"dev/2019-March/000003.html"), "no longer kept")
			says(t, a.get(t, host, at+"dev/2019-March/thread.html"), "are gone as well")
			says(t, a.get(t, host, at+"dev/2019-March.txt.gz"), "are gone as well")
			if b := a.get(t, host, at+"dev/2020-May/000007.html"); b.status != 200 || b.body != "kept" {
				t.Errorf("a page that is there: %v", b)
			}
			for _, path := range []string{"dev/", "dev/index.html"} {
				if b := a.get(t, host, at+path); b.status != 200 || b.body != "all of dev" {
					t.Errorf("%s: %v", path, b)
				}
			}
			for _, path := range []string{"dev/2019-March/000004.html", "dev/none", "none/2019-March/000001.html", ".rplan", ".rplan/", ".rplan/links.txt",
				".rplan/trash/x", "%2erplan/links.tsv", "dev/../.rplan/links.tsv", "/.rplan/links.txt", "dev/2019-March/000001.html/x", "*", "none", "-"} {
				status(t, a.get(t, host, at+path), 404)
			}
		}
		says(t, a.get(t, "lists.example", "/lists/empty/2018-May/1.html"), "&lt;e@x&gt;") // all of the list went
		says(t, a.get(t, "lists.example", "/lists/empty/"), "are gone as well")
		says(t, a.get(t, "lists.example", "/lists/secret/2018-May/1.html"), "&lt;s@x&gt;")
		status(t, a.get(t, "other.example", "/pipermail/secret/2018-May/1.html"), 404) // not among the public
		if b := a.get(t, "lists.example", "/lists/"); b.status != 200 || strings.Contains(b.body, "rplan") {
			t.Errorf("the directory's listing: %v", b)
		}
		// A later run is noticed without a reload.
		a.publish(t, gone("dev/2021-May/000010.html", "ten@x"))
		says(t, a.get(t, "lists.example", "/lists/dev/2021-May/000010.html"), "&lt;ten@x&gt;")
	}
}

// What a stranger wrote as Message-ID is shown, and nothing else happens.
func TestHostileIDs(t *testing.T) {
	ids := []string{`<script>alert(1)</script>@x`, `"><img src=x onerror=y>`, `&lt;b&gt;`, `a'b`, "a\r\nSet-Cookie: x=y", "a b\tc", `%{env:PATH}`, `$1`, `%1`, `${rplan-links:x}`,
		`*`, `*expired`, `none`, `-`, `,`, `a,b`, `a*b`, `\`, "\x00", "\xff\xfe", "caf\u00e9@x", `../../etc/passwd`, `?x=y#z`, `;a`, `[x]`, `100%`, `{}`, "`id`", `a|b`, "x" + strings.Repeat("y", 997), strings.Repeat("<", 330)}
	var all []links.Link
	for i, id := range ids {
		all = append(all, gone(fmt.Sprintf("dev/%d.html", i), id))
	}
	for _, form := range forms {
		a := newArchive(t, form, "", all...)
		for i, id := range ids {
			b := a.get(t, "lists.example", fmt.Sprintf("/lists/dev/%d.html", i))
			if len(id) >= 300 { // percent-encoded, it is too long for the map
				says(t, b, "no Message-ID that")
				continue
			}
			_, shown, _ := strings.Cut(b.body, "<code>&lt;")
			shown, rest, _ := strings.Cut(shown, "&gt;</code>")
			says(t, b, "Message-ID is")
			if decoded, err := url.PathUnescape(shown); err != nil || decoded != id {
				t.Errorf("%q is shown as %q, %v", id, shown, err)
			}
			if strings.ContainsAny(shown, "<>&\"'\r\n\t \\") || rest != ".</p></body></html>" || len(b.header.Values("Set-Cookie")) > 0 {
				t.Errorf("%q: %v", id, b)
			}
		}
	}
}

// Whatever bytes a path has, the map is asked for just that path.
func TestHostilePaths(t *testing.T) {
	var all []links.Link
	for c := 1; c < 256; c++ {
		if c != '/' {
			all = append(all, gone("dev/x"+string([]byte{byte(c)})+"y/1.html", fmt.Sprintf("%d@x", c)))
		}
	}
	all = append(all, gone("dev/"+strings.Repeat("l", 250)+"/"+strings.Repeat("m", 250)+".html", "long@x"))
	for _, form := range forms {
		a := newArchive(t, form, "", append([]links.Link{}, all...)...)
		for c := 1; c < 256; c++ {
			if c == '/' {
				continue
			}
			b := a.get(t, "lists.example", fmt.Sprintf("/lists/dev/x%%%02x%%79/1.html", c))
			says(t, b, fmt.Sprintf("<code>&lt;%d@x&gt;", c))
		}
		says(t, a.get(t, "lists.example", "/lists/dev/"+strings.Repeat("l", 250)+"/"+strings.Repeat("m", 250)+".html"), "&lt;long@x&gt;")
		for _, path := range []string{"dev/x%00y/1.html", "dev/x%2fy/1.html", "dev/" + strings.Repeat("z", 5000), "dev/%", "dev/%zz", "dev/${rplan-links:x}", "dev/%25%31"} {
			if b := a.get(t, "lists.example", "/lists/"+path); b.status < 400 || b.status >= 500 || b.status == http.StatusGone {
				t.Errorf("%.40s: %v", path, b)
			}
		}
	}
}

// Old links may lead to the message elsewhere.
func TestOldLinksLeadOn(t *testing.T) {
	all := []links.Link{gone("dev/1.html", "a/b+c=$1@x"), gone("dev/2.html", ""), gone("dev/3.html", "%41?q#f\r\nX: y"), {Page: "dev/thread.html"}, {Page: "dev/4.html", Offset: links.Expired}}
	for form, c := range map[string]struct{ to, first, third string }{
		forms[0]: {"https://inbox.example/%1/%3/", "https://inbox.example/dev/a%2fb+c=$1@x/", "https://inbox.example/dev/%2541%3Fq%23f%0D%0AX:%20y/"},
		forms[1]: {"https://kitty.example/list/%1@lists.example.org/message/%2/", "https://kitty.example/list/dev@lists.example.org/message/2PXRQTJ6LE7HPLCTYS6FMNMOTCB4WTTI/", ""},
	} {
		a := newArchive(t, form, "Define RPLAN_MESSAGES "+c.to+"\n", append([]links.Link{}, all...)...)
		b := a.get(t, "lists.example", "/lists/dev/1.html")
		if b.status != http.StatusFound || b.location != c.first {
			t.Errorf("got %v, want a redirect to %s", b, c.first)
		}
		if b := a.get(t, "lists.example", "/lists/dev/3.html"); b.status != http.StatusFound || c.third != "" && b.location != c.third {
			t.Errorf("got %v, want a redirect to %s", b, c.third)
		}
		says(t, a.get(t, "lists.example", "/lists/dev/2.html"), "no Message-ID that")
		says(t, a.get(t, "lists.example", "/lists/dev/thread.html"), "are gone as well")
		says(t, a.get(t, "lists.example", "/lists/dev/4.html"), "no longer kept")
		status(t, a.get(t, "lists.example", "/lists/dev/5.html"), 404)
	}
}

// Who may not read an archive is not told its Message-IDs.
func TestOldLinksOfClosedArchives(t *testing.T) {
	a := newArchive(t, forms[0], "<Location /lists/dev/>\nRequire all denied\n</Location>\n", gone("dev/1.html", "a@x"), gone("open/1.html", "b@x"))
	status(t, a.get(t, "lists.example", "/lists/dev/1.html"), 403)
	says(t, a.get(t, "lists.example", "/lists/open/1.html"), "b@x")
}
