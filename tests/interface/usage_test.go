package interface_test

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestHelpIsOnStdout(t *testing.T) {
	each(t, func(t *testing.T, c command) {
		for _, args := range [][]string{{"--help"}, {"-h"}} {
			r := c.run(t, args...)
			if r.code != 0 || r.stderr != "" || !strings.HasPrefix(r.stdout, c.name+" - ") {
				t.Errorf("%q: exit %d, stdout %q, stderr %q", args, r.code, r.stdout, r.stderr)
			}
		}
	})
}

func TestVersionIsOnStdout(t *testing.T) {
	each(t, func(t *testing.T, c command) {
		if r := c.run(t, "--version"); r != (result{0, c.name + " " + version + "\n", ""}) {
			t.Errorf("got %+v", r)
		}
	})
}

// anyNumber is how --help says that there may be as many arguments as one likes.
var anyNumber = regexp.MustCompile(`(?m)^usage: .*\.\.\.\]$`)

func TestUsageErrors(t *testing.T) {
	each(t, func(t *testing.T, c command) {
		for _, start := range c.starts(t) {
			program := strings.Join(append([]string{c.name}, start...), " ")
			surplus, of := []string{"a", "b", "c", "d", "e"}, "unexpected argument "
			if anyNumber.MatchString(c.run(t, append(slices.Clone(start), "--help")...).stdout) {
				surplus, of = []string{"a", "a"}, "is given twice"
			}
			for _, u := range []struct {
				args []string
				want string
			}{
				{[]string{"--no-such-flag"}, c.name + ": unknown flag: --no-such-flag\nhint: " + program + " --help lists the flags\n"},
				{[]string{"-Z"}, c.name + ": unknown flag: -Z\nhint: " + program + " --help lists the flags\n"},
				{[]string{"a", "--version"}, c.name + ": flag \"--version\" after an argument\nhint: put flags first: " + program + " --version a\n"},
				{[]string{"a", "--config", "f", "-h"}, "\nhint: put flags first: " + program + " --config f -h a\n"},
				{[]string{"--config"}, "flag needs an argument: --config"},
				{[]string{"--config", ""}, c.name + ": flag --config has an empty value\nhint: "},
				{surplus, of},
				{append([]string{"--"}, surplus...), of},
			} {
				r := c.run(t, append(slices.Clone(start), u.args...)...)
				if r.code != 64 || r.stdout != "" || !strings.Contains(r.stderr, u.want) {
					t.Errorf("%s %q: exit %d, stdout %q, stderr %q, want 64 and %q", program, u.args, r.code, r.stdout, r.stderr, u.want)
				}
			}
		}
	})
}

// TestEmptyValues gives every flag that takes a text an empty one, as a
// variable does that the shell does not know.
func TestEmptyValues(t *testing.T) {
	each(t, func(t *testing.T, c command) {
		for _, start := range c.starts(t) {
			n := 0
			for _, f := range long(c.flags(t, start...)) {
				if r := c.run(t, append(slices.Clone(start), f)...); !strings.Contains(r.stderr, "needs an argument") {
					continue
				}
				n++
				if r := c.run(t, append(slices.Clone(start), f, "")...); r.code != 64 || !strings.Contains(r.stderr, f[1:]) {
					t.Errorf("%s %s with an empty value: %+v", start, f, r)
				}
			}
			if n == 0 {
				t.Errorf("%s: no flag takes a value, not even --config", start)
			}
		}
	})
}

// TestOutputThatCannotBeWritten: a full disk is an error, a reader that went away is none.
func TestOutputThatCannotBeWritten(t *testing.T) {
	each(t, func(t *testing.T, c command) {
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
		for _, u := range []struct {
			to   *os.File
			code int
			want string
		}{
			{full, 1, c.name + ": writing the result: no space left on device\n"},
			{closed, 0, ""},
		} {
			var stderr bytes.Buffer
			cmd := exec.Command(c.path, "--help")
			cmd.Stdout, cmd.Stderr = u.to, &stderr
			_ = cmd.Run() // its exit code tells
			if cmd.ProcessState.ExitCode() != u.code || stderr.String() != u.want {
				t.Errorf("%s: %v, %q, want %d and %q", u.to.Name(), cmd.ProcessState, stderr.String(), u.code, u.want)
			}
		}
	})
}

func TestMissingConfiguration(t *testing.T) {
	each(t, func(t *testing.T, c command) {
		calls := c.verbs(t)
		if calls == nil {
			calls = [][]string{c.arguments(t)}
		}
		for _, call := range calls {
			r := c.run(t, call...)
			if r.code != 78 || r.stdout != "" || !strings.Contains(r.stderr, "none.toml\" does not exist\nhint: ") {
				t.Errorf("%s: exit %d, stdout %q, stderr %q", call, r.code, r.stdout, r.stderr)
			}
		}
	})
}
