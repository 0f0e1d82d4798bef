package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"rplan/lib/archiveprune/layout"
	"rplan/lib/archiveprune/trash"
)

// Pages of an archive: how long until they are out of sight, and until they are deleted for good.

const (
	inMonth = 1000 // pages in a directory
	stay    = 100  // pages that stay where not all go
)

func trashing(ctx context.Context, disk string, runs, files int) error {
	dir, kind, err := diskDirectory(disk)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Printf("\n%d pages of 2 KiB on %s; median of %d\n", files, kind, runs)
	var ours, theirs, aside, planned []time.Duration
	for i := range runs + 1 {
		t, err := timeTrash(ctx, filepath.Join(dir, "ours"), files)
		if err != nil {
			return err
		}
		peer, err := timeRemoval(filepath.Join(dir, "theirs"), files)
		if err != nil {
			return err
		}
		if i > 0 { // the first warms up
			ours, theirs, aside, planned = append(ours, t.empty), append(theirs, peer), append(aside, t.move), append(planned, t.begin)
		}
	}
	mine, rm := middle(ours).Seconds(), middle(theirs).Seconds()
	fmt.Printf("%-58s %9.3fs\n", "written down what is to go", middle(planned).Seconds())
	fmt.Printf("%-58s %9.3fs\n", "moved to the trash, and looked through", middle(aside).Seconds())
	fmt.Printf("%-58s %9.3fs, %.0f files a second\n", "trash emptied", mine, float64(files)/mine)
	fmt.Printf("%-58s %9.3fs %6.2fx\n", "rm -rf of an equal tree", rm, mine/rm)
	few, err := timeSights(ctx, filepath.Join(dir, "few"), 1000, runs)
	if err != nil {
		return err
	}
	many, err := timeSights(ctx, filepath.Join(dir, "many"), files, runs)
	if err != nil {
		return err
	}
	for i, what := range []string{"a directory", fmt.Sprintf("all but %d files of a directory", stay)} {
		fmt.Printf("%-58s %7.2fms with 1000, %.2fms with %d\n", what+" out of sight", few[i].Seconds()*1e3, many[i].Seconds()*1e3, files)
	}
	return nil
}

// pages makes a tree, in months or in one directory.
func pages(dir string, files int, flat bool) (list []layout.File, months []string, err error) {
	page := []byte(strings.Repeat("<p>a line of a page</p>\n", 85))
	month := ""
	for i := range files {
		if i%inMonth == 0 && (!flat || i == 0) {
			month = fmt.Sprintf("list/%05d", i/inMonth)
			months = append(months, month)
			if err := os.MkdirAll(filepath.Join(dir, month), 0o755); err != nil {
				return nil, nil, err
			}
		}
		p := fmt.Sprintf("%s/%06d.html", month, i)
		if err := os.WriteFile(filepath.Join(dir, p), page, 0o644); err != nil {
			return nil, nil, err
		}
		info, err := os.Lstat(filepath.Join(dir, p))
		if err != nil {
			return nil, nil, err
		}
		list = append(list, layout.File{Path: p, Size: info.Size(), ModTime: info.ModTime(), Inode: info.Sys().(*syscall.Stat_t).Ino})
	}
	syscall.Sync() // what is measured does not wait for this
	return list, months, nil
}

type trashTimes struct{ begin, move, empty time.Duration }

func timeTrash(ctx context.Context, dir string, files int) (t trashTimes, err error) {
	list, months, err := pages(dir, files, false)
	if err != nil {
		return t, err
	}
	defer os.RemoveAll(dir)
	tree, err := trash.Open(dir)
	if err != nil {
		return t, err
	}
	defer tree.Close()
	if _, err := tree.Lock(ctx); err != nil {
		return t, err
	}
	now := time.Now()
	start := now
	lap := func() time.Duration { d := time.Since(start); start = time.Now(); return d }
	run, err := tree.Begin(ctx, now, trash.Plan{List: "list", Files: list, Dirs: months})
	if err != nil {
		return t, err
	}
	t.begin = lap()
	moved, err := run.Move(ctx, nil)
	if err == nil {
		err = run.End()
	}
	t.move = lap()
	if err != nil || moved.Files != int64(files) {
		return t, errors.Join(err, fmt.Errorf("moved %d of %d", moved.Files, files))
	}
	emptied, err := tree.Empty(ctx, now.Add(time.Second), func(trash.Info) bool { return true }, nil)
	t.empty = lap()
	if err == nil && (len(emptied) != 1 || emptied[0].Files != int64(files)) {
		err = fmt.Errorf("emptied %+v", emptied)
	}
	return t, err
}

// timeRemoval is the peer.
func timeRemoval(dir string, files int) (time.Duration, error) {
	if _, _, err := pages(dir, files, false); err != nil {
		return 0, err
	}
	start := time.Now()
	out, err := exec.Command("rm", "-rf", dir).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("rm -rf: %w: %s", err, out)
	}
	return time.Since(start), nil
}

// timeSights are the medians for a directory of which all goes, and of which some files stay.
func timeSights(ctx context.Context, dir string, files, runs int) (of [2]time.Duration, err error) {
	list, months, err := pages(dir, files, true)
	if err != nil {
		return of, err
	}
	defer os.RemoveAll(dir)
	tree, err := trash.Open(dir)
	if err != nil {
		return of, err
	}
	defer tree.Close()
	if _, err := tree.Lock(ctx); err != nil {
		return of, err
	}
	sifted := trash.Plan{List: "list", Files: list[:len(list)-stay], Sifts: []trash.Sift{{Dir: months[0]}}}
	for _, f := range list[len(list)-stay:] {
		sifted.Sifts[0].Keep = append(sifted.Sifts[0].Keep, filepath.Base(f.Path))
	}
	for i, plan := range []trash.Plan{{List: "list", Files: list, Dirs: months}, sifted} {
		var all []time.Duration
		for range runs {
			took, err := timeSight(ctx, tree, dir, plan)
			if err != nil {
				return of, err
			}
			all = append(all, took)
		}
		of[i] = middle(all)
	}
	return of, nil
}

// timeSight is how long others see pages after the first one is to go. It brings them back.
func timeSight(ctx context.Context, tree *trash.Tree, dir string, plan trash.Plan) (time.Duration, error) {
	run, err := tree.Begin(ctx, time.Now(), plan)
	if err != nil {
		return 0, err
	}
	last := filepath.Join(dir, plan.Files[len(plan.Files)-1].Path)
	gone := make(chan time.Time, 1)
	go func() {
		for {
			if _, err := os.Lstat(last); errors.Is(err, fs.ErrNotExist) {
				gone <- time.Now()
				return
			}
		}
	}()
	start := time.Now()
	moved, err := run.Move(ctx, nil)
	if err == nil {
		err = run.End()
	}
	if err != nil || moved.Files != int64(len(plan.Files)) {
		return 0, errors.Join(err, fmt.Errorf("moved %d of %d", moved.Files, len(plan.Files)))
	}
	took := (<-gone).Sub(start)
	_, err = tree.Undo(ctx, func(trash.Info) bool { return true })
	return took, err
}
