package archiveprune

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"rplan/lib/archiveprune/layout"
	"rplan/tests/archive"
	"rplan/tests/need"
	"rplan/tests/prometheus"
	"rplan/tests/terminal"
)

// contrib is a file of contrib, as if the program and its configuration were those of the test.
func (n *node) contrib(name string) string {
	n.Helper()
	text, err := os.ReadFile(filepath.Join("../../contrib", name))
	n.must(err)
	return strings.NewReplacer("/usr/sbin/rp-archive-prune", binary, "/etc/rplan/rplan.toml", n.path("rplan.toml"),
		"/run/systemd/system", n.path("no-systemd"), "PATH=", "PATH="+filepath.Dir(binary)+":").Replace(string(text))
}

// scheduled is a node of user list with an archive of Mailman 2, of 92 messages.
func scheduled(t *testing.T) (*node, *archive.PipermailTree) {
	n := newNode(t, "", "archives/private")
	n.list = true
	tree, err := archive.Pipermail(n.dir, "dev", recently(71, 92, 180).Mails(), archive.PipermailOptions{})
	n.must(err)
	return n, tree
}

// shell runs a line as user list, without a terminal.
func (n *node) shell(line string) said {
	n.Helper()
	archive.GiveToList(n, n.dir)
	cmd := archive.AsList(n, exec.Command("sh", "-c", line))
	cmd.Env = []string{"RPLAN_CONFIG=" + n.path("rplan.toml"), "HOME=/nonexistent", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	return n.end(cmd)
}

// checkTree fails unless pages went, all that is there is the user list's, and www-data can read the links.
func (n *node) checkTree(tree *archive.PipermailTree) {
	n.Helper()
	gone := 0
	for _, page := range tree.Pages {
		if _, err := os.Stat(n.path(page.Path)); err != nil {
			gone++
		}
	}
	if gone < 20 || gone > 60 { // half of them are old enough
		n.Errorf("%d of %d pages are gone", gone, len(tree.Pages))
	}
	list, err := os.Stat(n.path("archives"))
	n.must(err)
	n.must(filepath.WalkDir(n.path("archives"), func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Sys().(*syscall.Stat_t).Uid != list.Sys().(*syscall.Stat_t).Uid {
			n.Errorf("%q is not of the user list", name)
		}
		return err
	}))
	for name, mode := range map[string]fs.FileMode{".rplan": 0o755, ".rplan/links.txt": 0o644, ".rplan/links.db": 0o644, ".rplan/trash": 0o700} {
		info, err := os.Stat(n.path("archives/private", name))
		n.must(err)
		if got := info.Mode().Perm(); got&0o007 != mode&0o007 || got&0o700 != mode&0o700 {
			n.Errorf("%q has mode %o, want %o", name, got, mode)
		}
	}
}

func TestCron(t *testing.T) {
	n, tree := scheduled(t)
	before := n.files("archives/private")
	path, line := "", ""
	for l := range strings.Lines(n.contrib("cron/rp-archive-prune")) {
		switch {
		case strings.HasPrefix(l, "PATH="):
			path = l
		case l[0] != '#':
			fields := strings.SplitN(strings.TrimSpace(l), " ", 7)
			if fields[5] != "list" {
				t.Errorf("it runs as %q", fields[5])
			}
			line = fields[6]
		}
	}
	text := n.read("rplan.toml")
	n.write("rplan.toml", "# no section\n")
	if s := n.shell(path + line); s != (said{}) {
		t.Errorf("without [archive] it says %+v", s)
	}
	n.same(before, n.files("archives/private"))
	n.write("rplan.toml", text)
	for range 2 { // the second finds nothing to do
		if s := n.shell(path + line + " --metrics " + n.path("prune.prom")); s != (said{}) {
			t.Errorf("it says %+v", s)
		}
	}
	n.checkTree(tree)
	if samples := n.samples("prune.prom"); samples[`rplan_archive_messages list=dev`] != 92 || samples["rplan_archive_failures"] != 0 {
		t.Errorf("%v", samples)
	}
	if info, err := os.Stat(n.path("prune.prom")); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v: node_exporter reads the metrics as another user", info.Mode(), err)
	}

	// What goes wrong is said.
	n.must(os.WriteFile(n.path("rplan.toml"), []byte("[archive]\ntrees = [\"/srv/none\"]\n"), 0o644))
	if s := n.shell(path + line); s.code != 1 || s.stdout != "" || !strings.Contains(s.stderr, `cannot open tree "/srv/none"`) {
		t.Errorf("without its tree it says %+v", s)
	}
}

