package app

import (
	"bytes"
	"context"
	"errors"
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
		{[]string{"--nope"}, "rp-x: unknown flag: -nope\nhint: rp-x --help lists the flags\n"},
		{[]string{"--count", "x"}, `invalid value "x" for flag -count`},
		{[]string{"--count"}, "flag needs an argument: -count"},
		{[]string{"file", "--dry-run"}, "rp-x: flag \"--dry-run\" after an argument\nhint: put flags first: rp-x --dry-run file\n"},
		{[]string{"--count", "3", "file", "-n"}, "put flags first: rp-x -n --count 3 file"},
		{[]string{"--dry-run", "false", "x"}, `unexpected argument "x"`},
		{[]string{"one", "two"}, `unexpected argument "two"`},
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
