package interface_test

import (
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

func TestUsageErrors(t *testing.T) {
	each(t, func(t *testing.T, c command) {
		surplus := []string{"a", "b", "c", "d", "e"}
		for _, u := range []struct {
			args []string
			want string
		}{
			{[]string{"--no-such-flag"}, c.name + ": unknown flag: -no-such-flag\nhint: " + c.name + " --help lists the flags\n"},
			{[]string{"-Z"}, c.name + ": unknown flag: -Z\nhint: " + c.name + " --help lists the flags\n"},
			{[]string{"a", "--version"}, c.name + ": flag \"--version\" after an argument\nhint: put flags first: " + c.name + " --version a\n"},
			{[]string{"--config"}, "flag needs an argument: -config"},
			{surplus, "unexpected argument "},
			{append([]string{"--"}, surplus...), "unexpected argument "},
		} {
			r := c.run(t, u.args...)
			if r.code != 64 || r.stdout != "" || !strings.Contains(r.stderr, u.want) {
				t.Errorf("%q: exit %d, stdout %q, stderr %q, want 64 and %q", u.args, r.code, r.stdout, r.stderr, u.want)
			}
		}
	})
}

func TestMissingConfiguration(t *testing.T) {
	each(t, func(t *testing.T, c command) {
		r := c.run(t)
		if r.code != 78 || r.stdout != "" || !strings.Contains(r.stderr, "none.toml\" does not exist\nhint: ") {
			t.Errorf("exit %d, stdout %q, stderr %q", r.code, r.stdout, r.stderr)
		}
	})
}
