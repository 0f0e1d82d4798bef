package unlock

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"rplan/lib/app"
	"rplan/lib/diag"
	"rplan/lib/store"
)

// atOnce is how many nodes are talked to at a time.
const atOnce = 8

// together is what the runs for several nodes share.
type together struct {
	env  *app.Env
	json bool       // there will be one list for all
	turn sync.Mutex // to ask or sign something
	out  sync.Mutex // to print
}

// many does the same for all nodes of the store, side by side. A node that this admin can open
// no disk of is left to the others.
func (c *command) many(ctx context.Context) error {
	if !c.Check {
		if err := c.foreign(); err != nil {
			return err
		}
	}
	shared := &together{env: c.env, json: c.JSON}
	var all []*command
	for _, name := range slices.Sorted(maps.Keys(c.store.Nodes)) {
		one := c.beside(name, shared)
		if !c.Check {
			// Whatever an identity asks for is asked now, one after the other.
			if _, _, err := one.openable(); errors.Is(err, store.ErrNoOpener) {
				one.say("left to others: %v", err)
				continue
			}
		}
		all = append(all, one)
	}
	if len(all) == 0 {
		return diag.Refused.Errorf("the store has no node for you").WithHint("rp-rekey status says who may open which disk")
	}
	failed := make([]error, len(all))
	room := make(chan struct{}, atOnce)
	var done sync.WaitGroup
	var fault atomic.Value // a panic in one of them, which is the main goroutine's then: the others go on
	for i, one := range all {
		done.Go(func() {
			room <- struct{}{}
			defer func() {
				<-room
				if p := recover(); p != nil {
					fault.Store(fmt.Sprintf("node %q: %v\n%s", one.Node, p, debug.Stack()))
				}
			}()
			failed[i] = one.one(ctx)
			one.finish(failed[i])
		})
	}
	done.Wait()
	if p := fault.Load(); p != nil {
		panic(p)
	}
	if c.JSON {
		reports := []Report{}
		for _, one := range all {
			reports = append(reports, one.result)
		}
		if err := c.env.PrintJSON(reports); err != nil {
			return err
		}
	}
	return c.sum(all, failed)
}

// beside is a run for one of several nodes, whose messages say which.
func (c *command) beside(name string, shared *together) *command {
	one := *c
	env := *c.env
	env.Stdout, env.Stderr = &bytes.Buffer{}, &prefixed{prefix: name + ": ", to: c.env.Stderr, mu: &shared.out}
	one.env, one.Node, one.node, one.shared = &env, name, c.store.Nodes[name], shared
	one.JSON = false
	one.result = Report{Node: name, Observations: []Observation{}}
	return &one
}

// finish prints what a run had to say, in one piece.
func (c *command) finish(err error) {
	if err != nil {
		text := err.Error()
		if hint := diag.HintOf(err); hint != "" {
			text += "\nhint: " + hint
		}
		c.say("%s", text) // at once: others have something to say too
		c.result.Error = err.Error()
	}
	c.shared.out.Lock()
	defer c.shared.out.Unlock()
	if !c.shared.json {
		_, _ = c.env.Stdout.(*bytes.Buffer).WriteTo(c.shared.env.Stdout)
	}
}

// sum is the end of a run for several nodes.
func (c *command) sum(all []*command, failed []error) error {
	var wrong []string
	kind := diag.Kind(0)
	for i, err := range failed {
		if err == nil {
			continue
		}
		wrong = append(wrong, all[i].Node)
		switch k := diag.KindOf(err); {
		case k == diag.Suspicious, kind == 0:
			kind = k
		case kind != diag.Suspicious && kind != k:
			kind = diag.Failed
		}
	}
	switch {
	case len(wrong) == 0:
		return nil
	case kind != diag.Suspicious && len(wrong) < len(all):
		kind = diag.Partial
	}
	is := "up"
	if c.Check {
		is = "well"
	}
	return kind.Errorf("%d of %d nodes %s; not %s", len(all)-len(wrong), len(all), is, strings.Join(wrong, ", "))
}

// prefixed writes whole lines, each with a prefix, to what others write to as well.
type prefixed struct {
	prefix string
	to     io.Writer
	mu     *sync.Mutex
	rest   []byte
}

func (p *prefixed) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rest = append(p.rest, b...)
	for {
		line, rest, whole := bytes.Cut(p.rest, []byte("\n"))
		if !whole {
			break
		}
		fmt.Fprintf(p.to, "%s%s\n", p.prefix, line)
		p.rest = rest
	}
	return len(b), nil
}
