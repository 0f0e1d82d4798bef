// Bench measures rp-genmaps, rp-failover and rp-archive-prune as whole processes, and the
// scan of an mbox and the trash of an archive, against named programs, in one run, and prints
// ratios: make bench. It needs Debian's slapd, ldap-utils, postfix and postfix-cdb, and for
// rp-failover root and what a lab needs.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"rplan/tests/slapd"
)

// wanted is what the command line asks for; a number of 0 leaves that part out.
type wanted struct {
	sizes, formats, disk                            string
	messages, idle, archive, pages, reference, runs int
}

func main() {
	var w wanted
	flag.StringVar(&w.sizes, "sizes", "5000,100000,1000000", "`mailboxes` to measure rp-genmaps with, comma-separated")
	flag.StringVar(&w.formats, "formats", "sdbox,mdbox,maildir", "Dovecot's `formats` of the mailbox to merge, comma-separated")
	flag.IntVar(&w.messages, "messages", 5000, "`number` of messages in a mailbox to merge; 0 leaves that out")
	flag.IntVar(&w.idle, "idle", 5000, "`number` of mailboxes with nothing to merge; 0 leaves that out")
	flag.IntVar(&w.archive, "archive", 1000, "`megabytes` of the mbox to scan; 0 leaves that out")
	flag.IntVar(&w.pages, "pages", 40000, "`number` of pages of an archive to delete; 0 leaves that out")
	flag.IntVar(&w.reference, "reference", 20, "`megabytes` of mbox in an archive to prune, with nine times as much HTML; 0 leaves that out")
	flag.StringVar(&w.disk, "disk", "build/_bench", "`directory` on a disk, none of /etc /root /run /srv /tmp /usr /var, for mail")
	flag.IntVar(&w.runs, "runs", 3, "measured runs of each pair of programs; the median counts")
	flag.Parse()
	if err := bench(w); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(w wanted) error {
	dir, err := os.MkdirTemp("", "rplan-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for _, program := range []string{"rp-genmaps", "rp-failover", "rp-archive-prune", "generate", "mboxscan"} {
		path := map[string]string{"generate": "rplan/contrib/example/generate", "mboxscan": "rplan/tests/bench/mboxscan"}[program]
		if path == "" {
			path = "rplan/cmd/" + program
		}
		if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, program), path).CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w: %s", program, err, out)
		}
	}
	ctx := context.Background()
	for _, part := range []struct {
		asked bool
		f     func() error
	}{
		{w.sizes != "", func() error { return maps(dir, w.sizes, w.runs) }},
		{w.archive > 0, func() error { return archive(dir, w.disk, w.archive, w.runs) }},
		{w.pages > 0, func() error { return trashing(ctx, w.disk, w.runs, w.pages) }},
		{w.reference > 0, func() error { return reference(dir, w.disk, w.reference, max(w.archive, 100)) }},
		{w.messages > 0, func() error { return mail(ctx, dir, w.disk, w.runs, w.messages, strings.Split(w.formats, ",")) }},
		{w.idle > 0, func() error { return idle(ctx, dir, w.disk, w.runs, w.idle) }},
	} {
		if part.asked {
			if err := part.f(); err != nil {
				return err
			}
		}
	}
	return nil
}

// maps measures rp-genmaps.
func maps(dir, sizes string, runs int) error {
	fmt.Printf("%-10s %-44s %10s %10s %7s\n", "mailboxes", "what", "rplan", "peer", "ratio")
	var changes []string
	var scenes []*scene
	for _, size := range strings.Split(sizes, ",") {
		n, err := strconv.Atoi(size)
		if err != nil {
			return err
		}
		s := &scene{dir: filepath.Join(dir, size), tools: dir, mailboxes: n, runs: runs}
		defer s.close()
		if err := s.measure(); err != nil {
			return fmt.Errorf("%d mailboxes: %w", n, err)
		}
		changes, scenes = append(changes, s.change), append(scenes, s)
	}
	same := "the same at every size"
	if len(slices.Compact(slices.Clone(changes))) > 1 {
		same = "NOT the same at every size"
	}
	fmt.Printf("\nrewritten by a node's state change: %s; %s\n", strings.Join(slices.Compact(changes), "; "), same)
	return compare(scenes[0], scenes[len(scenes)-1])
}

// scene is a slapd with the reference collective of one size.
type scene struct {
	dir, tools string
	mailboxes  int
	runs       int
	server     *slapd.Server
	maps       string // the maps directory of the last full run
	change     string
	out        bool // whether n2 is
}

