// Package published is what a node remembers of the maps that it has
// published: from which version of the directory each service's were made, and
// when they were last found to be what the directory asks for. rp-genmaps
// writes it; whoever wants to know how far a node is reads it, at any moment
// and without a lock.
//
// It is three files of the maps directory. .state.json is replaced when
// something is published, .outline.json when the whole directory was read. .checked is empty, and its time is all that it says:
// the end of the last run that found or made all maps as they should be. The
// time of .state.json could not say that, as a run that fails half-way writes
// it too.
package published

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"rplan/lib/atomicfile"
	"rplan/lib/diag"
	"rplan/lib/source"
)

// State is what one run leaves for the next, in .state.json of the maps directory.
type State struct {
	Node     string                   `json:"node"`
	Wanted   []string                 `json:"wanted"` // services that the node's roles need, whether made or not
	Services map[string]*ServiceState `json:"services"`
}

// ServiceState is where one service's maps stand.
type ServiceState struct {
	Version   source.Version    `json:"version"`             // of the directory they were made from
	States    source.Version    `json:"states"`              // likewise, as far as they follow the nodes' states
	Inputs    string            `json:"inputs"`              // digest of all else that they were made from
	Files     map[string]string `json:"files"`               // stamps of what is published, by path below the maps directory
	Unsettled bool              `json:"unsettled,omitempty"` // a swap was begun and not seen to its end
	Reload    bool              `json:"reload,omitempty"`    // the service has yet to be told
}

// Stamp is what a file's size and time are, as one word: another one means that it was touched.
func Stamp(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	return strconv.FormatInt(info.Size(), 10) + "@" + strconv.FormatInt(info.ModTime().UnixNano(), 10), nil
}

// Path is where the state of a maps directory is.
func Path(maps string) string { return filepath.Join(maps, ".state.json") }

// Load reads the state of a maps directory, which is empty where nothing was
// published. It is empty too beside an error of kind diag.BadData, for one that
// is there but cannot be understood.
func Load(maps string) (*State, error) {
	text, err := os.ReadFile(Path(maps))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return empty(), diag.CantCreate.Errorf("reading the state of the last run: %w", err)
	}
	s := &State{}
	if err == nil {
		if err := json.Unmarshal(text, s); err != nil {
			return empty(), diag.BadData.Errorf("the state of the last run, %s, cannot be read: %w", Path(maps), err)
		}
	}
	for service, of := range s.Services {
		if of == nil {
			delete(s.Services, service)
		} else if of.Files == nil {
			of.Files = map[string]string{}
		}
	}
	if s.Services == nil {
		s.Services = map[string]*ServiceState{}
	}
	return s, nil
}

func empty() *State { return &State{Services: map[string]*ServiceState{}} }

// Save replaces the state of a maps directory.
func (s *State) Save(maps string) error {
	text, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return err
	}
	_, err = atomicfile.WriteFile(Path(maps), append(text, '\n'), 0o644)
	return err
}

// Version is the version of the directory that all maps of the node have at
// least: the oldest of those that its services' were made from. It is "" where
// that cannot be said: a service has no maps yet, or was left in mid-swap, or
// two versions are such that none is older.
func (s *State) Version() source.Version {
	return s.oldest(func(of *ServiceState) source.Version { return of.Version })
}

// States is the version of the directory from which the nodes' states are that
// the maps of all services follow. It is no older than Version, and newer where
// only those states were looked at, or what users' entries change was refused.
func (s *State) States() source.Version {
	return s.oldest(func(of *ServiceState) source.Version { return of.States })
}

func (s *State) oldest(version func(*ServiceState) source.Version) source.Version {
	var oldest source.Version
	for i, service := range s.Wanted {
		of := s.Services[service]
		if of == nil || of.Unsettled || version(of) == "" {
			return ""
		}
		switch v := version(of); {
		case i == 0:
			oldest = v
		case v == oldest:
		case v.Older(oldest) == oldest.Older(v):
			return "" // other files, or writes of two providers
		case v.Older(oldest):
			oldest = v
		}
	}
	return oldest
}

// Current says whether a service's maps were made from this version and these
// inputs, and are all in place. It may be asked of nil.
func (s *ServiceState) Current(maps string, version source.Version, inputs string) bool {
	if s == nil || s.Inputs != inputs || !s.Version.Same(version) {
		return false
	}
	for path := range s.Files {
		if !s.Intact(maps, path) {
			return false
		}
	}
	return true
}

// Intact says whether a published file is the one that a run left there. After
// a run that was killed in a swap that is said of none. It may be asked of nil.
func (s *ServiceState) Intact(maps, path string) bool {
	if s == nil || s.Unsettled {
		return false
	}
	want, known := s.Files[path]
	got, err := Stamp(filepath.Join(maps, path))
	return err == nil && known && got == want
}

func checkedPath(maps string) string { return filepath.Join(maps, ".checked") }

// Check notes that all maps were found or made as they should be at this
// time. It costs no write of data and no wait for the disk: a time that a power
// cut takes away makes the maps seem older, never newer.
func Check(maps string, now time.Time) error {
	path := checkedPath(maps)
	err := os.Chtimes(path, now, now)
	if errors.Is(err, fs.ErrNotExist) {
		var f *os.File
		if f, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644); err == nil {
			err = errors.Join(f.Chmod(0o644), f.Close(), os.Chtimes(path, now, now))
		}
	}
	if err != nil {
		return diag.CantCreate.Errorf("noting that the maps are current: %w", err)
	}
	return nil
}

// Checked is the time of the last Check, or the zero time if there was none.
func Checked(maps string) (time.Time, error) {
	info, err := os.Stat(checkedPath(maps))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return time.Time{}, nil
	case err != nil:
		return time.Time{}, diag.CantCreate.Errorf("looking for the age of the maps: %w", err)
	}
	return info.ModTime(), nil
}
