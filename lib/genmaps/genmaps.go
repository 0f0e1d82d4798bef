// Package genmaps is rp-genmaps: it reads the directory, renders the maps of
// this node's services and publishes what changed.
//
// The way through it: settings.go (rplan.toml) - source.Read - render - plan.go
// (what differs from what is published) - guard.go - publish.go with check.go
// (stage, check, swap, reload) - lib/published (what the next run needs to know).
package genmaps

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"rplan/lib/app"
	"rplan/lib/diag"
	"rplan/lib/directory"
	"rplan/lib/genmaps/render"
	"rplan/lib/lock"
	"rplan/lib/published"
	"rplan/lib/source"
)

// Options are what the command line says.
type Options struct {
	Config     string        // path of rplan.toml
	Directory  []string      // URLs instead of the configured ones
	Node       string        // instead of the configured one
	Only       []string      // services; none means all of the node
	Output     string        // maps directory instead of the configured one: a preview, no service is told
	Explain    string        // say how this address, site, list or node is served, and end
	DryRun     bool          // change nothing
	Diff       bool          // show the rows that differ
	JSON       bool          // results for machines
	Force      bool          // also if nothing changed since the last run
	AllowLoss  bool          // publish although a map loses many rows
	AllowOlder bool          // read a replica that is older than the last run's
	NoReload   bool          // tell no service: they do not run yet
	States     bool          // only what follows the nodes' states, if that can be told from the rest
	Wait       time.Duration // for another run to end
	Verbose    bool          // say what is done

	step func(string) // for tests
}

// runner is one run.
type runner struct {
	Options
	env    *app.Env
	config *configuration
	source *source.Source
	maps   string
	inputs string
	local  render.Local
	state  *published.State
	live   *live
	report report
}

// Run is rp-genmaps.
func Run(ctx context.Context, env *app.Env, o Options) error {
	// A snapshot is built once and then only looked at: collecting early costs
	// little time and keeps the peak at a million users near what they need.
	defer debug.SetGCPercent(debug.SetGCPercent(25))
	r, err := newRunner(env, o)
	if err != nil {
		return err
	}
	if o.Explain != "" {
		return r.explain(ctx)
	}
	if !o.DryRun {
		if err := makeRoot(r.maps); err != nil {
			return err
		}
		held, err := lock.Acquire(ctx, filepath.Join(r.maps, ".lock"), o.Wait)
		if diag.KindOf(err) == diag.TryAgain {
			return diag.TryAgain.Errorf("another run is at work: %w", err).WithHint("--wait 30s waits for it to end")
		}
		if err != nil {
			return err
		}
		defer held.Release()
	}
	err = r.run(ctx)
	if r.JSON && r.report.Version != "" {
		err = errors.Join(err, env.PrintJSON(&r.report))
	}
	if err != nil {
		return err
	}
	return r.finish()
}

func newRunner(env *app.Env, o Options) (*runner, error) {
	config, err := loadConfiguration(o.Config)
	if err != nil {
		return nil, err
	}
	if len(o.Directory) > 0 {
		config.Directory.URLs = o.Directory
	}
	src, err := source.New(config.Directory)
	if err != nil {
		return nil, err
	}
	r := &runner{Options: o, env: env, config: config, source: src, maps: config.genmaps.Output}
	if o.Output != "" {
		if r.maps, err = filepath.Abs(o.Output); err != nil {
			return nil, diag.CantCreate.Errorf("finding the output directory: %w", err)
		}
	}
	r.Node = strings.ToLower(cmp.Or(r.Node, config.Node))
	for _, service := range o.Only {
		if !slices.Contains(services(), service) {
			return nil, diag.Usage.Errorf("--only %q: no such service", service).WithHint("the services are %s", strings.Join(services(), ", "))
		}
	}
	if !usablePath(r.maps) {
		return nil, diag.Usage.Errorf("--output %q has blanks, quotes or signs, which cannot stand in the services' configurations", o.Output)
	}
	if live, err := filepath.EvalSymlinks(config.genmaps.Output); o.Output != "" && err == nil {
		if given, err := filepath.EvalSymlinks(r.maps); err == nil && given == live {
			return nil, diag.Usage.Errorf("--output %q is the directory of the maps in use, whose services would not be told", o.Output).
				WithHint("leave --output out to publish, or name another directory")
		}
	}
	if o.States && (o.DryRun || o.Diff || o.Force || o.Output != "") {
		return nil, diag.Usage.Errorf("--states publishes, and at once: it goes with none of --dry-run, --diff, --force, --output")
	}
	if o.JSON && o.Diff {
		return nil, diag.Usage.Errorf("--json and --diff cannot both be on standard output").WithHint("choose one")
	}
	r.report = report{Node: r.Node, Changes: []changeReport{}, Removed: []string{}, Problems: []problem{}}
	return r, nil
}

