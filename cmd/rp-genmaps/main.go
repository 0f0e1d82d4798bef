// Rp-genmaps makes the maps of this node's services from the directory.
package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"rplan/lib/app"
	"rplan/lib/genmaps"
)

func main() {
	app.Main(app.Command{
		Name:    "rp-genmaps",
		Summary: "make this node's Postfix, Dovecot, Apache and DNS maps from the directory",
		Description: `Reads the directory, makes the files that the services of this node look
things up in, checks them with the services' own checkers, replaces those
that changed, and tells the services that have to be told. Run it from cron
and after a change. It says nothing when all is well.

exit codes: 0 done, 2 refused by a guard, 3 some entries were left out,
75 try again later, 78 configuration; all of them are in rplan(7)`,
		Flags: []cli.Flag{
			app.ConfigFlag(),
			&cli.StringSliceFlag{Name: "directory", Usage: "read the directory from `URL` instead; may be repeated"},
			&cli.StringFlag{Name: "node", Aliases: []string{"n"}, EnvVars: []string{"RPLAN_NODE"}, Usage: "make the maps of node `NAME`"},
			&cli.StringSliceFlag{Name: "only", Usage: "only the maps of `SERVICE`: ssh, postfix, dovecot, apache or dns; may be repeated"},
			&cli.BoolFlag{Name: "states", Usage: "only what follows the states of the nodes, at once; all else is for the next run"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write the maps below `DIR` instead, and tell no service"},
			&cli.BoolFlag{Name: "dry-run", Usage: "say what would be written, and change nothing"},
			&cli.BoolFlag{Name: "diff", Usage: "show each row that differs from the published maps"},
			&cli.StringFlag{Name: "explain", Usage: "say how `KEY` is served, an address, site, list, domain or node, and end"},
			&cli.BoolFlag{Name: "json", Usage: "print the result as JSON"},
			&cli.BoolFlag{Name: "force", Usage: "make all maps, also if nothing changed since the last run"},
			&cli.BoolFlag{Name: "allow-loss", Usage: "publish although a map loses many of its rows"},
			&cli.BoolFlag{Name: "allow-older", Usage: "read a replica that is older than the one of the last run"},
			&cli.BoolFlag{Name: "no-reload", Usage: "tell no service of its new maps, for a node whose servers do not run yet"},
			&cli.DurationFlag{Name: "wait", Usage: "wait up to `TIME`, such as 30s, for another run to end"},
			&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "say each step"},
		},
		Run: func(ctx context.Context, env *app.Env, c *cli.Context) error {
			return genmaps.Run(ctx, env, genmaps.Options{
				Config:     c.String("config"),
				Directory:  c.StringSlice("directory"),
				Node:       c.String("node"),
				Only:       c.StringSlice("only"),
				Output:     c.String("output"),
				Explain:    c.String("explain"),
				DryRun:     c.Bool("dry-run"),
				Diff:       c.Bool("diff"),
				JSON:       c.Bool("json"),
				Force:      c.Bool("force"),
				AllowLoss:  c.Bool("allow-loss"),
				AllowOlder: c.Bool("allow-older"),
				NoReload:   c.Bool("no-reload"),
				States:     c.Bool("states"),
				Wait:       c.Duration("wait"),
				Verbose:    c.Bool("verbose"),
			})
		},
	})
}
