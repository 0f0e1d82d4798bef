package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"rplan/lib/diag"
	"rplan/lib/run"
)

// What a signature is for: one for a manifest is none for an entry of the journal.
const (
	ForManifest = "rplan-store"
	ForJournal  = "rplan-journal"
)

// Keyring signs for one admin, through ssh-keygen(1): with a key in a file, which it
// may ask for a passphrase on the terminal, or, where the file is a public key, with
// the one of an agent or a security key.
type Keyring struct {
	Admin string
	File  string // path of the private or public key
}

// Sign makes a signature (PROTOCOL.sshsig of OpenSSH), armored.
func (k *Keyring) Sign(ctx context.Context, purpose string, text []byte) ([]byte, error) {
	result, err := run.Run(ctx, run.Cmd{
		Argv: []string{"ssh-keygen", "-q", "-Y", "sign", "-n", purpose, "-f", k.File}, Stdin: text,
		Terminal: true, Timeout: signing, MaxOutput: maxSignature,
	})
	if err != nil {
		return nil, fmt.Errorf("signing as %q with %q: %w", k.Admin, k.File, err)
	}
	return result.Stdout, nil
}

// prove makes a signature, if the admin's key is the one that the store has of them. The
// error is of kind diag.Config if it is another.
func (k *Keyring) prove(ctx context.Context, purpose, key string, text []byte) ([]byte, error) {
	signature, err := k.Sign(ctx, purpose, text)
	if err != nil {
		return nil, err
	}
	if err := verify(ctx, purpose, Signer{k.Admin, key}, text, signature); err != nil {
		return nil, diag.Config.Errorf("the key %q is not that of %q in the store", k.File, k.Admin)
	}
	return signature, nil
}

// verify says whether one of an admin's keys made the signature of a text.
func verify(ctx context.Context, purpose string, signer Signer, text, signature []byte) error {
	dir, err := os.MkdirTemp("", "rplan-verify-")
	if err != nil {
		return diag.CantCreate.Errorf("a directory to check a signature in: %w", err)
	}
	defer os.RemoveAll(dir)
	allowed, sig := filepath.Join(dir, "allowed_signers"), filepath.Join(dir, "signature")
	err = errors.Join(
		os.WriteFile(allowed, []byte(AllowedSigners([]Signer{signer})), 0o600),
		os.WriteFile(sig, signature, 0o600))
	if err != nil {
		return diag.CantCreate.Errorf("checking a signature: %w", err)
	}
	_, err = run.Run(ctx, run.Cmd{
		Argv:  []string{"ssh-keygen", "-Y", "verify", "-n", purpose, "-I", signer.Admin, "-f", allowed, "-s", sig},
		Stdin: text,
	})
	if exit, failed := errors.AsType[*exec.ExitError](err); failed && exit.ExitCode() > 0 {
		return diag.Refused.Errorf("%w by %q", errSignature, signer.Admin)
	}
	return err
}

const (
	signing      = 2 * time.Minute // in which somebody types a passphrase or touches a key
	maxSignature = 64 << 10        // bytes
)

var errSignature = errors.New("no valid signature")

// AllowedSigners is the text of a file for ssh-keygen -Y verify -f.
func AllowedSigners(signers []Signer) string {
	var b strings.Builder
	for _, s := range signers {
		fmt.Fprintf(&b, "%s namespaces=\"%s,%s\" %s\n", s.Admin, ForManifest, ForJournal, s.Key)
	}
	return b.String()
}

// Fingerprint is how people compare keys: what ssh-keygen -l prints.
func (s Signer) Fingerprint() string { return fingerprint(s.Key) }