// run does everything between the lock and the last word.
func (r *runner) run(ctx context.Context) error {
	var err error
	if r.state, err = published.Load(r.maps); diag.KindOf(err) == diag.BadData {
		// It costs a full run and the memory of how far the replica was, so it is said.
		r.note(err.Error() + "; everything is made anew")
	} else if err != nil {
		return err
	}
	if r.state.Node != "" && r.state.Node != r.Node {
		return diag.Refused.Errorf("%q holds the maps of node %q, not of %q", r.maps, r.state.Node, r.Node).
			WithHint("name another directory with --output; if this node has a new name, remove %s", published.Path(r.maps))
	}
	r.state.Node = r.Node
	if r.local, err = readLocal(&r.config.genmaps); err != nil {
		return err
	}
	if r.inputs, err = r.digest(); err != nil {
		return err
	}
	r.live = &live{
		settings: &r.config.genmaps, state: r.state, inputs: r.inputs,
		preview: r.Output != "", quiet: r.Output != "" || r.NoReload || r.DryRun, warn: r.note, step: r.stepping(),
	}
	began := r.env.Now() // what the directory has when it is asked is what the maps are current to
	err = r.make(ctx)
	if ctx.Err() == nil {
		// What an earlier run could not tell does not wait for this one's success.
		err = errors.Join(err, r.live.reload(context.WithoutCancel(ctx), r.maps))
	}
	if err == nil && !r.DryRun && len(r.Only) == 0 && r.report.Version == r.report.States {
		err = published.Check(r.maps, began)
	}
	return err
}

// make reads, renders and publishes, unless nothing changed.
func (r *runner) make(ctx context.Context) error {
	if unchanged, err := r.unchanged(ctx); unchanged || err != nil {
		return err
	}
	if done, err := r.states(ctx); done && r.States || err != nil {
		return err
	}
	snapshot, err := r.read(ctx)
	if err != nil {
		return err
	}
	services, files, err := r.render(snapshot)
	if err != nil {
		return err
	}
	if err := r.keepOutline(snapshot); err != nil {
		return err
	}
	return r.publish(ctx, services, files, nil)
}

// digest is over all that shapes the maps beside the directory: settings, what is on this node, this program.
func (r *runner) digest() (string, error) {
	program, err := os.Executable()
	if err != nil {
		return "", err
	}
	binary, err := published.Stamp(program)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	err = json.NewEncoder(h).Encode([]any{r.Node, r.config.Network, r.config.Directory, r.config.genmaps, r.local, binary, app.Version})
	return hex.EncodeToString(h.Sum(nil)), err
}

// selected are the services that the node needed at the last run, of those that --only names.
func (r *runner) selected() []string {
	var selected []string
	for _, service := range r.state.Wanted {
		if len(r.Only) == 0 || slices.Contains(r.Only, service) {
			selected = append(selected, service)
		}
	}
	return selected
}

// unchanged asks the directory for its version only, and refuses one that is older than what is published.
func (r *runner) unchanged(ctx context.Context) (bool, error) {
	version, err := r.source.Version(ctx)
	if err != nil {
		return false, err
	}
	selected := r.selected()
	current := len(selected) > 0 && !r.Force
	for _, service := range selected {
		current = current && r.state.Services[service].Current(r.maps, version, r.inputs)
	}
	if !current {
		return false, r.checkAge(version)
	}
	r.report.Unchanged, r.report.Version, r.report.States = true, version, version
	if r.DryRun && !r.JSON && !r.Diff {
		fmt.Fprintln(r.env.Stdout, nothingToDo)
	}
	return true, nil
}

// checkAge refuses a replica that has less than the one the published maps came from, or does not say what it has.
func (r *runner) checkAge(version source.Version) error {
	if r.AllowOlder {
		return nil
	}
	if version == "" {
		return diag.TryAgain.Errorf("the directory does not say what it is at (contextCSN); nothing was changed").
			WithHint("a new replica says so once it has everything; any other needs the overlay syncprov; --allow-older reads it all the same")
	}
	for _, service := range slices.Sorted(maps.Keys(r.state.Services)) {
		if was := r.state.Services[service].Version; version.Older(was) {
			return diag.Refused.Errorf("the directory went backwards: it is at %s, the maps in use were made from %s; nothing was changed", version, was).
				WithHint("was the server restored from a backup? wait until it has caught up, or run once with --allow-older")
		}
	}
	return nil
}

func (r *runner) read(ctx context.Context) (*directory.Snapshot, error) {
	progress := r.env.Progress("entries")
	r.source.OnProgress = func(done int) { progress.Show(done, 0) }
	result, err := r.source.Read(ctx, r.config.Network)
	progress.Done()
	if err != nil {
		return nil, err
	}
	for _, passed := range result.Passed {
		r.note(fmt.Sprintf("%v; read from %s instead", passed, result.URL))
	}
	if err := r.checkAge(result.Version); err != nil {
		return nil, err
	}
	r.report.Version, r.report.States = result.Version, result.Version
	r.report.URL = result.URL
	r.report.addProblems(result.Problems)
	for _, line := range r.report.shownProblems() {
		fmt.Fprintln(r.env.Stderr, line)
	}
	return result.Snapshot, checkNotEmpty(result.Snapshot)
}

