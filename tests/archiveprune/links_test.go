package archiveprune

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rplan/tests/apache"
	"rplan/tests/archive"
)

// serve has Apache serve a tree, by Mailman's links from archives/public, with contrib's rplan-archive.conf.
func (n *node) serve(form string) (get func(page string) (status int, body string)) {
	n.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	n.must(err)
	address := l.Addr().String()
	n.must(l.Close())
	n.must(os.Chmod(filepath.Dir(n.dir), 0o755))
	public := n.path("archives/public")
	apache.Run(n, apache.Options{Listen: []string{address}, Config: fmt.Sprintf(`<VirtualHost *>
Alias /pipermail/ %[1]s/
Define RPLAN_ARCHIVE %[1]s
Define RPLAN_LINKS %[2]s
<Directory %[3]s>
Options FollowSymLinks
Require all granted
</Directory>
Include %[4]q
</VirtualHost>
`, public, fmt.Sprintf(form, n.path("archives/private")), n.path("archives"), apache.Contrib("rplan-archive.conf"))})
	client := http.Client{Timeout: 20 * time.Second}
	return func(page string) (int, string) {
		n.Helper()
		answer, err := client.Get("http://" + address + "/pipermail/" + page)
		n.must(err)
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		n.must(err)
		return answer.StatusCode, string(body)
	}
}

// Old links say what went, as long as it is gone, and all others lead where they did.
func TestOldLinks(t *testing.T) {
	for name, form := range map[string]string{"text": "txt:%s/.rplan/links.txt", "dbm": "dbm=db:%s/.rplan/links.db"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			oldLinks(t, form)
		})
	}
}

func oldLinks(t *testing.T, form string) {
	n := newNode(t, "", "archives/private")
	n.list = true // www-data reads what list wrote
	mails := collect(recently(41, 92, 180).Mails())
	tree, err := archive.Pipermail(n.dir, "dev", slices.Values(mails), archive.PipermailOptions{Host: "localhost"})
	n.must(err)
	before := n.files("archives/private")
	n.apply("--keep-html", "forever") // as contrib/apache/README.md says: it makes the maps
	get := n.serve(form)

	// check asks for all pages, of which some are gone.
	check := func(when string) (gone int) {
		for _, page := range tree.Pages {
			name := strings.TrimPrefix(page.Path, "archives/private/")
			status, body := get(name)
			_, err := os.Stat(n.path(page.Path))
			switch there := err == nil; {
			case there && (status != 200 || body != before[name]):
				t.Errorf("%s, %q, which is there: %d %.100q", when, name, status, body)
			case !there:
				gone++
				id := mails[page.Mail].ID
				if status != 410 || id != "" && strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.@-") == "" && !strings.Contains(body, "Message-ID is <code>&lt;"+id+"&gt;</code>") {
					t.Errorf("%s, %q, of %q: %d %q", when, name, id, status, body)
				}
			}
		}
		return gone
	}
	if gone := check("before"); gone != 0 {
		t.Errorf("%d pages are gone before", gone)
	}
	n.apply()
	if gone := check("pruned"); gone < 20 || gone > 60 {
		t.Errorf("%d pages are gone", gone)
	}
	for _, page := range tree.Pages { // an index goes with its month
		index := path.Join(path.Dir(strings.TrimPrefix(page.Path, "archives/private/")), "thread.html")
		if _, err := os.Stat(n.path("archives/private", index)); err == nil {
			continue
		}
		if status, body := get(index); status != 410 || !strings.Contains(body, "are gone as well") {
			t.Errorf("%q: %d %q", index, status, body)
		}
	}
	for _, hidden := range []string{".rplan/links.txt", "../private/.rplan/links.tsv", "dev/../.rplan/"} {
		if status, _ := get(hidden); status != 404 {
			t.Errorf("%q: %d", hidden, status)
		}
	}

	n.prune(0, "", "--undo")
	n.same(before, n.files("archives/private"))
	if gone := check("brought back"); gone != 0 {
		t.Errorf("%d pages are gone after --undo", gone)
	}

	n.apply()
	n.prune(0, "", "--rebuild", "dev")
	check("made again")
	for month := range map[string]bool{"1999-12": true, monthOf(mails[0]): true} {
		pages := n.files("archives/private/dev", month)
		for name, text := range pages {
			if status, body := get(path.Join("dev", month, name)); isPage(name) && (status != 200 || body != text) {
				t.Errorf("%s/%s, which was made again: %d", month, name, status)
			}
		}
		if len(pages) < 3 {
			t.Errorf("%s: %d files were made", month, len(pages))
		}
	}

	n.apply("--keep-html", "0", "--keep-mbox", "60d") // pages that are gone for good
	for _, page := range tree.Pages[:10] {
		name := strings.TrimPrefix(page.Path, "archives/private/")
		if m := mails[page.Mail]; m.ID == "" || dated(mails)[m.ID].IsZero() || dated(mails)[m.ID].After(time.Now().Add(-61*day)) {
			continue
		}
		if status, body := get(name); status != 410 || !strings.Contains(body, "The message is no longer kept") {
			t.Errorf("%q, of a message that is gone: %d %q", name, status, body)
		}
	}
}
