package app

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"
)

// verbed is a command with verbs; it prints what it was called with.
func verbed() Command {
	return Command{
		Name: "rp-x", Summary: "does things", ArgsUsage: "[ARGUMENTS]",
		Verbs: []Verb{
			{Name: "status", Summary: "look", Flags: []string{"json"}},
			{Name: "out", Summary: "take away", MinArgs: 1, MaxArgs: 1, ArgsUsage: "NODE", Flags: []string{"lost", "reason", "insist"}},
			{Name: "in", Summary: "bring back", MinArgs: 1, MaxArgs: 2, ArgsUsage: "NODE [PEER]", Flags: []string{"reason"}},
			{Name: "serve", Summary: "answer", MaxArgs: 1, ArgsUsage: "[PEER]", Hidden: true},
		},
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "config", Aliases: []string{"c"}},
			&cli.BoolFlag{Name: "json"},
			&cli.BoolFlag{Name: "lost"},
			&cli.StringFlag{Name: "reason", Aliases: []string{"r"}, EnvVars: []string{"RPLAN_TEST_REASON"}},
			&cli.StringSliceFlag{Name: "insist"},
		},
		Run: func(_ context.Context, env *Env, c *cli.Context) error {
			return env.PrintJSON([]any{VerbOf(c), c.Args().Slice(), c.Bool("lost"), c.String("reason"), c.String("config")})
		},
	}
}

func callVerb(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	env := &Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Now: time.Now}
	code = Execute(context.Background(), verbed(), args, env)
	return code, out.String(), errs.String()
}

func TestVerbs(t *testing.T) {
	t.Setenv("RPLAN_TEST_REASON", "rain") // which is no flag of status
	for _, c := range []struct{ args, want string }{
		{"status", `["status",[],false,"",""]`},
		{"status -c f", `["status",[],false,"","f"]`},
		{"out --lost --reason=storm n1", `["out",["n1"],true,"storm",""]`},
		{"out n1", `["out",["n1"],false,"rain",""]`},
		{"in n1 n2", `["in",["n1","n2"],false,"rain",""]`},
		{"in -- --n1", `["in",["--n1"],false,"rain",""]`},
		{"serve", `["serve",[],false,"",""]`},
	} {
		code, stdout, stderr := callVerb(strings.Fields(c.args)...)
		if got := strings.NewReplacer("\n", "", " ", "").Replace(stdout); code != 0 || got != c.want || stderr != "" {
			t.Errorf("%q: exit %d, %s, stderr %q", c.args, code, got, stderr)
		}
	}
}

func TestVerbUsageErrors(t *testing.T) {
	const all = "the verbs of rp-x are status, out, in\n"
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "rp-x: the verb is missing\nhint: " + all},
		{[]string{"oust", "n1"}, "rp-x: unknown verb \"oust\"\nhint: did you mean out? " + all},
		{[]string{"statsu"}, "hint: did you mean status? " + all},
		{[]string{"n1", "out"}, "rp-x: unknown verb \"n1\"\nhint: put the verb first: rp-x out n1\n"},
		{[]string{"remove"}, "rp-x: unknown verb \"remove\"\nhint: " + all},
		{[]string{"serv"}, "rp-x: unknown verb \"serv\"\nhint: " + all},
		{[]string{""}, "rp-x: unknown verb \"\"\nhint: " + all},
		{[]string{"--nope"}, "rp-x: unknown flag: --nope\nhint: rp-x --help lists the flags\n"},
		{[]string{"--lost"}, "rp-x: flag \"--lost\" before the verb\nhint: " + all},
		{[]string{"--lost", "-r", "a storm", "out", "n1"}, "rp-x: flag \"--lost\" before the verb\nhint: put the verb first: rp-x out --lost -r 'a storm' n1\n"},
		{[]string{"--", "out", "n1"}, "rp-x: flag \"--\" before the verb\nhint: put the verb first: rp-x out n1\n"},
		{[]string{"out", "--nope", "n1"}, "rp-x: unknown flag: --nope\nhint: rp-x out --help lists the flags\n"},
		{[]string{"status", "--reason", "x"}, "rp-x: status takes no flag --reason\nhint: it is one of out, in; rp-x status --help lists the flags\n"},
		{[]string{"in", "--lost", "n1"}, "rp-x: in takes no flag --lost\nhint: it is one of out; rp-x in --help lists the flags\n"},
		{[]string{"status", "-r", "x"}, "rp-x: status takes no flag --reason\n"},
		{[]string{"out"}, "rp-x: an argument is missing; out takes NODE\nhint: rp-x out --help lists the flags\n"},
		{[]string{"out", "n1", "n2"}, "rp-x: unexpected argument \"n2\"; out takes NODE\nhint: rp-x out --help lists the flags\n"},
		{[]string{"status", "n1"}, "rp-x: unexpected argument \"n1\"; status takes no arguments\n"},
		{[]string{"out", "n1", "--lost"}, "rp-x: flag \"--lost\" after an argument\nhint: put flags first: rp-x out --lost n1\n"},
		{[]string{"out", "--lost", "n1", "-r", "it's gone", "-c=f"}, "rp-x: flag \"-r\" after an argument\nhint: put flags first: rp-x out -r 'it'\\''s gone' -c=f --lost n1\n"},
		{[]string{"out", "--reason", "", "n1"}, "rp-x: flag --reason has an empty value\nhint: rp-x out --help lists the flags\n"},
		{[]string{"out", "--insist", "a", "--insist", "", "n1"}, "rp-x: flag --insist has an empty value\n"},
		{[]string{"out", "--reason"}, "rp-x: flag needs an argument: --reason\nhint: rp-x out --help lists the flags\n"},
	} {
		code, stdout, stderr := callVerb(c.args...)
		if code != 64 || stdout != "" || !strings.Contains(stderr, c.want) {
			t.Errorf("%q: exit %d, stdout %q, stderr %q, want 64 and %q", c.args, code, stdout, stderr, c.want)
		}
	}
}

func TestVerbHelpAndVersion(t *testing.T) {
	for _, args := range []string{"--help", "-h", "--help out"} {
		code, stdout, stderr := callVerb(strings.Fields(args)...)
		for _, want := range []string{
			"rp-x - does things\n\nusage: rp-x VERB [flags] [ARGUMENTS]\n", "\n   status          look\n", "\n   in NODE [PEER]  bring back\n", "--lost", "--insist",
		} {
			if code != 0 || stderr != "" || !strings.Contains(stdout, want) || strings.Contains(stdout, "serve") {
				t.Errorf("%q: exit %d, stderr %q, stdout %q, want %q", args, code, stderr, stdout, want)
			}
		}
	}
	code, stdout, stderr := callVerb("in", "--help")
	if code != 0 || stderr != "" || !strings.HasPrefix(stdout, "rp-x in - bring back\n\nusage: rp-x in [flags] NODE [PEER]\n") ||
		!strings.Contains(stdout, "--reason") || strings.Contains(stdout, "--lost") || strings.Contains(stdout, "verbs") {
		t.Errorf("exit %d, stderr %q, stdout %q", code, stderr, stdout)
	}
	for _, args := range []string{"--version", "out --version", "serve --version x"} {
		if code, stdout, _ := callVerb(strings.Fields(args)...); code != 0 || stdout != "rp-x unreleased\n" {
			t.Errorf("%q: exit %d, stdout %q", args, code, stdout)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "in", 2}, {"out", "out", 0}, {"otu", "out", 1}, {"oust", "out", 1}, {"ut", "out", 1}, {"admot", "admit", 1}, {"evict", "admit", 4}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("%q, %q: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