// The unit of systemd gives the program no more than it needs, and that much.
func TestUnit(t *testing.T) {
	analyze := need.Program(t, "systemd-analyze", "strace", "httxt2dbm")
	n, tree := scheduled(t)
	unit := n.contrib("systemd/rp-archive-prune.service")
	value := func(key string) string {
		t.Helper()
		m := regexp.MustCompile(`(?m)^` + key + `=(.*)$`).FindStringSubmatch(unit)
		if m == nil {
			t.Fatalf("the unit has no %s", key)
		}
		return m[1]
	}
	if value("User") != "list" {
		t.Errorf("it runs as %q", value("User"))
	}
	umask := "umask " + value("UMask") + "; "
	if s := n.shell(umask + value("ExecCondition")); s.code != 0 {
		t.Errorf("the condition says %+v", s)
	}
	log := n.path("syscalls")
	n.must(os.WriteFile(log, nil, 0o666))
	if s := n.shell(umask + "exec strace -f -qq -o " + log + " -e signal=none " + value("ExecStart")); s != (said{}) {
		t.Errorf("it says %+v", s)
	}
	n.checkTree(tree)
	group, err := exec.Command(analyze, "syscall-filter", value("SystemCallFilter")).Output()
	n.must(err)
	allowed := n.syscalls(analyze, string(group))
	calls := n.read("syscalls")
	if !strings.Contains(calls, "renameat2(") || !strings.Contains(calls, "httxt2dbm") {
		t.Error("strace did not see all of it")
	}
	for _, m := range regexp.MustCompile(`(?m)^\d+ +([a-z0-9_]+)\(`).FindAllStringSubmatch(calls, -1) {
		if !allowed[m[1]] {
			t.Errorf("systemd does not let it call %s", m[1])
			allowed[m[1]] = true
		}
	}

	n.write("rplan.toml", "# no section\n")
	if s := n.shell(value("ExecCondition")); s.code != 1 {
		t.Errorf("without [archive] the condition says %+v", s)
	}
}

// syscalls are those of a group of systemd's, and of the groups in it.
func (n *node) syscalls(analyze, group string) map[string]bool {
	n.Helper()
	all := map[string]bool{"execve": true, "exit": true}
	for line := range strings.Lines(group) {
		name := strings.TrimSpace(line)
		switch {
		case name == "" || name[0] == '#' || !strings.HasPrefix(line, " "):
		case name[0] == '@':
			inner, err := exec.Command(analyze, "syscall-filter", name).Output()
			n.must(err)
			for inside := range n.syscalls(analyze, string(inner)) {
				all[inside] = true
			}
		default:
			all[name] = true
		}
	}
	return all
}

// samples are the metrics in a file, as Prometheus' own parser reads them, by name and labels but for tree and layout.
func (n *node) samples(name string) map[string]float64 {
	n.Helper()
	all := map[string]float64{}
	for _, s := range prometheus.Samples(n, []byte(n.read(name))) {
		key := s.Name
		for _, label := range slices.Sorted(maps.Keys(s.Labels)) {
			if label != "tree" && label != "layout" {
				key += " " + label + "=" + s.Labels[label]
			}
		}
		all[key] = s.Value
	}
	return all
}

