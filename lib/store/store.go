// Package store is the sealed store: a directory with the passphrases of a
// team's disks, each sealed with age(1) for the admins who may open it, and
// with what is known of their nodes. Its format is in rplan-store(5).
//
// A manifest lists each file with its digest and is signed by an admin. Nothing
// that is not as a valid manifest says is used. Manifests are numbered by an
// epoch and name the digest of the one before, so that a machine that has seen
// one (Trust) follows the others from there: a history that was replaced or set
// back is refused.
package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"rplan/lib/diag"
)

// Place is where a store is, and what this machine knows of it.
type Place struct {
	Dir   string // the store
	State string // directory of what this machine remembers of stores
	Now   func() time.Time
	step  func(string) // is told each step of a change; a test stops there
}

// Store is what a valid manifest says, read once: nothing that happens to the
// files afterwards changes it.
type Store struct {
	Epoch  int
	Date   time.Time
	By     string // who signed it
	Admins map[string]*Admin
	Nodes  map[string]*Node
	News   []string // what became of the signers since this machine saw the store last, for people

	place    *Place
	manifest *manifest
	digest   string   // of the manifest
	seen     int      // the epoch that this machine knew
	unread   []string // files that are there and cannot be used
	with     Signer   // who signed it
	files    map[string][]byte
}

const (
	maxFile  = 1 << 20 // bytes
	maxFiles = 10000
)

// Open reads the store, having brought to an end what somebody who was killed
// had begun. Errors are of kind diag.Refused if the store is not as its admins
// left it, diag.BadData if it cannot be read, diag.Config if there is none or this
// machine has never seen it.
func (p *Place) Open(ctx context.Context) (*Store, error) {
	if err := p.recover(ctx); err != nil {
		return nil, err
	}
	return p.open(ctx)
}

