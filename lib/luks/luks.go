// Package luks changes and tests the keyslots of a LUKS device through
// cryptsetup(8), here or on another machine. Passphrases go there by standard
// input only.
package luks

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"rplan/lib/diag"
	"rplan/lib/run"
	"rplan/lib/secret"
)

// Device is a LUKS device, or a file or detached header of that format.
type Device struct {
	Path  string
	Via   []string // the command that runs another one on the machine that has it, such as ssh and its options; nil is this one
	PBKDF []string // options of cryptsetup for new keyslots; nil leaves that to it
}

// The exit codes of cryptsetup(8).
const (
	wrongPassphrase = 2
	noMemory        = 3
	wrongDevice     = 4
	deviceBusy      = 5
)

// slow is more than an Argon2 of a big machine takes on a small one.
const slow = 5 * time.Minute

// longest is what cryptsetup reads of a passphrase that ends with a line.
const longest = 512

// Opens says whether a keyslot of the device has this passphrase. Nothing is mapped.
func (d *Device) Opens(ctx context.Context, passphrase *secret.Secret) (bool, error) {
	err := d.run(ctx, passphrase.Bytes(), "open", "--test-passphrase", "--key-file=-", d.Path)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == wrongPassphrase {
		return false, nil
	}
	return err == nil, d.explain(err)
}

// Add gives the device a keyslot with a new passphrase, and makes sure that it opens
// it. The error is of kind diag.Refused if the other one is not of the device.
func (d *Device) Add(ctx context.Context, existing, passphrase *secret.Secret) error {
	both, err := secret.New(2 * (longest + 1))
	if err != nil {
		return err
	}
	defer both.Wipe()
	err = both.Set(func(room []byte) (n int, err error) {
		for _, s := range []*secret.Secret{existing, passphrase} {
			if len(s.Bytes()) == 0 || len(s.Bytes()) > longest {
				return 0, diag.BadData.Errorf("a passphrase has %d bytes, not 1 to %d", len(s.Bytes()), longest)
			}
			n += copy(room[n:], s.Bytes())
			room[n] = '\n'
			n++
		}
		return n, nil
	})
	if err != nil {
		return err
	}
	err = d.run(ctx, both.Bytes(), append(append([]string{"luksAddKey", "-q"}, d.PBKDF...), d.Path)...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == wrongPassphrase {
		return diag.Refused.Errorf("that is no passphrase of %q", d.Path)
	}
	if err != nil {
		return d.explain(err)
	}
	opens, err := d.Opens(ctx, passphrase) // a slot can be listed and be dead
	if err == nil && !opens {
		err = diag.Failed.Errorf("%q was given the new passphrase, and does not open with it", d.Path).WithHint("nothing was taken away from it; try once more")
	}
	return err
}

func (d *Device) run(ctx context.Context, stdin []byte, args ...string) error {
	argv := append(append([]string{}, d.Via...), "cryptsetup")
	_, err := run.Run(ctx, run.Cmd{Argv: append(argv, args...), Stdin: stdin, Timeout: slow, Terminal: len(d.Via) > 0})
	return err
}

// explain says what an error of cryptsetup means.
func (d *Device) explain(err error) error {
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return err
	}
	switch exit.ExitCode() {
	case noMemory:
		return diag.TryAgain.Errorf("%q: not enough memory for its passphrases: %w", d.Path, err)
	case wrongDevice:
		return diag.Failed.Errorf("%q is not there, or no device: %w", d.Path, err)
	case deviceBusy:
		return diag.TryAgain.Errorf("%q is busy: %w", d.Path, err)
	}
	return fmt.Errorf("%q: %w", d.Path, err)
}
