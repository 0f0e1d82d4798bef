package archiveprune

import (
	"regexp"
	"slices"
	"strings"

	"rplan/lib/diag"
)

// AsConfigured is Options.TrashDays where the command line does not say.
const AsConfigured = -1

// Options are what the command line says.
type Options struct {
	Args      []string // names or addresses of lists, none for all; with Rebuild a list and perhaps a month
	Config    string   // path of rplan.toml
	Apply     bool     // do what a report only says
	Undo      bool     // bring back what is in the trash
	Rebuild   bool     // make pages again
	Layout    string   // of the trees; "" as configured
	KeepHTML  string   // for all lists of this run, as Keep; "" as configured, and so below
	KeepMbox  string
	Undated   string
	Compress  string
	Scrub     bool
	TrashDays int // AsConfigured, or from 0
	JSON      bool
	Metrics   string // file for Prometheus
}

// Lists are the names or addresses of the lists that the run is about, in
// lower case; none means all.
func (o *Options) Lists() []string {
	args := o.Args
	if o.Rebuild {
		args = args[:min(len(args), 1)]
	}
	lists := make([]string, len(args))
	for i, arg := range args {
		lists[i] = strings.ToLower(arg)
	}
	return lists
}

// Month is the one that is rebuilt, as YYYY-MM; "" for all.
func (o *Options) Month() string {
	if o.Rebuild && len(o.Args) > 1 {
		return o.Args[1]
	}
	return ""
}

// Changes says whether the run may change an archive: all but a report does.
func (o *Options) Changes() bool { return o.Apply || o.Undo || o.Rebuild }

const listsFlags = "rp-archive-prune --help lists the flags"

// aMonth is one of the years that an archive can be of.
var aMonth = regexp.MustCompile(`^(19|2[0-9])[0-9]{2}-(0[1-9]|1[0-2])$`)

// check refuses command lines that mean nothing. Its errors are of kind diag.Usage.
func (o *Options) check() error {
	for _, err := range []error{o.checkFlags(), o.checkTogether(), o.checkArgs()} {
		if err != nil {
			return err
		}
	}
	return nil
}

// checkFlags looks at each flag's value.
func (o *Options) checkFlags() error {
	for _, f := range []struct {
		flag, value string
		names       []string
	}{{"layout", o.Layout, layouts}, {"undated", o.Undated, undateds}, {"compress", o.Compress, compressions}} {
		if f.value != "" && !slices.Contains(f.names, f.value) {
			return diag.Usage.Errorf("--%s %q is not one of %s", f.flag, f.value, strings.Join(f.names, ", ")).WithHint(listsFlags)
		}
	}
	keeps := map[string]Keep{}
	for _, f := range []struct{ flag, value string }{{"keep-html", o.KeepHTML}, {"keep-mbox", o.KeepMbox}} {
		if f.value == "" {
			continue
		}
		k, err := ParseKeep(f.value)
		if err != nil {
			return diag.Usage.Errorf("--%s %q: %w", f.flag, f.value, err).WithHint(listsFlags)
		}
		keeps[f.flag] = k
	}
	if len(keeps) == 2 && keeps["keep-html"].Outlasts(keeps["keep-mbox"]) {
		return diag.Usage.Errorf("--keep-html %s can be longer than --keep-mbox %s: pages would show messages that are gone", o.KeepHTML, o.KeepMbox).
			WithHint("give --keep-mbox alone: pages go with their messages")
	}
	if o.TrashDays < AsConfigured || o.TrashDays > maxTrashDays {
		return diag.Usage.Errorf("--trash-days %d is not a number from 0 to %d", o.TrashDays, maxTrashDays).WithHint(listsFlags)
	}
	return nil
}

// checkTogether looks for flags that go with no other.
func (o *Options) checkTogether() error {
	given := map[string]bool{
		"apply": o.Apply, "undo": o.Undo, "layout": o.Layout != "", "keep-html": o.KeepHTML != "", "keep-mbox": o.KeepMbox != "",
		"undated": o.Undated != "", "compress": o.Compress != "", "scrub-addresses": o.Scrub, "trash-days": o.TrashDays != AsConfigured, "metrics": o.Metrics != "",
	}
	prunes := []string{"apply", "keep-html", "keep-mbox", "undated", "compress", "scrub-addresses", "trash-days", "metrics"}
	for _, f := range []struct {
		flag   string
		is     bool
		none   []string
		does   string
		remedy string
	}{
		{"rebuild", o.Rebuild, append([]string{"undo"}, prunes...), "makes pages, and removes nothing", "run it once more with --rebuild alone"},
		{"undo", o.Undo, append([]string{"layout"}, prunes...), "brings back, and removes nothing", "what it brings back, the next run with --apply removes again: see keep-html and keep-mbox"},
	} {
		for _, other := range f.none {
			if f.is && given[other] {
				return diag.Usage.Errorf("--%s %s: it does not go with --%s", f.flag, f.does, other).WithHint("%s", f.remedy)
			}
		}
	}
	return nil
}

// checkArgs looks at the names of lists, and the month.
func (o *Options) checkArgs() error {
	if o.Rebuild {
		switch {
		case len(o.Args) == 0:
			return diag.Usage.Errorf("--rebuild: the list is missing").WithHint("--rebuild LIST makes all of its pages, --rebuild LIST YYYY-MM those of a month")
		case len(o.Args) > 2:
			return diag.Usage.Errorf("--rebuild takes a list and a month, not %q too", o.Args[2]).WithHint("one list at a time")
		case len(o.Args) == 2 && !aMonth.MatchString(o.Args[1]):
			return diag.Usage.Errorf("--rebuild: %q is not a month such as 2024-03", o.Args[1]).WithHint("one list at a time; the month is written YYYY-MM")
		}
	}
	seen := map[string]bool{}
	for _, list := range o.Lists() {
		if !isListName(list) {
			// An unset variable of a script must not mean all lists.
			return diag.Usage.Errorf("%q is no name of a list", list).WithHint("it is a name such as dev, or an address such as dev@lists.example.org")
		}
		if seen[list] {
			return diag.Usage.Errorf("list %q is given twice", list)
		}
		seen[list] = true
	}
	return nil
}
