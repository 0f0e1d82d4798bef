// Package scenarios is what a collective promises its members, tried on a
// whole one (tests/lab) through the programs that members use. The tests
// share a lab of three nodes and leave it working.
package scenarios

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"rplan/tests/lab"
)

// patience bounds each test, which should need a tenth of it.
const patience = 2 * time.Minute

var shared struct {
	once sync.Once
	lab  *lab.Lab
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.lab != nil {
		shared.lab.Down()
	}
	os.Exit(code)
}

// collective is the shared lab, and a context for one test.
func collective(t *testing.T) (*lab.Lab, context.Context) {
	t.Helper()
	lab.Need(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	shared.once.Do(func() { shared.lab, shared.err = start(context.WithoutCancel(ctx)) })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.lab, ctx
}

func start(ctx context.Context) (*lab.Lab, error) {
	programs, err := os.MkdirTemp("", "scenarios")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(programs)
	if err := lab.Build(ctx, programs); err != nil {
		return nil, err
	}
	return lab.Up(ctx, lab.Config{Nodes: 3, Programs: programs})
}

// activeUsers are the 20 that are not suspended.
func activeUsers() []lab.User {
	var active []lab.User
	for _, u := range lab.Users(3) {
		if !u.Suspended {
			active = append(active, u)
		}
	}
	return active
}

// onEach calls f for all nodes at once and reports what fails.
func onEach(t *testing.T, nodes []*lab.Node, f func(*lab.Node) error) {
	t.Helper()
	errs := make([]error, len(nodes))
	var all sync.WaitGroup
	for i, n := range nodes {
		all.Go(func() { errs[i] = f(n) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}

// eventually calls f until it succeeds, or fails the test at the end of ctx.
func eventually(t *testing.T, ctx context.Context, f func() error) {
	t.Helper()
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal(err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// emptyQueues says which node still has mail to deliver.
func emptyQueues(ctx context.Context, nodes []*lab.Node) error {
	for _, n := range nodes {
		queue, err := n.Queue(ctx)
		if err != nil {
			return err
		}
		if len(queue) > 0 {
			return fmt.Errorf("in the queue of %s: %+v", n.Name, queue)
		}
	}
	return nil
}

// kept are the messages for a user on each node that contain text, by node name.
func kept(ctx context.Context, nodes []*lab.Node, user, text string) (map[string][]string, error) {
	byNode := map[string][]string{}
	for _, n := range nodes {
		messages, err := n.Mailbox(ctx, user)
		if err != nil {
			return nil, err
		}
		for _, message := range messages {
			if strings.Contains(message, text) {
				byNode[n.Name] = append(byNode[n.Name], message)
			}
		}
	}
	return byNode, nil
}
