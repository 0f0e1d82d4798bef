package failover

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"rplan/lib/diag"
	"rplan/lib/failover/merge"
	"rplan/lib/ssh"
)

// peers are all nodes, this one among them, and what one can ask of them.
type peers interface {
	status(ctx context.Context, node string) (*NodeReport, error)
	// maps has the node make its maps, and is its report after that.
	maps(ctx context.Context, node string) (*NodeReport, error)
	// kick ends the users' sessions on the node that are in the wrong place since changed has
	// another state, and says of how many there were any.
	kick(ctx context.Context, node, changed string, users []string) (int, error)
	// drop does so where changed is lost: what hangs with it is ended first, and at once.
	drop(ctx context.Context, node, changed string, users []string) (int, error)
	// flush has what waits in the node's mail queue tried again.
	flush(ctx context.Context, node string) error
	// sync merges the mailboxes that the node is active for with peer's.
	sync(ctx context.Context, node, peer string) (*merge.Report, error)
	// adopt makes messages of the node's second copies, as the peer is lost.
	adopt(ctx context.Context, node, peer string) (*merge.Report, error)
}

const (
	// statusTime is how long a node may take to say how it is. One that is
	// gone without a trace costs this much.
	statusTime = 10 * time.Second
	mapsTime   = 5 * time.Minute
	kickTime   = 15 * time.Minute // thousands of sessions, each ended by a program of its own
	flushTime  = time.Minute
	// syncTime is for a node whose every mailbox is read anew.
	syncTime = 7 * 24 * time.Hour
)

// collective reaches the other nodes by SSH, and this one without.
type collective struct {
	local   *server
	client  *ssh.Client
	address func(node string) (netip.Addr, bool)
}

func (c *collective) status(ctx context.Context, node string) (*NodeReport, error) {
	r := &NodeReport{}
	return r, c.ask(ctx, node, statusTime, nil, r, "status")
}

func (c *collective) maps(ctx context.Context, node string) (*NodeReport, error) {
	r := &NodeReport{}
	return r, c.ask(ctx, node, mapsTime, nil, r, "maps")
}

func (c *collective) kick(ctx context.Context, node, changed string, users []string) (int, error) {
	return c.leave(ctx, "kick", node, changed, users)
}

func (c *collective) drop(ctx context.Context, node, changed string, users []string) (int, error) {
	return c.leave(ctx, "drop", node, changed, users)
}

func (c *collective) leave(ctx context.Context, how, node, changed string, users []string) (int, error) {
	var lines strings.Builder
	for _, user := range users {
		lines.WriteString(user + "\n")
	}
	var r kicked
	err := c.ask(ctx, node, kickTime, []byte(lines.String()), &r, how, changed)
	return r.Kicked, err
}

func (c *collective) flush(ctx context.Context, node string) error {
	return c.ask(ctx, node, flushTime, nil, &struct{}{}, "flush")
}

func (c *collective) sync(ctx context.Context, node, peer string) (*merge.Report, error) {
	r := &merge.Report{}
	return r, c.ask(ctx, node, syncTime, nil, r, "sync", peer)
}

func (c *collective) adopt(ctx context.Context, node, peer string) (*merge.Report, error) {
	r := &merge.Report{}
	return r, c.ask(ctx, node, syncTime, nil, r, "adopt", peer)
}

// ask puts a question to a node and reads the answer. An answer that came is
// taken although the node says too that not all went well.
func (c *collective) ask(ctx context.Context, node string, timeout time.Duration, stdin []byte, into any, words ...string) error {
	out, err := c.say(ctx, node, timeout, stdin, words)
	if len(bytes.TrimSpace(out)) == 0 {
		if err == nil {
			err = diag.Failed.Errorf("no answer to %q", words[0])
		}
		return err
	}
	if kind := diag.KindOf(err); err != nil && kind != diag.Partial {
		return err
	}
	if err := json.Unmarshal(out, into); err != nil {
		return diag.BadData.Errorf("the answer to %q cannot be read: %w", words[0], err)
	}
	return nil
}

func (c *collective) say(ctx context.Context, node string, timeout time.Duration, stdin []byte, words []string) ([]byte, error) {
	if node == c.local.self {
		ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no answer for %s", timeout))
		defer cancel()
		var out bytes.Buffer
		err := c.local.answer(ctx, node, words, bytes.NewReader(stdin), &out)
		return out.Bytes(), err
	}
	address, known := c.address(node)
	if !known {
		return nil, diag.Failed.Errorf("there is no node %q", node)
	}
	result, err := c.client.Run(ctx, address, stdin, 0, timeout, words...)
	if exit, ok := errors.AsType[*ssh.ExitError](err); ok {
		err = told(exit.Code, exit.Said)
	}
	return result.Stdout, err
}

// told is the failure of an rp-failover elsewhere as one of this: its kind,
// the last line that it said, and its hint.
func told(code int, said string) error {
	e := diag.Kind(code).Errorf("it says nothing, but exit status %d", code)
	for line := range strings.Lines(said) {
		line = strings.TrimSpace(line)
		if hint, ok := strings.CutPrefix(line, "hint: "); ok {
			e.Hint = hint
		} else if line != "" {
			e.Err = errors.New(strings.TrimPrefix(line, "rp-failover: "))
		}
	}
	return e
}

// askAll asks all nodes at once how they are.
func askAll(ctx context.Context, p peers, nodes []string, now func() time.Time) map[string]answer {
	answers := map[string]answer{}
	var lock sync.Mutex
	each(nodes, func(node string) {
		before := now()
		report, err := p.status(ctx, node)
		if err == nil && report.Node != node {
			err = diag.Config.Errorf("it says that it is node %q", report.Node).WithHint("node in its rplan.toml, or its rplanVpnAddress, is wrong")
		}
		a := answer{err: err}
		if err == nil {
			a.report, a.skew = report, skew(report.Time, before, now())
		}
		lock.Lock()
		defer lock.Unlock()
		answers[node] = a
	})
	return answers
}

// each does f for all nodes at once.
func each(nodes []string, f func(node string)) {
	var all sync.WaitGroup
	for _, node := range nodes {
		all.Go(func() { f(node) })
	}
	all.Wait()
}

// skew is how far a clock is off, at least, that showed a time between two others.
func skew(shown, before, after time.Time) time.Duration {
	switch {
	case shown.Before(before):
		return shown.Sub(before)
	case shown.After(after):
		return shown.Sub(after)
	}
	return 0
}
