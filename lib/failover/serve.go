package failover

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"time"

	"rplan/lib/app"
	"rplan/lib/diag"
	"rplan/lib/directory"
	"rplan/lib/run"
	"rplan/lib/ssh"
)

// server answers other nodes, one question a call: what it may be asked are
// the words of questions, and nothing that it is told gets into a shell.
type server struct {
	config *configuration
	path   string // of the configuration, for the programs that it runs
	self   string
	now    func() time.Time
	run    func(context.Context, run.Cmd) (run.Result, error)
	nodes  recent // by which the peer was admitted
}

func newServer(env *app.Env, o Options, c *configuration) *server {
	return &server{config: c, path: o.Config, self: c.Node, now: env.Now, run: run.Run}
}

// question is one that a node can be asked.
type question struct {
	words  int // behind the first
	answer func(s *server, ctx context.Context, q asked) error
}

// asked is a question as it came in.
type asked struct {
	peer   string // who asks
	verb   string
	args   []string
	stdin  io.Reader
	stdout io.Writer
}

// questions are all that serve answers. Mail is package merge's.
var questions map[string]question

func init() {
	questions = map[string]question{
		"status": {0, (*server).answerStatus},
		"maps":   {0, (*server).answerMaps},
		"kick":   {1, (*server).answerKick},
		"drop":   {1, (*server).answerKick}, // of a node that is lost
		"flush":  {0, (*server).answerFlush},
		"sync":   {1, (*server).answerSync},
		"adopt":  {1, (*server).answerSync}, // without the peer, which is lost
		"mail":   {0, (*server).answerMail},
	}
}

// runServe is what the forced command of another node's key runs.
func runServe(ctx context.Context, env *app.Env, o Options, c *configuration) error {
	words, err := parseWords(o.Original)
	if err != nil {
		return err
	}
	s := newServer(env, o, c)
	if err := s.admit(ctx, o.Node, words[0]); err != nil {
		return err
	}
	return s.answer(ctx, o.Node, words, env.Stdin, env.Stdout)
}

// parseWords reads what a peer asks.
func parseWords(command string) ([]string, error) {
	const longest = 1024
	if len(command) > longest {
		return nil, diag.BadData.Errorf("a question of more than %d bytes", longest)
	}
	words, err := ssh.Words(command)
	if err != nil {
		return nil, err
	}
	if len(words) == 0 {
		return nil, diag.Usage.Errorf("there is no question").WithHint("serve is what sshd runs for another node, which asks in SSH_ORIGINAL_COMMAND")
	}
	for _, w := range words[1:] {
		if w[0] == '-' {
			return nil, diag.BadData.Errorf("%q is not a question", command)
		}
	}
	q, known := questions[words[0]]
	if !known {
		return nil, diag.BadData.Errorf("nobody answers %q", words[0]).WithHint("does this node have the same version of rplan?")
	}
	if len(words)-1 != q.words {
		return nil, diag.BadData.Errorf("%q goes with %d words, not %d", words[0], q.words, len(words)-1).
			WithHint("does this node have the same version of rplan?")
	}
	return words, nil
}

// admit refuses whom the directory does not know as a node of the collective.
// sshd did so too, by the maps of the last run; this is by the directory now.
// A node whose directory is down still says that, and nothing else.
func (s *server) admit(ctx context.Context, peer, verb string) error {
	known, err := readNodes(ctx, s.config)
	if err != nil {
		if verb == "status" && diag.KindOf(err) == diag.TryAgain {
			return nil
		}
		return err
	}
	s.nodes = recent{known, s.now()}
	n := known.Snapshot.Node(peer)
	switch {
	case n == nil:
		return diag.Refused.Errorf("there is no node %q", peer)
	case n.State == directory.Evicted:
		return diag.Refused.Errorf("node %q is evicted", peer)
	}
	return nil
}

// answer answers a question that parseWords let through.
func (s *server) answer(ctx context.Context, peer string, words []string, stdin io.Reader, stdout io.Writer) error {
	return questions[words[0]].answer(s, ctx, asked{peer, words[0], words[1:], stdin, stdout})
}

func (s *server) answerStatus(ctx context.Context, q asked) error {
	return json.NewEncoder(q.stdout).Encode(s.report(ctx))
}

// answerMaps makes the maps that follow the nodes' states before it says where
// they are; all else is left to this node's own runs of rp-genmaps.
func (s *server) answerMaps(ctx context.Context, q asked) error {
	_, err := s.run(ctx, run.Cmd{
		Argv:    []string{s.config.failover.Genmaps, "--config", s.path, "--states", "--json", "--wait", "30s"},
		Timeout: mapsTime,
	})
	r := s.report(ctx)
	if kind := exitKind(err); err != nil && kind != diag.Partial {
		r.Maps.Error = brief(err)
	}
	return json.NewEncoder(q.stdout).Encode(r)
}

// runIfThere runs a program, and nothing on a node that has no use for it.
func (s *server) runIfThere(ctx context.Context, argv ...string) (run.Result, error) {
	result, err := s.run(ctx, run.Cmd{Argv: argv})
	if errors.Is(err, exec.ErrNotFound) {
		err = nil
	}
	return result, err
}

// answerFlush has Postfix try what waits, which may have waited for a node that is lost, as
// long as that for the next try.
func (s *server) answerFlush(ctx context.Context, q asked) error {
	_, err := s.runIfThere(ctx, "postqueue", "-f")
	_, _ = q.stdout.Write([]byte("{}\n"))
	return err
}

// answerSync runs this node's own sync, which has the lock and the choice of mailboxes.
func (s *server) answerSync(ctx context.Context, q asked) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	argv := []string{program, "sync", "--config", s.path, "--peer", q.args[0], "--json", "--wait", "60s"}
	if q.verb == "adopt" {
		argv = append(argv, "--lost")
	}
	result, err := s.run(ctx, run.Cmd{Argv: argv, Timeout: syncTime})
	_, _ = q.stdout.Write(result.Stdout)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return told(exit.ExitCode(), string(result.Stderr))
	}
	return err
}
