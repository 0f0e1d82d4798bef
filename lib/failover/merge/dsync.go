package merge

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
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

// frames writes frames, one for each Write of no more than that, and with Close the last one.
type frames struct{ out io.Writer }

func (f frames) Write(p []byte) (int, error) {
	done := 0
	for part := range slices.Chunk(p, maxFrame) {
		if err := f.frame(part); err != nil {
			return done, err
		}
		done += len(part)
	}
	return done, nil
}

func (f frames) Close() error { return f.frame(nil) }

func (f frames) frame(p []byte) error {
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

// farewell is how long the other node may take once this node's doveadm has ended.
var farewell = silence

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
	var both sync.WaitGroup
	both.Go(func() {
		f := frames{r.in}
		_, _ = io.Copy(f, says)
		says.Close() // nobody is to wait for what cannot be sent
		_ = f.Close()
	})
	var broken, refused error
	both.Go(func() {
		broken = r.out.unframe(hears)
		hears.Close()
		if broken == nil {
			refused, broken = r.hear(r.patience(), none)
		}
	})
	state, err = here.sync(ctx, relay, state, told, heard)
	told.Close()
	heard.Close()
	late := time.AfterFunc(farewell, func() {
		_ = r.cmd.Process.Kill()
		says.Close()
		hears.Close()
	})
	both.Wait()
	late.Stop()
	switch {
	case broken == nil && refused == nil:
		return state, err
	case broken != nil:
		refused = r.lose(broken)
	}
	if err == nil || errors.Is(err, errAgain) || errors.Is(broken, errProtocol) {
		return "", refused
	}
	return "", diag.KindOf(err).Errorf("%w; %w", err, refused)
}

// child is Dovecot's side of a doveadm sync that the peer runs.
type child struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *os.File
	said   lockedBuffer
	stop   context.CancelFunc
	gone   chan struct{}
}

// dsync runs it on the mailbox that is open. Its first error is for the peer, its second the end of the conversation.
func (s *Server) dsync(ctx context.Context, in *lines, out io.Writer) (refused, broken error) {
	answer := frames{out}
	c, refused := s.start(ctx)
	if refused != nil {
		_ = answer.Close()
		return refused, in.unframe(io.Discard)
	}
	// What it says may find nobody who takes it. Its end does not wait for that.
	var heard sync.WaitGroup
	heard.Go(func() {
		_, _ = io.Copy(answer, c.stdout)
		c.stdout.Close()
		_ = answer.Close()
	})
	ended := make(chan error, 1)
	go func() { ended <- s.wait(c) }()
	broken = in.unframe(c.stdin)
	c.stdin.Close()
	refused = <-ended
	heard.Wait()
	return refused, broken
}

func (s *Server) start(ctx context.Context) (*child, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.goOn(); err != nil {
		return nil, err
	}
	if err := s.served(); err != nil {
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
	c.cmd.Stderr = &c.said
	c.cmd.Cancel = func() error { return c.cmd.Process.Signal(syscall.SIGTERM) }
	c.cmd.WaitDelay = time.Second
	c.cmd.ExtraFiles = []*os.File{s.held.File()} // which it holds for as long as it lives
	var stdout *os.File
	c.stdout, stdout, err = os.Pipe()
	if err == nil {
		c.cmd.Stdout = stdout
		if c.stdin, err = c.cmd.StdinPipe(); err == nil {
			err = c.cmd.Start()
		}
		stdout.Close()
	}
	if err != nil {
		c.stop()
		c.stdout.Close()
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
