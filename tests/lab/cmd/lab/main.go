// Lab runs a collective on this machine to play with; see package lab.
//
//	lab [up [NODES]]         start it, say how to use it, end it on Ctrl-C
//	lab NAME [COMMAND...]    run a command, or a shell, on the machine NAME of a lab that is up
//
// It installs the rp-* programs that lie beside it, or in bin.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"rplan/tests/lab"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case os.Geteuid() != 0:
		return errors.New("namespaces and mounts need root")
	case len(args) == 0:
		return up(nil)
	case args[0] == "up":
		return up(args[1:])
	case strings.HasPrefix(args[0], "-"):
		return errors.New("usage: lab [up [NODES]] | lab NAME [COMMAND...]")
	}
	return enter(args[0], args[1:])
}

func up(args []string) error {
	config := lab.Config{Nodes: 3}
	if len(args) > 0 {
		n, err := strconv.Atoi(args[0])
		if err != nil || len(args) > 1 || n < 2 || n > 9 {
			return fmt.Errorf("%q: a lab has 2 to 9 nodes", args)
		}
		config.Nodes = n
	}
	var err error
	if config.Programs, err = programs(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	began := time.Now()
	starting, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	l, err := lab.Up(starting, config)
	if err != nil {
		return err
	}
	defer l.Down()
	guide(os.Stdout, l, os.Args[0], time.Since(began))
	<-ctx.Done()
	return nil
}

// programs is the directory with rp-genmaps.
func programs() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	for _, dir := range []string{filepath.Dir(self), "bin"} {
		if _, err := os.Stat(filepath.Join(dir, "rp-genmaps")); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("there is no rp-genmaps beside %q, nor in bin; make builds it", self)
}

// enter becomes the command, so that terminal and signals are the command's own.
func enter(name string, command []string) error {
	m, err := lab.Find("", name)
	if err != nil {
		return err
	}
	if len(command) == 0 {
		command = []string{"/bin/bash"}
	}
	cmd := m.Command(context.Background(), command...)
	if cmd.Err != nil {
		return cmd.Err
	}
	return syscall.Exec(cmd.Path, cmd.Args, cmd.Env)
}
