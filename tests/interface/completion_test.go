package interface_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"rplan/tests/need"
)

// shell is one that completes. ask answers what it offers for a typed line;
// type types lines into an interactive one, each with a TAB behind it, and
// returns what it showed.
type shell struct {
	name string
	file func(command string) string
	ask  func(t *testing.T, file, line string) string
	tab  func(t *testing.T, dir, file string, lines ...string) string
}

var shells = []shell{
	{"bash", func(c string) string { return c + ".bash" }, askBash, tabBash},
	{"zsh", func(c string) string { return "_" + c }, askZsh, tabZsh},
	{"fish", func(c string) string { return c + ".fish" }, askFish, tabFish},
}

// eachShell runs a test for every command in every shell.
func eachShell(t *testing.T, test func(t *testing.T, c command, s shell, file string)) {
	each(t, func(t *testing.T, c command) {
		for _, s := range shells {
			t.Run(s.name, func(t *testing.T) {
				need.Program(t, s.name)
				test(t, c, s, filepath.Join(root, "completions", s.file(c.name)))
			})
		}
	})
}

func TestCompletionsParse(t *testing.T) {
	eachShell(t, func(t *testing.T, _ command, s shell, file string) {
		if out, err := exec.Command(s.name, "-n", file).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

func TestCompletionsHaveTheFlags(t *testing.T) {
	eachShell(t, func(t *testing.T, c command, s shell, file string) {
		for _, start := range c.starts(t) {
			program := strings.Join(append([]string{c.name}, start...), " ")
			offered := found1(flag, s.ask(t, file, program+" --")+"\n"+s.ask(t, file, program+" -"))
			same(t, s.name+" for "+program, sorted(offered), c.flags(t, start...))
		}
	})
}

func TestCompletionsOfValues(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, dir := range []string{"some-maps", "some-zones"} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile("some.toml", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eachShell(t, func(t *testing.T, c command, s shell, file string) {
		for _, q := range []struct {
			line, has, lacks string
		}{
			{"rp-genmaps --only ", `postfix dovecot apache dns`, `some`},
			{"rp-genmaps --only=", `postfix dovecot apache dns`, `some`},
			{"rp-genmaps --only d", `dovecot dns`, `apache`},
			{"rp-genmaps --config some", `some\.toml`, `postfix`},
			{"rp-genmaps --config=some", `some\.toml`, `postfix`},
			{"rp-genmaps -c some", `some\.toml`, `postfix`},
			{"rp-genmaps --output some", `some-maps some-zones`, `some\.toml`},
			{"rp-genmaps -o some", `some-maps some-zones`, `some\.toml`},
			{"rp-genmaps --directory ld", `ldapi: ldaps: ldif:`, `some`},
			{"rp-genmaps --node some", ``, `some[.-]`},
			{"rp-genmaps --explain some", ``, `some[.-]`},
			{"rp-genmaps some", ``, `some[.-]`},
			{"rp-failover ", `status plan out in evict admit sync`, `serve`},
			{"rp-failover s", `status sync`, `serve`},
			{"rp-failover plan ", `out in`, `some`},
			{"rp-failover plan --lost ", `out in`, `some`},
			{"rp-failover plan out some", ``, `some[.-]`},
			{"rp-failover in some", ``, `some[.-]`},
			{"rp-failover evict ", ``, `some[.-]`},
			{"rp-failover in --insist ", `last-node second-out standby replica flip-flop checks`, `some`},
			{"rp-failover in --insist=", `last-node second-out standby replica flip-flop checks`, `some`},
			{"rp-failover out --insist s", `second-out standby`, `checks`},
			{"rp-failover out --config some", `some\.toml`, `standby`},
			{"rp-failover status --config=some", `some\.toml`, `standby`},
			{"rp-failover sync --metrics some", `some\.toml`, `standby`},
			{"rp-failover sync --peer some", ``, `some[.-]`},
			{"rp-failover sync --mailbox some", ``, `some[.-]`},
			{"rp-failover out --reason some", ``, `some[.-]`},
			{"rp-failover some", ``, `some[.-]`},
			{"rp-archive-prune --layout ", `pipermail mlmmj mailman3 mhonarc`, `some`},
			{"rp-archive-prune --layout=m", `mlmmj mailman3 mhonarc`, `pipermail`},
			{"rp-archive-prune --undated ", `keep received`, `some`},
			{"rp-archive-prune --apply --compress=", `none gzip zstd`, `some`},
			{"rp-archive-prune --config some", `some\.toml`, `gzip`},
			{"rp-archive-prune -c some", `some\.toml`, `gzip`},
			{"rp-archive-prune --metrics=some", `some\.toml`, `gzip`},
			{"rp-archive-prune --keep-html some", ``, `some[.-]`},
			{"rp-archive-prune --keep-mbox some", ``, `some[.-]`},
			{"rp-archive-prune --trash-days some", ``, `some[.-]`},
			{"rp-archive-prune some", ``, `some[.-]`},
			{"rp-archive-prune --rebuild dev some", ``, `some[.-]`},
			{"rp-rekey ", `status init trust add-admin add-node seal sign`, `some`},
			{"rp-rekey s", `status seal sign`, `trust`},
			{"rp-rekey status --config some", `some\.toml`, `typed`},
			{"rp-rekey status -c some", `some\.toml`, `typed`},
			{"rp-rekey status --store some", `some-maps some-zones`, `some\.toml`},
			{"rp-rekey seal --store=some", `some-maps some-zones`, `some\.toml`},
			{"rp-rekey init --key some", `some\.toml`, `typed`},
			{"rp-rekey seal --identity some", `some\.toml`, `typed`},
			{"rp-rekey seal --identity=some", `some\.toml`, `typed`},
			{"rp-rekey seal -i some", `some\.toml`, `typed`},
			{"rp-rekey seal --device some", `some\.toml`, `typed`},
			{"rp-rekey init --recipient some", `some\.toml`, `typed`},
			{"rp-rekey add-admin --recipient=some", `some\.toml`, `typed`},
			{"rp-rekey add-admin --signer some", `some\.toml`, `typed`},
			{"rp-rekey add-node --file some", `some\.toml`, `typed`},
			{"rp-rekey init --as some", ``, `some[.-]`},
			{"rp-rekey trust --fingerprint some", ``, `some[.-]`},
			{"rp-rekey sign --reason some", ``, `some[.-]`},
			{"rp-rekey sign -r some", ``, `some[.-]`},
			{"rp-rekey add-admin some", ``, `some[.-]`},
			{"rp-rekey add-node some", ``, `some[.-]`},
			{"rp-rekey seal some", ``, `some[.-]`},
			{"rp-rekey seal n1 some", ``, `some[.-]`},
			{"rp-rekey some", ``, `some[.-]`},
			{"rp-unlock --config some", `some\.toml`, `planned`},
			{"rp-unlock -c some", `some\.toml`, `planned`},
			{"rp-unlock --config=some", `some\.toml`, `planned`},
			{"rp-unlock --store some", `some-maps some-zones`, `some\.toml`},
			{"rp-unlock --store=some", `some-maps some-zones`, `some\.toml`},
			{"rp-unlock --key some", `some\.toml`, `planned`},
			{"rp-unlock --identity some", `some\.toml`, `planned`},
			{"rp-unlock -i some", `some\.toml`, `planned`},
			{"rp-unlock --as some", ``, `some[.-]`},
			{"rp-unlock --for some", ``, `some[.-]`},
			{"rp-unlock --override some", ``, `some[.-]`},
			{"rp-unlock some", ``, `some[.-]`},
			{"rp-unlock --planned some", ``, `some[.-]`},
			{"rp-unlock --planned n1 some", ``, `some[.-]`},
		} {
			if !strings.HasPrefix(q.line, c.name+" ") {
				continue
			}
			offered := strings.TrimPrefix(s.ask(t, file, q.line), q.line)
			for _, word := range strings.Fields(q.has) {
				if !regexp.MustCompile(`\b` + word).MatchString(offered) {
					t.Errorf("%q lacks %s: %q", q.line, word, offered)
				}
			}
			if regexp.MustCompile(`\b` + q.lacks).MatchString(offered) {
				t.Errorf("%q offers %s: %q", q.line, q.lacks, offered)
			}
		}
	})
}

// TestTabRunsNothing types commands into each shell and presses TAB behind
// them: none may run, and neither may the program itself.
func TestTabRunsNothing(t *testing.T) {
	eachShell(t, func(t *testing.T, c command, s shell, file string) {
		dir := t.TempDir()
		trap := "#!/bin/sh\ntouch " + filepath.Join(dir, "PROGRAM") + "\n"
		if err := os.WriteFile(filepath.Join(dir, c.name), []byte(trap), 0o700); err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, word := range []string{"$(touch RAN)", "$(touch RAN)/", "`touch RAN`/", "~$(touch RAN)/", `"$(touch RAN)/`, "$(touch RAN", "x;touch RAN;"} {
			for _, before := range []string{"", "--config ", "--config=", "-o ", "--output=", "--directory ldif:", "--only "} {
				lines = append(lines, c.name+" "+before+word)
			}
			lines = append(lines, c.name+" "+word+" -", c.name+" "+word+" --config ")
			for _, v := range c.verbs(t) {
				lines = append(lines, strings.Join(append([]string{c.name}, v[:1]...), " ")+" "+word)
			}
		}
		for _, start := range c.starts(t) {
			for _, f := range c.flags(t, start...) {
				lines = append(lines, strings.Join(append([]string{c.name}, append(start, f)...), " ")+" $(touch RAN)/")
			}
		}
		lines = append(lines, c.name+" --hel") // to see that TAB does something at all
		shown := s.tab(t, dir, file, lines...)
		if !strings.Contains(shown, "--help") {
			t.Errorf("TAB does nothing: %q", shown)
		}
		for _, name := range []string{"RAN", "PROGRAM"} {
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
				t.Errorf("TAB ran something: %q", shown)
			}
		}
	})
}

func askBash(t *testing.T, file, line string) string {
	// Readline takes "=" and ":" for words of their own, and an empty last word for one.
	words := regexp.MustCompile(`[=:]|[^\s=:]+`).FindAllString(line, -1)
	if strings.HasSuffix(line, " ") {
		words = append(words, "")
	}
	const script = `compopt() { :; }
source "$1"; shift
set -- "$(complete -p "$1")" "$@"
function=${1#complete -F } function=${function% *}; shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
"$function" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\n' "${COMPREPLY[@]}"`
	return output(t, exec.Command("bash", append([]string{"--norc", "-c", script, "bash", file}, words...)...))
}

func askFish(t *testing.T, file, line string) string {
	return output(t, exec.Command("fish", "--no-config", "-c", "source $argv[1]; complete -C $argv[2]", file, line))
}

func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, &stderr)
	}
	return string(out)
}

