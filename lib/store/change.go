package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"rplan/lib/atomicfile"
	"rplan/lib/diag"
	"rplan/lib/lock"
)

// Change is what one signature adds to the store.
type Change struct {
	What   string              // one line for people, which the manifest keeps
	Files  map[string][]byte   // by path in the store; nil removes one
	Sealed map[string][]string // for whom those of them that are sealed are
}

// A change is made in a directory beside the files, and is good once that has a
// plan: whoever comes next brings it to an end then. Without a plan it is dropped.
const (
	pendingDir = ".rplan-pending"
	planFile   = "plan.json"
	lockFile   = ".rplan-lock"
	ignored    = ".gitignore"
)

// plan is what is left to do with a change that is good.
type plan struct {
	Move   []string `json:"move"` // paths in the store, which lie below pendingDir as well
	Remove []string `json:"remove,omitempty"`
}

const lockWait = 10 * time.Second

// Commit signs a change and makes it. The error is of kind diag.TryAgain if
// somebody else changed the store since it was opened, and nothing is changed then.
func (s *Store) Commit(ctx context.Context, by *Keyring, c Change) (*Store, error) {
	p := s.place
	held, err := p.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer held.Release()
	now, err := p.open(ctx)
	if err != nil {
		return nil, err
	}
	if now.digest != s.digest {
		return nil, diag.TryAgain.Errorf("%q changed the store meanwhile: %s", now.By, now.manifest.What)
	}
	if err := s.put(ctx, by, c); err != nil {
		return nil, err
	}
	return p.open(ctx)
}

// Edited is the store as somebody left it who edited its files, on top of the last
// valid manifest, with what differs from that. Sign makes it valid.
func (p *Place) Edited(ctx context.Context) (s *Store, differs []string, err error) {
	if err := p.recover(ctx); err != nil {
		return nil, nil, err
	}
	return p.edited(ctx)
}

func (p *Place) edited(ctx context.Context) (s *Store, differs []string, err error) {
	s, err = p.unloaded(ctx)
	if err == nil {
		differs, err = s.compare()
	}
	return s, differs, err
}

// Sign makes what Edited found valid, if it is as it was then.
func (s *Store) Sign(ctx context.Context, by *Keyring, what string) (*Store, error) {
	p := s.place
	held, err := p.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer held.Release()
	now, differs, err := p.edited(ctx)
	if err != nil {
		return nil, err
	}
	if now.digest != s.digest || !maps.EqualFunc(now.files, s.files, bytes.Equal) {
		return nil, diag.TryAgain.Errorf("the store was changed once more meanwhile")
	}
	if len(now.unread) > 0 {
		return nil, diag.Refused.Errorf("some files cannot be signed: %s", strings.Join(now.unread, ", ")).WithHint("put them right, or take them out of the store")
	}
	if len(differs) == 0 {
		return nil, diag.Usage.Errorf("there is nothing to sign: the store is what %q signed as epoch %d", s.By, s.Epoch)
	}
	c := Change{What: what, Files: map[string][]byte{}, Sealed: map[string][]string{}}
	for name := range s.manifest.Files {
		c.Files[name] = nil
	}
	for name, text := range s.files {
		if c.Files[name] = text; !strings.HasPrefix(name, sealedDir+"/") {
			continue
		}
		if c.Sealed[name], err = s.sealedFor(ctx, name, sum(text)); err != nil {
			return nil, err
		}
	}
	if err := s.put(ctx, by, c); err != nil {
		return nil, err
	}
	return p.open(ctx)
}

// sealedFor finds for whom a file is sealed that came from somebody's manifest: the
// valid one, or one that was set aside when two were made of one epoch.
func (s *Store) sealedFor(ctx context.Context, name, digest string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(s.place.Dir, manifestsDir))
	if err != nil {
		return nil, diag.BadData.Errorf("the store: %w", err)
	}
	for _, e := range slices.Backward(entries) {
		m := signed{name: manifestsDir + "/" + e.Name()}
		if m.text, err = s.place.read(m.name, maxManifest); err != nil {
			continue
		}
		if m.manifest, err = parseManifest(m.name, m.text); err != nil || m.Files[name] != digest {
			continue
		}
		if s.place.checkSignature(ctx, m, s.manifest.Signers) == nil {
			return m.Sealed[name], nil
		}
	}
	return nil, diag.Refused.Errorf("no signed manifest says for whom %q is sealed as it is now", name).
		WithHint("put the old file back, or seal a passphrase anew: rp-rekey seal")
}

