package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"rplan/lib/archiveprune/layout"
	material "rplan/tests/archive"
)

// reference measures rp-archive-prune on an archive with nine bytes of HTML for one of mbox, before and after,
// and on a pruned list with an mbox of so many megabytes.
func reference(tools, disk string, megabytes, pruned int) error {
	dir, kind, err := diskDirectory(disk)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	_, before, err := material.Reference(dir, int64(megabytes)<<20)
	if err != nil {
		return err
	}
	tree := filepath.Join(dir, "archives/private")
	config := filepath.Join(dir, "rplan.toml")
	if err := os.WriteFile(config, fmt.Appendf(nil, "[archive]\ntrees = [%q]\n", tree), 0o644); err != nil {
		return err
	}
	prune := func(args ...string) (time.Duration, string, error) {
		start := time.Now()
		out, err := exec.Command(filepath.Join(tools, "rp-archive-prune"), append([]string{"--config", config}, args...)...).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("rp-archive-prune %s: %w\n%s", strings.Join(args, " "), err, out)
		}
		return time.Since(start), string(out), err
	}
	fmt.Printf("\nan archive of Mailman 2 on %s: %s of mbox, %s of HTML in %d files, which take %s of the disk\n",
		kind, inMB(before.Mbox), inMB(before.HTML), before.Files, inMB(before.Disk))
	report, _, err := prune()
	if err != nil {
		return err
	}
	apply, _, err := prune("--apply")
	if err != nil {
		return err
	}
	empty, _, err := prune("--apply", "--trash-days", "0")
	if err != nil {
		return err
	}
	var after int64
	err = filepath.WalkDir(filepath.Join(tree, "dev"), func(_ string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			var info os.FileInfo
			if info, err = e.Info(); err == nil {
				after += info.Size()
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	fmt.Printf("%-58s %9.2fs, %.0f pages a second\n", "reported", report.Seconds(), float64(before.Files)/report.Seconds())
	fmt.Printf("%-58s %9.2fs\n", "pruned", apply.Seconds())
	fmt.Printf("%-58s %9.2fs\n", "trash emptied", empty.Seconds())
	fmt.Printf("%-58s %s of mbox, %d bytes of %s\n", "afterwards", inMB(before.Mbox), after, layout.Database)
	return reported(dir, tree, pruned, prune)
}

// reported measures the report of a list that is pruned already.
func reported(dir, tree string, megabytes int, prune func(...string) (time.Duration, string, error)) error {
	mbox := filepath.Join(tree, "dev.mbox/dev.mbox")
	if _, err := mails(mbox, int64(megabytes)<<20); err != nil {
		return err
	}
	var all []time.Duration
	for i := range 4 {
		took, _, err := prune()
		if err != nil {
			return err
		}
		if i > 0 { // the first fills the cache
			all = append(all, took)
		}
	}
	fmt.Printf("%-58s %9.2fs, %.0f MB/s of mbox\n", "a pruned list reported, with its proof", middle(all).Seconds(), float64(megabytes)/middle(all).Seconds())
	return nil
}

func inMB(bytes int64) string { return fmt.Sprintf("%.1f MB", float64(bytes)/1e6) }
