package genmaps

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"rplan/lib/diag"
	"rplan/lib/genmaps/mapfile"
	"rplan/lib/genmaps/render"
	"rplan/lib/run"
)

// commandTimeout bounds each checker, builder and reload.
const commandTimeout = 2 * time.Minute

// commands runs one after the other until one fails.
func (l *live) commands(ctx context.Context, argvs [][]string) error {
	for _, argv := range argvs {
		if err := l.command(ctx, argv); err != nil {
			return err
		}
	}
	return nil
}

func (l *live) command(ctx context.Context, argv []string) error {
	_, err := run.Run(ctx, run.Cmd{Argv: argv, Timeout: commandTimeout})
	return err
}

// check hands the staged files to the service's own checker.
func (l *live) check(ctx context.Context, p *plan) error {
	argv := l.settings.Check[p.service]
	if len(p.changes) == 0 || len(argv) == 0 {
		return nil
	}
	l.step("check " + p.service)
	var err error
	switch p.service {
	case "postfix":
		err = l.checkTables(ctx, p)
	case "dns":
		err = l.checkZones(ctx, p)
	default:
		err = l.command(ctx, filled(argv, "{maps}", filepath.Join(staged(p.maps), p.service)))
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, exec.ErrNotFound) && l.preview:
		l.warn(fmt.Sprintf("%s's maps are not checked: %v", p.service, err))
		return nil
	case errors.Is(err, exec.ErrNotFound):
		return diag.Unavailable.Errorf("%s's new maps cannot be checked and stay as they are: %w", p.service, err).
			WithHint("install %s first; genmaps.check.%s = [] is to do without a check", p.service, p.service)
	default:
		return diag.Refused.Errorf("%s's checker refuses the new maps, its maps stay as they are: %w", p.service, err)
	}
}

// filled replaces a placeholder in each argument.
func filled(argv []string, pairs ...string) []string {
	out := make([]string, len(argv))
	for i, arg := range argv {
		out[i] = strings.NewReplacer(pairs...).Replace(arg)
	}
	return out
}

// checkZones hands each new zone to the zone checker.
func (l *live) checkZones(ctx context.Context, p *plan) error {
	for _, f := range p.changes {
		if f.Format != render.Zone {
			continue
		}
		argv := filled(l.settings.Check["dns"], "{zone}", strings.TrimSuffix(f.Name, ".zone"), "{file}", filepath.Join(staged(p.maps), paths(f.File)[0]))
		if err := l.command(ctx, argv); err != nil {
			return fmt.Errorf("zone %q: %w", strings.TrimSuffix(f.Name, ".zone"), err)
		}
	}
	return nil
}

// samples is how many keys of a table Postfix is asked for.
const samples = 50

// checkTables looks keys of each new table up with postmap -q, as Postfix itself will.
func (l *live) checkTables(ctx context.Context, p *plan) error {
	postmap, err := l.postmap(p.maps)
	if err != nil {
		return err
	}
	for _, f := range p.changes {
		if f.Rows == nil {
			continue
		}
		keys, want := sample(f.Rows)
		if len(keys) == 0 {
			continue
		}
		table := mapfile.Lookup(filepath.Join(staged(p.maps), f.Service, f.Name), f.Format)
		got, err := run.Run(ctx, run.Cmd{Argv: append(postmap, "-q", "-", table), Stdin: []byte(keys), Timeout: commandTimeout})
		if err != nil {
			return err
		}
		if !bytes.Equal(got.Stdout, []byte(want)) {
			return fmt.Errorf("%s: postmap -q does not find what was written: asked for %q, got %q", table, keys, got.Stdout)
		}
	}
	return nil
}

// sample takes some rows, as questions to postmap -q and as its answer to them.
func sample(rows mapfile.Rows) (keys, answer string) {
	var q, a strings.Builder
	n := 0
	for key, value := range rows {
		fmt.Fprintf(&q, "%s\n", key)
		fmt.Fprintf(&a, "%s\t%s\n", key, value)
		if n++; n == samples {
			break
		}
	}
	return q.String(), a.String()
}

// postmap is the command with a configuration of its own: the node's main.cf
// may name addresses that are not up, or be what is being repaired.
func (l *live) postmap(maps string) ([]string, error) {
	dir := filepath.Join(staged(maps), ".postmap")
	main := filepath.Join(dir, "main.cf")
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = os.WriteFile(main, []byte("compatibility_level = 3.6\ninet_interfaces = loopback-only\n"), 0o600)
	}
	if err == nil {
		// Postfix's programs wait two seconds for a main.cf that was just written.
		err = os.Chtimes(main, time.Time{}, time.Unix(0, 0))
	}
	const modules = "/etc/postfix/dynamicmaps.cf" // where Debian says which module reads cdb and lmdb
	if _, absent := os.Stat(modules); err == nil && absent == nil {
		if err = os.Symlink(modules, filepath.Join(dir, "dynamicmaps.cf")); errors.Is(err, os.ErrExist) {
			err = nil
		}
	}
	if err != nil {
		return nil, diag.CantCreate.Errorf("preparing postmap: %w", err)
	}
	program := []string{"postmap"}
	if given := l.settings.Check["postfix"]; len(given) > 0 {
		program = given
	}
	return append(slices.Clone(program), "-c", dir), nil
}

// buildTable lets the service's tool build the table that belongs to a text.
func (l *live) buildTable(ctx context.Context, maps, path string, format render.Format) error {
	var postmap []string
	if format == render.LMDB || format == render.Hash {
		var err error
		if postmap, err = l.postmap(maps); err != nil {
			return err
		}
	}
	argv := mapfile.Tool(path, format, postmap)
	if argv == nil {
		return nil
	}
	if err := l.command(ctx, argv); err != nil {
		return diag.CantCreate.Errorf("building the table of %q: %w", path, err)
	}
	return nil
}
