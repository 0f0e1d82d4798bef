package store

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	"filippo.io/age"
	"filippo.io/age/plugin"

	"rplan/lib/diag"
	"rplan/lib/secret"
)

// UI is how a plugin of age, which may be a piece of hardware, talks to its user.
type UI = plugin.ClientUI

// Talk is a UI on the process's terminal, with messages to say.
func Talk(say func(format string, v ...any)) *UI { return plugin.NewTerminalUI(say, say) }

// Wallet is all identities that an admin has at this machine. Passphrases are asked for once each.
type Wallet struct {
	Files []string
	Usual bool // they are where identities usually are, and one that is of no use is passed over
	Ask   Asker
	Say   func(format string, v ...any)
	UI    *UI

	mu    sync.Mutex
	asked map[string][]byte // what was answered, by prompt
	read  map[string][]*Identity
}

// Openers are the identities that open what is sealed for these recipients. No passphrase
// of an SSH key is asked for and no hardware is touched yet. The error is of kind diag.Refused if there is none.
func (w *Wallet) Openers(recipients []string) ([]*Identity, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var found []*Identity
	var names []string
	for _, file := range w.Files {
		names = append(names, filepath.Base(file))
		all, ok := w.read[file]
		if !ok {
			var err error
			if all, err = ReadIdentities(file, w.once, w.UI); err != nil {
				w.asked = nil
				if !w.Usual {
					return nil, err
				}
				w.Say("passed over: %v", err)
			}
			if w.read == nil {
				w.read = map[string][]*Identity{}
			}
			w.read[file] = all
		}
		for _, i := range all {
			if i.Opens(recipients) {
				found = append(found, i)
			}
		}
	}
	if len(found) > 0 {
		return found, nil
	}
	return nil, diag.Refused.Errorf("%w: %s", ErrNoOpener, cmp.Or(strings.Join(names, ", "), "there are none")).
		WithHint("--identity FILE names another; rp-rekey status says who may open which disk")
}

// ErrNoOpener is in the error of somebody who has no identity that opens what is sealed.
var ErrNoOpener = errors.New("none of your identities opens it")

// Mine says whether something sealed for these recipients can be opened here.
func (w *Wallet) Mine(recipients []string) (bool, error) {
	_, err := w.Openers(recipients)
	if errors.Is(err, ErrNoOpener) {
		return false, nil
	}
	return err == nil, err
}

// Open unseals what is sealed for these recipients.
func (w *Wallet) Open(file []byte, recipients []string) (*secret.Secret, error) {
	found, err := w.Openers(recipients)
	if err != nil {
		return nil, err
	}
	w.mu.Lock() // a passphrase may be asked for
	defer w.mu.Unlock()
	var all []age.Identity
	for _, i := range found {
		all = append(all, i)
	}
	s, err := Unseal(file, all)
	if err != nil {
		w.asked = nil // one of the answers may have been wrong
	}
	return s, err
}

// once asks what was not asked before, and gives away a copy.
func (w *Wallet) once(prompt string) ([]byte, error) {
	if said, ok := w.asked[prompt]; ok {
		return append([]byte{}, said...), nil
	}
	if w.Ask == nil {
		return nil, fmt.Errorf("there is nobody to ask for the %s", strings.TrimSuffix(prompt, ": "))
	}
	said, err := w.Ask(prompt)
	if err != nil {
		return nil, err
	}
	if w.asked == nil {
		w.asked = map[string][]byte{}
	}
	w.asked[prompt] = said
	return append([]byte{}, said...), nil
}
