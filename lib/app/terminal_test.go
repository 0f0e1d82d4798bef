package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"rplan/lib/diag"
	"rplan/tests/terminal"
)

func TestConfirm(t *testing.T) {
	for answer, want := range map[string]bool{"n1\n": true, " n1 \r\n": true, "n1": false, "y\n": false, "\n": false, "": false, "N1\n": false, "n1 n2\n": false} {
		var errs bytes.Buffer
		env := &Env{Stdin: strings.NewReader(answer), Stderr: &errs, Interactive: true}
		got, err := env.Confirm(context.Background(), "sure? ", "n1")
		if got != want || err != nil || !strings.HasPrefix(errs.String(), "sure? ") {
			t.Errorf("%q: %v, %v, %q", answer, got, err, errs.String())
		}
	}
}

func TestConfirmTakesOneLine(t *testing.T) {
	stdin := strings.NewReader("n1\nn2\n")
	env := &Env{Stdin: stdin, Stderr: io.Discard, Interactive: true}
	for _, want := range []string{"n1", "n2"} {
		if ok, err := env.Confirm(context.Background(), "", want); !ok || err != nil {
			t.Errorf("%s: %v, %v", want, ok, err)
		}
	}
}

func TestConfirmOfNobody(t *testing.T) {
	var errs bytes.Buffer
	env := &Env{Stdin: strings.NewReader("n1\n"), Stderr: &errs}
	ok, err := env.Confirm(context.Background(), "sure? ", "n1")
	if ok || diag.KindOf(err) != diag.Usage || !strings.Contains(diag.HintOf(err), "--yes") || errs.Len() > 0 {
		t.Errorf("%v, %v, %q", ok, err, errs.String())
	}
}

func TestConfirmEndless(t *testing.T) {
	env := &Env{Stdin: neverending{}, Stderr: io.Discard, Interactive: true}
	if ok, err := env.Confirm(context.Background(), "", "n1"); ok || diag.KindOf(err) != diag.Usage {
		t.Errorf("%v, %v", ok, err)
	}
}

type neverending struct{}

func (neverending) Read(b []byte) (int, error) { b[0] = 'n'; return 1, nil }

// Ctrl-C at a question ends the run, though the read from the terminal cannot be ended.
func TestConfirmInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	stdin, typing := io.Pipe()
	defer typing.Close()
	time.AfterFunc(50*time.Millisecond, cancel)
	env := &Env{Stdin: stdin, Stderr: io.Discard, Interactive: true}
	if ok, err := env.Confirm(ctx, "", "n1"); ok || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", ok, err)
	}
}

func TestPasswordIsNotShown(t *testing.T) {
	x := terminal.New(t)
	env := &Env{TTY: x.TTY}
	go func() {
		x.Until(t, "password: ")
		time.Sleep(50 * time.Millisecond) // the prompt is shown before the echo ends
		fmt.Fprint(x.Keys, "s3cret \n")
	}()
	got, err := env.Password(context.Background(), "password: ")
	if got != "s3cret " || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if shown := x.Until(t, "\n"); strings.Contains(shown, "s") {
		t.Errorf("shown %q", shown)
	}
	if !x.Echoes(t) {
		t.Error("what is typed later is not shown either")
	}
}

func TestPasswordInterrupted(t *testing.T) {
	x := terminal.New(t)
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(200*time.Millisecond, cancel)
	if got, err := (&Env{TTY: x.TTY}).Password(ctx, "password: "); got != "" || !errors.Is(err, context.Canceled) {
		t.Errorf("%q, %v", got, err)
	}
	x.Until(t, "password: ")
	if !x.Echoes(t) {
		t.Error("what is typed after the interrupt is not shown")
	}
}

func TestPasswordWithoutTerminal(t *testing.T) {
	for _, path := range []string{"/dev/null", t.TempDir() + "/none"} {
		if got, err := (&Env{TTY: path}).Password(context.Background(), ""); got != "" || diag.KindOf(err) != diag.Unavailable {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
}

func TestWidth(t *testing.T) {
	t.Setenv("COLUMNS", "")
	x := terminal.New(t)
	tty := x.Open(t)
	defer tty.Close()
	if got := width(tty); got != 80 {
		t.Errorf("%d columns where the terminal does not tell", got)
	}
	t.Setenv("COLUMNS", "72")
	if got := width(tty); got != 72 {
		t.Errorf("%d columns, not those of COLUMNS", got)
	}
	size := struct{ rows, columns, x, y uint16 }{50, 132, 0, 0}
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, tty.Fd(), syscall.TIOCSWINSZ, uintptr(unsafe.Pointer(&size))); errno != 0 {
		t.Fatal(errno)
	}
	if got := width(tty); got != 132 {
		t.Errorf("%d columns, not the terminal's", got)
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if got := width(null); got != 0 || isTerminal(null) || !term.IsTerminal(int(tty.Fd())) {
		t.Errorf("%d columns of %s", got, os.DevNull)
	}
}

// TestMain is a command of its own where TestMainLooksAtTheTerminal runs it again.
func TestMain(m *testing.M) {
	if os.Getenv("RPLAN_TEST_TERMINAL") == "" {
		os.Exit(m.Run())
	}
	Main(Command{Name: "rp-x", Run: func(_ context.Context, env *Env, _ *cli.Context) error {
		fmt.Fprintf(env.Stdout, "%v %v %d", env.Terminal, env.Interactive, env.Width)
		return nil
	}})
}

func TestMainLooksAtTheTerminal(t *testing.T) {
	x := terminal.New(t)
	tty := x.Open(t)
	defer tty.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, c := range []struct {
		stdin, stderr *os.File
		want          string
	}{{tty, tty, "true true 0"}, {null, tty, "true false 0"}, {tty, null, "false false 0"}, {null, null, "false false 0"}} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "RPLAN_TEST_TERMINAL=1")
		cmd.Stdin, cmd.Stderr = c.stdin, c.stderr
		if out, err := cmd.Output(); err != nil || string(out) != c.want {
			t.Errorf("%s, %s: %q, %v, want %q", c.stdin.Name(), c.stderr.Name(), out, err, c.want)
		}
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "RPLAN_TEST_TERMINAL=1", "COLUMNS=77")
	cmd.Stdout = tty
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	x.Until(t, "false false 77")
}
