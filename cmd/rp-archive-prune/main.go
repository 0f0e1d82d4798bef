// Rp-archive-prune makes the archives of mailing lists smaller, and loses no message.
package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"rplan/lib/app"
	"rplan/lib/archiveprune"
)

func main() {
	app.Main(app.Command{
		Name:    "rp-archive-prune",
		Summary: "remove the pages of list archives that can be made again, and messages that are to go",
		Description: `Looks at the archives of mailing lists, and says which of their pages can go
because all that they show is in the mbox, and which messages are older than
they are to be kept. With --apply it removes them, and --undo brings them back
while they are in the trash. --rebuild LIST [YYYY-MM] makes pages again.

exit codes: 0 done, 2 refused, 3 some lists were left alone, 75 try again
later, 78 configuration; all of them are in rplan(7)`,
		ArgsUsage: "[LIST...]", MaxArgs: app.AnyNumber,
		Flags: []cli.Flag{
			app.ConfigFlag(),
			&cli.BoolFlag{Name: "apply", Usage: "do it; without this flag it is only said"},
			&cli.BoolFlag{Name: "undo", Usage: "bring back what is in the trash"},
			&cli.BoolFlag{Name: "rebuild", Usage: "make the pages of a list again, or those of a month, with mhonarc"},
			&cli.StringFlag{Name: "layout", Usage: "the archives are pipermail, mlmmj, mailman3 or mhonarc: `NAME`"},
			&cli.StringFlag{Name: "keep-html", Usage: "keep pages for `TIME`: 90d, 8w, 18m (months), 5y, forever or 0"},
			&cli.StringFlag{Name: "keep-mbox", Usage: "keep messages for `TIME`, likewise"},
			&cli.StringFlag{Name: "undated", Usage: "what has no date of its own: keep it, or go by when it was received: `RULE`"},
			&cli.StringFlag{Name: "compress", Usage: "compress closed months of messages: none, gzip or zstd: `FORMAT`"},
			&cli.BoolFlag{Name: "scrub-addresses", Usage: "take clients' IP addresses out of stored headers"},
			&cli.IntFlag{Name: "trash-days", Value: archiveprune.AsConfigured, DefaultText: "as configured", Usage: "empty the trash of what is in it for `N` days"},
			&cli.BoolFlag{Name: "json", Usage: "print the result as JSON"},
			&cli.StringFlag{Name: "metrics", Usage: "write how it went to `FILE`, for Prometheus"},
		},
		Run: func(ctx context.Context, env *app.Env, c *cli.Context) error {
			return archiveprune.Run(ctx, env, archiveprune.Options{
				Args: c.Args().Slice(), Config: c.String("config"), Apply: c.Bool("apply"), Undo: c.Bool("undo"), Rebuild: c.Bool("rebuild"),
				Layout: c.String("layout"), KeepHTML: c.String("keep-html"), KeepMbox: c.String("keep-mbox"), Undated: c.String("undated"),
				Compress: c.String("compress"), Scrub: c.Bool("scrub-addresses"), TrashDays: c.Int("trash-days"), JSON: c.Bool("json"), Metrics: c.String("metrics"),
			})
		},
	})
}
