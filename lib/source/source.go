// Package source reads the directory, from LDAP servers or an LDIF file, into
// a directory.Snapshot. One mapping says which entries and attributes are what.
package source

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"rplan/lib/diag"
	"rplan/lib/directory"
)

// Source is a directory that can be read from one or more places.
type Source struct {
	// OnProgress, unless nil, is called by Read now and then with the number of
	// entries so far, which begins anew with each place.
	OnProgress func(done int)

	places  []place
	plan    *plan
	timeout time.Duration
}

// place is one URL. Both methods give the version; read takes it before the
// first entry, so that what is written meanwhile makes the next run read again.
// The record given to add is valid during the call.
type place interface {
	String() string
	version(ctx context.Context) (Version, error)
	read(ctx context.Context, p *plan, add func(*directory.Record)) (Version, []directory.Problem, error)
}

// Result is what Read found.
type Result struct {
	Snapshot *directory.Snapshot
	Problems []directory.Problem
	Version  Version
	URL      string  // where it was read
	Passed   []error // why the URLs before it could not be read
}

// New checks the settings, and touches neither files nor the network. Its
// errors are diag.Config and name the key.
func New(s Settings) (*Source, error) {
	if (s.BindDN == "") != (s.PasswordFile == "") {
		return nil, diag.Config.Errorf("directory.bind-dn and directory.password-file: one is of no use without the other")
	}
	return newSource(s)
}

func newSource(s Settings) (*Source, error) {
	if len(s.URLs) == 0 {
		return nil, diag.Config.Errorf("directory.urls: there is none").WithHint("the slapd of this machine is \"ldapi:///\"")
	}
	if s.Base == "" {
		return nil, diag.Config.Errorf("directory.base: it is missing").WithHint("it is the DN below which everything is, such as \"dc=example,dc=net\"")
	}
	if s.Timeout <= 0 {
		return nil, diag.Config.Errorf("directory.timeout: %q is no time to wait", s.Timeout)
	}
	src := &Source{timeout: s.Timeout}
	ldif := false
	for _, url := range s.URLs {
		p, err := newPlace(url, &s)
		if err != nil {
			return nil, err
		}
		_, isFile := p.(*file)
		ldif = ldif || isFile
		src.places = append(src.places, p)
	}
	var err error
	src.plan, err = newPlan(&s, ldif)
	return src, err
}

func newPlace(url string, s *Settings) (place, error) {
	if path, ok := strings.CutPrefix(url, "ldif:"); ok {
		if path == "" {
			return nil, diag.Config.Errorf("directory.urls: %q names no file", url)
		}
		return &file{url: url, path: path}, nil
	}
	return newServer(url, s)
}

// Version is the version of the first place that can be read, without reading
// its entries.
func (s *Source) Version(ctx context.Context) (v Version, err error) {
	_, err = s.first(ctx, func(ctx context.Context, p place) error {
		v, err = p.version(ctx)
		return err
	})
	return v, err
}

// Read reads the first place that can be read, as a whole. It wraps
// directory.ErrNode where the entries were read but are not usable; where no
// place can be read, the error tells why for each, and is diag.TryAgain if one
// may be readable later.
func (s *Source) Read(ctx context.Context, network directory.Network) (*Result, error) {
	r := &Result{}
	passed, err := s.first(ctx, func(ctx context.Context, p place) error {
		builder := directory.NewBuilder(network)
		version, problems, err := p.read(ctx, s.plan, s.counted(builder.Add))
		if err != nil {
			return err
		}
		snapshot, more, err := builder.Snapshot()
		if err != nil {
			return diag.BadData.Errorf("%s: %w", p, err)
		}
		r.Snapshot, r.Problems, r.Version, r.URL = snapshot, append(problems, more...), version, p.String()
		return nil
	})
	if err != nil {
		return nil, err
	}
	r.Passed = passed
	return r, nil
}

// progressStep is after how many entries OnProgress is called: dozens of times a second.
const progressStep = 1 << 12

// counted is add that calls OnProgress.
func (s *Source) counted(add func(*directory.Record)) func(*directory.Record) {
	if s.OnProgress == nil {
		return add
	}
	done := 0
	return func(r *directory.Record) {
		add(r)
		if done++; done%progressStep == 0 {
			s.OnProgress(done)
		}
	}
}

// first calls use with each place until it succeeds, and returns why it did not before.
func (s *Source) first(ctx context.Context, use func(context.Context, place) error) (passed []error, err error) {
	for _, p := range s.places {
		limited, cancel := context.WithTimeoutCause(ctx, s.timeout, fmt.Errorf("timed out (%s)", s.timeout))
		err := use(limited, p)
		cancel()
		switch {
		case err == nil:
			return passed, nil
		case ctx.Err() != nil, errors.Is(err, directory.ErrNode):
			// Interrupted, or the entries are wrong, which they are everywhere.
			return nil, err
		}
		passed = append(passed, err)
	}
	return nil, s.joined(passed)
}

// joined is one error for all places, of each of which there is one in errs.
func (s *Source) joined(errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	kind := diag.KindOf(errs[0])
	var texts, hints []string
	for i, err := range errs {
		if diag.KindOf(err) == diag.TryAgain {
			kind = diag.TryAgain
		}
		texts = append(texts, err.Error())
		if hint := diag.HintOf(err); hint != "" {
			hints = append(hints, fmt.Sprintf("%s: %s", s.places[i], hint))
		}
	}
	err := kind.Errorf("the directory cannot be read: %s", strings.Join(texts, "; "))
	err.Hint = strings.Join(hints, "; ")
	return err
}

// tooLarge is what becomes of an entry with more than maxEntry bytes: a
// problem, or, for a node, an error.
func tooLarge(kind directory.Kind, dn []byte) (directory.Problem, error) {
	text := fmt.Sprintf("the entry has more than %d MiB; the %s is left out", maxEntry>>20, kind)
	if kind == directory.KindNode {
		return directory.Problem{}, diag.BadData.Errorf("%w: %s has more than %d MiB", directory.ErrNode, quote(dn), maxEntry>>20)
	}
	return directory.Problem{DNs: []string{string(dn)}, Text: text}, nil
}

// quote is untrusted text for a message.
func quote[T string | []byte](text T) string {
	const longest = 120
	if len(text) > longest {
		return strconv.QuoteToASCII(string(text[:longest])) + "..."
	}
	return strconv.QuoteToASCII(string(text))
}
