package app

import (
	"cmp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"rplan/lib/diag"
)

// Verb is one of the things that a command does, named by its first argument.
type Verb struct {
	Name             string
	Summary          string   // one line, without a full stop
	ArgsUsage        string   // its arguments, as --help shows them
	MinArgs, MaxArgs int      // how many there are
	Flags            []string // those of the command's flags that it takes; what no verb names, all take
	Hidden           bool     // for programs: no word of it in the command's --help and hints
}

// verbKey is where a parsed command line has its verb.
const verbKey = "verb"

// VerbOf is the verb of a command line, "" where the command has none.
func VerbOf(c *cli.Context) string {
	verb, _ := c.App.Metadata[verbKey].(string)
	return verb
}

// program is what is typed to call the command, with its verb.
func (c Command) program() string { return strings.TrimSpace(c.Name + " " + c.verb) }

// choose takes the verb off the arguments, and returns the command as it is
// for this verb. --help and --version are answered by the command as a whole.
func (c Command) choose(args []string) (Command, []string, error) {
	if len(c.Verbs) == 0 {
		return c, args, nil
	}
	if len(args) == 0 {
		return c, nil, diag.Usage.Errorf("the verb is missing").WithHint("%s", c.verbHint(""))
	}
	switch name := args[0]; {
	case slices.Contains([]string{"help", "h", "version"}, bare(name)) && name[0] == '-':
		return c, args[:1], nil
	case strings.HasPrefix(name, "-"):
		return c, nil, c.flagBeforeVerb(args)
	default:
		for _, v := range c.Verbs {
			if v.Name == name {
				return c.only(v), args[1:], nil
			}
		}
		return c, nil, diag.Usage.Errorf("unknown verb %q", name).WithHint("%s", cmp.Or(c.verbFirst(args), c.verbHint(name)))
	}
}

// only is the command for one of its verbs.
func (c Command) only(v Verb) Command {
	named := map[string]bool{}
	for _, v := range c.Verbs {
		for _, name := range v.Flags {
			named[name] = true
		}
	}
	whole := c
	c.verb, c.whole, c.Verbs = v.Name, &whole, nil
	c.Summary, c.Description = v.Summary, ""
	c.ArgsUsage, c.MinArgs, c.MaxArgs = v.ArgsUsage, v.MinArgs, v.MaxArgs
	c.Flags = nil
	for _, f := range whole.Flags {
		if name := f.Names()[0]; !named[name] || slices.Contains(v.Flags, name) {
			c.Flags = append(c.Flags, f)
		}
	}
	return c
}

// visible are the verbs that people call.
func (c Command) visible() []Verb {
	return slices.DeleteFunc(slices.Clone(c.Verbs), func(v Verb) bool { return v.Hidden })
}

// verbHint lists the verbs, and the one that a mistyped name may have meant.
func (c Command) verbHint(name string) string {
	var names []string
	near := ""
	for _, v := range c.visible() {
		names = append(names, v.Name)
		if near == "" && name != "" && distance(name, v.Name) <= (len(v.Name)+1)/3 {
			near = "did you mean " + v.Name + "? "
		}
	}
	return near + "the verbs of " + c.Name + " are " + strings.Join(names, ", ")
}

// flagBeforeVerb is the error for what stands where the verb has its place.
func (c Command) flagBeforeVerb(args []string) error {
	if f, _ := c.flag(args[0]); f == nil && args[0] != "--" {
		name, _, _ := strings.Cut(args[0], "=")
		return c.usage("unknown flag: %s", name)
	}
	return diag.Usage.Errorf("flag %q before the verb", args[0]).WithHint("%s", cmp.Or(c.verbFirst(args), c.verbHint("")))
}

// verbFirst is the hint for a verb that stands further behind, or "".
func (c Command) verbFirst(args []string) string {
	for i, arg := range args {
		if slices.ContainsFunc(c.visible(), func(v Verb) bool { return v.Name == arg }) {
			rest := slices.DeleteFunc(slices.Concat(args[:i], args[i+1:]), func(s string) bool { return s == "--" })
			return "put the verb first: " + c.Name + " " + arg + " " + typed(rest)
		}
	}
	return ""
}

// notOfThisVerb is the error for a flag that other verbs have, or nil.
func (c Command) notOfThisVerb(name string) error {
	if c.whole == nil {
		return nil
	}
	f, _ := c.whole.flag(name)
	if f == nil {
		return nil
	}
	var takers []string
	for _, v := range c.whole.visible() {
		if slices.Contains(v.Flags, f.Names()[0]) {
			takers = append(takers, v.Name)
		}
	}
	return diag.Usage.Errorf("%s takes no flag --%s", c.verb, f.Names()[0]).
		WithHint("it is one of %s; %s --help lists the flags", strings.Join(takers, ", "), c.program())
}

// flag is the command's flag that is typed like this, or nil, and whether its
// value would be the next word.
func (c Command) flag(arg string) (cli.Flag, bool) {
	name := bare(arg)
	for _, f := range c.Flags {
		if slices.Contains(f.Names(), name) {
			d, ok := f.(cli.DocGenerationFlag)
			return f, ok && d.TakesValue() && !strings.Contains(arg, "=")
		}
	}
	return nil, false
}

// bare is a flag's name, without hyphens and value.
func bare(arg string) string {
	name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	return name
}

// distance counts what was mistyped: letters too many, missing, wrong, or two exchanged.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			wrong := 1
			if a[i-1] == b[j-1] {
				wrong = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+wrong)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
