package failover

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"rplan/tests/lab"
)

// cron does on every node what its cron does, sixty times as often.
type cron struct {
	stop context.CancelFunc
	all  sync.WaitGroup

	mu     sync.Mutex
	away   map[string]bool
	failed map[string]int    // how often, by node, command and exit status
	said   map[string]string // the last words of each
}

// cronCommands are what contrib/cron has.
var cronCommands = [][]string{{"rp-genmaps", "--wait", "30s"}, {"rp-failover", "sync"}}

func startCron(ctx context.Context, nodes []*lab.Node, without ...*lab.Node) *cron {
	ctx, stop := context.WithCancel(ctx)
	c := &cron{stop: stop, away: map[string]bool{}, failed: map[string]int{}, said: map[string]string{}}
	c.leave(without...)
	for _, n := range nodes {
		c.all.Go(func() {
			for ctx.Err() == nil {
				if c.here(n) {
					c.once(ctx, n)
				}
				select {
				case <-ctx.Done():
				case <-time.After(time.Second):
				}
			}
		})
	}
	return c
}

func (c *cron) once(ctx context.Context, n *lab.Node) {
	for _, command := range cronCommands {
		var said strings.Builder
		cmd := n.Command(ctx, command...)
		cmd.Stderr, cmd.WaitDelay = &said, 100*time.Millisecond // a connection that is kept open has it too
		err := cmd.Run()
		if errors.Is(err, exec.ErrWaitDelay) {
			err = nil
		}
		if err == nil || ctx.Err() != nil || !c.here(n) {
			continue
		}
		c.mu.Lock()
		what := fmt.Sprintf("%s: %s: %d", n.Name, command[0], status(err))
		c.failed[what]++
		c.said[what] = err.Error() + ": " + said.String()
		c.mu.Unlock()
	}
}

func (c *cron) here(n *lab.Node) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.away[n.Name]
}

// leave leaves nodes alone that are cut off or dead; mind minds them again.
func (c *cron) leave(nodes ...*lab.Node) { c.set(true, nodes) }

func (c *cron) mind(nodes ...*lab.Node) { c.set(false, nodes) }

func (c *cron) set(away bool, nodes []*lab.Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range nodes {
		c.away[n.Name] = away
	}
}

// end stops it, and tells what failed, once for each way to fail.
func (c *cron) end() []string {
	c.stop()
	c.all.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []string
	for _, what := range slices.Sorted(maps.Keys(c.failed)) {
		all = append(all, fmt.Sprintf("%s, %d times, last: %.300s", what, c.failed[what], strings.TrimSpace(c.said[what])))
	}
	return all
}

// status is the exit status of a program that failed, or -1.
func status(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return -1
}
