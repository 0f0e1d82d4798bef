// Rp-failover takes nodes out and brings them back, and keeps standbys equal.
package main

import (
	"context"
	"time"

	"github.com/urfave/cli/v2"

	"rplan/lib/app"
	"rplan/lib/failover"
)

func main() {
	change := []string{"yes", "reason", "by", "insist", "dry-run", "json"}
	moving := append([]string{"wait", "verbose"}, change...)
	app.Main(app.Command{
		Name:    "rp-failover",
		Summary: "take a node out and bring it back, with no mail lost or doubled",
		Description: `Changes the state of a node in the directory, which is what its users
follow, and merges mailboxes so that nothing is lost or doubled by it.
The verb comes first, then flags, then arguments.

exit codes: 0 done, 2 refused by a guard, 3 done but for something that is
named, 75 try again later, 78 configuration; all of them are in rplan(7)`,
		ArgsUsage: "[ARGUMENTS]",
		Verbs: []app.Verb{
			{Name: "status", Flags: []string{"json"}, Summary: "show the nodes, and who carries what"},
			{Name: "plan", MinArgs: 2, MaxArgs: 2, ArgsUsage: "out|in NODE", Flags: []string{"lost", "json"}, Summary: "say what out or in would do, and change nothing"},
			{Name: "out", MinArgs: 1, MaxArgs: 1, ArgsUsage: "NODE", Flags: append([]string{"lost"}, moving...), Summary: "take a node out of service"},
			{Name: "in", MinArgs: 1, MaxArgs: 1, ArgsUsage: "NODE", Flags: moving, Summary: "bring a node back, with all that happened meanwhile"},
			{Name: "evict", MinArgs: 1, MaxArgs: 1, ArgsUsage: "NODE", Flags: moving, Summary: "give up a node that others have taken, for good"},
			{Name: "admit", MinArgs: 1, MaxArgs: 1, ArgsUsage: "NODE", Flags: change, Summary: "let an evicted node's name be used again"},
			{Name: "sync", Flags: []string{"peer", "lost", "all", "mailbox", "jobs", "metrics", "wait", "json", "dry-run", "verbose"}, Summary: "merge what changed with the standbys; for cron"},
			{Name: "serve", MinArgs: 1, MaxArgs: 1, ArgsUsage: "PEER", Hidden: true, Summary: "answer another node, as its sshd's forced command"},
		},
		Flags: []cli.Flag{
			app.ConfigFlag(),
			&cli.BoolFlag{Name: "lost", Usage: "the node is gone: do not wait for it, and merge nothing with it"},
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"},
			&cli.StringFlag{Name: "reason", Aliases: []string{"r"}, Usage: "say why, in `TEXT` that goes into the node's entry"},
			&cli.StringFlag{Name: "by", Usage: "say that `ADMIN` does it, instead of who called sudo"},
			&cli.StringSliceFlag{Name: "insist", Usage: "go on although `GUARD` refused; may be repeated"},
			&cli.DurationFlag{Name: "wait", Value: time.Minute, Usage: "wait up to `TIME` for all nodes to publish, or for a lock"},
			&cli.BoolFlag{Name: "dry-run", Usage: "say what would be done, and change nothing"},
			&cli.BoolFlag{Name: "json", Usage: "print the result as JSON"},
			&cli.StringFlag{Name: "peer", Usage: "only what is merged with `NODE`"},
			&cli.BoolFlag{Name: "all", Usage: "look into every mailbox, changed or not"},
			&cli.StringSliceFlag{Name: "mailbox", Usage: "only the mailbox `ADDRESS`; may be repeated"},
			&cli.IntFlag{Name: "jobs", DefaultText: "as configured", Usage: "merge `N` mailboxes at a time"},
			&cli.StringFlag{Name: "metrics", Usage: "write how it went to `FILE`, for Prometheus"},
			&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "say each step"},
		},
		Run: func(ctx context.Context, env *app.Env, c *cli.Context) error {
			return failover.Run(ctx, env, failover.Options{
				Verb: app.VerbOf(c), Args: c.Args().Slice(),
				Config: c.String("config"), JSON: c.Bool("json"), Verbose: c.Bool("verbose"), DryRun: c.Bool("dry-run"), Wait: c.Duration("wait"),
				Lost: c.Bool("lost"), Yes: c.Bool("yes"), Reason: c.String("reason"), By: c.String("by"), Insist: c.StringSlice("insist"),
				Peer: c.String("peer"), All: c.Bool("all"), Mailboxes: c.StringSlice("mailbox"), Jobs: c.Int("jobs"), Metrics: c.String("metrics"),
			})
		},
	})
}
