package archiveprune

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"rplan/tests/archive"
	"rplan/tests/need"
)

// victimOf is in the environment of a process that does one run, and may be killed at it: its
// configuration, the time and the options, in JSON.
const victimOf = "PIPERMAIL_VICTIM"

// victimRun is what stands there.
type victimRun struct {
	Config  string
	Now     time.Time
	Options Options
}

// The victim does its run before main, on the main thread, which is the one that strace(1) follows.
func init() {
	text := os.Getenv(victimOf)
	if text == "" {
		return // rewrite_test.go says what holds for an ordinary run
	}
	settling = 10 * time.Millisecond
	runtime.LockOSThread()
	var v victimRun
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		panic(err)
	}
	got := runWith(context.Background(), v.Config, v.Now, v.Options)
	os.Stdout.WriteString(got.stdout)
	os.Stderr.WriteString(got.stderr)
	os.Exit(got.code)
}

// victim is a process that does the run, after what is in before.
func (s *pipermailScene) victim(o Options, before ...string) *exec.Cmd {
	s.Helper()
	v, err := json.Marshal(victimRun{s.config(), s.now, o})
	s.ok(err)
	args := append(slices.Clone(before), "/proc/self/exe")
	if len(before) > 0 {
		args[len(before)] = os.Args[0]
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "GODEBUG=asyncpreemptoff=1", victimOf+"="+string(v))
	return cmd
}

// changing are the system calls that change something.
const changing = "trace=write,fsync,ftruncate,mkdirat,linkat,renameat,renameat2,unlinkat,fchmod,fchown,utimensat,copy_file_range,pwrite64"

// killPoint is the nth call of a name.
type killPoint struct {
	call string
	n    int
	line string
}

// killPoints are those of an undisturbed run. Of many in a row that do the same to other files the first and the last stand for all.
func (s *pipermailScene) killPoints(o Options) []killPoint {
	s.Helper()
	log := filepath.Join(s.TempDir(), "log")
	cmd := s.victim(o, need.Program(s, "strace"), "-qq", "-s", "200", "-e", changing, "-o", log)
	if out, err := cmd.CombinedOutput(); err != nil {
		s.Fatalf("%v: %s", err, out)
	}
	b, err := os.ReadFile(log)
	s.ok(err)
	var list []killPoint
	count := map[string]int{}
	for line := range strings.Lines(string(b)) {
		call, _, ok := strings.Cut(line, "(")
		if !ok || strings.HasPrefix(line, "-") {
			continue
		}
		count[call]++
		if !strings.HasPrefix(line, "write(1,") && !strings.HasPrefix(line, "write(2,") { // all is done by then
			list = append(list, killPoint{call, count[call], strings.TrimSpace(line)})
		}
	}
	same := func(i, j int) bool { return j >= 0 && j < len(list) && list[i].call == list[j].call }
	var some []killPoint
	for i := range list {
		if !same(i, i-1) || !same(i, i+1) {
			some = append(some, list[i])
		}
	}
	return some
}

// killedTree has a month with files of others, one that goes as a whole, and one of which a page stays. Some mails are
// too old to be kept by killedCut.
var (
	killedMake  = archive.Make{Seed: 50, N: 18, Plain: true, Start: time.Date(2004, 10, 12, 10, 0, 0, 0, time.UTC), Every: 4 * 24 * time.Hour}
	killedTree  = archive.PipermailOptions{Foreign: true, Symlinks: true, OnlyGzip: true, Missing: func(i int, _ archive.Mail) bool { return i == 3 }}
	killedCut   = Options{Apply: true, KeepMbox: "22y", Args: []string{"dev"}} // by its name, as nobody writes to it any more
	killedPages = Options{Apply: true}
)

// killing is one thing that is done to an archive, and killed.
type killing struct {
	name   string
	before Options // is done first, if it is anything
	do     Options
}

// next is the run that comes after the killed one.
func (k killing) next() Options {
	return Options{Apply: true, KeepMbox: k.do.KeepMbox, TrashDays: k.do.TrashDays, Args: []string{"dev"}}
}

