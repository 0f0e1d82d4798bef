package failover

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"rplan/lib/app"
	"rplan/lib/diag"
)

// What is wrong with the command line is said before anything is read.
func TestOptionsRefused(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Verb: "restart"}, `unknown verb "restart"`},
		{Options{Verb: "plan", Args: []string{"up", "n1"}}, `there is no plan for "up", only for out and in`},
		{Options{Verb: "plan", Args: []string{"in", "n1"}, Lost: true}, `a node that comes in is not lost`},
		{Options{Verb: "out", Args: []string{"n1"}, Insist: []string{"last-node", "lastnode"}}, `--insist: there is no guard "lastnode"`},
		{Options{Verb: "sync", Lost: true}, `sync --lost: --peer names the node that is lost`},
		{Options{Verb: "sync", Jobs: -1}, `--jobs: -1 is less than none`},
	} {
		if err := Run(context.Background(), &app.Env{}, c.o); diag.KindOf(err) != diag.Usage || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %s", c.o, err, c.want)
		}
	}
	for verb := range verbs {
		o := Options{Verb: verb, Args: []string{"out", "n1"}, Config: filepath.Join(t.TempDir(), "none.toml"), Insist: Guards}
		if err := Run(context.Background(), &app.Env{}, o); diag.KindOf(err) != diag.Config {
			t.Errorf("%s: %v", verb, err)
		}
	}
}

func TestOptionsAreFilledIn(t *testing.T) {
	t.Setenv("SUDO_USER", "alice")
	t.Setenv("SSH_ORIGINAL_COMMAND", "sync n2")
	for _, c := range []struct{ before, want Options }{
		{Options{Verb: "out", Args: []string{"n1"}}, Options{Node: "n1", By: "alice"}},
		{Options{Verb: "plan", Args: []string{"in", "n1"}, By: "bob"}, Options{Node: "n1", By: "bob"}},
		{Options{Verb: "serve", Args: []string{"n2"}}, Options{Node: "n2", By: "alice", Original: "sync n2"}},
		{Options{Verb: "sync"}, Options{By: "alice"}},
	} {
		o := c.before
		if err := o.complete(); err != nil || o.Node != c.want.Node || o.By != c.want.By || o.Original != c.want.Original {
			t.Errorf("%+v, %v", o, err)
		}
	}
	t.Setenv("SUDO_USER", "")
	if caller() == "" {
		t.Error("nobody called")
	}
}
