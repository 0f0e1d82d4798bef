package interface_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"rplan/lib/failover"
	"rplan/tests/need"
)

// eachVerbed runs a test for every command that has verbs.
func eachVerbed(t *testing.T, test func(t *testing.T, c command, verbs []string)) {
	n := 0
	each(t, func(t *testing.T, c command) {
		var verbs []string
		for _, v := range c.verbs(t) {
			verbs = append(verbs, v[0])
		}
		if verbs == nil {
			t.Skip("it has no verbs")
		}
		n++
		test(t, c, verbs)
	})
	if n == 0 {
		t.Error("no command has verbs")
	}
}

// described are the verbs that a manual page explains, and those for programs that --help leaves out.
func described(t *testing.T, c command, verbs []string) (all, hidden []string) {
	t.Helper()
	all = sorted(found1(regexp.MustCompile(`(?m)^\.It Cm (\S+)`), section(t, read(t, "man", c.name+".8"), "VERBS")))
	return all, slices.DeleteFunc(slices.Clone(all), func(v string) bool { return slices.Contains(verbs, v) })
}

func TestManualHasTheVerbs(t *testing.T) {
	eachVerbed(t, func(t *testing.T, c command, verbs []string) {
		all, hidden := described(t, c, verbs)
		for _, verb := range hidden {
			if r := c.run(t, verb, "--help"); r.code != 0 || !strings.HasPrefix(r.stdout, c.name+" "+verb+" - ") {
				t.Errorf("the page speaks of %s, which there is not: %+v", verb, r)
			}
		}
		same(t, "VERBS", all, append(hidden, verbs...))
		if want := map[string]int{"rp-failover": 1}[c.name]; len(hidden) != want {
			t.Errorf("hidden are %q, not %d", hidden, want)
		}
		synopsis := map[string][]string{}
		for _, block := range strings.Split(section(t, read(t, "man", c.name+".8"), "SYNOPSIS"), ".Nm\n") {
			first, _, _ := strings.Cut(block, "\n")
			heads, isVerb := strings.CutPrefix(first, ".Cm ")
			for _, verb := range strings.Split(heads, " | ") {
				if isVerb {
					synopsis[verb] = mdocFlags(block)
				}
			}
		}
		for _, verb := range all {
			same(t, "SYNOPSIS of "+verb, append(synopsis[verb], "--help", "--version"), long(c.flags(t, verb)))
		}
	})
}

// TestVerbsHaveTheirFlags: all flags of the command are some verb's, and a
// verb takes none of another's, whose takers are named.
func TestVerbsHaveTheirFlags(t *testing.T) {
	eachVerbed(t, func(t *testing.T, c command, verbs []string) {
		takers := map[string][]string{}
		for _, verb := range verbs {
			for _, f := range c.flags(t, verb) {
				takers[f] = append(takers[f], verb)
			}
		}
		for _, f := range c.flags(t) {
			if len(takers[f]) == 0 {
				t.Errorf("no verb takes %s", f)
			}
			for _, verb := range verbs {
				if slices.Contains(takers[f], verb) {
					continue
				}
				want := "it is one of " + strings.Join(takers[f], ", ") + "; "
				if r := c.run(t, verb, f, "x"); r.code != 64 || r.stdout != "" || !strings.Contains(r.stderr, verb+" takes no flag --") || !strings.Contains(r.stderr, want) {
					t.Errorf("%s %s: %+v, want %q", verb, f, r, want)
				}
			}
		}
	})
}

func TestVerbUsage(t *testing.T) {
	eachVerbed(t, func(t *testing.T, c command, verbs []string) {
		all := "the verbs of " + c.name + " are " + strings.Join(verbs, ", ") + "\n"
		wrong := map[string]string{
			"":                           c.name + ": the verb is missing\nhint: " + all,
			"nothing-such":               c.name + ": unknown verb \"nothing-such\"\nhint: " + all,
			verbs[0] + "x":               c.name + ": unknown verb \"" + verbs[0] + "x\"\nhint: did you mean " + verbs[0] + "? " + all,
			"--config f " + verbs[0]:     c.name + ": flag \"--config\" before the verb\nhint: put the verb first: " + c.name + " " + verbs[0] + " --config f\n",
			"a " + verbs[0]:              c.name + ": unknown verb \"a\"\nhint: put the verb first: " + c.name + " " + verbs[0] + " a\n",
			strings.ToUpper(verbs[0]):    c.name + ": unknown verb ",
			"--no-such-flag " + verbs[0]: c.name + ": unknown flag: --no-such-flag\nhint: " + c.name + " --help lists the flags\n",
		}
		for _, v := range c.verbs(t) {
			if len(v) > 1 {
				wrong[strings.Join(v[:len(v)-1], " ")] = c.name + ": an argument is missing; " + v[0] + " takes "
			}
			wrong[strings.Join(v, " ")+" more"] = c.name + ": unexpected argument \"more\"; " + v[0] + " takes "
		}
		for line, want := range wrong {
			if r := c.run(t, strings.Fields(line)...); r.code != 64 || r.stdout != "" || !strings.HasPrefix(r.stderr, want) {
				t.Errorf("%q: %+v, want %q", line, r, want)
			}
		}
		for _, verb := range verbs {
			if r := c.run(t, verb, "--version"); r != (result{0, c.name + " " + version + "\n", ""}) {
				t.Errorf("%s --version: %+v", verb, r)
			}
		}
	})
}

// TestGuards: what --insist can name is the same in the program, in the page
// and in what the shells offer.
func TestGuards(t *testing.T) {
	page := read(t, "man", "rp-failover.8")
	same(t, "REFUSALS", found1(regexp.MustCompile(`(?m)^\.It Cm (\S+)$`), section(t, page, "REFUSALS")), failover.Guards)
	_, item, _ := strings.Cut(section(t, page, "OPTIONS"), "\n.It Fl -insist Ar guard\n")
	item, _, _ = strings.Cut(item, "\n.It ")
	same(t, "--insist", found1(regexp.MustCompile(`([a-z]+-[a-z]+|standby|replica|checks)\b`), item), failover.Guards)
	for _, s := range shells {
		if file := s.file("rp-failover"); !strings.Contains(read(t, "completions", file), strings.Join(failover.Guards, " ")) {
			t.Errorf("%s offers other guards than %q", file, failover.Guards)
		}
	}
}

// TestWithoutRights: who may not read the configuration is told so, by each verb, and nothing else happens.
func TestWithoutRights(t *testing.T) {
	need.Root(t)
	dir, err := os.MkdirTemp("", "rplan-rights-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	config := filepath.Join(dir, "rplan.toml")
	for path, mode := range map[string]os.FileMode{scratch: 0o755, dir: 0o755, config: 0o600} {
		if path == config {
			err = os.WriteFile(config, []byte("node = \"n1\"\n"), mode)
		} else {
			err = os.Chmod(path, mode)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	eachVerbed(t, func(t *testing.T, c command, _ []string) {
		for _, v := range c.verbs(t) {
			var stdout, stderr strings.Builder
			cmd := exec.Command(c.path, slices.Concat(v[:1], []string{"--config", config}, v[1:])...)
			cmd.Dir, cmd.Env = "/", []string{"PATH=" + os.Getenv("PATH")}
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
			_ = cmd.Run() // its exit code tells
			if cmd.ProcessState.ExitCode() != 78 || stdout.Len() > 0 || !strings.Contains(stderr.String(), "permission denied\nhint: call this as a user who may read it") {
				t.Errorf("%s: %v, stdout %q, stderr %q", v, cmd.ProcessState, &stdout, &stderr)
			}
		}
	})
}
