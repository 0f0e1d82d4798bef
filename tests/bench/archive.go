package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// archive measures the scan of an mbox of so many megabytes, in the cache: against a
// grep that only counts, and against go-mbox with net/mail, which does the same.
func archive(tools, disk string, megabytes, runs int) error {
	dir, kind, err := diskDirectory(disk)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "list.mbox")
	messages, err := mails(path, int64(megabytes)<<20)
	if err != nil {
		return err
	}
	fmt.Printf("\nan mbox of %d MB, %d messages, on %s but cached; median of %d\n%-58s %10s %10s %7s\n", megabytes, messages, kind, runs, "what", "rplan", "peer", "ratio")
	scan := filepath.Join(tools, "mboxscan")
	peers := []struct {
		what string
		argv []string
		all  []usage
	}{
		{what: "", argv: []string{scan, "rplan", path}},
		{what: "scan with dates, against grep -c '^From ' | cat", argv: []string{"/bin/sh", "-c", `LC_ALL=C grep -c '^From ' "$0" | cat`, path}},
		{what: "scan with dates, against go-mbox with net/mail", argv: []string{scan, "go-mbox", path}},
	}
	said, memory := make([]string, len(peers)), make([]string, len(peers))
	for i := range runs + 1 { // the first fills the cache
		for n := range peers {
			p, output := &peers[n], filepath.Join(dir, "out")
			u, err := timed(output, []int{0}, p.argv...)
			if err != nil {
				return err
			}
			out, err := os.ReadFile(output)
			if err != nil {
				return err
			}
			said[n], memory[n], _ = strings.Cut(string(out), "\n")
			if i > 0 {
				p.all = append(p.all, u)
			}
		}
	}
	if count, _, _ := strings.Cut(said[0], " "); count != fmt.Sprint(messages) || said[0] != said[2] {
		return fmt.Errorf("of %d messages, rplan and go-mbox see %s and %s (number, sum of dates)", messages, said[0], said[2])
	}
	mine := median(peers[0].all)
	for _, p := range peers[1:] {
		peer := median(p.all)
		fmt.Printf("%-58s %9.2fs %9.2fs %6.2fx\n", p.what, mine.wall.Seconds(), peer.wall.Seconds(), mine.wall.Seconds()/peer.wall.Seconds())
	}
	bytes, err := strconv.Atoi(strings.TrimSpace(memory[0]))
	if err != nil {
		return err
	}
	fmt.Printf("%-58s %5.0f MB/s, peak memory %d MB\n", "  which is", float64(megabytes)/mine.wall.Seconds(), bytes>>20)
	return nil
}
