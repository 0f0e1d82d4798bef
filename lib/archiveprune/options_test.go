package archiveprune

import (
	"slices"
	"strings"
	"testing"

	"rplan/lib/diag"
)

func TestOptionsRefused(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Layout: "maildir"}, `--layout "maildir" is not one of pipermail, mlmmj, mailman3, mhonarc`},
		{Options{Undated: "drop"}, `--undated "drop" is not one of keep, received`},
		{Options{Compress: "xz"}, `--compress "xz" is not one of none, gzip, zstd`},
		{Options{KeepHTML: "90"}, `--keep-html "90": not a time to keep something such as 90d`},
		{Options{KeepMbox: "never"}, `--keep-mbox "never": not a time`},
		{Options{KeepHTML: "1y", KeepMbox: "90d"}, `--keep-html 1y can be longer than --keep-mbox 90d`},
		{Options{TrashDays: -2}, `--trash-days -2 is not a number from 0 to 3650`},
		{Options{TrashDays: 3651}, `--trash-days 3651 is not`},
		{Options{Rebuild: true}, `--rebuild: the list is missing`},
		{Options{Rebuild: true, Args: []string{"dev", "2024-13"}}, `--rebuild: "2024-13" is not a month such as 2024-03`},
		{Options{Rebuild: true, Args: []string{"dev", "news"}}, `--rebuild: "news" is not a month`},
		{Options{Rebuild: true, Args: []string{"dev", "2024-03", "news"}}, `--rebuild takes a list and a month, not "news" too`},
		{Options{Args: []string{""}}, `"" is no name of a list`},
		{Options{Args: []string{"dev", ""}}, `"" is no name of a list`},
		{Options{Args: []string{"../dev"}}, `"../dev" is no name of a list`},
		{Options{Args: []string{".rplan"}}, `".rplan" is no name of a list`},
		{Options{Args: []string{"dev\x1b[1m"}}, `"dev\x1b[1m" is no name of a list`},
		{Options{Args: []string{"dev", "Dev"}}, `list "dev" is given twice`},
	} {
		if c.o.TrashDays == 0 {
			c.o.TrashDays = AsConfigured
		}
		if err := c.o.check(); diag.KindOf(err) != diag.Usage || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %s", c.o, err, c.want)
		}
	}
}

// TestOptionsThatGoTogether tries each flag with each of the three that say what is done.
func TestOptionsThatGoTogether(t *testing.T) {
	flags := map[string]func(*Options){
		"apply": func(o *Options) { o.Apply = true }, "layout": func(o *Options) { o.Layout = "mlmmj" },
		"keep-html": func(o *Options) { o.KeepHTML = "1d" }, "keep-mbox": func(o *Options) { o.KeepMbox = "1y" },
		"undated": func(o *Options) { o.Undated = "keep" }, "compress": func(o *Options) { o.Compress = "none" },
		"scrub-addresses": func(o *Options) { o.Scrub = true }, "trash-days": func(o *Options) { o.TrashDays = 0 },
		"json": func(o *Options) { o.JSON = true }, "metrics": func(o *Options) { o.Metrics = "f" },
	}
	for mode, set := range map[string]func(*Options){
		"": func(*Options) {}, "undo": func(o *Options) { o.Undo = true }, "rebuild": func(o *Options) { o.Rebuild = true },
	} {
		goes := map[string][]string{"undo": {"json"}, "rebuild": {"json", "layout"}}[mode]
		for flag, give := range flags {
			o := Options{TrashDays: AsConfigured, Args: []string{"dev"}}
			set(&o)
			give(&o)
			err := o.check()
			if mode == "" || slices.Contains(goes, flag) {
				if err != nil {
					t.Errorf("--%s --%s: %v", mode, flag, err)
				}
			} else if diag.KindOf(err) != diag.Usage || !strings.HasPrefix(err.Error(), "--"+mode+" ") || !strings.HasSuffix(err.Error(), "with --"+flag) || diag.HintOf(err) == "" {
				t.Errorf("--%s --%s: %v", mode, flag, err)
			}
		}
	}
	o := Options{TrashDays: AsConfigured, Undo: true, Rebuild: true, Args: []string{"dev"}}
	if err := o.check(); diag.KindOf(err) != diag.Usage || err.Error() != "--rebuild makes pages, and removes nothing: it does not go with --undo" {
		t.Error(err)
	}
}

func TestArguments(t *testing.T) {
	o := Options{TrashDays: AsConfigured, Rebuild: true, Args: []string{"Dev@Lists.example.org", "2024-03"}}
	if err := o.check(); err != nil || !slices.Equal(o.Lists(), []string{"dev@lists.example.org"}) || o.Month() != "2024-03" || !o.Changes() {
		t.Errorf("%v, %q, %q", err, o.Lists(), o.Month())
	}
	o = Options{TrashDays: AsConfigured, Args: []string{"Dev", "2024-03"}}
	if err := o.check(); err != nil || !slices.Equal(o.Lists(), []string{"dev", "2024-03"}) || o.Month() != "" || o.Changes() {
		t.Errorf("%v, %q, %q", err, o.Lists(), o.Month())
	}
	for text, is := range map[string]bool{"1999-12": true, "2038-01": true, "1899-01": false, "2024-3": false, "2024-00": false, "2024-03-01": false, "202403": false} {
		o := Options{TrashDays: AsConfigured, Rebuild: true, Args: []string{"dev", text}}
		if err := o.check(); (err == nil) != is {
			t.Errorf("%s: %v", text, err)
		}
	}
}
