package genmaps

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"rplan/lib/atomicfile"
	"rplan/lib/diag"
	"rplan/lib/source"
)

// state is what one run leaves for the next, in .state.json of the maps directory.
type state struct {
	Node     string                   `json:"node"`
	Wanted   []string                 `json:"wanted"` // services that the node's roles need, whether made or not
	Services map[string]*serviceState `json:"services"`
}

// serviceState is where one service's maps stand.
type serviceState struct {
	Version   source.Version    `json:"version"`             // of the directory they were made from
	Inputs    string            `json:"inputs"`              // digest of all else that they were made from
	Files     map[string]string `json:"files"`               // stamps of what is published, by path below the maps directory
	Unsettled bool              `json:"unsettled,omitempty"` // a swap was begun and not seen to its end
	Reload    bool              `json:"reload,omitempty"`    // the service has yet to be told
}

// stamp is what a file's size and time are, as one word: another one means that it was touched.
func stamp(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	return strconv.FormatInt(info.Size(), 10) + "@" + strconv.FormatInt(info.ModTime().UnixNano(), 10), nil
}

func statePath(maps string) string { return filepath.Join(maps, ".state.json") }

// loadState returns an empty state where there is none. One that cannot be
// read costs a full run and the memory of how far the replica was, so it is said.
func loadState(maps string, warn func(string)) (*state, error) {
	s := &state{}
	text, err := os.ReadFile(statePath(maps))
	if err == nil {
		if err := json.Unmarshal(text, s); err != nil {
			warn("the state of the last run, " + statePath(maps) + ", cannot be read; everything is made anew: " + err.Error())
			s = &state{}
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, diag.CantCreate.Errorf("reading the state of the last run: %w", err)
	}
	for service, of := range s.Services {
		if of == nil {
			delete(s.Services, service)
		} else if of.Files == nil {
			of.Files = map[string]string{}
		}
	}
	if s.Services == nil {
		s.Services = map[string]*serviceState{}
	}
	return s, nil
}

func (s *state) save(maps string) error {
	text, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return err
	}
	_, err = atomicfile.WriteFile(statePath(maps), append(text, '\n'), 0o644)
	return err
}

// current says whether a service's maps were made from this version and these
// inputs, and are all in place.
func (s *serviceState) current(maps string, version source.Version, inputs string) bool {
	if s == nil || s.Inputs != inputs || !s.Version.Same(version) {
		return false
	}
	for path := range s.Files {
		if !s.intact(maps, path) {
			return false
		}
	}
	return true
}

// intact says whether a published file is the one that a run left there. After
// a run that was killed in a swap that is said of none.
func (s *serviceState) intact(maps, path string) bool {
	if s == nil || s.Unsettled {
		return false
	}
	want, known := s.Files[path]
	got, err := stamp(filepath.Join(maps, path))
	return err == nil && known && got == want
}
