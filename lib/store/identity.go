package store

import (
	"bufio"
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/armor"
	"filippo.io/age/plugin"
	"golang.org/x/crypto/ssh"

	"rplan/lib/diag"
)

// Identity is a private key of age that this admin has.
type Identity struct {
	Source    string // the file that it is from
	Recipient string // what is sealed for it; "" where a plugin's does not say
	Plugin    string // the plugin that has it, or ""

	age.Identity
}

// Opens says whether what is sealed for these recipients is sealed for this
// identity. It asks no plugin and needs no passphrase.
func (i *Identity) Opens(recipients []string) bool {
	return slices.ContainsFunc(recipients, func(r string) bool {
		return r == i.Recipient || i.Recipient == "" && i.Plugin != "" && pluginOf(r) == i.Plugin
	})
}

// Asker asks the user for a passphrase. It may be asked by several goroutines, one after the other.
type Asker func(prompt string) ([]byte, error)

// ReadIdentities reads a file of identities: age's, one a line; the same, sealed with a passphrase by
// age -p; or a private SSH key. The passphrase of an SSH key is asked for when it is
// used, that of a file at once, and each of them once. Errors are of kind diag.Config.
func ReadIdentities(path string, ask Asker, ui *plugin.ClientUI) ([]*Identity, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, diag.Config.Errorf("identity: %w", err)
	}
	defer clear(text)
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
		return nil, diag.Config.Errorf("identity %q can be read by others, its mode is %#o", path, info.Mode().Perm()).WithHint("chmod 600 %s; if others were at this machine, it is theirs too", path)
	}
	all, err := parseIdentities(path, text, ask, ui)
	if err != nil {
		return nil, diag.Config.Errorf("identity %q: %w", path, err)
	}
	for _, i := range all {
		i.Source = path
	}
	return all, nil
}

const sealedHead = "age-encryption.org/v1"

func parseIdentities(path string, text []byte, ask Asker, ui *plugin.ClientUI) ([]*Identity, error) {
	switch {
	case bytes.HasPrefix(text, []byte(sealedHead)), bytes.HasPrefix(bytes.TrimSpace(text), []byte(armor.Header)):
		inner, err := openFile(path, text, ask)
		if err != nil {
			return nil, err
		}
		defer clear(inner)
		return ageIdentities(inner, ui)
	case bytes.HasPrefix(text, []byte("-----BEGIN")):
		return sshIdentity(path, text, ask)
	}
	return ageIdentities(text, ui)
}

// openFile decrypts a file of identities that has a passphrase.
func openFile(path string, text []byte, ask Asker) (inner []byte, err error) {
	_, err = askFor(ask, fmt.Sprintf("passphrase of the identity %q: ", path), func(password []byte) (bool, error) {
		defer clear(password)
		identity, err := age.NewScryptIdentity(string(password))
		if err != nil { // an empty one
			return true, nil
		}
		var sealed io.Reader = bytes.NewReader(text)
		if !bytes.HasPrefix(text, []byte(sealedHead)) {
			sealed = armor.NewReader(sealed)
		}
		r, err := age.Decrypt(sealed, identity)
		if _, wrong := errors.AsType[*age.NoIdentityMatchError](err); wrong {
			return true, nil
		}
		if err == nil {
			inner, err = io.ReadAll(io.LimitReader(r, maxFile))
		}
		return false, err
	})
	return inner, err
}

// tries is how often a passphrase may be mistyped. The prompts differ, as each of them is answered once, see Wallet.
const tries = 3

// askFor asks until the passphrase is the right one.
func askFor(ask Asker, prompt string, use func([]byte) (wrong bool, err error)) ([]byte, error) {
	for try := range tries {
		again := ""
		if try > 0 {
			again = fmt.Sprintf("that is not it. Try %d of %d, ", try+1, tries)
		}
		password, err := ask(again + prompt)
		if err != nil {
			return nil, err
		}
		wrong, err := use(password)
		if err != nil {
			return nil, err
		}
		if !wrong {
			return password, nil
		}
	}
	return nil, errors.New("that is not its passphrase")
}

// ageIdentities reads lines. A comment "recipient: ..." or "public key: ...", as age-keygen(1)
// and plugins write it, is about the next one.
func ageIdentities(text []byte, ui *plugin.ClientUI) ([]*Identity, error) {
	var all []*Identity
	said := ""
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, maxText)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if comment, ok := strings.CutPrefix(line, "#"); ok {
			if _, value, ok := strings.Cut(comment, ": "); ok && strings.HasPrefix(strings.TrimSpace(value), "age1") {
				said = strings.TrimSpace(value)
			}
			continue
		}
		if line == "" {
			continue
		}
		i, err := ageIdentity(line, said, ui)
		if err != nil {
			return nil, fmt.Errorf("line %d is no identity", n) // and may be a mistyped one: not a word of it
		}
		all, said = append(all, i), ""
	}
	if lines.Err() != nil || len(all) == 0 {
		return nil, errors.New("there is no identity in it")
	}
	return all, nil
}

func ageIdentity(line, said string, ui *plugin.ClientUI) (*Identity, error) {
	switch {
	case strings.HasPrefix(line, "AGE-PLUGIN-"):
		p, err := plugin.NewIdentity(line, ui)
		if err != nil {
			return nil, err
		}
		return &Identity{Recipient: said, Plugin: p.Name(), Identity: p}, nil
	case strings.HasPrefix(line, "AGE-SECRET-KEY-PQ-1"):
		h, err := age.ParseHybridIdentity(line)
		if err != nil {
			return nil, err
		}
		return &Identity{Recipient: h.Recipient().String(), Identity: h}, nil
	}
	x, err := age.ParseX25519Identity(line)
	if err != nil {
		return nil, err
	}
	return &Identity{Recipient: x.Recipient().String(), Identity: x}, nil
}

// sshIdentity is a private SSH key, whose public one is in it, or beside it in PATH.pub.
func sshIdentity(path string, text []byte, ask Asker) ([]*Identity, error) {
	identity, err := agessh.ParseIdentity(text)
	if err == nil {
		private, err := ssh.ParseRawPrivateKey(text)
		if err != nil {
			return nil, err
		}
		signer, err := ssh.NewSignerFromKey(private)
		if err != nil {
			return nil, err
		}
		return []*Identity{{Recipient: authorized(signer.PublicKey()), Identity: identity}}, nil
	}
	missing, ok := errors.AsType[*ssh.PassphraseMissingError](err)
	if !ok {
		return nil, errors.New("it is no SSH key of type ed25519 or rsa")
	}
	public := missing.PublicKey
	if public == nil {
		line, err := os.ReadFile(path + ".pub")
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("it has a passphrase, and there is no %s.pub beside it", path)
		}
		if err == nil {
			public, _, _, _, err = ssh.ParseAuthorizedKey(line)
		}
		if err != nil {
			return nil, fmt.Errorf("%s.pub: %w", path, err)
		}
	}
	text = bytes.Clone(text)
	locked, err := agessh.NewEncryptedSSHIdentity(public, text, func() ([]byte, error) {
		return askFor(ask, fmt.Sprintf("passphrase of the SSH key %q: ", path), func(password []byte) (bool, error) {
			_, err := ssh.ParseRawPrivateKeyWithPassphrase(text, password)
			return errors.Is(err, x509.IncorrectPasswordError), nil // what else is wrong is said when it is used
		})
	})
	if err != nil {
		return nil, err
	}
	return []*Identity{{Recipient: authorized(public), Identity: locked}}, nil
}

func authorized(key ssh.PublicKey) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}
