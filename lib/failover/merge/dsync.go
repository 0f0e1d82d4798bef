package merge

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"rplan/lib/diag"
	"rplan/lib/run"
)

// doveadm sync runs within the conversation of two nodes, which has the mailbox
// open and its lock: behind the request "dsync" both sides send what their half of
// Dovecot says as frames, and then the other node the end of its answer. A frame is a
// length, 4 bytes in network order, and so many bytes; one without any is the last.

// maxFrame is the longest that is taken.
const maxFrame = 1 << 16

// frames writes frames, one for each Write, and with Close the last one.
type frames struct {
	mu  sync.Mutex
	out io.Writer
}

func (f *frames) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	done := 0
	for done < len(p) {
		part := p[done:min(len(p), done+maxFrame)]
		if err := f.frame(part); err != nil {
			return done, err
		}
		done += len(part)
	}
	return done, nil
}

func (f *frames) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.frame(nil)
}

func (f *frames) frame(p []byte) error {
	_, err := f.out.Write(append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(p)), uint32(len(p))), p...))
	return err
}

// unframe writes what frames hold, to the last one. Those that w does not take are read
// all the same, as what comes behind them is to be found.
func (l *lines) unframe(w io.Writer) error {
	buf := make([]byte, maxFrame)
	for {
		if _, err := io.ReadFull(l.in, buf[:4]); err != nil {
			return err
		}
		n := binary.BigEndian.Uint32(buf)
		if n == 0 {
			return nil
		}
		if n > maxFrame {
			return errProtocol
		}
		if _, err := io.ReadFull(l.in, buf[:n]); err != nil {
			return err
		}
		if _, err := w.Write(buf[:n]); err != nil {
			w = io.Discard
		}
	}
}

// relay is what doveadm sync runs to reach the other node (doveadm-sync(1), remote
// command; it adds the word dsync-server): it leads what it is told to descriptor 3,
// and what comes from 4 back. Neither cat keeps the other's files open, as both sides wait for their ends.
var relay = []string{"/bin/sh", "-c", "cat <&4 3>&- 2>/dev/null & exec cat >&3 4<&-"}

// dsync joins the mailbox that is open with this node's side of it, see local.sync.
func (r remote) dsync(ctx context.Context, here local, state string) (string, error) {
	if r.lost != nil {
		return "", r.lost
	}
	says, told, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer told.Close()
	heard, hears, err := os.Pipe()
	if err != nil {
		says.Close()
		return "", err
	}
	defer heard.Close()
	if err := r.send(request{Do: "dsync"}); err != nil {
		says.Close()
		hears.Close()
		return "", r.lose(err)
	}
	var sending sync.WaitGroup
	sending.Go(func() {
		f := &frames{out: r.in}
		_, _ = io.Copy(f, says)
		says.Close() // nobody is to wait for what cannot be sent
		_ = f.Close()
	})
	var broken, refused error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		broken = r.out.unframe(hears)
		hears.Close()
		if broken == nil {
			refused, broken = r.hear(none)
		}
	}()
	state, err = here.sync(ctx, relay, state, told, heard)
	told.Close()
	sending.Wait()
	late := time.AfterFunc(silence, func() { _ = r.cmd.Process.Kill() })
	<-ended
	late.Stop()
	switch {
	case broken != nil:
		return "", r.lose(broken)
	case refused == nil:
		return state, err
	case err == nil, errors.Is(err, errAgain):
		return "", refused
	}
	return "", fmt.Errorf("%w; %w", err, refused)
}

// child is Dovecot's side of a doveadm sync that the peer runs.
type child struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	said  lockedBuffer
	stop  context.CancelFunc
	gone  chan struct{}
}

// dsync runs it on the mailbox that is open. Its first error is for the peer, its second the end of the conversation.
func (s *Server) dsync(ctx context.Context, in *lines, out io.Writer) (refused, broken error) {
	answer := &frames{out: out}
	c, err := s.start(ctx, answer)
	ended := make(chan error, 1)
	go func() {
		if err == nil {
			err = s.wait(c)
		}
		_ = answer.Close()
		ended <- err
	}()
	if c == nil {
		broken = in.unframe(io.Discard)
	} else {
		broken = in.unframe(c.stdin)
		c.stdin.Close()
	}
	return <-ended, broken
}

func (s *Server) start(ctx context.Context, stdout io.Writer) (*child, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.goOn(); err != nil {
		return nil, err
	}
	path, err := run.LookPath("doveadm")
	if err != nil {
		return nil, err
	}
	c := &child{gone: make(chan struct{})}
	ctx, c.stop = context.WithCancel(ctx)
	c.cmd = exec.CommandContext(ctx, path, "dsync-server", "-u", s.opened.address)
	c.cmd.Args[0] = "doveadm"
	c.cmd.Env = run.Environment()
	c.cmd.Stdout, c.cmd.Stderr = stdout, &c.said
	c.cmd.Cancel = func() error { return c.cmd.Process.Signal(syscall.SIGTERM) }
	c.cmd.WaitDelay = time.Second
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if c.stdin, err = c.cmd.StdinPipe(); err == nil {
		err = c.cmd.Start()
	}
	if err != nil {
		c.stop()
		return nil, diag.Failed.Errorf("doveadm: %w", err)
	}
	s.child = c
	return c, nil
}

// wait waits for the child's end, and says what was wrong with it.
func (s *Server) wait(c *child) error {
	err := c.cmd.Wait()
	c.stop()
	close(c.gone)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.child = nil
	if s.over != nil {
		return s.over
	}
	if err != nil {
		err = failed(fmt.Errorf("doveadm dsync-server: %w %s", err, c.said.String()), c.cmd.ProcessState.ExitCode())
	}
	return err
}
