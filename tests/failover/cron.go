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
	trail  trail
	failed map[string]int    // how often, by node, command and exit status
	said   map[string]string // the last words of each
}

// cronCommands are what contrib/cron has.
var cronCommands = [][]string{{"rp-genmaps", "--wait", "30s"}, {"rp-failover", "sync", "--verbose"}}

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
		w := &walker{trail: &c.trail, node: n.Name}
		cmd := n.Command(ctx, command...)
		cmd.Stderr, cmd.WaitDelay = w, 100*time.Millisecond // a connection that is kept open has it too
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
		c.said[what] = err.Error() + ": " + w.said.String()
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

// trail keeps the steps that passes of cron took, with the time, by user.
type trail struct {
	mu    sync.Mutex
	steps map[string][]string
}

// of is what was done to a user's mailbox.
func (t *trail) of(user string) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.steps[user])
}

// walker takes down what a pass says that is at work on a node, and passes it on.
type walker struct {
	*trail
	node string
	rest string
	said strings.Builder
}

func (w *walker) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rest += string(p)
	for {
		line, rest, ok := strings.Cut(w.rest, "\n")
		if !ok {
			return len(p), nil
		}
		w.rest = rest
		user, step, ok := strings.Cut(line, ": ")
		if !ok || !strings.Contains(user, "@") {
			w.said.WriteString(line + "\n")
			continue
		}
		if w.steps == nil {
			w.steps = map[string][]string{}
		}
		w.steps[user] = append(w.steps[user], fmt.Sprintf("%s %s: %s", time.Now().UTC().Format("15:04:05.000"), w.node, step))
	}
}
