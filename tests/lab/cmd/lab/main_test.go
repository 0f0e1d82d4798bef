package main

import (
	"bufio"
	"context"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"rplan/tests/lab"
	"rplan/tests/need"
)

// built are the lab's program and those that it installs, in one directory.
func built(t *testing.T) string {
	t.Helper()
	lab.Need(t)
	dir := t.TempDir()
	if err := lab.Build(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-o", dir+"/", ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

// The lab comes up, says how to use it, lets others in, and ends when it is told to, also before it is up.
func TestUpAndInterrupt(t *testing.T) {
	program := filepath.Join(built(t), "lab")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	up := exec.CommandContext(ctx, program, "up", "2")
	out, err := up.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	said, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(said, "The lab is up") {
		t.Fatalf("it says %q: %v", said, err)
	}
	id := strconv.Itoa(up.Process.Pid)
	n2, err := lab.Find(id, "n2")
	if err != nil {
		t.Fatal(err)
	}
	if host, err := n2.Run(ctx, "hostname", "-f"); err != nil || host != "n2."+lab.NodesDomain+"\n" {
		t.Errorf("n2 calls itself %q: %v", host, err)
	}
	if err := up.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := up.Wait(); err != nil {
		t.Errorf("interrupted: %v", err)
	}
	if _, err := lab.Find(id, "n2"); err == nil {
		t.Error("n2 is still there")
	}

	up = exec.CommandContext(ctx, program, "up")
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	id = strconv.Itoa(up.Process.Pid)
	for { // until it is in the middle of it
		if _, err := lab.Find(id, "n3"); err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatal(ctx.Err())
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := up.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := up.Wait(); err == nil {
		t.Error("to be ended on the way up is no success")
	}
	for _, name := range []string{"hub", "visitor", "n1", "n2", "n3"} {
		if _, err := lab.Find(id, name); err == nil {
			t.Errorf("%s is still there", name)
		}
	}
}

func TestUsage(t *testing.T) {
	need.Root(t)
	for want, args := range map[string][]string{
		"usage":                     {"--help"},
		"2 to 9 nodes":              {"up", "1"},
		`no lab with a machine "x"`: {"x"},
	} {
		if err := run(args); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", args, err, want)
		}
	}
}
