package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// stateChange takes a node out and in again, and reports how long that takes and what it rewrites, for this size.
func (s *scene) stateChange() error {
	// As rp-failover has it done; the same without the zones, each of which is a file; and with all users read afterwards.
	runs := []struct {
		what    string
		args    []string
		counted []usage
	}{
		{"a state changes, --states but for zones", []string{"--states", "--only", "ssh", "--only", "postfix", "--only", "dovecot", "--only", "apache"}, nil},
		{"a state changes, --states", []string{"--states", "--json"}, nil},
		{"a state changes, full run", []string{"--json"}, nil},
	}
	out := false
	for i := range s.runs + 1 { // the first is not counted
		for k := range runs {
			it := &runs[k]
			if out = !out; s.setState(map[bool]string{true: "out", false: "up"}[out]) != nil {
				return fmt.Errorf("the state cannot be written")
			}
			u, err := s.genmaps(it.args...)
			if err != nil {
				return err
			}
			if i > 0 {
				it.counted = append(it.counted, u)
			}
			if k == 1 && i == s.runs {
				if err := s.changed(); err != nil {
					return err
				}
			}
			if k == 0 { // the zones
				if _, err := s.genmaps("--states"); err != nil {
					return err
				}
			}
		}
	}
	s.times = map[string]time.Duration{}
	for _, it := range runs {
		s.times[it.what] = median(it.counted).wall
		fmt.Printf("%-10d %-44s %9.2fs\n", s.mailboxes, it.what, s.times[it.what].Seconds())
	}
	fmt.Printf("%-10d   %s\n", s.mailboxes, s.change)
	return nil
}

// changed sums up what the last run with --json says that it rewrote.
func (s *scene) changed() error {
	text, err := os.ReadFile(filepath.Join(s.dir, "out"))
	if err != nil {
		return err
	}
	var report struct {
		Changes []struct {
			File                    string
			Added, Removed, Changed int
		}
	}
	if err := json.Unmarshal(text, &report); err != nil {
		return err
	}
	rows, files, zones := 0, 0, 0
	var size int64
	for _, c := range report.Changes {
		if strings.HasPrefix(c.File, "dns/") {
			zones++
			continue
		}
		files++
		rows += c.Added + c.Removed + c.Changed
		info, err := os.Stat(filepath.Join(s.maps, c.File))
		if err != nil {
			return err
		}
		size += info.Size()
	}
	s.change = fmt.Sprintf("%d rows in %d files, %d bytes, and %d zones", rows, files, size, zones)
	return nil
}

// compare prints how the largest size compares with the smallest.
func compare(small, large *scene) {
	for what, took := range large.times {
		fmt.Printf("%-55s %.2fx at %d mailboxes of %d\n", what, took.Seconds()/small.times[what].Seconds(), large.mailboxes, small.mailboxes)
	}
}
