// Package rekey is rp-rekey(8): it makes the sealed store of a team's
// passphrases, lets admins and nodes into it, and seals a passphrase for those who
// may open a disk. Each change is one signed epoch of the store.
package rekey

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"rplan/lib/app"
	"rplan/lib/diag"
	"rplan/lib/secret"
	"rplan/lib/store"
)

// Options are what the command line says.
type Options struct {
	Verb        string
	Args        []string
	Config      string
	Store       string
	As          string
	Key         string
	Identities  []string
	Recipients  []string
	Signer      string
	File        string
	Device      string
	Remote      bool
	Typed       bool
	Fingerprint string
	Reason      string
	Yes         bool
	DryRun      bool
	JSON        bool

	pbkdf []string // of new keyslots; for tests
}

// command is one run.
type command struct {
	Options
	env      *app.Env
	settings *store.Settings
	place    *store.Place
	has      *store.Wallet
}

var verbs = map[string]func(*command, context.Context) error{
	"init": (*command).init, "trust": (*command).trust, "status": (*command).status, "sign": (*command).sign,
	"add-admin": (*command).addAdmin, "add-node": (*command).addNode, "seal": (*command).seal,
}

// Run does what the verb says.
func Run(ctx context.Context, env *app.Env, o Options) error {
	verb := verbs[o.Verb]
	if verb == nil {
		return diag.Usage.Errorf("unknown verb %q", o.Verb)
	}
	if err := secret.Harden(); err != nil {
		return err
	}
	settings, err := store.LoadSettings(o.Config, nil)
	if err != nil {
		return err
	}
	if err := settings.Complete(o.Store, o.As, o.Key, o.Identities); err != nil {
		return err
	}
	c := &command{Options: o, env: env, settings: settings, place: settings.Place(env.Now)}
	return verb(c, ctx)
}

// open opens the store, and tells what became of its signers.
func (c *command) open(ctx context.Context) (*store.Store, error) {
	s, err := c.place.Open(ctx)
	if err == nil {
		c.tell(s)
	}
	return s, err
}

func (c *command) tell(s *store.Store) {
	for _, news := range s.News {
		fmt.Fprintln(c.env.Stderr, news)
	}
}

// commit makes a change, or says what it would be.
func (c *command) commit(ctx context.Context, s *store.Store, change store.Change) (*store.Store, error) {
	if c.DryRun {
		fmt.Fprintf(c.env.Stdout, "would sign epoch %d: %s\n", s.Epoch+1, change.What)
		return s, nil
	}
	by, err := c.settings.Keyring()
	if err != nil {
		return nil, err
	}
	next, err := s.Commit(ctx, by, change)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(c.env.Stderr, "epoch %d: %s\n", next.Epoch, change.What)
	return next, nil
}

// init makes a store.
func (c *command) init(ctx context.Context) error {
	by, err := c.settings.Keyring()
	if err != nil {
		return err
	}
	signer, err := publicOf(by.File)
	if err != nil {
		return err
	}
	if len(c.Recipients) == 0 {
		return diag.Usage.Errorf("init needs a --recipient: the public half of the identity with which you will open passphrases").
			WithHint("age-keygen -o ~/.config/rplan/identity makes an identity and says its recipient; an SSH key of type ed25519 or rsa will do")
	}
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	recipients, err := texts(c.Recipients)
	if err != nil {
		return err
	}
	first := &store.Admin{Name: by.Admin, Recipients: recipients, Signer: signer}
	if _, err := store.AdminChange(first); err != nil {
		return err
	}
	if c.DryRun {
		fmt.Fprintf(c.env.Stdout, "would make a store in %q, signed by %q\n", c.place.Dir, by.Admin)
		return nil
	}
	s, err := c.place.Init(ctx, by, first, hex.EncodeToString(id[:]))
	if err != nil {
		return err
	}
	fmt.Fprintf(c.env.Stdout, "the store %s is in %q\nother admins trust it when they have heard from you: %s\n", s.ID(), c.place.Dir, s.Signers()[0].Fingerprint())
	return nil
}

