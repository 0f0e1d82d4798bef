// Package interface_test holds every command to the manual and the completions
// that are installed with it, by running the real program and the real shells.
package interface_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// root is the top of the repository, and scratch a directory for the time of the tests.
var root, scratch string

// version is what the programs are built to call themselves.
const version = "1.2.3-test"

// command is one of rplan's programs, built for this test.
type command struct {
	name, path string
}

var commands []command

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if root, err = filepath.Abs("../.."); err == nil {
		scratch, err = os.MkdirTemp("", "rplan-interface-")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(scratch)
	mains, err := filepath.Glob(filepath.Join(root, "cmd", "*", "main.go"))
	if err != nil || len(mains) == 0 {
		fmt.Fprintln(os.Stderr, "there is no command in cmd:", err)
		return 1
	}
	for _, main := range mains {
		name := filepath.Base(filepath.Dir(main))
		c := command{name, filepath.Join(scratch, name)}
		build := exec.Command("go", "build", "-tags", "urfave_cli_no_docs,urfave_cli_no_suggest",
			"-ldflags", "-X rplan/lib/app.Version="+version, "-o", c.path, "./cmd/"+name)
		build.Dir = root
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "building %s: %v\n%s", name, err, out)
			return 1
		}
		commands = append(commands, c)
	}
	return m.Run()
}

// each runs a test for every command.
func each(t *testing.T, test func(*testing.T, command)) {
	for _, c := range commands {
		t.Run(c.name, func(t *testing.T) { test(t, c) })
	}
}

// result is what a program did.
type result struct {
	code           int
	stdout, stderr string
}

// run runs the command in an empty directory, with no configuration to find.
func (c command) run(t *testing.T, args ...string) result {
	t.Helper()
	cmd := exec.Command(c.path, args...)
	cmd.Dir = t.TempDir()
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "RPLAN_CONFIG=" + filepath.Join(cmd.Dir, "none.toml")}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// flag is one, as somebody types it.
var flag = regexp.MustCompile(`(?:^|[\s,])(--[a-z][a-z-]*|-[a-z])\b`)

// flags are those that --help lists, sorted; behind a verb, those of the verb.
func (c command) flags(t *testing.T, verb ...string) []string {
	t.Helper()
	_, list, found := strings.Cut(c.run(t, append(verb, "--help")...).stdout, "\nflags:\n")
	if !found {
		t.Fatalf("%s %q --help has no list of flags", c.name, verb)
	}
	var all []string
	for line := range strings.Lines(list) {
		names, _, _ := strings.Cut(strings.TrimSpace(line), "  ")
		all = append(all, found1(flag, names)...)
	}
	return sorted(all)
}

// verbs are those that --help lists, each with arguments that it takes; none for a command without.
func (c command) verbs(t *testing.T) [][]string {
	t.Helper()
	_, list, _ := strings.Cut(c.run(t, "--help").stdout, "\nverbs, each with a --help of its own:\n")
	list, _, _ = strings.Cut(list, "\n\n")
	var all [][]string
	for line := range strings.Lines(list) {
		usage, _, _ := strings.Cut(strings.TrimSpace(line), "  ")
		words := strings.Fields(usage)
		for i, word := range words {
			words[i], _, _ = strings.Cut(strings.ReplaceAll(word, "NODE", "n1"), "|")
		}
		all = append(all, words)
	}
	return all
}

// starts are the words before the flags: each verb, or none for a command without verbs.
func (c command) starts(t *testing.T) [][]string {
	t.Helper()
	var all [][]string
	for _, v := range c.verbs(t) {
		all = append(all, v[:1])
	}
	if all == nil {
		return [][]string{nil}
	}
	return all
}

// arguments are those that a command without verbs must have, as --help shows them.
func (c command) arguments(t *testing.T) []string {
	t.Helper()
	_, usage, _ := strings.Cut(c.run(t, "--help").stdout, "\nusage: "+c.name)
	usage, _, _ = strings.Cut(usage, "\n")
	return slices.DeleteFunc(strings.Fields(usage), func(word string) bool { return word[0] == '[' })
}

// found1 are the first groups of all matches.
func found1(re *regexp.Regexp, text string) []string {
	var all []string
	for _, m := range re.FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}

// sorted is a list sorted, none twice.
func sorted(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}

// long are the flags of more than one letter.
func long(flags []string) []string {
	return slices.DeleteFunc(slices.Clone(flags), func(f string) bool { return len(f) == 2 })
}

// same reports what one list has and the other has not.
func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("%s lacks %q", what, w)
		}
	}
	for _, g := range got {
		if !slices.Contains(want, g) {
			t.Errorf("%s has %q, which there is not", what, g)
		}
	}
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{root}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
