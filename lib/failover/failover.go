// Package failover is rp-failover(8): it changes the states of nodes, one
// directory write each, and has the mailboxes of a placement merged before and
// after, so that nobody loses or doubles a message.
package failover

import (
	"context"
	"os"
	"os/user"
	"slices"
	"strings"
	"time"

	"rplan/lib/app"
	"rplan/lib/diag"
)

// Options are what the command line says.
type Options struct {
	Verb      string
	Args      []string
	Node      string // the last argument, filled in by Run
	Config    string
	JSON      bool
	Lost      bool
	Yes       bool
	Reason    string
	By        string   // who does it, filled in by Run where it is not said
	Insist    []string // guards whose refusal is overruled
	Wait      time.Duration
	DryRun    bool
	Peer      string
	All       bool
	Mailboxes []string
	Jobs      int // 0 is the configured number
	Metrics   string
	Verbose   bool
	Original  string // of serve: what the peer asked for, filled in by Run
}

// Guards are what --insist can name.
var Guards = []string{"last-node", "second-out", "standby", "replica", "flip-flop", "checks"}

// verbs are the functions behind the command line.
var verbs = map[string]func(context.Context, *app.Env, Options, *configuration) error{
	"status": runStatus, "plan": runPlan, "out": runOut, "in": runIn, "evict": runEvict, "admit": runAdmit, "sync": runSync, "serve": runServe,
}

// Run does what the verb says.
func Run(ctx context.Context, env *app.Env, o Options) error {
	verb := verbs[o.Verb]
	if verb == nil {
		return diag.Usage.Errorf("unknown verb %q", o.Verb)
	}
	if err := o.complete(); err != nil {
		return err
	}
	c, err := loadConfiguration(o.Config)
	if err != nil {
		return err
	}
	return verb(ctx, env, o, c)
}

// complete fills in what follows from the rest and from who called, and
// refuses what no verb can mean.
func (o *Options) complete() error {
	if n := len(o.Args); n > 0 {
		o.Node = o.Args[n-1]
	}
	switch o.Verb {
	case "plan":
		if o.Args[0] != "out" && o.Args[0] != "in" {
			return diag.Usage.Errorf("there is no plan for %q, only for out and in", o.Args[0])
		}
		if o.Args[0] == "in" && o.Lost {
			return diag.Usage.Errorf("a node that comes in is not lost").WithHint("--lost goes with plan out")
		}
	case "sync":
		if o.Lost && o.Peer == "" {
			return diag.Usage.Errorf("sync --lost: --peer names the node that is lost")
		}
	case "serve":
		o.Original = os.Getenv("SSH_ORIGINAL_COMMAND")
	}
	for _, guard := range o.Insist {
		if !slices.Contains(Guards, guard) {
			return diag.Usage.Errorf("--insist: there is no guard %q", guard).WithHint("the guards are %s", strings.Join(Guards, ", "))
		}
	}
	if o.Jobs < 0 {
		return diag.Usage.Errorf("--jobs: %d is less than none", o.Jobs)
	}
	if o.By == "" {
		o.By = caller()
	}
	return nil
}

// caller is the admin who called, as far as the system knows.
func caller() string {
	if name := os.Getenv("SUDO_USER"); name != "" {
		return name
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}