// put makes and signs the next manifest and writes it with the files, with the lock held.
func (s *Store) put(ctx context.Context, by *Keyring, c Change) error {
	m := &manifest{ID: s.manifest.ID, Epoch: s.Epoch + 1, Previous: s.digest, Date: s.place.Now().UTC().Truncate(time.Second), By: by.Admin, What: plain(c.What),
		Files: maps.Clone(s.manifest.Files), Sealed: maps.Clone(s.manifest.Sealed)}
	files := maps.Clone(s.files)
	for name, text := range c.Files {
		if !isStored(name) {
			return diag.BadData.Errorf("%q has no place in a store", name)
		}
		delete(m.Sealed, name)
		if text == nil {
			delete(m.Files, name)
			delete(files, name)
			continue
		}
		m.Files[name], files[name] = sum(text), text
	}
	for name, recipients := range c.Sealed {
		m.Sealed[name] = slices.Sorted(slices.Values(recipients))
	}
	next := &Store{Epoch: m.Epoch, Date: m.Date, By: m.By, place: s.place, manifest: m, files: files}
	if err := next.decode(); err != nil { // as whoever opens it would
		return err
	}
	m.Signers = signersOf(next.Admins)
	if err := next.consistent(); err != nil {
		return err
	}
	if key(s.manifest.Signers, by.Admin) == "" {
		return diag.Refused.Errorf("%q may not sign this store", by.Admin).WithHint("those who may are %s", strings.Join(names(s.manifest.Signers), ", "))
	}
	return next.write(ctx, by, key(s.manifest.Signers, by.Admin), c.Files)
}

// write signs the manifest, checks the signature, and puts it and the files of a
// change into the store.
func (s *Store) write(ctx context.Context, by *Keyring, signer string, change map[string][]byte) error {
	p, text := s.place, s.manifest.text()
	if _, err := parseManifest("the new one", text); err != nil {
		return err
	}
	signature, err := by.prove(ctx, ForManifest, signer, text)
	if err != nil {
		return err
	}
	var do plan
	stage := map[string][]byte{manifestPath(s.Epoch): text, signaturePath(s.Epoch, by.Admin): signature}
	for name, text := range change {
		if text == nil {
			do.Remove = append(do.Remove, name)
		} else {
			stage[name] = text
		}
	}
	slices.Sort(do.Remove)
	do.Move = slices.Sorted(maps.Keys(stage))
	for _, name := range do.Move {
		file := filepath.Join(p.Dir, pendingDir, filepath.FromSlash(name))
		if err := atomicfile.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return err
		}
		if _, err := atomicfile.WriteFile(file, stage[name], 0o600); err != nil {
			return err
		}
		p.did("staged " + name)
	}
	script, err := json.Marshal(do)
	if err != nil {
		return err
	}
	if _, err := atomicfile.WriteFile(filepath.Join(p.Dir, pendingDir, planFile), append(script, '\n'), 0o600); err != nil {
		return err
	}
	p.did("planned")
	return p.finish()
}

func (p *Place) did(what string) {
	if p.step != nil {
		p.step(what)
	}
}

