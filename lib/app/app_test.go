package app

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"rplan/lib/diag"
)

// call runs a command with one argument at most and returns what it printed.
func call(run func(*cli.Context) error, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	c := Command{
		Name: "rp-x", Summary: "does a thing", MaxArgs: 1, ArgsUsage: "[FILE]",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "dry-run"},
			&cli.StringSliceFlag{Name: "dn"},
			&cli.StringFlag{Name: "node", Aliases: []string{"n"}, Value: "n1", EnvVars: []string{"RPLAN_TEST_NODE"}},
			&cli.IntFlag{Name: "count"},
		},
		Run: func(_ context.Context, _ *Env, c *cli.Context) error { return run(c) },
	}
	env := &Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Now: time.Now}
	return Execute(context.Background(), c, args, env), out.String(), errs.String()
}

func nothing(*cli.Context) error { return nil }

func TestUsageErrorsAreOnStderrWith64(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--nope"}, "rp-x: unknown flag: --nope\nhint: rp-x --help lists the flags\n"},
		{[]string{"--count", "x"}, `invalid value "x" for flag --count`},
		{[]string{"--nope=a -b"}, "rp-x: unknown flag: --nope\n"},
		{[]string{"-Z"}, "rp-x: unknown flag: -Z\n"},
		{[]string{"--dry-run=maybe"}, `invalid boolean value "maybe" for --dry-run: `},
		{[]string{"--count"}, "flag needs an argument: --count"},
		{[]string{"file", "--dry-run"}, "rp-x: flag \"--dry-run\" after an argument\nhint: put flags first: rp-x --dry-run file\n"},
		{[]string{"--count", "3", "file", "-n"}, "put flags first: rp-x -n --count 3 file"},
		{[]string{"--dry-run", "false", "x"}, `unexpected argument "x"`},
		{[]string{"one", "two"}, `unexpected argument "two"`},
		{[]string{"--node", ""}, "rp-x: flag --node has an empty value\nhint: rp-x --help lists the flags\n"},
		{[]string{"--node="}, "rp-x: flag --node has an empty value\n"},
		{[]string{"-n", ""}, "rp-x: flag --node has an empty value\n"},
		{[]string{"--dn", "ou=a", "--dn", ""}, "rp-x: flag --dn has an empty value\n"},
	} {
		code, stdout, stderr := call(nothing, c.args...)
		if code != 64 || stdout != "" || !strings.Contains(stderr, c.want) {
			t.Errorf("%q: exit %d, stdout %q, stderr %q, want 64 and %q", c.args, code, stdout, stderr, c.want)
		}
	}
}

func TestArgumentsAfterTheEndOfFlags(t *testing.T) {
	var got string
	code, _, stderr := call(func(c *cli.Context) error { got = c.Args().First(); return nil }, "--", "--dry-run")
	if code != 0 || got != "--dry-run" {
		t.Errorf("exit %d, argument %q, stderr %q", code, got, stderr)
	}
}

func TestCommasInValuesAreKept(t *testing.T) {
	var got []string
	call(func(c *cli.Context) error { got = c.StringSlice("dn"); return nil }, "--dn", "ou=a,dc=b", "--dn", "ou=c")
	if len(got) != 2 || got[0] != "ou=a,dc=b" {
		t.Errorf("got %q", got)
	}
}

func TestEmptyVariableIsNone(t *testing.T) {
	for value, want := range map[string]string{"": "n1", "n2": "n2"} {
		t.Setenv("RPLAN_TEST_NODE", value)
		var got string
		code, _, stderr := call(func(c *cli.Context) error { got = c.String("node"); return nil })
		if code != 0 || got != want {
			t.Errorf("RPLAN_TEST_NODE=%q: exit %d, node %q, stderr %q", value, code, got, stderr)
		}
	}
}

