package merge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"rplan/lib/diag"
	"rplan/lib/run"
)

// Dial says how to reach another node's Server: the argv of an ssh.
type Dial func(peer string) ([]string, error)

// session is a conversation with another node.
type session struct {
	peer string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *lines
	said *lockedBuffer
	lost error // what ended it
}

// answerTime bounds the silence of another node: a step there may move many messages.
const answerTime = doveadmTimeout

// begin starts a conversation; close ends it.
func begin(ctx context.Context, dial Dial, peer string) (*session, error) {
	argv, err := dial(peer)
	if err != nil {
		return nil, err
	}
	path, err := run.LookPath(argv[0])
	if err != nil {
		return nil, err
	}
	s := &session{peer: peer, said: &lockedBuffer{}}
	s.cmd = exec.CommandContext(ctx, path, argv[1:]...)
	s.cmd.Args[0] = argv[0]
	s.cmd.Env = run.Environment()
	s.cmd.Stderr = s.said
	s.cmd.WaitDelay = time.Second
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := s.cmd.StdoutPipe()
	if err == nil {
		s.in, err = s.cmd.StdinPipe()
	}
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("%q: %w", argv[0], err)
	}
	s.out = newLines(out)
	return s, nil
}

// close ends the conversation, upon which the other side lets go of what it holds.
func (s *session) close() {
	_ = s.in.Close()
	done := make(chan struct{})
	go func() {
		select {
		case <-done:
		case <-time.After(5 * time.Second):
			_ = s.cmd.Process.Kill()
		}
	}()
	_ = s.cmd.Wait()
	close(done)
}

// ask sends a request and gives each item of the answer to use.
func (s *session) ask(r request, use func(*answer) error) error {
	if s.lost != nil {
		return s.lost
	}
	silence := s.patience()
	err := s.send(r)
	if err != nil {
		silence.Stop()
		return s.lose(err)
	}
	refused, err := s.hear(silence, use)
	if err != nil {
		return s.lose(err)
	}
	return refused
}

func (s *session) send(r request) error {
	text, err := json.Marshal(r)
	if err == nil {
		_, err = s.in.Write(append(text, '\n'))
	}
	return err
}

// patience ends the conversation unless it is stopped, or reset, in time.
func (s *session) patience() *time.Timer {
	return time.AfterFunc(answerTime, func() { _ = s.cmd.Process.Kill() })
}

// hear reads an answer to its end. Its first error is the other node's, its second the end of the conversation.
func (s *session) hear(silence *time.Timer, use func(*answer) error) (refused, broken error) {
	defer silence.Stop()
	s.out.left = mostAnswer
	for {
		var a answer
		if err := s.out.next(&a); err != nil {
			return nil, err
		}
		silence.Reset(answerTime)
		if a.End {
			if err := a.err(); err != nil {
				return fmt.Errorf("node %q: %w", s.peer, err), nil
			}
			return nil, nil
		}
		if err := use(&a); err != nil {
			return nil, err
		}
	}
}

// lose gives the conversation up.
func (s *session) lose(err error) error {
	s.lost = s.why(err)
	return s.lost
}

// why is what ended the conversation, with the words of ssh.
func (s *session) why(err error) error {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	if errors.Is(err, errProtocol) {
		return diag.Failed.Errorf("node %q: %w", s.peer, err)
	}
	if said := strings.TrimSpace(s.said.String()); said != "" {
		return diag.TryAgain.Errorf("node %q: %s", s.peer, printable(said))
	}
	return diag.TryAgain.Errorf("node %q: the connection was lost", s.peer)
}

// stamps asks for those of some mailboxes that both nodes have, or of all.
func (s *session) stamps(only ...string) (map[string]Stamp, error) {
	all := map[string]Stamp{}
	err := s.ask(request{Do: "stamps", Only: only}, func(a *answer) error {
		if !isAddress(a.Address) || a.Stamp == nil {
			return errProtocol
		}
		all[a.Address] = *a.Stamp
		return nil
	})
	return all, err
}

// remote is another node's side of the mailbox that was opened in its session.
type remote struct{ *session }

func (r remote) open(address string) error {
	return r.ask(request{Do: "open", Address: address}, none)
}

func (r remote) shut() { _ = r.ask(request{Do: "close"}, none) }

func (r remote) list(context.Context) (*View, error) {
	v := &View{}
	return v, r.ask(request{Do: "list"}, v.add)
}

func (r remote) folders(context.Context) (map[string]string, error) {
	all := map[string]string{}
	return all, r.ask(request{Do: "folders"}, func(a *answer) error {
		if !isFolder(a.Folder) || !isGUID(a.GUID) {
			return errProtocol
		}
		all[a.Folder] = a.GUID
		return nil
	})
}

func (r remote) do(_ context.Context, st step) error {
	return r.ask(request{Do: "step", Step: &st}, none)
}

func (r remote) note(gone deletions, aside []string) error {
	ids := slices.Sorted(maps.Keys(gone))
	for len(ids)+len(aside) > 0 {
		n, k := min(len(ids), mostIDs), min(len(aside), mostIDs)
		q := request{Do: "note", Gone: deletions{}, IDs: aside[:k]}
		for _, id := range ids[:n] {
			q.Gone[id] = gone[id]
		}
		if err := r.ask(q, none); err != nil {
			return err
		}
		ids, aside = ids[n:], aside[k:]
	}
	return nil
}

func (r remote) deleted(ids []string) (map[string]int64, error) {
	at := map[string]int64{}
	for some := range slices.Chunk(ids, mostIDs) {
		err := r.ask(request{Do: "deleted", IDs: some}, func(a *answer) error {
			if !slices.Contains(some, a.ID) || a.At < 0 {
				return errProtocol
			}
			at[a.ID] = a.At
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return at, nil
}

func (r remote) traces(guids []string) ([]trace, error) {
	var all []trace
	for some := range slices.Chunk(guids, mostIDs) {
		err := r.ask(request{Do: "traces", IDs: some}, func(a *answer) error {
			if a.Trace == nil || !a.Trace.valid(some) {
				return errProtocol
			}
			all = append(all, *a.Trace)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (r remote) equal() error { return r.ask(request{Do: "equal"}, none) }

func (r remote) stamp(context.Context) (Stamp, error) {
	var st Stamp
	return st, r.ask(request{Do: "stamp"}, func(a *answer) error {
		if a.Stamp == nil {
			return errProtocol
		}
		st = *a.Stamp
		return nil
	})
}

func none(*answer) error { return errProtocol }

// lockedBuffer keeps the end of what a program says while others look.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	const most = 4 << 10
	if b.buf.Len() < most {
		b.buf.Write(p[:min(len(p), most-b.buf.Len())])
	}
	return len(p), nil
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// sessions are some that nobody uses just now.
type sessions struct {
	mu   sync.Mutex
	idle []*session
}

func (l *sessions) put(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.idle = append(l.idle, s)
}

// take is one with a peer, or nil.
func (l *sessions) take(peer string) *session {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.idle, func(s *session) bool { return s.peer == peer })
	if i < 0 {
		return nil
	}
	s := l.idle[i]
	l.idle = slices.Delete(l.idle, i, i+1)
	if s.lost != nil {
		s.close()
		return nil
	}
	return s
}

func (l *sessions) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.idle {
		s.close()
	}
	l.idle = nil
}