// trust makes a store known to this machine.
func (c *command) trust(ctx context.Context) error {
	s, known, err := c.place.Meet(ctx)
	if err != nil {
		return err
	}
	with := s.SignedWith()
	fmt.Fprintf(c.env.Stdout, "store %s\nepoch %d of %s, signed by %s with\n  %s\nwho may sign the next one:\n", s.ID(), s.Epoch, s.Date.Local().Format("2 January 2006"), with.Admin, with.Fingerprint())
	for _, signer := range s.Signers() {
		fmt.Fprintf(c.env.Stdout, "  %-20s %s\n", signer.Admin, signer.Fingerprint())
	}
	if known > s.Epoch {
		fmt.Fprintf(c.env.Stderr, "this machine has seen epoch %d of this store: what is here is OLDER. Ask why before you trust it\n", known)
	}
	switch {
	case c.DryRun:
		return nil
	case c.Fingerprint != "" && c.Fingerprint != with.Fingerprint():
		return diag.Refused.Errorf("the store is signed with another key than %q", c.Fingerprint)
	case c.Fingerprint == "":
		sure, err := c.env.Confirm(ctx, fmt.Sprintf("compare the epoch, and the key that signed it, with %s, by voice; then type \"trust\": ", with.Admin), "trust")
		if err != nil {
			return hinted(err, "--fingerprint SHA256:... says which key you compared")
		}
		if !sure {
			return diag.Refused.Errorf("not trusted")
		}
	}
	return s.Trust()
}

// hinted replaces the hint of an error.
func hinted(err error, hint string) error {
	return diag.KindOf(err).Errorf("%w", err).WithHint("%s", hint)
}

// sign signs what was edited by hand.
func (c *command) sign(ctx context.Context) error {
	s, differs, err := c.place.Edited(ctx)
	if err != nil {
		return err
	}
	c.tell(s)
	if len(differs) == 0 {
		fmt.Fprintf(c.env.Stderr, "there is nothing to sign: the store is what %q signed as epoch %d\n", s.By, s.Epoch)
		return nil
	}
	for _, line := range differs {
		fmt.Fprintln(c.env.Stdout, line)
	}
	if c.DryRun {
		return nil
	}
	by, err := c.settings.Keyring()
	if err != nil {
		return err
	}
	if err := c.sure(ctx, fmt.Sprintf("sign that as epoch %d? type \"sign\": ", s.Epoch+1), "sign"); err != nil {
		return err
	}
	what := c.Reason
	if what == "" {
		what = "edited by hand: " + strings.Join(differs, ", ")
	}
	next, err := s.Sign(ctx, by, what)
	if err == nil {
		fmt.Fprintf(c.env.Stderr, "epoch %d\n", next.Epoch)
	}
	return err
}

// sure asks unless --yes was said.
func (c *command) sure(ctx context.Context, prompt, word string) error {
	if c.Yes {
		return nil
	}
	sure, err := c.env.Confirm(ctx, prompt, word)
	if err == nil && !sure {
		err = diag.Refused.Errorf("nothing was changed")
	}
	return err
}

// publicOf is the public half of an SSH key: the file PATH.pub, or PATH itself.
func publicOf(path string) (string, error) {
	if !strings.HasSuffix(path, ".pub") {
		path += ".pub"
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", diag.Config.Errorf("the public key to sign with: %w", err).WithHint("ssh-keygen -t ed25519 makes a key; --key names its file")
	}
	return strings.TrimSpace(string(text)), nil
}

// texts are recipients or keys as given, or what is in the file of that name.
func texts(all []string) ([]string, error) {
	var out []string
	for _, s := range all {
		text, err := text(s)
		if err != nil {
			return nil, err
		}
		out = append(out, text)
	}
	return out, nil
}

func text(s string) (string, error) {
	if strings.HasPrefix(s, "age1") || strings.Contains(s, " ") {
		return s, nil
	}
	if strings.HasPrefix(strings.ToUpper(s), "AGE-") {
		return "", diag.Usage.Errorf("that is a secret identity, not a recipient").WithHint("age-keygen -y says its public half. It was on a command line: make a new one")
	}
	b, err := os.ReadFile(s)
	if err != nil {
		return "", diag.Usage.Errorf("%.60q is no public key and no file: %w", s, errors.Unwrap(err))
	}
	return strings.TrimSpace(string(b)), nil
}

// input is a file's content, or of standard input with "-".
func (c *command) input(path string) ([]byte, error) {
	const most = 1 << 20
	if path == "-" {
		return io.ReadAll(io.LimitReader(c.env.Stdin, most))
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, diag.Usage.Errorf("%w", err)
	}
	return b, nil
}

// wallet is what the admin who sits here has.
func (c *command) wallet(ctx context.Context) *store.Wallet {
	if c.has == nil {
		ask := func(prompt string) ([]byte, error) {
			said, err := c.env.Password(ctx, prompt)
			return []byte(said), err
		}
		c.has = c.settings.Wallet(ask, func(format string, v ...any) { fmt.Fprintf(c.env.Stderr, format+"\n", v...) })
	}
	return c.has
}
