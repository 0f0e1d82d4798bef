// Package namespaces runs the tests of a package in Linux namespaces of their
// own, in which they may have any address, mount what they like, and with whose
// first process every daemon ends.
package namespaces

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

const inside = "RPLAN_TEST_NAMESPACES"

// Own says whether this process is in them.
func Own() bool { return os.Getenv(inside) != "" }

// Main is for TestMain: it runs this program once more, in network, mount,
// process and host name namespaces, and ends as that did. Where they cannot be
// made it calls run itself; the tests are to be skipped then.
func Main(run func() int) {
	if Own() || os.Geteuid() != 0 {
		os.Exit(run())
	}
	runtime.LockOSThread() // Pdeathsig is about the thread
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
	}
	if err := cmd.Start(); err != nil {
		os.Exit(run())
	}
	if err := cmd.Wait(); err != nil {
		if cmd.ProcessState.ExitCode() < 0 {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	os.Exit(0)
}
