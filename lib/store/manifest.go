package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"rplan/lib/diag"
)

// manifest is what an admin signed: which files the store consists of, for whom its
// passphrases are sealed and who may sign the next one. It is a text of three
// parts with an empty line between them:
//
//	rplan-store 1
//	id 4d2c0f1e9a8b7c6d5e4f3a2b1c0d9e8f
//	epoch 18
//	previous 5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9
//	date 2026-11-26T12:01:02Z
//	by ada
//	what sealed disk "root" of node "n1"
//
//	6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b  admins/ada.toml
//	...
//
//	signer ada ssh-ed25519 AAAA...
//	recipient passphrases/n1/root.age age1...
//
// The second part is what sha256sum(1) prints, so that sha256sum -c reads it.
type manifest struct {
	ID       string
	Epoch    int    // from 1
	Previous string // SHA-256 of the one before it, in hexadecimal; 64 zeros in the first
	Date     time.Time
	By       string // admin
	What     string
	Files    map[string]string   // SHA-256 in hexadecimal, by path
	Signers  []Signer            // sorted by admin
	Sealed   map[string][]string // recipients by path, sorted
}

// Signer is an admin's key for signatures.
type Signer struct {
	Admin string `json:"admin"`
	Key   string `json:"key"` // "TYPE BASE64"
}

const (
	manifestHead = "rplan-store 1"
	dateFormat   = "2006-01-02T15:04:05Z"
	maxManifest  = 4 << 20 // bytes
	maxEpoch     = 1<<31 - 1
)

var noManifest = strings.Repeat("0", 2*sha256.Size)

func sum(text []byte) string {
	s := sha256.Sum256(text)
	return hex.EncodeToString(s[:])
}

func (m *manifest) text() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\nid %s\nepoch %d\nprevious %s\ndate %s\nby %s\nwhat %s\n\n", manifestHead, m.ID, m.Epoch, m.Previous, m.Date.UTC().Format(dateFormat), m.By, m.What)
	for _, name := range slices.Sorted(maps.Keys(m.Files)) {
		fmt.Fprintf(&b, "%s  %s\n", m.Files[name], name)
	}
	b.WriteByte('\n')
	for _, s := range m.Signers {
		fmt.Fprintf(&b, "signer %s %s\n", s.Admin, s.Key)
	}
	for _, name := range slices.Sorted(maps.Keys(m.Sealed)) {
		for _, r := range m.Sealed[name] {
			fmt.Fprintf(&b, "recipient %s %s\n", name, r)
		}
	}
	return b.Bytes()
}

// parseManifest reads one. It takes nothing but what text writes, so that there is
// one text for one meaning. Its errors are of kind diag.BadData.
func parseManifest(name string, text []byte) (*manifest, error) {
	m := &manifest{Files: map[string]string{}, Sealed: map[string][]string{}}
	err := m.parse(text)
	if err == nil && !bytes.Equal(m.text(), text) {
		err = fmt.Errorf("it is not written as rplan writes it")
	}
	if err != nil {
		return nil, diag.BadData.Errorf("manifest %q: %w", name, err)
	}
	return m, nil
}

func (m *manifest) parse(text []byte) error {
	if len(text) > maxManifest {
		return fmt.Errorf("it is larger than %d bytes", maxManifest)
	}
	parts := strings.SplitN(string(text), "\n\n", 3)
	if len(parts) != 3 {
		return fmt.Errorf("it has no three parts")
	}
	lines := strings.Split(parts[0], "\n")
	keys := []string{"id", "epoch", "previous", "date", "by", "what"}
	if lines[0] != manifestHead || len(lines) != len(keys)+1 {
		return fmt.Errorf("it does not begin with the lines %q, %s", manifestHead, strings.Join(keys, ", "))
	}
	values := map[string]string{}
	for i, key := range keys {
		value, ok := strings.CutPrefix(lines[i+1], key+" ")
		if !ok {
			return fmt.Errorf("line %d is not %q and a value", i+2, key)
		}
		values[key] = value
	}
	var err error
	m.ID, m.Previous, m.By, m.What = values["id"], values["previous"], values["by"], values["what"]
	if m.Epoch, err = strconv.Atoi(values["epoch"]); err != nil || m.Epoch < 1 || m.Epoch > maxEpoch {
		return fmt.Errorf("epoch %.40q is no number from 1", values["epoch"])
	}
	if m.Date, err = time.Parse(dateFormat, values["date"]); err != nil {
		return fmt.Errorf("date %.40q is none", values["date"])
	}
	if !isID(m.ID) || !isSum(m.Previous) || !IsName(m.By) || m.What != plain(m.What) {
		return fmt.Errorf("id, previous, by or what is not what it should be")
	}
	for line := range strings.Lines(parts[1]) {
		hash, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if !ok || !isSum(hash) || !isStored(name) {
			return fmt.Errorf("%.120q is no line of a file", line)
		}
		m.Files[name] = hash
	}
	for line := range strings.Lines(parts[2]) {
		kind, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		about, value, ok := strings.Cut(rest, " ")
		switch {
		case ok && kind == "signer" && IsName(about):
			if key, err := plainKey(value); err != nil || key != value {
				return fmt.Errorf("signer %q: no public SSH key", about)
			}
			m.Signers = append(m.Signers, Signer{about, value})
		case ok && kind == "recipient" && isStored(about):
			if r, err := plainRecipient(value); err != nil || r != value {
				return fmt.Errorf("%q: %.40q is no recipient", about, value)
			}
			m.Sealed[about] = append(m.Sealed[about], value)
		default:
			return fmt.Errorf("%.120q is no signer and no recipient", line)
		}
	}
	if len(m.Signers) == 0 {
		return fmt.Errorf("nobody may sign the next one")
	}
	return nil
}

// key is what the admin signs with, "" for somebody who may not.
func key(signers []Signer, admin string) string {
	for _, s := range signers {
		if s.Admin == admin {
			return s.Key
		}
	}
	return ""
}

func isID(s string) bool { return len(s) == 32 && strings.Trim(s, "0123456789abcdef") == "" }

func isSum(s string) bool {
	return len(s) == 2*sha256.Size && strings.Trim(s, "0123456789abcdef") == ""
}

// maxLine bounds what an admin says why, in bytes.
const maxLine = 400

// plain is a text as one line that steers no terminal.
func plain(s string) string {
	s = strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))), " ")
	if len(s) > maxLine {
		s = strings.ToValidUTF8(s[:maxLine], "")
	}
	return strings.TrimSpace(s)
}

// isStored says whether a path is one that a manifest may list: store.toml, or a
// file of one of its directories, at its place.
func isStored(name string) bool {
	if name == settingsFile {
		return true
	}
	dir, rest, _ := strings.Cut(name, "/")
	switch dir {
	case adminsDir, nodesDir:
		base, ok := strings.CutSuffix(rest, ".toml")
		return ok && IsName(base)
	case baselinesDir:
		base, ok := strings.CutSuffix(rest, ".json")
		return ok && IsName(base)
	case sealedDir:
		node, disk, _ := strings.Cut(rest, "/")
		base, ok := strings.CutSuffix(disk, ".age")
		return ok && IsName(node) && IsDisk(base)
	}
	return false
}
