package published

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"rplan/lib/atomicfile"
	"rplan/lib/diag"
	"rplan/lib/directory"
	"rplan/lib/source"
)

// Outline is what a run keeps of the directory that it read, for whom a million
// users take too long: with the nodes as they are now it says what follows their states.
type Outline struct {
	Version source.Version `json:"version"` // of the directory
	At      time.Time      `json:"-"`       // when it was kept
	directory.Outline
}

func outlinePath(maps string) string { return filepath.Join(maps, ".outline.json") }

// LoadOutline is nil where there is none. One that cannot be understood, or is
// an earlier rplan's, is of no use, and no harm.
func LoadOutline(maps string) (*Outline, error) {
	f, err := os.Open(outlinePath(maps))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	o := &Outline{}
	if err == nil {
		defer f.Close()
		err = o.read(f)
	}
	if err != nil {
		return nil, diag.CantCreate.Errorf("reading the outline of the directory: %w", err)
	}
	if o.Mailboxes == nil {
		return nil, nil
	}
	return o, nil
}

// read takes the time and the text of one file, whatever replaces it meanwhile.
func (o *Outline) read(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	if json.Unmarshal(text, o) != nil {
		*o = Outline{}
	}
	o.At = info.ModTime()
	return nil
}

// Save keeps the outline. It holds what only root sees of the directory, and so is root's.
func (o *Outline) Save(maps string) error {
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	_, err = atomicfile.WriteFile(outlinePath(maps), append(text, '\n'), 0o600)
	return err
}