func (s *scene) measure() error {
	if err := os.Mkdir(s.dir, 0o755); err != nil {
		return err
	}
	ldif := filepath.Join(s.dir, "big.ldif")
	if err := s.generate(ldif); err != nil {
		return err
	}
	server, err := slapd.New(slapd.Options{LDIF: []string{ldif}, Provider: true, NoSync: true, SizeLimit: -1})
	if err != nil {
		return err
	}
	s.server = server
	// The first write gives the directory its contextCSN.
	if err := s.setState("up"); err != nil {
		return err
	}
	for _, step := range []func() error{s.fullRun, s.idleRun, s.cdb, s.stateChange} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (s *scene) close() {
	if s.server != nil {
		s.server.Close()
	}
}

func (s *scene) generate(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	cmd := exec.Command(filepath.Join(s.tools, "generate"), "-mailboxes", strconv.Itoa(s.mailboxes))
	cmd.Stdout, cmd.Stderr = f, os.Stderr
	return cmd.Run()
}

func (s *scene) writeConfig() error {
	text := fmt.Sprintf(`node = "n1"
[network]
nodes-domain = "nodes.example.net"
contact-domain = "contact.example.net"
[directory]
urls = [%q]
base = %q
bind-dn = %q
password-file = %q
timeout = "10m"
[genmaps]
output = %q
[genmaps.check]
apache = []
dns = []
dovecot = []
postfix = []
[genmaps.reload]
apache = []
dns = []
dovecot = []
postfix = []
[failover]
write-urls = [%[1]q]
admin-dn = %[3]q
admin-password-file = %[4]q
genmaps = %[6]q
hooks = %[7]q
state = %[8]q
`, s.server.LDAPI(), s.server.BaseDN, s.server.RootDN, filepath.Join(s.dir, "password"), s.maps,
		filepath.Join(s.tools, "rp-genmaps"), filepath.Join(s.dir, "hooks"), filepath.Join(s.dir, "state"))
	if err := os.WriteFile(filepath.Join(s.dir, "password"), []byte(s.server.RootPassword), 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.dir, "rplan.toml"), []byte(text), 0o644)
}

func (s *scene) setState(state string) error {
	conn, err := s.server.Bind(s.server.RootDN, s.server.RootPassword)
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Modify(modifyState("rplanNodeName=n2,ou=nodes,"+s.server.BaseDN, state))
}

// usage is what one finished process took.
type usage struct {
	wall time.Duration
	rss  int64 // bytes
}

// timed runs a program and measures it; its exit code must be one of ok.
func timed(output string, ok []int, argv ...string) (usage, error) {
	out, err := os.Create(output)
	if err != nil {
		return usage{}, err
	}
	defer out.Close()
	var stderr bytes.Buffer
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = out, &stderr
	start := time.Now()
	err = cmd.Run()
	wall := time.Since(start)
	if cmd.ProcessState == nil || !slices.Contains(ok, cmd.ProcessState.ExitCode()) {
		return usage{}, fmt.Errorf("%s: %w: %.300s", argv[0], err, stderr.String())
	}
	return usage{wall, cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10}, nil
}

func median(of []usage) usage {
	slices.SortFunc(of, func(a, b usage) int { return int(a.wall - b.wall) })
	return of[len(of)/2]
}

func (s *scene) row(what string, ours, peer usage) {
	fmt.Printf("%-10d %-44s %9.2fs %9.2fs %6.2fx\n", s.mailboxes, what, ours.wall.Seconds(), peer.wall.Seconds(), ours.wall.Seconds()/peer.wall.Seconds())
}

func (s *scene) genmaps(args ...string) (usage, error) {
	argv := append([]string{filepath.Join(s.tools, "rp-genmaps"), "--config", filepath.Join(s.dir, "rplan.toml")}, args...)
	return timed(filepath.Join(s.dir, "out"), []int{0}, argv...)
}

// attributes are those that rp-genmaps asks for.
var attributes = strings.Fields(`rplanNodeName rplanState rplanVpnAddress rplanPublicAddress rplanRole rplanRing rplanClass rplanVpnKey rplanSshKey
rplanDomainName rplanDomainService rplanAddress rplanAlias rplanPlacement rplanStatus rplanDelivery rplanTarget rplanSiteName rplanSiteAlias
rplanSiteMode rplanDocumentRoot rplanContact rplanListManager rplanListCandidate rplanActiveNode rplanListOwner rplanEpoch
rplanKeepHtml rplanKeepMbox createTimestamp`)

// fullRun makes all maps anew, in turn with ldapsearch of the same attributes to a file.
func (s *scene) fullRun() error {
	var ours, theirs []usage
	search := append([]string{"ldapsearch", "-LLL", "-o", "ldif-wrap=no", "-H", s.server.LDAPI(), "-x", "-D", s.server.RootDN,
		"-y", filepath.Join(s.dir, "password"), "-b", s.server.BaseDN, "(objectClass=*)"}, attributes...)
	for i := range s.runs + 1 { // the first warms slapd's cache and is not counted
		// Into a new directory, without removing the last: for some minutes after
		// files were removed, ext4 makes new ones up to ten times slower.
		s.maps = filepath.Join(s.dir, fmt.Sprint("maps", i))
		if err := s.writeConfig(); err != nil {
			return err
		}
		peer, err := timed(filepath.Join(s.dir, "search"), []int{0}, search...)
		if err != nil {
			return err
		}
		mine, err := s.genmaps()
		if err != nil {
			return err
		}
		ours, theirs = append(ours, mine), append(theirs, peer)
	}
	mine := median(ours[1:])
	s.row("full run, against ldapsearch to a file", mine, median(theirs[1:]))
	fmt.Printf("%-10d %-44s %7d MB\n", s.mailboxes, "  peak memory", mine.rss>>20)
	return nil
}

// idleRun finds that nothing changed.
func (s *scene) idleRun() error {
	var all []usage
	for range s.runs*3 + 1 {
		u, err := s.genmaps()
		if err != nil {
			return err
		}
		all = append(all, u)
	}
	fmt.Printf("%-10d %-44s %7.1f ms\n", s.mailboxes, "run with nothing to do", float64(median(all[1:]).wall.Microseconds())/1000)
	return nil
}
