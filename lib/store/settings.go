package store

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"rplan/lib/conf"
	"rplan/lib/diag"
)

// Settings are the section [store] of rplan.toml, on an admin's own machine.
// A path that begins with "~/" is below the home directory.
type Settings struct {
	Dir        string   `toml:"dir"`         // the store
	Admin      string   `toml:"admin"`       // who sits here
	SigningKey string   `toml:"signing-key"` // private SSH key, or the public one of a key in an agent
	Identities []string `toml:"identities"`  // files of age's identities and SSH keys
	State      string   `toml:"state"`       // what this machine remembers of stores
}

// Of rplan.toml, in the order in which they are looked for.
func configurations() []string {
	return []string{expand("~/.config/rplan/rplan.toml"), conf.DefaultPath}
}

// LoadSettings reads [store] of the file at path, or with "" of the first that is there
// of ~/.config/rplan/rplan.toml and /etc/rplan/rplan.toml, and the other sections too. No file
// at all is no error. Errors are of kind diag.Config.
func LoadSettings(path string, others map[string]any) (*Settings, error) {
	s := &Settings{State: "~/.local/state/rplan"}
	sections := map[string]any{"store": s}
	for name, section := range others {
		sections[name] = section
	}
	if path == "" {
		for _, candidate := range configurations() {
			if _, err := os.Stat(candidate); !errors.Is(err, fs.ErrNotExist) {
				path = candidate
				break
			}
		}
	}
	if path != "" {
		if err := conf.Load(path, sections); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Complete takes what the command line says instead, "" for nothing, and checks the whole.
func (s *Settings) Complete(dir, admin, signingKey string, identities []string) error {
	s.Dir, s.Admin, s.SigningKey = cmp.Or(dir, s.Dir), cmp.Or(admin, s.Admin), cmp.Or(signingKey, s.SigningKey)
	if len(identities) > 0 {
		s.Identities = identities
	}
	if s.Dir == "" {
		return diag.Config.Errorf("no store is named").WithHint("--store DIR, or dir in [store] of %s", configurations()[0])
	}
	s.Dir, s.SigningKey, s.State = expand(s.Dir), expand(s.SigningKey), expand(s.State)
	for i := range s.Identities {
		s.Identities[i] = expand(s.Identities[i])
	}
	if s.Admin != "" && !IsName(s.Admin) {
		return diag.Config.Errorf("%.80q is no name of an admin", s.Admin).WithHint("small letters, digits and -")
	}
	return nil
}

// Place is the store's.
func (s *Settings) Place(now func() time.Time) *Place {
	return &Place{Dir: s.Dir, State: s.State, Now: now}
}

// Keyring is the admin's who sits here.
func (s *Settings) Keyring() (*Keyring, error) {
	switch {
	case s.Admin == "":
		return nil, diag.Config.Errorf("nobody says who you are").WithHint("--as ADMIN, or admin in [store] of %s", configurations()[0])
	case s.SigningKey == "":
		return nil, diag.Config.Errorf("there is no key to sign with").WithHint("--key FILE, or signing-key in [store] of %s: an SSH key, such as ~/.ssh/id_ed25519", configurations()[0])
	}
	return &Keyring{s.Admin, s.SigningKey}, nil
}

func expand(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	return path
}

// usual are identities that an admin may have who names none.
var usual = []string{"~/.config/rplan/identity", "~/.config/age/keys.txt", "~/.ssh/id_ed25519", "~/.ssh/id_rsa"}

// Wallet is what there is of identities: those that are named, or the usual ones.
func (s *Settings) Wallet(ask Asker, say func(format string, v ...any)) *Wallet {
	w := &Wallet{Files: s.Identities, Ask: ask, Say: say, UI: Talk(say)}
	if len(w.Files) == 0 {
		w.Files, w.Usual = usualFiles(), true
	}
	return w
}

func usualFiles() []string {
	var there []string
	for _, path := range usual {
		path = expand(path)
		if _, err := os.Stat(path); err == nil {
			there = append(there, path)
		}
	}
	return there
}
