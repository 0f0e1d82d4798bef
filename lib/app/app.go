// Package app holds the house rules that all of rplan's commands keep: results
// on standard output and everything else on standard error, exit codes from
// package diag, flags before arguments, and no word on success unless there is
// something to say. A command's main is its flags and one call of Main.
package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"rplan/lib/conf"
	"rplan/lib/diag"
)

// Version is set when rplan is built.
var Version = "unreleased"

// Command is one of rplan's programs.
type Command struct {
	Name        string
	Summary     string // one line, without a full stop
	Description string // what it does, for --help
	Flags       []cli.Flag
	Verbs       []Verb // what it does, one at a time; without them it does one thing
	MinArgs     int    // how many arguments must follow the flags
	MaxArgs     int    // and how many may
	ArgsUsage   string // how --help shows them
	Run         func(context.Context, *Env, *cli.Context) error

	verb  string   // the one that was called
	whole *Command // what it is one of
}

// AnyNumber is MaxArgs of a command that takes as many arguments as there are.
const AnyNumber = math.MaxInt

// Env is the world outside, passed in so that tests can pass another.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Now            func() time.Time
	Terminal       bool   // standard error is one: progress may be shown
	Interactive    bool   // and standard input is one: questions may be asked
	Width          int    // columns of the terminal that standard output is, 0 where it is none
	TTY            string // where passwords are asked for; "" is /dev/tty
}

// ConfigFlag is the flag that all commands share.
func ConfigFlag() cli.Flag {
	return &cli.StringFlag{
		Name: "config", Aliases: []string{"c"}, Value: conf.DefaultPath, EnvVars: []string{"RPLAN_CONFIG"},
		Usage: "read the configuration from `FILE`",
	}
}

// ownConfigFlag is that flag of the commands that run on an admin's own machine,
// which find the file by themselves where it is empty.
func ownConfigFlag() cli.Flag {
	return &cli.StringFlag{
		Name: "config", Aliases: []string{"c"}, EnvVars: []string{"RPLAN_CONFIG"}, DefaultText: "~/.config/rplan/rplan.toml or " + conf.DefaultPath,
		Usage: "read the configuration from `FILE`",
	}
}

// StoreFlags are those of the commands that work with the sealed store.
func StoreFlags() []cli.Flag {
	return []cli.Flag{
		ownConfigFlag(),
		&cli.StringFlag{Name: "store", EnvVars: []string{"RPLAN_STORE"}, Usage: "the store is in `DIR`"},
		&cli.StringFlag{Name: "as", Usage: "be `ADMIN`"},
		&cli.StringFlag{Name: "key", Usage: "sign with the SSH key in `FILE`"},
		&cli.StringSliceFlag{Name: "identity", Aliases: []string{"i"}, Usage: "open passphrases with the identity in `FILE`; may be repeated"},
	}
}

// Main runs the command with the process's arguments and exits.
func Main(c Command) {
	// A reader that goes away, as head does, must not end a run in the middle.
	// Notify and not Ignore, which the programs that are run would inherit.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	env := &Env{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Now: time.Now,
		Terminal: isTerminal(os.Stderr), Interactive: isTerminal(os.Stderr) && isTerminal(os.Stdin), Width: width(os.Stdout),
	}
	os.Exit(Execute(ctx, c, os.Args[1:], env))
}

// Execute runs the command and returns its exit code, having told any error on
// env.Stderr. That standard output cannot be written does not end the run, and
// is an error after it.
func Execute(ctx context.Context, c Command, args []string, env *Env) int {
	out := &output{w: env.Stdout}
	inner := *env
	inner.Stdout = out
	err := c.execute(ctx, args, &inner)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = diag.Failed.Errorf("interrupted")
	}
	if out.err != nil {
		err = errors.Join(err, diag.Failed.Errorf("writing the result: %w", out.err))
	}
	if err == nil {
		return 0
	}
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(env.Stderr, "%s: %s\n", c.Name, strings.TrimSuffix(line, "\n"))
	}
	if hint := diag.HintOf(err); hint != "" {
		fmt.Fprintf(env.Stderr, "hint: %s\n", hint)
	}
	return diag.ExitCode(err)
}

func (c Command) execute(ctx context.Context, args []string, env *Env) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = diag.Failed.Errorf("internal error: %v\n%s", p, debug.Stack()).
				WithHint("this is a fault of %s %s; report it with the lines above to whoever you have rplan from", c.Name, Version)
		}
	}()
	c.forgetEmptyVariables()
	if c, args, err = c.choose(args); err != nil {
		return err
	}
	return c.parser(args, env).RunContext(ctx, append([]string{c.Name}, args...))
}