// Table, --json and --metrics say the same.
func TestOneTruth(t *testing.T) {
	n, _ := scheduled(t)
	n.mbox("archives/private/small.mbox", recently(72, 5, 30).Mails())
	archive.MHonArc(t, n.path("archives/private/small.mbox"), n.path("archives/private/small"), archive.MHonArcOptions{})
	reports := n.report(0, "--keep-mbox", "120d", "--metrics", n.path("report.prom"))
	table := n.prune(0, "", "--keep-mbox", "120d")
	if len(reports) != 2 {
		t.Fatalf("%+v", reports)
	}
	samples := n.samples("report.prom")
	for list, r := range reports {
		kinds := func(kinds ...layout.Kind) (bytes int64) {
			for _, k := range kinds {
				bytes += r.Kinds[k].Bytes
			}
			return bytes
		}
		m := regexp.MustCompile(`(?m)^` + list + ` .*$`).FindString(table.stdout)
		row := regexp.MustCompile(` {2,}`).Split(m, -1)
		if len(row) != 8 || row[1] != string(r.Layout) || row[2] != strconv.Itoa(r.Messages) {
			t.Errorf("the table has %q of %q", row, list)
			continue
		}
		for i, want := range []int64{kinds(layout.Mbox, layout.Message), kinds(layout.Page, layout.Index, layout.Text, layout.Database), kinds(layout.Attachment),
			r.Goes.Bytes + r.Expired.Bytes, r.Stays.Bytes} {
			var number, unit float64
			var name string
			fmt.Sscan(row[3+i], &number, &name)
			unit = map[string]float64{"B": 1, "KB": 1e3, "MB": 1e6}[name]
			if math.Abs(number*unit-float64(want)) > unit/2 || unit == 0 {
				t.Errorf("%s: the table has %q, --json %d", list, row[3+i], want)
			}
		}
		for name, want := range map[string]int64{"messages": int64(r.Messages), "prunable_bytes": r.Goes.Bytes + r.Expired.Bytes, "freed_bytes": 0, "failed": 0} {
			if got, there := samples["rplan_archive_"+name+" list="+list]; !there || got != float64(want) {
				t.Errorf("%s: the metric %s is %v, --json has %d", list, name, got, want)
			}
		}
		for kind, amount := range r.Kinds {
			if got := samples[fmt.Sprintf("rplan_archive_bytes kind=%s list=%s", kind, list)]; got != float64(amount.Bytes) {
				t.Errorf("%s: the metric of %s is %v, --json has %d", list, kind, got, amount.Bytes)
			}
		}
		files := 0
		for _, reason := range r.Reasons {
			files += reason.Files
			if got := samples[fmt.Sprintf("rplan_archive_kept_files list=%s reason=%s", list, reason.Why)]; got != float64(reason.Files) {
				t.Errorf("%s: the metric of %q is %v, --json has %d", list, reason.Why, got, reason.Files)
			}
			if !strings.Contains(table.stdout, reason.Why) {
				t.Errorf("the report does not say %q", reason.Why)
			}
		}
		if files != r.Stays.Files {
			t.Errorf("%s: of %d files that stay %d have a reason", list, r.Stays.Files, files)
		}
	}

	// What was said would go, went.
	did := n.report(0, "--apply", "--keep-mbox", "120d", "--metrics", n.path("done.prom"))
	samples = n.samples("done.prom")
	for list, r := range did {
		if want := reports[list].Goes.Bytes + reports[list].Expired.Bytes; r.Goes != reports[list].Goes || !r.Done || r.Freed != want || samples["rplan_archive_freed_bytes list="+list] != float64(want) {
			t.Errorf("%s: %d bytes are freed, %d were said to go: %+v", list, r.Freed, want, r)
		}
	}
}

// At a terminal it says how far it is, how fast, and how long that takes; to a pipe it says what it found.
func TestProgress(t *testing.T) {
	strace := need.Program(t, "strace")
	n := newNode(t, "", "lists")
	var box strings.Builder
	for i := range 13_000 {
		fmt.Fprintf(&box, "From a@example.org  Tue Mar  5 10:00:00 2019\nFrom: A <a@example.org>\nDate: Tue, 5 Mar 2019 10:00:00 +0000\nMessage-ID: <%d@example.org>\n\n%s\n", i, strings.Repeat("text of the message\n", 45))
	}
	n.write("lists/dev.mbox", box.String())
	// An attachment, which is searched for.
	n.mbox("one.mbox", archive.Make{Seed: 73, N: 1, Only: "attachments alike"}.Mails())
	archive.MHonArc(t, n.path("one.mbox"), n.path("lists/dev"), archive.MHonArcOptions{})
	// slowly reads of the mbox as from an old disk.
	slowly := func(args ...string) *exec.Cmd {
		cmd := n.command(args...)
		cmd.Args = append([]string{strace, "-f", "-qq", "-o", "/dev/null", "-P", n.path("lists/dev.mbox"),
			"-e", "trace=read,pread64", "-e", "inject=read,pread64:delay_enter=60ms"}, cmd.Args...)
		cmd.Path = strace
		return cmd
	}
	term := terminal.New(t)
	cmd := slowly()
	var stdout bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, term.Open(t)
	n.must(cmd.Start())
	shown := term.Until(t, " left")
	if !regexp.MustCompile(`\r\d+ of 12 MB of messages, \d+/s, \d+s left$`).MatchString(shown) {
		t.Errorf("the terminal shows %q", shown)
	}
	shown = term.Until(t, " left")
	for !strings.Contains(shown, "attachments") {
		shown = term.Until(t, " left")
	}
	if !regexp.MustCompile(`\r\d+ of 12 MB searched for attachments, \d+/s, \d+s left$`).MatchString(shown) {
		t.Errorf("the terminal shows %q", shown)
	}
	n.must(cmd.Wait())
	if !strings.Contains(stdout.String(), "13000") {
		t.Errorf("the report is %q", stdout.String())
	}
	var rest []byte
	for more := true; more; {
		select {
		case b := <-term.Seen:
			rest = append(rest, b)
		case <-time.After(200 * time.Millisecond):
			more = false
		}
	}
	if line := rest[bytes.LastIndexByte(rest, '\r')+1:]; len(line) > 0 {
		t.Errorf("the progress is left on the screen: %q", line)
	}

	if s := n.end(slowly()); s.stderr != "" || s.stdout != stdout.String() {
		t.Errorf("to a pipe it says %q, %q", s.stdout, s.stderr)
	}
}
