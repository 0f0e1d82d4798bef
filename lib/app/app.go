// Package app holds the house rules that all of rplan's commands keep: results
// on standard output and everything else on standard error, exit codes from
// package diag, flags before arguments, and no word on success unless there is
// something to say. A command's main is its flags and one call of Main.
package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
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
	MaxArgs     int    // how many arguments may follow the flags
	ArgsUsage   string // how --help shows them
	Run         func(context.Context, *Env, *cli.Context) error
}

// Env is the world outside, passed in so that tests can pass another.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Now            func() time.Time
	Terminal       bool // standard error is one: progress may be shown
}

// ConfigFlag is the flag that all commands share.
func ConfigFlag() cli.Flag {
	return &cli.StringFlag{
		Name: "config", Aliases: []string{"c"}, Value: conf.DefaultPath, EnvVars: []string{"RPLAN_CONFIG"},
		Usage: "read the configuration from `FILE`",
	}
}

// Main runs the command with the process's arguments and exits.
func Main(c Command) {
	// A reader that goes away, as head does, must not end a run in the middle.
	// Notify and not Ignore, which the programs that are run would inherit.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	info, err := os.Stderr.Stat()
	env := &Env{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Now: time.Now,
		Terminal: err == nil && info.Mode()&os.ModeCharDevice != 0,
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
	usage := func(format string, a ...any) error {
		return diag.Usage.Errorf(format, a...).WithHint("%s --help lists the flags", c.Name)
	}
	program := &cli.App{
		Name: c.Name, Usage: c.Summary, Description: c.Description, ArgsUsage: c.ArgsUsage,
		Flags:           append(c.Flags, &cli.BoolFlag{Name: "version", Usage: "print the version"}),
		HideHelpCommand: true, HideVersion: true, DisableSliceFlagSeparator: true,
		CustomAppHelpTemplate: helpTemplate,
		Reader:                env.Stdin, Writer: env.Stdout, ErrWriter: env.Stderr,
		ExitErrHandler: func(*cli.Context, error) {},
		OnUsageError: func(_ *cli.Context, err error, _ bool) error {
			return usage("%s", strings.Replace(err.Error(), "flag provided but not defined", "unknown flag", 1))
		},
		Action: func(ctx *cli.Context) error {
			if name := c.emptyFlag(ctx); name != "" {
				return usage("flag --%s has an empty value", name)
			}
			if ctx.Bool("version") {
				fmt.Fprintf(env.Stdout, "%s %s\n", c.Name, Version)
				return nil
			}
			if err := c.checkArguments(args, ctx.Args().Slice(), usage); err != nil {
				return err
			}
			return c.Run(ctx.Context, env, ctx)
		},
	}
	return program.RunContext(ctx, append([]string{c.Name}, args...))
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
// after the first argument, which it takes for an argument, and surplus arguments.
func (c Command) checkArguments(args, positional []string, usage func(string, ...any) error) error {
	before := len(args) - len(positional)
	ended := before > 0 && args[before-1] == "--"
	for i, arg := range positional {
		if strings.HasPrefix(arg, "-") && len(arg) > 1 && !ended {
			at := before + i
			fixed := append([]string{c.Name, arg}, append(append([]string{}, args[:at]...), args[at+1:]...)...)
			return diag.Usage.Errorf("flag %q after an argument", arg).
				WithHint("put flags first: %s", strings.Join(fixed, " "))
		}
	}
	if len(positional) > c.MaxArgs {
		return usage("unexpected argument %q", positional[c.MaxArgs])
	}
	return nil
}

// PrintJSON writes v to standard output, indented, for machines.
func (e *Env) PrintJSON(v any) error {
	enc := json.NewEncoder(e.Stdout)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

const helpTemplate = `{{.Name}} - {{.Usage}}

usage: {{.Name}} [flags]{{if .ArgsUsage}} {{.ArgsUsage}}{{end}}
{{if .Description}}
{{.Description}}
{{end}}
flags:
{{range .VisibleFlags}}   {{.}}
{{end}}`
