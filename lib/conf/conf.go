// Package conf reads rplan.toml (rplan.toml(5)). Each part of rplan declares
// its own section as a struct with toml tags, filled with its defaults; conf
// decodes into them and refuses whatever nobody asked for, with file and line.
package conf

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"

	"rplan/lib/diag"
)

// DefaultPath is where the configuration is unless --config or RPLAN_CONFIG says otherwise.
const DefaultPath = "/etc/rplan/rplan.toml"

// names are all that rplan.toml may hold at its top level, for whichever command.
var names = []string{"node", "network", "directory", "genmaps", "failover", "store", "unlock", "archive"}

// maxSize bounds the file in bytes; the longest sensible one has a few thousand.
const maxSize = 1 << 20

// Load reads the file at path and decodes each top-level name in sections
// into the value that it points to, which keeps what the file leaves out.
// All errors are of kind diag.Config and name the file, and line and key where there are any.
func Load(path string, sections map[string]any) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return diag.Config.Errorf("configuration %q does not exist", path).
			WithHint("name another with --config, or begin with the commented example in /usr/share/doc/rplan/contrib/example")
	}
	if err != nil {
		hint := "name another with --config"
		if errors.Is(err, fs.ErrPermission) {
			hint = "call this as a user who may read it, or " + hint
		}
		return diag.Config.Errorf("reading the configuration: %w", err).WithHint("%s", hint)
	}
	return Decode(path, text, sections)
}

// Decode is Load for a text that was read before; path serves for messages.
func Decode(path string, text []byte, sections map[string]any) error {
	if len(text) > maxSize {
		return diag.Config.Errorf("%s: larger than %d bytes", path, maxSize)
	}
	var top map[string]toml.Primitive
	meta, err := toml.Decode(string(text), &top)
	if err != nil {
		return located(path, err)
	}
	for _, key := range meta.Keys() {
		if !slices.Contains(names, key[0]) {
			return unknownKey(path, text, key[:1])
		}
	}
	for name := range sections {
		if value, ok := top[name]; ok {
			if err := meta.PrimitiveDecode(value, sections[name]); err != nil {
				return located(path, err)
			}
		}
	}
	for _, key := range meta.Undecoded() {
		if _, asked := sections[key[0]]; asked {
			return unknownKey(path, text, key)
		}
	}
	return nil
}

// Strict decodes another file than rplan.toml, all of which goes into one struct.
// Its errors name the file, and line and key where there are any.
func Strict(path string, text []byte, into any) error {
	if len(text) > maxSize {
		return diag.Config.Errorf("%s: larger than %d bytes", path, maxSize)
	}
	meta, err := toml.Decode(string(text), into)
	if err != nil {
		return located(path, err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return diag.Config.Errorf("%s:%d: unknown key %q", path, lineOf(text, unknown[0]), unknown[0].String())
	}
	return nil
}

// position is how the toml package begins its messages.
var position = regexp.MustCompile(`(?s)^toml: line (\d+)(?: \(last key "(.*?)"\))?: (.*)$`)

func located(path string, err error) error {
	m := position.FindStringSubmatch(err.Error())
	switch {
	case m == nil:
		return diag.Config.Errorf("%s: %w", path, err)
	case m[2] == "":
		return diag.Config.Errorf("%s:%s: %s", path, m[1], m[3])
	default:
		return diag.Config.Errorf("%s:%s: key %q: %s", path, m[1], m[2], m[3])
	}
}

func unknownKey(path string, text []byte, key toml.Key) error {
	e := diag.Config.Errorf("%s:%d: unknown key %q", path, lineOf(text, key), key.String())
	if len(key) == 1 {
		return e.WithHint("the top level has %s", strings.Join(names, ", "))
	}
	return e.WithHint("rplan.toml(5) lists the keys of [%s]", toml.Key(key[:len(key)-1]))
}

// lineOf is the line at whose end the key is first defined, found by parsing ever more of the text.
func lineOf(text []byte, key toml.Key) int {
	line := 0
	for end := 0; end < len(text); {
		next := bytes.IndexByte(text[end:], '\n')
		if next < 0 {
			next = len(text) - end - 1
		}
		end += next + 1
		line++
		var ignored map[string]any
		if meta, err := toml.Decode(string(text[:end]), &ignored); err == nil && meta.IsDefined(key...) {
			break
		}
	}
	return line
}

// Percent is a share written as "10%".
type Percent float64

// UnmarshalText reads a number from 0 to 100 and a percent sign.
func (p *Percent) UnmarshalText(text []byte) error {
	number, percent := strings.CutSuffix(string(text), "%")
	value, err := strconv.ParseFloat(number, 64)
	if !percent || err != nil || !(value >= 0 && value <= 100) { // NaN is not
		return fmt.Errorf("%q is not a percentage such as \"10%%\"", text)
	}
	*p = Percent(value)
	return nil
}
