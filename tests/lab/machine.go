package lab

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

//go:embed machine.sh
var machineScript string

// marker starts the first word of the command line of each machine's process
// 1, by which Find knows it.
const marker = "rplan-lab/"

// Machine is a Debian machine of its own as far as its programs can tell:
// they have their own network, processes, host name, and everything they
// write below /etc /root /srv /usr /var /run /tmp. It consists of one process
// and what that process holds, so it vanishes whole when that process ends,
// which it does when the program that made it ends in whatever way.
type Machine struct {
	// Name is its host name.
	Name string

	pid    int // of its process 1, seen from outside
	cmd    *exec.Cmd
	source netip.Addr // of its connections; the zero value leaves it to the kernel
}

// newMachine returns when the machine's file system is ready. lab names the
// lab that it belongs to.
func newMachine(lab, name string) (*Machine, error) {
	cmd := exec.Command("/bin/sh", "-s", name)
	cmd.Args[0] = marker + lab + "/" + name
	cmd.Stdin = strings.NewReader(machineScript)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
		Setpgid:    true, // a terminal's interrupt is for the lab
	}
	cmd.Env = environment()
	var said bytes.Buffer
	cmd.Stderr = &said
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("machine %q: %w", name, err)
	}
	m := &Machine{Name: name, pid: cmd.Process.Pid, cmd: cmd}
	if line, _ := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		m.Close()
		return nil, fmt.Errorf("machine %q: its process 1 ended: %s", name, strings.TrimSpace(said.String()))
	}
	return m, nil
}

// Find is a machine of a running lab, this program's or another's. An empty
// lab means the only one there is.
func Find(lab, name string) (*Machine, error) {
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, err
	}
	var found []*Machine
	for _, path := range paths {
		text, _ := os.ReadFile(path)
		argv0, _, _ := strings.Cut(string(text), "\x00")
		id, ok := strings.CutPrefix(argv0, marker)
		of, machine, _ := strings.Cut(id, "/")
		if !ok || machine != name || lab != "" && lab != of {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		found = append(found, &Machine{Name: name, pid: pid})
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("no lab with a machine %q is running", name)
	case 1:
		return found[0], nil
	}
	return nil, fmt.Errorf("%d labs with a machine %q are running", len(found), name)
}

// Close ends all that runs on the machine, at once and without warning, and
// with it the machine.
func (m *Machine) Close() {
	_ = m.cmd.Process.Kill()
	_ = m.cmd.Wait()
}

// Path is where a file of the machine is for programs outside.
func (m *Machine) Path(file string) string {
	return filepath.Join("/proc", strconv.Itoa(m.pid), "root", file)
}

// Write makes a file of the machine, and its directory, readable by all.
func (m *Machine) Write(file, text string) error {
	if err := os.MkdirAll(m.Path(filepath.Dir(file)), 0o755); err != nil {
		return err
	}
	return os.WriteFile(m.Path(file), []byte(text), 0o644)
}

// Read is the text of a file of the machine.
func (m *Machine) Read(file string) (string, error) {
	text, err := os.ReadFile(m.Path(file))
	return string(text), err
}

// Command prepares a program to run on the machine, as its root.
func (m *Machine) Command(ctx context.Context, argv ...string) *exec.Cmd {
	args := []string{"--target", strconv.Itoa(m.pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--"}
	cmd := exec.CommandContext(ctx, "nsenter", append(args, argv...)...)
	cmd.Env = environment()
	return cmd
}

// Run runs a program on the machine and returns what it printed. An error
// has its exit status and its words.
func (m *Machine) Run(ctx context.Context, argv ...string) (string, error) {
	return m.RunInput(ctx, "", argv...)
}

// RunInput is Run with text for the program to read. Daemons may stay behind
// with the program's output open: it goes through a file, so nobody waits.
func (m *Machine) RunInput(ctx context.Context, input string, argv ...string) (string, error) {
	out, err := os.CreateTemp(m.Path("/tmp"), "out")
	if err != nil {
		return "", err
	}
	defer out.Close()
	if err := os.Remove(out.Name()); err != nil {
		return "", err
	}
	cmd := m.Command(ctx, argv...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), out, out
	failed := cmd.Run()
	if _, err := out.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	text, err := io.ReadAll(out)
	if failed != nil {
		err = fmt.Errorf("on %s: %q: %w: %s", m.Name, strings.Join(argv, " "), failed, bytes.TrimSpace(text))
	}
	return string(text), err
}

// environment is that of every program in the lab: none of the caller's.
func environment() []string {
	return []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=/root",
		"TERM=" + os.Getenv("TERM")}
}

// host runs a program outside all machines.
func host(ctx context.Context, argv ...string) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = environment()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%q: %w: %s", strings.Join(argv, " "), err, bytes.TrimSpace(out))
	}
	return nil
}
