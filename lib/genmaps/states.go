package genmaps

import (
	"context"
	"fmt"

	"rplan/lib/diag"
	"rplan/lib/directory"
	"rplan/lib/genmaps/render"
	"rplan/lib/published"
	"rplan/lib/source"
)

// A node's state must not wait until a million users were read. So each run
// keeps an outline of what it read, and the next one first makes what follows
// the states from that and the nodes as they are now. That is what a full run
// would have made if the states had been all that changed: it fits the users'
// tables that are in place, and what else changed comes with them.

// keepOutline is called before anything is published: which services' maps are
// of the same version is known from their state, at whatever step a run ends.
func (r *runner) keepOutline(s *directory.Snapshot) error {
	if r.DryRun || r.Output != "" {
		return nil
	}
	kept := published.Outline{Version: r.report.Version, Outline: *s.Outline()}
	return kept.Save(r.maps)
}

// follows says whether a file is to be made from an outline. A run that goes on
// leaves the zones for its end: a name server is told once, and its resolvers ask only now and then.
func (r *runner) follows(f render.File) bool { return f.Urgent || r.States && f.Service == "dns" }

// states makes what follows the nodes' states, as far as that needs no users. It
// says whether that is so of all that the node has: if not, a full run does it.
func (r *runner) states(ctx context.Context) (all bool, err error) {
	if r.DryRun || r.Diff || r.Force || r.Output != "" {
		return false, nil
	}
	kept, err := published.LoadOutline(r.maps)
	if kept == nil || err != nil {
		return false, err
	}
	selected := r.selected()
	var ready []string
	for _, service := range selected {
		// What was touched is for the full run to repair.
		if r.state.Services[service].Current(r.maps, kept.Version, r.inputs) {
			ready = append(ready, service)
		}
	}
	if all = len(ready) == len(selected); len(ready) == 0 || r.States && !all {
		return false, nil
	}
	snapshot, err := r.outlined(ctx, kept)
	if snapshot == nil || err != nil {
		return false, err
	}
	in := r.input(snapshot)
	var files []render.File
	for _, renderer := range render.For(in.Self.Roles) {
		files = append(files, renderer.Files(in)...)
	}
	err = r.publish(ctx, ready, files, r.follows)
	if !r.States {
		// What cannot be told now is told, or complained of, at the end.
		_ = r.live.reload(context.WithoutCancel(ctx), r.maps)
	}
	switch kind := diag.KindOf(err); {
	case err == nil, r.States:
		return all, err
	case kind == diag.Refused, kind == diag.Unavailable:
		r.note(err.Error()) // the full run may do better
		return false, nil
	}
	return false, err
}

// outlined is what was kept, with the nodes' states as they are now; nil where
// more than the states changed about the nodes.
func (r *runner) outlined(ctx context.Context, kept *published.Outline) (*directory.Snapshot, error) {
	src, err := source.New(r.config.Directory.OfNodes())
	if err != nil {
		return nil, err
	}
	result, err := src.Read(ctx, r.config.Network)
	if err != nil {
		return nil, err
	}
	if err := r.checkAge(result.Version); err != nil {
		return nil, err
	}
	snapshot := kept.With(result.Snapshot.Nodes)
	if snapshot == nil || snapshot.Node(r.Node) == nil {
		return nil, nil
	}
	if r.States {
		for _, passed := range result.Passed {
			r.note(fmt.Sprintf("%v; read from %s instead", passed, result.URL))
		}
	}
	r.report.Version, r.report.States, r.report.URL = kept.Version, result.Version, result.URL
	return snapshot, nil
}