var killings = []killing{
	{"apply", Options{}, killedPages},
	{"apply and cut", Options{}, killedCut},
	{"undo", killedPages, Options{Undo: true}},
	{"undo a cut", killedCut, Options{Undo: true}},
	{"empty", killedPages, Options{Apply: true, TrashDays: emptyAtOnce}},
	{"apply, cut and empty", Options{}, Options{Apply: true, KeepMbox: "22y", TrashDays: emptyAtOnce, Args: []string{"dev"}}},
}

// scene is one before the thing is done. Before is how the archive was at first.
func (k killing) scene(t testing.TB) (s *pipermailScene, before picture) {
	s = newPipermail(t, killedMake, killedTree)
	before = s.picture()
	if k.before.Apply {
		s.want(0, k.before)
	}
	return s, before
}

// expire has the locks of killed processes be too old.
func (s *pipermailScene) expire() {
	s.Helper()
	long := time.Now().Add(-time.Hour)
	s.ok(filepath.WalkDir(s.dir, func(at string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && strings.Contains(e.Name(), ".lock") {
			return os.Chtimes(at, long, long)
		}
		return err
	}))
}

// untilUnlocked waits for the kernel, which releases the lock when the last thread of a killed process has ended.
func (s *pipermailScene) untilUnlocked() {
	s.Helper()
	f, err := os.Open(s.at(".rplan/lock"))
	if err != nil {
		return // it did not come to that
	}
	defer f.Close()
	s.ok(syscall.Flock(int(f.Fd()), syscall.LOCK_EX))
}

// withoutLocks leaves out the locks that a killed process left.
func (p picture) withoutLocks() picture {
	for name := range p {
		if strings.HasPrefix(name, "locks/") || strings.HasSuffix(name, ".lock") {
			delete(p, name)
		}
	}
	return p
}

// contents are those of all regular files of the directory, the trash included.
func (s *pipermailScene) contents() (all [][]byte) {
	s.Helper()
	s.ok(filepath.WalkDir(s.dir, func(at string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			b, err := os.ReadFile(at)
			all = append(all, b)
			return err
		}
		return err
	}))
	return all
}

// checkNothingLost looks for all files of the archive as it was first but those that may be gone or changed,
// and for all messages, here or in the trash. Where that is emptied, what is too old may be gone.
func (s *pipermailScene) checkNothingLost(k killing, before map[string][]byte, may map[string]bool) {
	s.Helper()
	all := s.contents()
	emptied := k.do.TrashDays == emptyAtOnce
	for p, content := range before {
		if !may[p] && !slices.ContainsFunc(all, func(b []byte) bool { return bytes.Equal(b, content) }) {
			s.Errorf("%s is nowhere any more", p)
		}
	}
	box := s.read(s.truth.Mbox)
	for _, page := range s.truth.Pages {
		m := s.mails[page.Mail]
		whole := append([]byte(m.FromLine()), archive.Quote(m.Raw, archive.Mangled)...)
		tooOld := k.do.KeepMbox != "" && m.Date.Before(s.now.AddDate(-22, 0, 0))
		if page.InMbox && !bytes.Contains(box, whole) && !(tooOld && emptied) && !slices.ContainsFunc(all, func(b []byte) bool { return bytes.Contains(b, whole) }) {
			s.Errorf("mail %d of %v is nowhere any more", page.Mail, m.Date)
		}
		if page.InMbox && !tooOld && k.before.KeepMbox == "" && !bytes.Contains(box, whole) {
			s.Errorf("mail %d of %v is not in the mbox", page.Mail, m.Date)
		}
	}
}

// names are the paths of what is in the scene's directory.
func (p picture) names() (all []string) {
	for name := range p {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// TestPipermailKilled kills the command at some of its steps; BenchmarkPipermailKilled at all of them.
func TestPipermailKilled(t *testing.T) {
	for _, k := range killings {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			killAtSteps(t, k, 5)
		})
	}
}

func BenchmarkPipermailKilled(b *testing.B) {
	for range b.N {
		for _, k := range killings {
			killAtSteps(b, k, 1<<20)
		}
	}
}

