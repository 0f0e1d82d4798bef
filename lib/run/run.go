// Package run runs other programs: from an argv and never through a shell, in a
// clean environment, for a limited time, and with what they complained about in
// the error.
package run

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

const (
	// DefaultTimeout is for a Cmd that sets none.
	DefaultTimeout = time.Minute
	// DefaultMaxOutput is for a Cmd that sets none, in bytes.
	DefaultMaxOutput = 16 << 20

	// grace is how long a program has to end after SIGTERM, and how long one
	// that it left behind may keep us waiting for the end of its output.
	grace = time.Second
)

// ErrTimeout is in the error of a program that took too long.
var ErrTimeout = errors.New("timed out")

// Cmd is a program to run.
type Cmd struct {
	Argv      []string // a path, or a name for LookPath, and the arguments
	Stdin     []byte
	Files     []*os.File    // its descriptors 3 and up
	Env       []string      // "NAME=value", beside PATH, HOME and LANG=C.UTF-8, which are all that is passed on
	Dir       string        // "" is the current directory
	Timeout   time.Duration // 0 is DefaultTimeout
	MaxOutput int           // of standard output, in bytes; 0 is DefaultMaxOutput
	Terminal  bool          // it may ask the user, on this process's terminal or by an agent, as ssh(1) does: it stays in our process group, and only itself is ended
	Data      bool          // standard output is not for people: no error quotes it
}

// Result is what came of a program that was started, also if it failed.
type Result struct {
	Stdout   []byte // at most MaxOutput
	Stderr   []byte // the last 4 KiB
	ExitCode int    // -1 if a signal ended it, or if it was not started
}

// Run runs a program to its end. At the end of ctx or the timeout, its process
// group gets SIGTERM and a second later SIGKILL. A child that it leaves behind
// when it ends by itself, as a daemon does, is let be, and the end of that
// child's output is not waited for.
//
// An error names the program, then says "exit status N" (an *exec.ExitError),
// "timed out after 10s" (ErrTimeout), ctx's cause, that there was more than
// MaxOutput, or that the program is not found (exec.ErrNotFound, of kind
// diag.Unavailable), and ends with what the program said: the last 4 KiB of its
// standard output and of its standard error. So Run is not for a program that
// prints a secret.
func Run(ctx context.Context, c Cmd) (Result, error) {
	if len(c.Argv) == 0 {
		return Result{ExitCode: -1}, errors.New("there is no program to run: the command is empty")
	}
	path, err := LookPath(c.Argv[0])
	if err != nil {
		return Result{ExitCode: -1}, err
	}
	if _, err := os.Stat(cmp.Or(c.Dir, ".")); err != nil { // else the program would seem to be missing
		return Result{ExitCode: -1}, fmt.Errorf("%q: %w", c.Argv[0], err)
	}
	timeout, maxOutput := cmp.Or(c.Timeout, DefaultTimeout), cmp.Or(c.MaxOutput, DefaultMaxOutput)
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("%w after %v", ErrTimeout, timeout))
	defer cancel()

	stdout, stderr := &head{max: maxOutput, end: cancel}, &tail{max: maxSaid}
	cmd := exec.CommandContext(ctx, path, c.Argv[1:]...)
	cmd.Args[0] = c.Argv[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(c.Stdin), stdout, stderr
	cmd.ExtraFiles = c.Files
	cmd.Env = append(Environment(), c.Env...)
	if c.Terminal {
		cmd.Env = append(cmd.Env, Desk()...)
	}
	cmd.Dir = c.Dir
	cutShort, err := runGroup(cmd, !c.Terminal)

	result := Result{Stdout: stdout.kept, Stderr: stderr.kept, ExitCode: cmd.ProcessState.ExitCode()}
	said := stdout.kept
	if stdout.full || c.Data { // of the first only the beginning is there
		said = nil
	}
	switch {
	case stdout.full:
		err = fmt.Errorf("more than %d bytes of output", maxOutput)
	case cutShort && err != nil:
		err = context.Cause(ctx)
	case errors.Is(err, exec.ErrWaitDelay):
		err = nil // all is well but for a child that keeps the output open
	}
	if err != nil {
		err = fmt.Errorf("%q: %w%s", c.Argv[0], err, complaint(said, stderr.kept))
	}
	return result, err
}

// runGroup runs cmd, as a process group of its own or not, and tells whether it
// had to end it.
func runGroup(cmd *exec.Cmd, own bool) (cutShort bool, err error) {
	signal := func(s syscall.Signal) error {
		pid := cmd.Process.Pid
		if own {
			pid = -pid
		}
		err := syscall.Kill(pid, s)
		if err == syscall.ESRCH {
			return os.ErrProcessDone
		}
		return err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: own}
	cmd.WaitDelay = grace
	cmd.Cancel = func() error {
		cutShort = true
		return signal(syscall.SIGTERM)
	}
	err = cmd.Run()
	if cutShort && own {
		signal(syscall.SIGKILL) // exec kills the program only, not its children
	}
	return cutShort, err
}