// recover brings to an end what was begun, if there is something.
func (p *Place) recover(ctx context.Context) error {
	if _, err := os.Lstat(filepath.Join(p.Dir, pendingDir)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	held, err := p.begin(ctx)
	if err == nil {
		held.Release()
	}
	return err
}

// begin takes the store's lock, and brings to an end what somebody left who had it before.
func (p *Place) begin(ctx context.Context) (*lock.Lock, error) {
	held, err := lock.Acquire(ctx, filepath.Join(p.Dir, lockFile), lockWait)
	if err != nil && diag.KindOf(err) == diag.TryAgain {
		return nil, diag.TryAgain.Errorf("the store is being changed: %w", err)
	}
	if err != nil {
		return nil, err
	}
	if err := p.finish(); err != nil {
		held.Release()
		return nil, err
	}
	return held, nil
}

// finish does what a good plan says, and drops a change that has none.
func (p *Place) finish() error {
	pending := filepath.Join(p.Dir, pendingDir)
	text, err := os.ReadFile(filepath.Join(pending, planFile))
	if err == nil {
		var do plan
		if err := json.Unmarshal(text, &do); err != nil {
			return diag.BadData.Errorf("the plan of a change, %q: %w", filepath.Join(pending, planFile), err)
		}
		if err := p.carryOut(do); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return diag.BadData.Errorf("the plan of a change: %w", err)
	}
	// The plan goes last: until then it can be carried out once more.
	if err := removeAllBut(pending, planFile); err != nil {
		return diag.CantCreate.Errorf("the store: %w", err)
	}
	if err := os.RemoveAll(pending); err != nil {
		return diag.CantCreate.Errorf("the store: %w", err)
	}
	return nil
}

func removeAllBut(dir, name string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if e.Name() != name {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

func (p *Place) carryOut(do plan) error {
	var moves []atomicfile.Swap
	for _, name := range do.Move {
		if !isStored(name) && !isManifest(name) {
			return diag.Refused.Errorf("the plan of a change would write %.200q", name).WithHint("look at %s, which is none of rplan's making, and remove it", filepath.Join(p.Dir, pendingDir))
		}
		to := filepath.Join(p.Dir, filepath.FromSlash(name))
		if err := atomicfile.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		move := atomicfile.Swap{Staged: filepath.Join(p.Dir, pendingDir, filepath.FromSlash(name)), Path: to}
		if _, err := os.Lstat(move.Staged); err == nil { // else it was moved before
			moves = append(moves, move)
		}
	}
	for _, name := range do.Remove {
		if !isStored(name) {
			return diag.Refused.Errorf("the plan of a change would remove %.200q", name)
		}
	}
	if err := atomicfile.Prepare(moves); err != nil {
		return err
	}
	for _, m := range moves {
		if err := m.Move(); err != nil {
			return err
		}
		p.did("moved " + filepath.Base(m.Path))
	}
	for _, name := range do.Remove {
		if err := os.Remove(filepath.Join(p.Dir, filepath.FromSlash(name))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return diag.CantCreate.Errorf("the store: %w", err)
		}
		p.did("removed " + name)
	}
	return atomicfile.SyncDirs(moves)
}

// isManifest says whether a path is that of a manifest or a signature of one.
func isManifest(name string) bool {
	base, ok := strings.CutPrefix(name, manifestsDir+"/")
	number, rest, _ := strings.Cut(base, ".")
	admin, signature := strings.CutSuffix(rest, ".sig")
	return ok && number != "" && strings.Trim(number, "0123456789") == "" && (rest == "" || signature && IsName(admin))
}

// Init makes a store whose only admin is the one who signs. The directory may
// exist, but has no store yet. The error is of kind diag.CantCreate.
func (p *Place) Init(ctx context.Context, by *Keyring, first *Admin, id string) (*Store, error) {
	if err := atomicfile.MkdirAll(p.Dir, 0o700); err != nil {
		return nil, err
	}
	held, err := p.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer held.Release()
	if _, err := os.Lstat(filepath.Join(p.Dir, manifestsDir)); err == nil {
		return nil, diag.CantCreate.Errorf("there is a store in %q already", p.Dir).WithHint("rp-rekey trust makes it known to this machine")
	}
	if _, err := atomicfile.WriteFile(filepath.Join(p.Dir, ignored), []byte(".rplan-*\n.*.rplan-new\n"), 0o644); err != nil {
		return nil, err
	}
	if _, err := atomicfile.WriteFile(filepath.Join(p.Dir, "README"), readme(), 0o644); err != nil {
		return nil, err
	}
	files := map[string][]byte{settingsFile: encode(settings{Format: format, ID: id, Signatures: 1}), adminPath(first.Name): encode(first)}
	m := &manifest{ID: id, Epoch: 1, Previous: noManifest, Date: p.Now().UTC().Truncate(time.Second), By: by.Admin, What: "made the store", Files: map[string]string{}, Sealed: map[string][]string{}}
	for name, text := range files {
		m.Files[name] = sum(text)
	}
	s := &Store{Epoch: 1, Date: m.Date, By: m.By, place: p, manifest: m, files: files}
	if err := s.decode(); err != nil {
		return nil, err
	}
	m.Signers = signersOf(s.Admins)
	if err := s.consistent(); err != nil {
		return nil, err
	}
	s.digest, s.with = sum(m.text()), Signer{by.Admin, key(m.Signers, by.Admin)}
	// Who makes a store trusts it; before the files are there, so that a kill leaves a store that can be opened.
	if err := s.trust().save(p.State); err != nil {
		return nil, err
	}
	if err := s.write(ctx, by, key(m.Signers, by.Admin), files); err != nil {
		return nil, err
	}
	return p.open(ctx)
}

func readme() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `This is a sealed store of rplan: rplan-store(5) describes it. To read it by hand:

Who signed the newest manifest, where allowed_signers has a line "NAME KEY" for
each admin whom you trust:
    ssh-keygen -Y verify -n %s -I NAME -f allowed_signers -s manifests/EPOCH.NAME.sig <manifests/EPOCH
Whether the files are those that it lists:
    sha256sum -c --quiet manifests/EPOCH
What opens a disk, in the first line:
    age -d -i IDENTITY passphrases/NODE/DISK.age
`, ForManifest)
	return b.Bytes()
}

// AdminChange lets an admin into the store.
func AdminChange(a *Admin) (Change, error) {
	if err := a.check(); err != nil {
		return Change{}, diag.Usage.Errorf("admin %q: %w", a.Name, err)
	}
	return Change{What: fmt.Sprintf("added admin %q", a.Name), Files: map[string][]byte{adminPath(a.Name): encode(a)}}, nil
}

// NodeChange lets a node into the store, as a text of rplan-store(5) describes it. The text is kept as it is.
func (s *Store) NodeChange(name string, text []byte) (Change, *Node, error) {
	n := &Node{Name: name}
	if err := decode(nodePath(name), text, n); err != nil {
		return Change{}, nil, err
	}
	if err := n.check(s.Admins); err != nil {
		return Change{}, nil, bad(nodePath(name), err)
	}
	return Change{What: fmt.Sprintf("added node %q", name), Files: map[string][]byte{nodePath(name): text}}, n, nil
}

// BaselineChange notes what a node looks like that is well, as JSON.
func BaselineChange(node string, text []byte) Change {
	return Change{What: fmt.Sprintf("enrolled node %q", node), Files: map[string][]byte{baselinePath(node): text}}
}

// SealedChange puts a sealed passphrase into the store.
func SealedChange(what, node, disk string, sealed []byte, recipients []string) Change {
	name := SealedPath(node, disk)
	return Change{What: what, Files: map[string][]byte{name: sealed}, Sealed: map[string][]string{name: recipients}}
}