// Go's own code for a panic is 2, which is to mean that nothing was changed.
func TestPanicIsAFailure(t *testing.T) {
	released := false
	code, stdout, stderr := call(func(*cli.Context) error {
		defer func() { released = true }()
		panic("no such thing")
	})
	if code != 1 || stdout != "" || !released || !strings.HasPrefix(stderr, "rp-x: internal error: no such thing\nrp-x: goroutine ") ||
		!strings.Contains(stderr, "app_test.go:") || !strings.Contains(stderr, "\nhint: this is a fault of rp-x unreleased; report it ") {
		t.Errorf("exit %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

// A full disk under the output is told, but does not end the work; a reader
// that has seen enough is no error.
func TestOutputThatCannotBeWritten(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	reader, closed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer closed.Close()
	reader.Close()
	const told = "rp-x: writing the result: no space left on device\n"
	for _, c := range []struct {
		to   *os.File
		args []string
		err  error
		code int
		want string
	}{
		{full, nil, nil, 1, told},
		{full, []string{"--help"}, nil, 1, told},
		{full, []string{"--version"}, nil, 1, told},
		{full, nil, diag.Partial.Errorf("one is left out"), 3, "rp-x: one is left out\n" + told},
		{closed, nil, nil, 0, ""},
		{closed, nil, diag.Partial.Errorf("one is left out"), 3, "rp-x: one is left out\n"},
		{closed, []string{"--help"}, nil, 0, ""},
	} {
		var errs bytes.Buffer
		ended := false
		run := func(_ context.Context, env *Env, _ *cli.Context) error {
			for range 2 {
				if err := env.PrintJSON("a result"); err != nil {
					return err
				}
			}
			ended = true
			return c.err
		}
		env := &Env{Stdout: c.to, Stderr: &errs, Now: time.Now}
		code := Execute(context.Background(), Command{Name: "rp-x", Run: run}, c.args, env)
		if code != c.code || errs.String() != c.want || ended != (c.args == nil) {
			t.Errorf("%s %q: exit %d, stderr %q, ended %v; want %d, %q", c.to.Name(), c.args, code, errs.String(), ended, c.code, c.want)
		}
	}
}

func TestErrorsAndHints(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		want string
	}{
		{nil, 0, ""},
		{errors.New("plain"), 1, "rp-x: plain\n"},
		{diag.TryAgain.Errorf("no answer").WithHint("wait"), 75, "rp-x: no answer\nhint: wait\n"},
		{errors.Join(errors.New("one"), diag.Refused.Errorf("two")), 2, "rp-x: one\nrp-x: two\n"},
		{cli.Exit("never lost", 3), 1, "rp-x: never lost\n"},
	} {
		code, stdout, stderr := call(func(*cli.Context) error { return c.err })
		if code != c.code || stderr != c.want || stdout != "" {
			t.Errorf("%v: exit %d, stdout %q, stderr %q", c.err, code, stdout, stderr)
		}
	}
}

func TestHelpAndVersion(t *testing.T) {
	code, stdout, stderr := call(nothing, "--help")
	if code != 0 || stderr != "" || !strings.HasPrefix(stdout, "rp-x - does a thing\n\nusage: rp-x [flags] [FILE]\n") ||
		!strings.Contains(stdout, "--dry-run") {
		t.Errorf("exit %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	code, stdout, _ = call(func(*cli.Context) error { return errors.New("ran") }, "--version")
	if code != 0 || stdout != "rp-x unreleased\n" {
		t.Errorf("exit %d, stdout %q", code, stdout)
	}
}

func TestInterruptedIsAFailure(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var errs bytes.Buffer
	c := Command{Name: "rp-x", Run: func(ctx context.Context, _ *Env, _ *cli.Context) error { return ctx.Err() }}
	if code := Execute(ctx, c, nil, &Env{Stderr: &errs, Stdout: &errs, Now: time.Now}); code != 1 || errs.String() != "rp-x: interrupted\n" {
		t.Errorf("exit %d, %q", code, errs.String())
	}
}

func TestProgressOnlyOnATerminal(t *testing.T) {
	var out bytes.Buffer
	clock := time.Unix(0, 0)
	env := &Env{Stderr: &out, Now: func() time.Time { return clock }}
	env.Progress("entries").Show(1, 2)
	env.Progress("entries").Done()
	if out.Len() != 0 {
		t.Errorf("wrote %q to what is no terminal", out.String())
	}
	env.Terminal = true
	p := env.Progress("entries")
	p.Show(1, 0)
	if out.Len() != 0 {
		t.Errorf("wrote %q at once", out.String())
	}
	clock = clock.Add(2 * time.Second)
	p.Show(1000, 3000)
	if out.String() != "\r1000 of 3000 entries, 500/s, 4s left" {
		t.Errorf("got %q", out.String())
	}
	p.Done()
	if !strings.HasSuffix(out.String(), "\r") {
		t.Errorf("the line stays: %q", out.String())
	}
}
