package source

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"rplan/lib/diag"
	"rplan/lib/directory"
)

// file is an LDIF file as a place to read.
type file struct {
	url, path string
}

func (f *file) String() string { return f.url }

func (f *file) open() (*os.File, error) {
	in, err := os.OpenFile(f.path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return nil, diag.Config.Errorf("%w", err).WithHint("the file is named in directory.urls")
	case err != nil:
		return nil, diag.TryAgain.Errorf("%w", err)
	}
	if info, err := in.Stat(); err != nil || !info.Mode().IsRegular() {
		in.Close()
		return nil, diag.Config.Errorf("%q is not a regular file", f.path).WithHint("it is named in directory.urls")
	}
	return in, nil
}

func (f *file) version(ctx context.Context) (Version, error) {
	in, err := f.open()
	if err != nil {
		return "", err
	}
	defer in.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, &interruptible{ctx, in}); err != nil {
		return "", diag.TryAgain.Errorf("%s: %w", f.path, err)
	}
	return Version(fmt.Sprintf("%s%x", versionSHA256, sum.Sum(nil))), nil
}

func (f *file) read(ctx context.Context, p *plan, add func(*directory.Record)) (Version, []directory.Problem, error) {
	in, err := f.open()
	if err != nil {
		return "", nil, err
	}
	defer in.Close()
	sum := sha256.New()
	l := newLDIF(f.path, io.TeeReader(&interruptible{ctx, in}, sum), p)
	problems, err := l.records(add)
	if err != nil {
		return "", nil, err
	}
	return Version(fmt.Sprintf("%s%x", versionSHA256, sum.Sum(nil))), problems, nil
}

// interruptible is a reader that ends with its context.
type interruptible struct {
	ctx context.Context
	io.Reader
}

func (r *interruptible) Read(b []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.Reader.Read(b)
}

// records gives each entry to add, once for each kind whose mapping it fits.
func (l *ldif) records(add func(*directory.Record)) ([]directory.Problem, error) {
	var problems []directory.Problem
	var record directory.Record
	var dn []byte
	for e := l.plan.newEntry(); ; {
		err := l.next(e)
		if err == io.EOF {
			return problems, nil
		} else if err != nil {
			return nil, err
		}
		dn = canonicalDN(dn[:0], e.dn)
		for i := range l.plan.kinds {
			k := &l.plan.kinds[i]
			switch {
			case !inScope(dn, k.canonical, k.scope):
			case e.tooLarge:
				problem, err := tooLarge(k.kind, e.dn)
				if err != nil {
					return nil, err
				}
				problems = append(problems, problem)
			case k.match.match(e.values):
				k.record(e, &record)
				add(&record)
			}
		}
	}
}