// parser is what urfave/cli makes of the command, or of one verb of it.
func (c Command) parser(args []string, env *Env) *cli.App {
	return &cli.App{
		Name: c.program(), Usage: c.Summary, Description: c.Description, ArgsUsage: c.ArgsUsage,
		Metadata:        map[string]any{verbKey: c.verb, "verbs": c.visible()},
		Flags:           append(slices.Clone(c.Flags), &cli.BoolFlag{Name: "version", Usage: "print the version"}),
		HideHelpCommand: true, HideVersion: true, DisableSliceFlagSeparator: true,
		CustomAppHelpTemplate: helpTemplate,
		Reader:                env.Stdin, Writer: env.Stdout, ErrWriter: env.Stderr,
		ExitErrHandler: func(*cli.Context, error) {},
		OnUsageError: func(_ *cli.Context, err error, _ bool) error {
			text := longFlag.ReplaceAllString(err.Error(), "$1-$2")
			name, unknown := strings.CutPrefix(text, "flag provided but not defined: ")
			if !unknown {
				return c.usage("%s", text)
			}
			return cmp.Or(c.notOfThisVerb(name), error(c.usage("unknown flag: %s", name)))
		},
		Action: func(ctx *cli.Context) error {
			if name := c.emptyFlag(ctx); name != "" {
				return c.usage("flag --%s has an empty value", name)
			}
			if ctx.Bool("version") {
				fmt.Fprintf(env.Stdout, "%s %s\n", c.Name, Version)
				return nil
			}
			if err := c.checkArguments(args, ctx.Args().Slice()); err != nil {
				return err
			}
			return c.Run(ctx.Context, env, ctx)
		},
	}
}

// longFlag finds a flag in a message of the flag package, which writes all of them with one hyphen.
var longFlag = regexp.MustCompile(`((?:defined:|argument:|for(?: flag)?) )(-[[:alnum:]][^ :]+)`)

// usage is an error in the command line.
func (c Command) usage(format string, a ...any) *diag.Error {
	return diag.Usage.Errorf(format, a...).WithHint("%s --help lists the flags", c.program())
}

// forgetEmptyVariables makes an empty environment variable of a flag the same as none.
func (c Command) forgetEmptyVariables() {
	for _, f := range c.Flags {
		if f, ok := f.(cli.DocGenerationFlag); ok {
			for _, name := range f.GetEnvVars() {
				if os.Getenv(name) == "" {
					os.Unsetenv(name)
				}
			}
		}
	}
}

// emptyFlag is the name of a flag that was given an empty text, such as an
// unset variable of the shell, or "". No flag means anything by that.
func (c Command) emptyFlag(ctx *cli.Context) string {
	for _, f := range c.Flags {
		name := f.Names()[0]
		empty := false
		switch f.(type) {
		case *cli.StringFlag:
			empty = ctx.String(name) == ""
		case *cli.StringSliceFlag:
			empty = slices.Contains(ctx.StringSlice(name), "")
		}
		if empty && ctx.IsSet(name) {
			return name
		}
	}
	return ""
}

// checkArguments refuses what the flag parser lets through in silence: a flag
// after the first argument, which it takes for an argument, and too few or too
// many arguments.
func (c Command) checkArguments(args, positional []string) error {
	before := len(args) - len(positional)
	if before == 0 || args[before-1] != "--" {
		if first, line := c.flagsFirst(args[:before], positional); first != "" {
			return diag.Usage.Errorf("flag %q after an argument", first).WithHint("put flags first: %s", line)
		}
	}
	takes := cmp.Or(c.verb, c.Name) + " takes " + cmp.Or(c.ArgsUsage, "no arguments")
	switch {
	case len(positional) > c.MaxArgs:
		return c.usage("unexpected argument %q; %s", positional[c.MaxArgs], takes)
	case len(positional) < c.MinArgs:
		return c.usage("an argument is missing; %s", takes)
	}
	return nil
}

// flagsFirst looks for flags among the arguments, and returns the first and
// the whole command as it should have been typed.
func (c Command) flagsFirst(before, positional []string) (first, line string) {
	var flags, rest []string
	for i := 0; i < len(positional); i++ {
		arg := positional[i]
		if len(arg) < 2 || arg[0] != '-' {
			rest = append(rest, arg)
			continue
		}
		first = cmp.Or(first, arg)
		flags = append(flags, arg)
		if _, value := c.flag(arg); value && i+1 < len(positional) {
			i++
			flags = append(flags, positional[i])
		}
	}
	return first, c.program() + " " + typed(slices.Concat(flags, before, rest))
}

// typed is words as a shell would take them for the same words.
func typed(words []string) string {
	plain := regexp.MustCompile(`^[A-Za-z0-9@%+=:,./_-]+$`)
	quoted := make([]string, len(words))
	for i, word := range words {
		if quoted[i] = word; !plain.MatchString(word) {
			quoted[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}

// PrintJSON writes v to standard output, indented, for machines.
func (e *Env) PrintJSON(v any) error {
	enc := json.NewEncoder(e.Stdout)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

const helpTemplate = `{{.Name}} - {{.Usage}}

usage: {{.Name}}{{if .Metadata.verbs}} VERB{{end}} [flags]{{if .ArgsUsage}} {{.ArgsUsage}}{{end}}
{{if .Description}}
{{.Description}}
{{end}}{{if .Metadata.verbs}}
verbs, each with a --help of its own:
{{range .Metadata.verbs}}   {{.Name}}{{if .ArgsUsage}} {{.ArgsUsage}}{{end}}	{{.Summary}}
{{end}}{{end}}
flags:
{{range .VisibleFlags}}   {{.}}
{{end}}`
