// Rp-rekey keeps a team's sealed store of disk passphrases.
package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"rplan/lib/app"
	"rplan/lib/rekey"
)

func main() {
	app.Main(app.Command{
		Name:    "rp-rekey",
		Summary: "keep a team's passphrases of disks, sealed for those who may open them",
		Description: `Makes and changes the sealed store, a directory that the team shares by git
or as it likes. Each change is signed by an admin; the store is described in
rplan-store(5). It runs on an admin's own machine.
The verb comes first, then flags, then arguments.
exit codes: 0 done, 2 refused, 75 somebody else changed the store, 78
configuration; all of them are in rplan(7)`,
		ArgsUsage: "[ARGUMENTS]",
		Verbs: []app.Verb{
			{Name: "status", Flags: []string{"json"}, Summary: "check the store, and show who may open what"},
			{Name: "init", Flags: []string{"recipient", "dry-run"}, Summary: "make a store"},
			{Name: "trust", Flags: []string{"fingerprint", "dry-run"}, Summary: "make a store known to this machine"},
			{Name: "add-admin", MinArgs: 1, MaxArgs: 1, ArgsUsage: "NAME", Flags: []string{"recipient", "signer", "dry-run"}, Summary: "let an admin into the store"},
			{Name: "add-node", MinArgs: 1, MaxArgs: 1, ArgsUsage: "NAME", Flags: []string{"file", "dry-run"}, Summary: "let a node into the store"},
			{Name: "seal", MinArgs: 2, MaxArgs: 2, ArgsUsage: "NODE DISK", Flags: []string{"device", "remote", "typed", "dry-run"}, Summary: "seal a disk's passphrase for those who may open it now"},
			{Name: "sign", Flags: []string{"yes", "reason", "dry-run"}, Summary: "sign what was edited by hand"},
		},
		Flags: append(app.StoreFlags(),
			&cli.StringSliceFlag{Name: "recipient", Usage: "the admin's `RECIPIENT` of age, or a file with it; may be repeated"},
			&cli.StringFlag{Name: "signer", Usage: "the admin's public SSH `KEY` for signatures, or a file with it"},
			&cli.StringFlag{Name: "file", Usage: "take the node's description from `FILE`, - is standard input"},
			&cli.StringFlag{Name: "device", Usage: "and give it to the LUKS device at `PATH` of this machine"},
			&cli.BoolFlag{Name: "remote", Usage: "and give it to the disk on the running node"},
			&cli.BoolFlag{Name: "typed", Usage: "ask for the passphrase that the disk has, instead of making one"},
			&cli.StringFlag{Name: "fingerprint", Usage: "it is signed with the key `SHA256:...`, which was compared; do not ask"},
			&cli.StringFlag{Name: "reason", Aliases: []string{"r"}, Usage: "say what was done, in `TEXT` that goes into the manifest"},
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"},
			&cli.BoolFlag{Name: "dry-run", Usage: "say what would be done, and change nothing"},
			&cli.BoolFlag{Name: "json", Usage: "print the result as JSON"},
		),
		Run: func(ctx context.Context, env *app.Env, c *cli.Context) error {
			return rekey.Run(ctx, env, rekey.Options{
				Verb: app.VerbOf(c), Args: c.Args().Slice(), Config: c.String("config"),
				Store: c.String("store"), As: c.String("as"), Key: c.String("key"), Identities: c.StringSlice("identity"),
				Recipients: c.StringSlice("recipient"), Signer: c.String("signer"), File: c.String("file"),
				Device: c.String("device"), Remote: c.Bool("remote"), Typed: c.Bool("typed"), Fingerprint: c.String("fingerprint"),
				Reason: c.String("reason"), Yes: c.Bool("yes"), DryRun: c.Bool("dry-run"), JSON: c.Bool("json"),
			})
		},
	})
}