func (p *Place) open(ctx context.Context) (*Store, error) {
	s, err := p.unloaded(ctx)
	if err == nil {
		err = s.load()
	}
	if err == nil && s.Epoch > s.seen {
		err = s.trust().save(p.State)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// unloaded is the store of the newest manifest, which is valid, without its files.
func (p *Place) unloaded(ctx context.Context) (*Store, error) {
	chain, err := p.manifests()
	if err != nil {
		return nil, err
	}
	last := chain[len(chain)-1]
	trust, err := loadTrust(p.State, last.ID)
	if err != nil {
		return nil, err
	}
	if trust == nil {
		return nil, diag.Config.Errorf("this machine has never seen the store %q, of id %s", p.Dir, last.ID).
			WithHint("compare a signer's fingerprint with another admin, by voice: rp-rekey trust --store %s", p.Dir)
	}
	return p.follow(ctx, chain, trust)
}

// Meet opens a store that this machine has never seen, or sees in another history,
// believing its newest manifest. Trust is for when an admin has compared the key that signed it,
// SignedWith. Known is the newest epoch that this machine has seen of the store, 0 for none.
func (p *Place) Meet(ctx context.Context) (s *Store, known int, err error) {
	if err := p.recover(ctx); err != nil {
		return nil, 0, err
	}
	chain, err := p.manifests()
	if err != nil {
		return nil, 0, err
	}
	last := chain[len(chain)-1]
	signers := last.Signers // of the first, and where the one before is not there
	if len(chain) > 1 && chain[len(chain)-2].Epoch == last.Epoch-1 {
		signers = chain[len(chain)-2].Signers
	}
	trust, err := loadTrust(p.State, last.ID)
	if err != nil {
		return nil, 0, err
	}
	if trust != nil {
		known = trust.Epoch
	}
	s, err = p.follow(ctx, chain[len(chain)-1:], &Trust{ID: last.ID, Epoch: last.Epoch, Manifest: sum(last.text), With: Signer{last.By, key(signers, last.By)}, Signers: last.Signers})
	if err != nil {
		return nil, 0, err
	}
	return s, known, s.load()
}

// SignedWith is the key with which the manifest was signed.
func (s *Store) SignedWith() Signer { return s.with }

// Trust makes this machine believe the store, and what follows from here.
func (s *Store) Trust() error { return s.trust().save(s.place.State) }

func (s *Store) trust() *Trust {
	return &Trust{ID: s.manifest.ID, Epoch: s.Epoch, Manifest: s.digest, Seen: s.place.Now().UTC(), With: s.with, Signers: s.manifest.Signers}
}

// signed is a manifest as it lies in the store.
type signed struct {
	*manifest
	name string // of its file, in the store
	text []byte
}

const manifestsDir = "manifests"

func manifestPath(epoch int) string { return path.Join(manifestsDir, fmt.Sprintf("%06d", epoch)) }

func signaturePath(epoch int, admin string) string { return manifestPath(epoch) + "." + admin + ".sig" }

// manifests are those in the store, by epoch, up to the newest; at least one.
func (p *Place) manifests() ([]signed, error) {
	entries, err := os.ReadDir(filepath.Join(p.Dir, manifestsDir))
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil, diag.Config.Errorf("there is no store in %q", p.Dir).WithHint("rp-rekey init makes one; --store DIR names another")
	}
	if err != nil {
		return nil, diag.BadData.Errorf("the store: %w", err)
	}
	var all []signed
	for _, e := range entries {
		if strings.Trim(e.Name(), "0123456789") != "" {
			continue // a signature, or what somebody keeps there
		}
		m := signed{name: path.Join(manifestsDir, e.Name())}
		if m.text, err = p.read(m.name, maxManifest); err == nil {
			m.manifest, err = parseManifest(m.name, m.text)
		}
		if err != nil {
			return nil, err
		}
		if m.name != manifestPath(m.Epoch) {
			return nil, diag.Refused.Errorf("%q says that it is of epoch %d", m.name, m.Epoch)
		}
		all = append(all, m)
	}
	if len(all) == 0 {
		return nil, diag.BadData.Errorf("the store %q has no manifest", p.Dir)
	}
	slices.SortFunc(all, func(a, b signed) int { return a.Epoch - b.Epoch })
	return all, nil
}

// follow checks each manifest since the one that is trusted. The files are not read.
func (p *Place) follow(ctx context.Context, chain []signed, trust *Trust) (*Store, error) {
	last := chain[len(chain)-1]
	if last.Epoch < trust.Epoch {
		return nil, diag.Refused.Errorf("the store is of epoch %d, and this machine has seen epoch %d on %s: an older state was put back",
			last.Epoch, trust.Epoch, trust.Seen.Local().Format("2 January 2006")).
			WithHint("fetch the newest state from another admin; if there is none, something is wrong: ask who had the store")
	}
	at := slices.IndexFunc(chain, func(m signed) bool { return m.Epoch == trust.Epoch })
	if at < 0 {
		return nil, diag.Refused.Errorf("the manifest of epoch %d, which this machine has seen, is missing", trust.Epoch).
			WithHint("fetch the file %s from another admin's store", manifestPath(trust.Epoch))
	}
	if sum(chain[at].text) != trust.Manifest {
		return nil, diag.Refused.Errorf("the manifest of epoch %d is another one than this machine has seen: the store's history was replaced", trust.Epoch).
			WithHint("two admins may have made this epoch at the same time, see MERGING in rplan-store(5); or somebody forged it: ask %q", chain[at].By)
	}
	var signers []Signer
	var with Signer
	for i, m := range chain[at:] {
		if i > 0 {
			before := chain[at+i-1]
			if m.Epoch != before.Epoch+1 || m.Previous != sum(before.text) || m.ID != before.ID {
				return nil, diag.Refused.Errorf("the manifest of epoch %d does not follow that of epoch %d", m.Epoch, before.Epoch).
					WithHint("see MERGING in rplan-store(5)")
			}
		}
		if i == 0 {
			signers = []Signer{trust.With} // who may have left with it
		}
		if err := p.checkSignature(ctx, m, signers); err != nil {
			return nil, err
		}
		with = Signer{m.By, key(signers, m.By)}
		signers = m.Signers
	}
	return &Store{Epoch: last.Epoch, Date: last.Date, By: last.By, News: changed(trust.Signers, last.Signers), place: p, manifest: last.manifest, digest: sum(last.text), seen: trust.Epoch, with: with}, nil
}

// checkSignature holds a manifest against those who may sign it.
func (p *Place) checkSignature(ctx context.Context, m signed, signers []Signer) error {
	k := key(signers, m.By)
	if k == "" {
		return diag.Refused.Errorf("the manifest of epoch %d is signed by %q, who may not", m.Epoch, m.By).
			WithHint("the signers that this machine knows are %s", strings.Join(names(signers), ", "))
	}
	name := signaturePath(m.Epoch, m.By)
	signature, err := p.read(name, maxSignature)
	if errors.Is(err, fs.ErrNotExist) {
		return diag.Refused.Errorf("the manifest of epoch %d has no signature, %q is missing", m.Epoch, name)
	}
	if err != nil {
		return err
	}
	if err := verify(ctx, ForManifest, Signer{m.By, k}, m.text, signature); err != nil {
		return fmt.Errorf("the manifest of epoch %d: %w", m.Epoch, err)
	}
	return nil
}

func names(signers []Signer) (all []string) {
	for _, s := range signers {
		all = append(all, s.Admin)
	}
	return all
}

// read reads a file of the store, and follows no symbolic link out of it.
func (p *Place) read(name string, limit int64) ([]byte, error) {
	root, err := os.OpenRoot(p.Dir)
	if err != nil {
		return nil, diag.BadData.Errorf("the store: %w", err)
	}
	defer root.Close()
	f, err := root.OpenFile(filepath.FromSlash(name), os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO would wait
	if err != nil {
		return nil, diag.BadData.Errorf("the store: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && (!info.Mode().IsRegular() || info.Size() > limit) {
		err = fmt.Errorf("%q is no regular file of at most %d bytes", name, limit)
	}
	var text []byte
	if err == nil {
		text, err = io.ReadAll(io.LimitReader(f, limit))
	}
	if err != nil {
		return nil, diag.BadData.Errorf("the store: %w", err)
	}
	return text, nil
}

// stored are the files that are where a manifest's files have to be.
func (p *Place) stored() (map[string]bool, error) {
	all := map[string]bool{}
	if _, err := os.Lstat(filepath.Join(p.Dir, settingsFile)); err == nil {
		all[settingsFile] = true
	}
	for _, dir := range []string{adminsDir, nodesDir, sealedDir, baselinesDir} {
		err := filepath.WalkDir(filepath.Join(p.Dir, dir), func(file string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil || d.IsDir() {
				return err
			}
			name, err := filepath.Rel(p.Dir, file)
			if err == nil && !strings.HasPrefix(path.Base(filepath.ToSlash(name)), ".") {
				all[filepath.ToSlash(name)] = true
			}
			if len(all) > maxFiles {
				return fmt.Errorf("there are more than %d files", maxFiles)
			}
			return err
		})
		if err != nil {
			return nil, diag.BadData.Errorf("the store: %w", err)
		}
	}
	return all, nil
}

// load reads the files, if they are those of the manifest.
func (s *Store) load() error {
	differs, err := s.compare()
	if err != nil {
		return err
	}
	if len(differs) > 0 {
		return diag.Refused.Errorf("the store is not what %q signed as epoch %d on %s:\n%s", s.By, s.Epoch, s.Date.Local().Format("2 January 2006"), strings.Join(differs, "\n")).
			WithHint("if an admin edited it by hand, rp-rekey sign shows what differs and signs it; if nobody did, somebody tampers with it")
	}
	if err := s.decode(); err != nil {
		return err
	}
	return s.consistent()
}

// compare reads the files, and says how they are not those of the manifest.
func (s *Store) compare() (differs []string, err error) {
	there, err := s.place.stored()
	if err != nil {
		return nil, err
	}
	s.files, s.unread = map[string][]byte{}, nil
	for _, name := range slices.Sorted(maps.Keys(there)) {
		text, err := s.place.read(name, maxFile)
		switch was, listed := s.manifest.Files[name]; {
		case err != nil:
			differs = append(differs, fmt.Sprintf("unreadable: %q: %v", name, err))
			s.unread = append(s.unread, name)
			continue
		case !isStored(name):
			differs = append(differs, fmt.Sprintf("out of place: %q", name))
			s.unread = append(s.unread, name)
			continue
		case !listed:
			differs = append(differs, fmt.Sprintf("added: %q", name))
		case sum(text) != was:
			differs = append(differs, fmt.Sprintf("changed: %q", name))
		}
		s.files[name] = text
	}
	for _, name := range slices.Sorted(maps.Keys(s.manifest.Files)) {
		if !there[name] {
			differs = append(differs, fmt.Sprintf("missing: %q", name))
		}
	}
	return differs, nil
}

// decode makes of the files what they say.
func (s *Store) decode() error {
	var settings settings
	text, ok := s.files[settingsFile]
	if !ok {
		return diag.BadData.Errorf("the store has no %s", settingsFile)
	}
	if err := decode(settingsFile, text, &settings); err != nil {
		return err
	}
	switch {
	case settings.Format != format, settings.Signatures != 1:
		return diag.BadData.Errorf("the store is of format %d, with %d signatures a change; this rplan knows format %d with 1", settings.Format, settings.Signatures, format)
	case settings.ID != s.manifest.ID:
		return diag.Refused.Errorf("%s has the id %.40q, and the manifest %s", settingsFile, settings.ID, s.manifest.ID)
	}
	var err error
	s.Admins, err = decodeAll(s.files, adminsDir, func(name string) *Admin { return &Admin{Name: name} }, (*Admin).check)
	if err == nil {
		s.Nodes, err = decodeAll(s.files, nodesDir, func(name string) *Node { return &Node{Name: name} }, func(n *Node) error { return n.check(s.Admins) })
	}
	return err
}

// decodeAll makes of each file of a directory what it says, by its name without the suffix.
func decodeAll[T any](files map[string][]byte, dir string, blank func(name string) *T, check func(*T) error) (map[string]*T, error) {
	all := map[string]*T{}
	for file, text := range files {
		rest, ok := strings.CutPrefix(file, dir+"/")
		if !ok {
			continue
		}
		name := strings.TrimSuffix(rest, ".toml")
		all[name] = blank(name)
		if err := decode(file, text, all[name]); err != nil {
			return nil, err
		}
		if err := check(all[name]); err != nil {
			return nil, bad(file, err)
		}
	}
	return all, nil
}

func bad(name string, err error) error {
	return diag.BadData.Errorf("%s: %w", name, err)
}

// consistent holds what the manifest says of people against their files.
func (s *Store) consistent() error {
	if want := signersOf(s.Admins); !slices.Equal(want, s.manifest.Signers) {
		return diag.Refused.Errorf("the signers of the manifest are not those of the files of %s/: %s", adminsDir, strings.Join(changed(want, s.manifest.Signers), "; "))
	}
	for name := range s.manifest.Sealed {
		if _, ok := s.files[name]; !ok {
			return diag.Refused.Errorf("the manifest has recipients of %q, which is not there", name)
		}
	}
	for name := range s.files {
		if strings.HasPrefix(name, sealedDir+"/") && len(s.manifest.Sealed[name]) == 0 {
			return diag.Refused.Errorf("the manifest does not say for whom %q is sealed", name)
		}
	}
	return nil
}

func signersOf(admins map[string]*Admin) (all []Signer) {
	for _, name := range slices.Sorted(maps.Keys(admins)) {
		if k := admins[name].Signer; k != "" {
			all = append(all, Signer{name, k})
		}
	}
	return all
}

// ID is the store's own, which it keeps wherever it is copied to.
func (s *Store) ID() string { return s.manifest.ID }

// Signers are the admins who may sign.
func (s *Store) Signers() []Signer { return slices.Clone(s.manifest.Signers) }

// Sealed is the file with a disk's passphrase and for whom it is sealed; nil if there is none.
func (s *Store) Sealed(node, disk string) (file []byte, recipients []string) {
	name := SealedPath(node, disk)
	return s.files[name], slices.Clone(s.manifest.Sealed[name])
}

// Baseline is what a node looked like when it was well, nil if nobody has noted it.
func (s *Store) Baseline(node string) []byte { return s.files[baselinePath(node)] }