// askZsh reads the list off the screen: zsh completes nowhere but in its editor.
func askZsh(t *testing.T, file, line string) string {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return tabZsh(t, dir, file, line)
}

func tabBash(t *testing.T, dir, file string, lines ...string) string {
	return terminal(t, dir, "bash --norc --noprofile -i", "bind 'set enable-bracketed-paste off'; source "+file, lines)
}

// tabZsh binds TAB to completion alone: by default zsh itself, before any
// completion, expands what is typed, commands in it included.
func tabZsh(t *testing.T, dir, file string, lines ...string) string {
	setup := "fpath=(" + filepath.Dir(file) + " $fpath); autoload -U compinit; compinit -u -d " + filepath.Join(scratch, "zcompdump") +
		"; bindkey '^I' complete-word; bindkey '^U' kill-whole-line; zle_bracketed_paste=(); setopt no_beep no_auto_menu list_ambiguous"
	return terminal(t, dir, "zsh -f -i", setup, lines)
}

func tabFish(t *testing.T, dir, file string, lines ...string) string {
	var shown strings.Builder
	for _, line := range lines {
		cmd := exec.Command("fish", "--no-config", "-c", "source $argv[1]; complete -C $argv[2]", file, line)
		cmd.Dir, cmd.Env = dir, withPath(dir)
		out, _ := cmd.CombinedOutput() // a line that is no command may be an error
		shown.Write(out)
	}
	return shown.String()
}