// render makes the files of the selected services.
func (r *runner) render(s *directory.Snapshot) (services []string, files []render.File, err error) {
	self := s.Node(r.Node)
	if self == nil {
		return nil, nil, diag.Config.Errorf("the directory has no node %q; its nodes are %s", r.Node, strings.Join(s.NodeNames(), ", ")).
			WithHint("set node in rplan.toml, or name one with --node")
	}
	in := r.input(s)
	r.state.Wanted = nil
	for _, renderer := range render.For(self.Roles) {
		r.state.Wanted = append(r.state.Wanted, renderer.Service)
		if len(r.Only) > 0 && !slices.Contains(r.Only, renderer.Service) {
			continue
		}
		files = append(files, renderer.Files(in)...)
		services = append(services, renderer.Service)
	}
	r.dropUnwanted()
	if len(services) == 0 {
		return nil, nil, diag.Config.Errorf("node %q has the roles %q, which need none of the maps that were asked for", r.Node, self.Roles)
	}
	return services, files, nil
}

func (r *runner) input(s *directory.Snapshot) *render.Input {
	return &render.Input{
		Snapshot: s, Self: s.Node(r.Node), Network: r.config.Network, Settings: r.config.genmaps.Settings, Local: r.local, Maps: r.maps,
	}
}

// dropUnwanted forgets services for which the node has no role any more. Their
// maps stay: the server may still run, and must not find its tables gone.
func (r *runner) dropUnwanted() {
	for _, service := range slices.Sorted(maps.Keys(r.state.Services)) {
		if !slices.Contains(r.state.Wanted, service) {
			delete(r.state.Services, service)
			r.note(fmt.Sprintf("node %q has no role for %s any more: the maps in %q are not kept up; stop the server and remove them",
				r.Node, service, filepath.Join(r.maps, service)))
		}
	}
}

// publish does one service after the other: one that is refused does not hold back the others.
// With part, it looks at no files but those.
func (r *runner) publish(ctx context.Context, services []string, files []render.File, part func(render.File) bool) error {
	out := bufio.NewWriter(r.env.Stdout)
	defer out.Flush()
	planner := &planner{maps: r.maps, before: r.state, force: r.Force, now: r.env.Now(), part: part}
	if r.Diff {
		planner.show = diffPrinter(out, r.maps)
	}
	var to publisher = r.live
	if r.DryRun {
		to = dry{out: out, quiet: r.JSON || r.Diff}
	}
	r.live.version = r.report.States
	var failed error
	for _, service := range services {
		err := r.publishService(ctx, planner, to, service, files)
		failed = errors.Join(failed, err)
		if kind := diag.KindOf(err); ctx.Err() != nil || err != nil && kind != diag.Refused && kind != diag.Unavailable {
			return failed
		}
	}
	if !r.DryRun && (r.States || part == nil) { // else there is more to come
		if err := r.state.Save(r.maps); err != nil {
			return errors.Join(failed, err)
		}
	}
	if failed == nil && r.DryRun && !r.JSON && !r.Diff && len(r.report.Changes)+len(r.report.Removed) == 0 {
		fmt.Fprintln(out, nothingToDo)
	}
	return failed
}

func (r *runner) publishService(ctx context.Context, planner *planner, to publisher, service string, files []render.File) error {
	var own []render.File
	for _, f := range files {
		if f.Service == service {
			own = append(own, f)
		}
	}
	p, err := planner.plan(service, own)
	if err != nil {
		return err
	}
	if !r.AllowLoss {
		err = checkLosses(p, &r.config.genmaps)
	}
	switch {
	case err != nil:
	case p.part && len(p.changes) == 0:
		r.live.follows(service)
		return nil
	default:
		err = to.publish(ctx, p)
	}
	if kind := diag.KindOf(err); err == nil || kind != diag.Refused && kind != diag.Unavailable {
		r.report.addPlan(p)
		return err
	}
	part := p.urgent()
	if len(part.changes) == 0 {
		r.live.follows(service)
		return err
	}
	if partly := to.publish(ctx, part); partly != nil {
		return errors.Join(err, partly)
	}
	r.report.addPlan(part)
	if !r.DryRun {
		r.note(fmt.Sprintf("of %s, only what follows the nodes' states was published", service))
	}
	return err
}

// stepping is what the publisher calls before each step.
func (r *runner) stepping() func(string) {
	return func(step string) {
		if r.step != nil {
			r.step(step)
		}
		if r.Verbose {
			fmt.Fprintln(r.env.Stderr, step)
		}
	}
}

// note tells something that does not change the result.
func (r *runner) note(text string) { fmt.Fprintf(r.env.Stderr, "note: %s\n", text) }

// finish says what was done, where that was asked for, and whether something was left out.
func (r *runner) finish() error {
	if r.Verbose && !r.JSON {
		fmt.Fprintln(r.env.Stderr, r.report.summary())
	}
	if n := r.report.leftOut(); n > 0 {
		return diag.Partial.Errorf("%d entries or values were left out, all else is done", n).
			WithHint("the warnings name them; --explain KEY tells what became of one")
	}
	return nil
}