// killAtSteps kills at as many steps, evenly spread.
func killAtSteps(t testing.TB, k killing, most int) {
	s, _ := k.scene(t)
	points := s.killPoints(k.do)
	s.expire()
	s.want(0, k.next()) // the end of it all
	pruned := s.picture().withoutLocks().names()
	if len(points) < 12 {
		t.Errorf("there are only %d steps", len(points))
	}
	heard := map[string]int{}
	tried := 0
	for i, point := range spread(points, most) {
		tried++
		heard[killAt(t, k, point, i%2 == 0, pruned)]++
		if t.Failed() {
			t.Fatalf("killed at %d of %d, %s", i, tried, point.line)
		}
	}
	for _, point := range points { // while the new mbox lies beside the old one
		if k.do.Apply && point.call == "linkat" && strings.Contains(point.line, `"dev.mbox"`) {
			tried++
			heard[killAt(t, k, point, true, pruned)]++
		}
	}
	if heard[notKilled] > tried/5 {
		t.Errorf("the kills missed: %v", heard)
	}
	t.Logf("%d of %d steps; the next runs said %v", tried, len(points), heard)
}

// killAt kills at one step, and has the next runs mend it: undone at once, or after the run is done again. It returns what the next one said.
func killAt(t testing.TB, k killing, point killPoint, atOnce bool, pruned []string) string {
	s, before := k.scene(t)
	was, may, emptied := s.filesBefore(before), map[string]bool{}, k.do.TrashDays == emptyAtOnce
	for p := range was {
		may[p] = emptied && (!slices.Contains(pruned, p) || p == s.truth.Mbox && k.do.KeepMbox != "")
	}
	cmd := s.victim(k.do, need.Program(t, "strace"), "-qq", "-o", "/dev/null", "-e", changing, "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", point.call, point.n))
	out, err := cmd.CombinedOutput()
	said := ""
	if err == nil {
		said = notKilled + ": "
	} else if cmd.ProcessState == nil || !cmd.ProcessState.Sys().(syscall.WaitStatus).Signaled() {
		t.Fatalf("not killed at %s: %v: %s", point.line, err, out)
	}
	s.untilUnlocked()
	s.expire()
	s.checkNothingLost(k, was, may)
	if !atOnce {
		got := s.want(0, k.next())
		said += got.stderr
		s.checkNothingLost(k, was, may)
		if got := s.picture().withoutLocks().names(); k.before.KeepMbox == "" && !slices.Equal(got, pruned) {
			t.Errorf("after the next run there is not what should be: %v", differing(got, pruned))
		}
	}
	code := 0
	got := s.run(Options{Undo: true})
	if emptied && got.code == 3 { // some of it is deleted for good already, and that is said
		code = 3
	}
	if got.code != code {
		t.Errorf("undo: %s", got)
	}
	if atOnce {
		said += got.stderr
	}
	s.checkNothingLost(k, was, may)
	if !emptied {
		s.isButLocks(before)
		s.want(0, Options{Undo: true})
		s.isButLocks(before)
	}
	return whatWasSaid(said)
}

func (s *pipermailScene) isButLocks(want picture) {
	s.Helper()
	for p := range s.picture() {
		if _, was := want[p]; !was && (strings.HasPrefix(p, "locks/") || strings.HasSuffix(p, ".lock")) {
			s.ok(os.Remove(filepath.Join(s.dir, p)))
		}
	}
	s.is(want)
}

// filesBefore are the files of a picture, whose content stands in it.
func (s *pipermailScene) filesBefore(p picture) map[string][]byte {
	all := map[string][]byte{}
	for name, is := range p {
		if strings.HasPrefix(is, "-") && strings.HasPrefix(name, "archives/private/") {
			var content string
			_, err := fmt.Sscanf(is[strings.Index(is, ` "`)+1:], "%q", &content)
			s.ok(err)
			all[name] = []byte(content)
		}
	}
	return all
}

// notKilled is what is heard of a victim that made fewer calls this time: Go's runtime makes some of its own.
const notKilled = "not killed"

// whatWasSaid is a message without the name of the run.
func whatWasSaid(text string) string {
	if strings.HasPrefix(text, notKilled) {
		return notKilled
	}
	_, what, _ := strings.Cut(strings.SplitN(text, "\n", 2)[0], ": ")
	return what
}

// differing are what only one of two sorted lists has.
func differing(a, b []string) (all []string) {
	for _, x := range a {
		if !slices.Contains(b, x) {
			all = append(all, "+"+x)
		}
	}
	for _, x := range b {
		if !slices.Contains(a, x) {
			all = append(all, "-"+x)
		}
	}
	return all
}