func withPath(dir string) []string {
	return append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "TERM=dumb")
}

// terminal runs a shell on a terminal of its own, types a setup, then each
// line with two TABs behind it and ^U to take it back, and returns what the
// shell showed since the setup.
func terminal(t *testing.T, dir, command, setup string, lines []string) string {
	t.Helper()
	cmd := exec.Command(need.Program(t, "script"), "-qfec", command, "/dev/null")
	cmd.Dir, cmd.Env = dir, withPath(dir)
	keys, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, screen, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = screen, screen
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	screen.Close()
	stop := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	defer stop.Stop()
	seen := &reader{from: out}
	// The typed text is echoed, so a mark is typed in two pieces and shown in one. The prompt comes
	// when the shell has taken over the terminal's keys: what is typed before, the kernel would edit.
	keys.Write([]byte("stty rows 80 cols 160; " + setup + "; PS1='READ''Y>'\n"))
	seen.until(t, "READY>")
	seen.text = nil
	for _, line := range lines {
		keys.Write([]byte(line + "\t\t\x15"))
	}
	keys.Write([]byte("echo DO''NE\n"))
	seen.until(t, "DONE")
	keys.Write([]byte("exit\n"))
	keys.Close()
	cmd.Wait()
	return string(seen.text)
}

// reader collects what a terminal shows.
type reader struct {
	from *os.File
	text []byte
}

func (r *reader) until(t *testing.T, mark string) {
	t.Helper()
	buf := make([]byte, 4096)
	for !bytes.Contains(r.text, []byte(mark)) {
		n, err := r.from.Read(buf)
		r.text = append(r.text, buf[:n]...)
		if err != nil {
			t.Fatalf("the shell ended before %q: %v\n%s", mark, err, r.text)
		}
	}
}
