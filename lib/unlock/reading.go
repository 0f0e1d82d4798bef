package unlock

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Reading is what a node says of itself through the probe of contrib/initramfs. The
// node may be in an attacker's hands: it is testimony, never proof.
type Reading struct {
	Clock    time.Time         `json:"clock"`              // the node's
	Where    string            `json:"where"`              // inInitramfs or inSystem
	Alive    time.Time         `json:"alive,omitzero"`     // when its system last noted that it runs
	Boots    int               `json:"boots"`              // how often its system came up, -1 if nobody counts
	Cmdline  string            `json:"cmdline"`            // of the kernel
	Files    map[string]string `json:"files"`              // SHA-256 in hexadecimal of what is in /boot, by path below it
	Headers  map[string]Header `json:"headers,omitempty"`  // by the UUID of the LUKS device
	Hardware map[string]string `json:"hardware,omitempty"` // DMI's serial numbers and names
	Drives   map[string]Drive  `json:"drives,omitempty"`   // by serial number
	Prompts  map[string]Prompt `json:"-"`                  // by the disk whose passphrase is waited for
}

// Prompt is a question for a disk's passphrase.
type Prompt struct{ Tried, Tries int } // how often it was answered wrongly, -1 if nobody knows; and how often it may be, 0 is for ever

// Header is what is seen of a LUKS device without its passphrase.
type Header struct {
	Epoch  int    `json:"epoch"`  // of LUKS2, rises with each change of a keyslot; 0 of LUKS1
	Digest string `json:"digest"` // SHA-256 of the header's metadata, in hexadecimal
}

// Drive is a disk's own count of its life, -1 where it does not say.
type Drive struct {
	Model  string `json:"model,omitempty"`
	Hours  int    `json:"hours"`  // powered on
	Cycles int    `json:"cycles"` // of power
}

// Where a probe ran.
const (
	inInitramfs = "initramfs"
	inSystem    = "system"
)

// What a probe may say, at most.
const (
	maxProbe = 1 << 20 // bytes
	maxLines = 5000
	maxValue = 4096 // bytes of one line
)

const (
	probeHead = "rplan-probe 1"
	probeEnd  = "end"
)

// parseReading reads a probe's output strictly: from its first line to its last,
// nothing in it unknown, twice or malformed. The error quotes nothing that could
// steer a terminal.
func parseReading(out []byte) (*Reading, error) {
	if len(out) > maxProbe {
		return nil, fmt.Errorf("it said more than %d bytes", maxProbe)
	}
	p := &parser{r: &Reading{Boots: -1, Files: map[string]string{}, Headers: map[string]Header{}, Hardware: map[string]string{}, Drives: map[string]Drive{}, Prompts: map[string]Prompt{}}, seen: map[string]bool{}}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, maxValue)
	n, ended := 0, false
	for lines.Scan() {
		n++
		line := lines.Text()
		switch {
		case n > maxLines:
			return nil, fmt.Errorf("it said more than %d lines", maxLines)
		case n == 1 && line != probeHead:
			return nil, fmt.Errorf("its first line is %.80q, not %q", line, probeHead)
		case n == 1:
		case ended:
			return nil, fmt.Errorf("it goes on after its end, with %.80q", line)
		case line == probeEnd:
			ended = true
		default:
			if err := p.line(line); err != nil {
				return nil, fmt.Errorf("line %d, %.80q: %w", n, line, err)
			}
		}
	}
	switch {
	case lines.Err() != nil:
		return nil, fmt.Errorf("line %d is longer than %d bytes", n+1, maxValue)
	case n == 0:
		return nil, fmt.Errorf("it said nothing")
	case !ended:
		return nil, fmt.Errorf("it was cut off after %d lines", n)
	case p.r.Clock.IsZero(), p.r.Where == "", !p.seen["cmdline"]:
		return nil, fmt.Errorf("it did not say where it ran, what time it is or how its kernel was started")
	}
	return p.r, nil
}

type parser struct {
	r    *Reading
	seen map[string]bool
}

// line takes one line: a key, and what that has.
func (p *parser) line(line string) error {
	for _, c := range line {
		if c < ' ' || c > '~' {
			return fmt.Errorf("it has a sign that is no printable ASCII")
		}
	}
	key, value, _ := strings.Cut(line, " ")
	once := key
	if takes, ok := several[key]; ok {
		words := strings.SplitN(value, " ", takes)
		if len(words) != takes || slices.Contains(words, "") {
			return fmt.Errorf("it has not %d words behind %q", takes, key)
		}
		once = key + " " + words[0]
		if p.seen[once] {
			return fmt.Errorf("that was said before")
		}
		p.seen[once] = true
		return p.entry(key, words)
	}
	if p.seen[once] {
		return fmt.Errorf("that was said before")
	}
	p.seen[once] = true
	return p.single(key, value)
}

// several are the keys that come with an entry each, and of how many words those are.
var several = map[string]int{"file": 2, "luks": 3, "dmi": 2, "drive": 4, "prompt": 3}

func (p *parser) single(key, value string) (err error) {
	switch key {
	case "where":
		if value != inInitramfs && value != inSystem {
			return fmt.Errorf("that is neither %q nor %q", inInitramfs, inSystem)
		}
		p.r.Where = value
	case "clock":
		p.r.Clock, err = unix(value)
	case "alive":
		p.r.Alive, err = unix(value)
	case "boots":
		p.r.Boots, err = count(value)
	case "cmdline":
		p.r.Cmdline = value
	default:
		return fmt.Errorf("nobody asked for that")
	}
	return err
}

func (p *parser) entry(key string, words []string) (err error) {
	switch key {
	case "file": // digest first: a path may have blanks
		if !isDigest(words[0]) {
			return fmt.Errorf("that is no SHA-256")
		}
		if _, twice := p.r.Files[words[1]]; twice {
			return fmt.Errorf("that file was said before")
		}
		delete(p.seen, key+" "+words[0]) // two files may have the same content
		p.r.Files[words[1]] = words[0]
	case "luks":
		var h Header
		if h.Epoch, err = count(words[1]); err != nil || !isDigest(words[2]) {
			return fmt.Errorf("that is no epoch and SHA-256")
		}
		h.Digest = words[2]
		p.r.Headers[strings.ToLower(words[0])] = h
	case "dmi":
		p.r.Hardware[words[0]] = words[1]
	case "drive": // serial, hours, cycles, model
		d := Drive{Model: words[3]}
		if d.Hours, err = countOr(words[1]); err == nil {
			d.Cycles, err = countOr(words[2])
		}
		p.r.Drives[words[0]] = d
	case "prompt":
		var q Prompt
		if q.Tried, err = countOr(words[1]); err == nil {
			q.Tries, err = count(words[2])
		}
		p.r.Prompts[words[0]] = q
	}
	return err
}

func unix(s string) (time.Time, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > 1<<40 {
		return time.Time{}, fmt.Errorf("that is no time in seconds since 1970")
	}
	return time.Unix(n, 0).UTC(), nil
}

const maxCount = 1 << 31

func count(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n >= maxCount {
		return 0, fmt.Errorf("that is no number")
	}
	return int(n), nil
}

// countOr takes "-" for what is not known.
func countOr(s string) (int, error) {
	if s == "-" {
		return -1, nil
	}
	return count(s)
}

func isDigest(s string) bool { return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == "" }

// keys are those of both maps, sorted.
func keys[V any](a, b map[string]V) []string {
	all := map[string]V{}
	maps.Copy(all, a)
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}
