// Rp-unlock looks at a node that waits in its initramfs, and hands it the passphrases of its disks.
package main

import (
	"context"
	"time"

	"github.com/urfave/cli/v2"

	"rplan/lib/app"
	"rplan/lib/unlock"
)

func main() {
	app.Main(app.Command{
		Name:    "rp-unlock",
		Summary: "look at a node for signs of tampering, then unlock its disks",
		Description: `Asks a node that waits in its initramfs what it looks like, holds that against
what it looked like when it was well, and only then hands each disk its
passphrase from the sealed store. It runs on an admin's own machine.
exit codes: 0 done, 2 refused, 4 suspicious, nothing was sent, 75 try again,
78 configuration; all of them are in rplan(7)`,
		ArgsUsage: "NODE [WHY]", MaxArgs: 2,
		Flags: append(app.StoreFlags(),
			&cli.BoolFlag{Name: "all", Usage: "all nodes of the store side by side, as after a blackout"},
			&cli.BoolFlag{Name: "check", Usage: "only look at the node, waiting or running; for cron"},
			&cli.BoolFlag{Name: "enrol", Usage: "note what the node looks like, while it runs and you trust it"},
			&cli.BoolFlag{Name: "planned", Usage: "note that the node is going to be off, and WHY"},
			&cli.DurationFlag{Name: "for", Value: 4 * time.Hour, Usage: "of --planned: it may be off until `TIME` from now"},
			&cli.StringFlag{Name: "override", Usage: "unlock it although it is suspicious, and note `WHY`"},
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask whether what is explained is"},
			&cli.BoolFlag{Name: "dry-run", Usage: "do all but send, sign and change something"},
			&cli.BoolFlag{Name: "json", Usage: "print the result as JSON"},
		),
		Run: func(ctx context.Context, env *app.Env, c *cli.Context) error {
			return unlock.Run(ctx, env, unlock.Options{
				All: c.Bool("all"), Node: c.Args().Get(0), Why: c.Args().Get(1), Config: c.String("config"),
				Store: c.String("store"), As: c.String("as"), Key: c.String("key"), Identities: c.StringSlice("identity"),
				Check: c.Bool("check"), Enrol: c.Bool("enrol"), Planned: c.Bool("planned"), For: c.Duration("for"),
				Override: c.String("override"), Yes: c.Bool("yes"), DryRun: c.Bool("dry-run"), JSON: c.Bool("json"),
			})
		},
	})
}
