package trash

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"rplan/tests/need"
)

// The tests, by an ordinary user who owns the tree.
func TestAsNobody(t *testing.T) {
	need.Root(t)
	const nobody = 65534
	dir := t.TempDir()
	for d := dir; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", "-test.v", "-test.run", "Move|Empty$|Unlisted|Sift|Undo|Replace|Vanished|Lock")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// What root makes in another's tree, that one can go on with.
func TestRootThenOwner(t *testing.T) {
	need.Root(t)
	const nobody = 65534
	s := newScene(t)
	out, err := exec.Command("chown", "-R", "nobody:nogroup", s.dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.before = s.snapshot()
	s.run()
	for _, p := range []string{ours, ours + "/lock", ours + "/trash"} {
		info, err := os.Stat(s.at(p))
		if err != nil || info.Sys().(*syscall.Stat_t).Uid != nobody {
			t.Errorf("%s is %v, %v", p, info, err)
		}
	}
	s.undo()
	s.is(s.before)
}
