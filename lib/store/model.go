package store

import (
	"bytes"
	"cmp"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
	"golang.org/x/crypto/ssh"

	"rplan/lib/conf"
	"rplan/lib/diag"
)

// Admin is somebody for whom passphrases are sealed, and who may sign the store.
type Admin struct {
	Name       string   `toml:"-"`
	Recipients []string `toml:"recipients"`       // of age: age1..., age1pq1..., age1PLUGIN1..., ssh-ed25519 ..., ssh-rsa ...
	Signer     string   `toml:"signer,omitempty"` // the public SSH key of their signatures, "TYPE BASE64"; "" signs nothing
}

// Node is a machine with encrypted disks.
type Node struct {
	Name      string  `toml:"-"`
	Policy    Policy  `toml:"policy,omitempty"`
	Initramfs *Target `toml:"initramfs,omitempty"` // nil: nothing is unlocked before the system runs
	System    Target  `toml:"system"`
	Disks     []Disk  `toml:"disk"` // in the order in which they are unlocked
}

// Policy says what is well for a node.
type Policy struct {
	MaxOff Duration `toml:"max-off,omitempty"` // how long it may have been off with nobody having said so; 0 is DefaultMaxOff
}

// DefaultMaxOff is for a node whose policy says nothing.
const DefaultMaxOff = Duration(5 * time.Minute)

// Target is where a node's sshd listens, in its initramfs or in its system, and how it is known.
type Target struct {
	Host     string   `toml:"host"` // a name or an address
	Port     int      `toml:"port,omitempty"`
	User     string   `toml:"user,omitempty"`
	HostKeys []string `toml:"host-keys"`        // "TYPE BASE64" each
	Unlock   string   `toml:"unlock,omitempty"` // how passphrases are asked for, see the constants
}

// How a passphrase is handed over.
const (
	Cryptroot = "cryptroot-unlock" // Debian's, in the initramfs
	Systemd   = "systemd"          // by its password agents, in the initramfs
	Running   = "cryptsetup"       // cryptsetup open and mount, on the running system
	root      = "root"             // the user of a target that names none
	sshPort   = 22                 // likewise
	maxPort   = 65535              //
	maxList   = 100                // of anything that a file lists
	maxText   = 16 << 10           // of one key or recipient, in bytes: post-quantum ones have 2,000
)

// Disk is one LUKS device.
type Disk struct {
	Name   string   `toml:"name"`             // as its prompt has it: the first column of crypttab(5)
	Where  string   `toml:"where,omitempty"`  // "" or "initramfs", or "system": opened when the system runs
	UUID   string   `toml:"uuid,omitempty"`   // of the LUKS header
	Device string   `toml:"device,omitempty"` // path on the node
	Mount  string   `toml:"mount,omitempty"`  // where the system mounts it
	Admins []string `toml:"admins"`           // who may open it
}

// Late says whether the disk is opened when the system runs already.
func (d *Disk) Late() bool { return d.Where == "system" }

// Duration is written as "10m".
type Duration time.Duration

// UnmarshalText reads what time.ParseDuration takes, 0 and up.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil || v < 0 {
		return fmt.Errorf("%.40q is no length of time such as \"10m\"", text)
	}
	*d = Duration(v)
	return nil
}

// MarshalText is the opposite.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// MaxOff is how long the node may have been off with nobody having said so.
func (n *Node) MaxOff() time.Duration { return time.Duration(cmp.Or(n.Policy.MaxOff, DefaultMaxOff)) }

// Disk is the node's disk of that name, or nil.
func (n *Node) Disk(name string) *Disk {
	for i := range n.Disks {
		if n.Disks[i].Name == name {
			return &n.Disks[i]
		}
	}
	return nil
}

// Address is "USER@HOST:PORT", for people.
func (t *Target) Address() string {
	host := t.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return fmt.Sprintf("%s@%s:%d", t.Login(), host, t.SSHPort())
}

// Login is the user to be there.
func (t *Target) Login() string { return cmp.Or(t.User, root) }

// SSHPort is where its sshd listens.
func (t *Target) SSHPort() int { return cmp.Or(t.Port, sshPort) }

// Where what lies in the store.
const (
	settingsFile = "store.toml"
	adminsDir    = "admins"
	nodesDir     = "nodes"
	sealedDir    = "passphrases"
	baselinesDir = "baselines"
)

func adminPath(name string) string    { return path.Join(adminsDir, name+".toml") }
func nodePath(name string) string     { return path.Join(nodesDir, name+".toml") }
func baselinePath(node string) string { return path.Join(baselinesDir, node+".json") }

// SealedPath is the file of a disk's passphrase, in the store.
func SealedPath(node, disk string) string { return path.Join(sealedDir, node, disk+".age") }

// settings are what store.toml holds.
type settings struct {
	Format     int    `toml:"format"`
	ID         string `toml:"id"`
	Signatures int    `toml:"signatures"` // how many admins have to sign a change; this rplan knows 1
}

const format = 1

// decode reads one of the store's files. Its errors are of kind diag.BadData.
func decode(name string, text []byte, into any) error {
	if err := conf.Strict(name, text, into); err != nil {
		return diag.BadData.Errorf("%w", err)
	}
	return nil
}

// encode is the opposite.
func encode(v any) []byte {
	var b bytes.Buffer
	e := toml.NewEncoder(&b)
	e.Indent = ""
	if err := e.Encode(v); err != nil {
		panic(err) // of a struct of ours
	}
	return b.Bytes()
}

