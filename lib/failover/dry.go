package failover

import (
	"context"
	"fmt"

	"rplan/lib/directory"
	"rplan/lib/failover/merge"
	"rplan/lib/source"
)

// A dry run asks all that a live one asks, and changes nothing: each of these
// stands before what would, and says so instead.

// dryStates remembers what would have been written, so that the steps that
// follow find it.
type dryStates struct {
	stateStore
	say     func(string)
	written map[string]source.Change
}

func (d *dryStates) States(ctx context.Context) ([]source.NodeState, source.Version, error) {
	states, version, err := d.stateStore.States(ctx)
	for i := range states {
		if to, ok := d.written[states[i].Name]; ok {
			states[i].State, states[i].Since, states[i].Reason, states[i].By = to.State, to.Since, to.Reason, to.By
		}
	}
	return states, version, err
}

func (d *dryStates) Write(_ context.Context, was source.NodeState, to source.Change) (source.Version, error) {
	d.say(fmt.Sprintf("would write that node %q is %s; it is %s", was.Name, to.State, was.State))
	d.written[was.Name] = to
	return "", nil
}

type dryPeers struct {
	peers
	say func(string)
}

func (d *dryPeers) maps(_ context.Context, node string) (*NodeReport, error) {
	d.say(fmt.Sprintf("would have node %q publish its maps", node))
	return &NodeReport{Node: node}, nil
}

func (d *dryPeers) kick(_ context.Context, node, _ string, users []string) (int, error) {
	d.say(fmt.Sprintf("would end the sessions of %s at node %q", plural(len(users), "user"), node))
	return 0, nil
}

func (d *dryPeers) drop(ctx context.Context, node, changed string, users []string) (int, error) {
	return d.kick(ctx, node, changed, users)
}

func (d *dryPeers) flush(_ context.Context, node string) error {
	d.say(fmt.Sprintf("would have node %q try the mail that waits in its queue", node))
	return nil
}

func (d *dryPeers) sync(_ context.Context, node, peer string) (*merge.Report, error) {
	d.say(fmt.Sprintf("would have node %q merge its mailboxes with those of node %q", node, peer))
	return &merge.Report{}, nil
}

func (d *dryPeers) adopt(_ context.Context, node, peer string) (*merge.Report, error) {
	d.say(fmt.Sprintf("would have node %q make messages of second copies of what node %q had", node, peer))
	return &merge.Report{}, nil
}

type dryHooks struct {
	hooks
	say func(string)
}

func (d *dryHooks) run(_ context.Context, when string, f hookFacts) error {
	d.say(fmt.Sprintf("would run the hooks %s node %q goes from %s to %s", when, f.Node, f.From, f.To))
	return nil
}

// stateOf makes states of what the provider said.
func stateOf(nodes []source.NodeState) states {
	byName := map[string]directory.State{}
	for _, n := range nodes {
		byName[n.Name] = n.State
	}
	return func(name string) (directory.State, bool) {
		state, known := byName[name]
		return state, known
	}
}
