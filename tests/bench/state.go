package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// ways are how a node makes the maps after a state change: as rp-failover has it done; the same without the
// zones, each of which is a file; and with all users read afterwards.
var ways = []struct {
	what string
	args []string
}{
	{"a state changes, --states but for zones", []string{"--states", "--only", "ssh", "--only", "postfix", "--only", "dovecot", "--only", "apache"}},
	{"a state changes, --states", []string{"--states", "--json"}},
	{"a state changes, full run", []string{"--json"}},
}

// flip takes n2 out or in again, and has the maps made in one of the ways. Zones that it leaves out are made uncounted.
func (s *scene) flip(way int) (usage, error) {
	s.out = !s.out
	if err := s.setState(map[bool]string{true: "out", false: "up"}[s.out]); err != nil {
		return usage{}, err
	}
	u, err := s.genmaps(ways[way].args...)
	if err == nil && way == 1 {
		err = s.changed()
	}
	if err == nil && way == 0 {
		_, err = s.genmaps("--states")
	}
	return u, err
}

// stateChange reports how long a state change takes and what it rewrites, for this size.
func (s *scene) stateChange() error {
	for way := range ways {
		var all []usage
		for i := range s.runs + 1 { // the first is not counted
			u, err := s.flip(way)
			if err != nil {
				return err
			}
			if i > 0 {
				all = append(all, u)
			}
		}
		fmt.Printf("%-10d %-44s %9.2fs\n", s.mailboxes, ways[way].what, median(all).wall.Seconds())
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

// compare says how the largest size compares with the smallest.
func compare(small, large *scene) error {
	for way := range 2 {
		if err := inTurn(ways[way].what, "", small, large, func(s *scene) (usage, error) { return s.flip(way) }); err != nil {
			return err
		}
	}
	return inTurn("out --lost, until this node has published", " (limits 1s, 1.5x)", small, large, (*scene).lose)
}

// inTurn measures both sizes one after the other, so that whatever else the machine does is borne by both.
func inTurn(what, limits string, small, large *scene, measure func(*scene) (usage, error)) error {
	const turns = 9
	var one, other []usage
	for i := range turns + 1 { // the first is not counted
		u, err := measure(small)
		if err != nil {
			return err
		}
		v, err := measure(large)
		if err != nil {
			return err
		}
		if i > 0 {
			one, other = append(one, u), append(other, v)
		}
	}
	a, b := median(one).wall.Seconds(), median(other).wall.Seconds()
	fmt.Printf("%-45s %d mailboxes %.2fs, %d mailboxes %.2fs: %.2fx%s\n", what, small.mailboxes, a, large.mailboxes, b, b/a, limits)
	return nil
}

// published is what rp-failover says when this node has all maps of the new state.
const published = `node "n1" has published`

// lose takes n2 out as lost, with all that an admin waits for until this node has published. No other node can be
// reached: there is no network. What comes then grows with those who move, and is not part of it. n2 is up again afterwards.
func (s *scene) lose() (usage, error) {
	cmd := exec.Command("unshare", "--net", filepath.Join(s.tools, "rp-failover"), "out", "--config", filepath.Join(s.dir, "rplan.toml"),
		"--lost", "--yes", "--verbose", "--reason", "bench", "--insist", "last-node", "--insist", "second-out", "--insist", "standby",
		"--insist", "replica", "--insist", "flip-flop", "--insist", "checks", "n2")
	said, err := cmd.StderrPipe()
	if err != nil {
		return usage{}, err
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return usage{}, err
	}
	var took time.Duration
	var lines []string
	for line := bufio.NewScanner(said); took == 0 && line.Scan(); {
		if lines = append(lines, line.Text()); line.Text() == published {
			took = time.Since(start)
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
	if took == 0 {
		return usage{}, fmt.Errorf("rp-failover out --lost has not published: %q", lines)
	}
	if err := s.setState("up"); err != nil {
		return usage{}, err
	}
	if err := os.RemoveAll(filepath.Join(s.dir, "state")); err != nil {
		return usage{}, err
	}
	_, err = s.genmaps("--states")
	return usage{wall: took}, err
}