// IsName says whether s can be the name of an admin or a node: one DNS label.
func IsName(s string) bool {
	return len(s) <= 63 && s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" && s[0] != '-' && s[len(s)-1] != '-'
}

// IsDisk says whether s can be the name of a disk: a device-mapper name with no sign that would have to be quoted anywhere.
func IsDisk(s string) bool {
	return len(s) <= 64 && s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == "" && s[0] != '-' && s[0] != '.'
}

func (a *Admin) check() error {
	if len(a.Recipients) == 0 || len(a.Recipients) > maxList {
		return fmt.Errorf("it has %d recipients, not 1 to %d", len(a.Recipients), maxList)
	}
	for i, r := range a.Recipients {
		plain, err := plainRecipient(r)
		if err != nil {
			return err
		}
		a.Recipients[i] = plain
	}
	if a.Signer == "" {
		return nil
	}
	key, err := plainKey(a.Signer)
	if err != nil {
		return fmt.Errorf("signer: %w", err)
	}
	a.Signer = key
	return nil
}

func (n *Node) check(admins map[string]*Admin) error {
	if n.Initramfs != nil {
		if err := n.Initramfs.check(Cryptroot, Systemd); err != nil {
			return fmt.Errorf("initramfs: %w", err)
		}
	}
	if err := n.System.check(Running); err != nil {
		return fmt.Errorf("system: %w", err)
	}
	if len(n.Disks) > maxList {
		return fmt.Errorf("it has more than %d disks", maxList)
	}
	seen := map[string]bool{}
	for i := range n.Disks {
		d := &n.Disks[i]
		if err := d.check(n, admins); err != nil {
			return fmt.Errorf("disk %.64q: %w", d.Name, err)
		}
		if seen[d.Name] {
			return fmt.Errorf("disk %q is there twice", d.Name)
		}
		seen[d.Name] = true
	}
	return nil
}

func (t *Target) check(ways ...string) error {
	if !isHost(t.Host) {
		return fmt.Errorf("host %.80q is no name and no address", t.Host)
	}
	if t.Port < 0 || t.Port > maxPort {
		return fmt.Errorf("port %d is none", t.Port)
	}
	if t.User != "" && !IsName(t.User) {
		return fmt.Errorf("user %.40q is none", t.User)
	}
	if t.Unlock == "" {
		t.Unlock = ways[0]
	}
	if !slices.Contains(ways, t.Unlock) {
		return fmt.Errorf("unlock %.40q is not %s", t.Unlock, strings.Join(ways, " or "))
	}
	if len(t.HostKeys) == 0 || len(t.HostKeys) > maxList {
		return fmt.Errorf("there are %d host keys, not 1 to %d", len(t.HostKeys), maxList)
	}
	for i, k := range t.HostKeys {
		key, err := plainKey(k)
		if err != nil {
			return fmt.Errorf("host key: %w", err)
		}
		t.HostKeys[i] = key
	}
	return nil
}

func (d *Disk) check(n *Node, admins map[string]*Admin) error {
	switch {
	case !IsDisk(d.Name):
		return fmt.Errorf("that is no name")
	case d.Where != "" && d.Where != "initramfs" && d.Where != "system":
		return fmt.Errorf("where %.40q is not \"initramfs\" or \"system\"", d.Where)
	case !d.Late() && n.Initramfs == nil:
		return fmt.Errorf("it is opened in an initramfs, and the node has none")
	case d.Device == "" && d.Late():
		return fmt.Errorf("it is opened when the system runs, and names no device")
	case d.Device != "" && !isPath(d.Device), d.Mount != "" && !isPath(d.Mount):
		return fmt.Errorf("device and mount are absolute paths of plain letters")
	case d.UUID != "" && !isUUID(d.UUID):
		return fmt.Errorf("UUID %.40q is none", d.UUID)
	case len(d.Admins) == 0 || len(d.Admins) > maxList:
		return fmt.Errorf("it has %d admins, not 1 to %d", len(d.Admins), maxList)
	}
	for _, name := range d.Admins {
		if admins[name] == nil {
			return fmt.Errorf("there is no admin %.64q", name)
		}
	}
	return nil
}

// isHost says whether s is an address or a host's name, and no option of ssh(1).
func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	return len(s) <= 253 && s != "" && s[0] != '-' && s[0] != '.' && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") == ""
}

// isPath says whether s is an absolute path that needs no quotes in a shell.
func isPath(s string) bool {
	return path.IsAbs(s) && path.Clean(s) == s && len(s) <= 1024 &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/+:@") == ""
}

func isUUID(s string) bool {
	return len(s) == 36 && strings.Trim(s, "0123456789abcdefABCDEF-") == ""
}

// plainKey is a public SSH key as "TYPE BASE64", without options and comment.
func plainKey(s string) (string, error) {
	s = strings.TrimSpace(s)
	if len(s) > maxText || strings.ContainsAny(s, "\n\r") {
		return "", fmt.Errorf("%.40q... is no public SSH key", s)
	}
	key, _, options, _, err := ssh.ParseAuthorizedKey([]byte(s))
	if err != nil || len(options) > 0 {
		return "", fmt.Errorf("%.40q is no public SSH key", s)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))), nil
}

// fingerprint of a key that plainKey returned.
func fingerprint(key string) string {
	k, _, _, _, err := ssh.ParseAuthorizedKey([]byte(key))
	if err != nil {
		return ""
	}
	return ssh.FingerprintSHA256(k)
}
