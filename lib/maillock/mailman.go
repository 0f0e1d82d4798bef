package maillock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// lifetime is how long a lock of ours lives on without us. Mailman's own on a list live for five hours.
	lifetime = 2 * time.Minute
	// slop is what Mailman grants to clocks that differ.
	slop = 10 * time.Second
)

// claims counts the claims of this process, as each has a name of its own.
var claims atomic.Int64

// Mailman takes the lock of a list of Mailman 2, in its directory of locks, as its module LockFile does: a file
// LIST.lock.HOST.PID.N that holds its own path is linked to LIST.lock, and its time of change is when the
// lock ends. Mailman delivers, archives and changes nothing of the list meanwhile, and tries again later.
//
// A lock that ended more than ten seconds ago may be broken by anyone. So one that a killed process of ours
// held is free after 130 s. We break none of a process that is still there on this host.
func Mailman(ctx context.Context, dir, list string, wait time.Duration) (*Lock, error) {
	path := filepath.Join(dir, list+".lock")
	if list == "" || filepath.Base(path) != list+".lock" {
		return nil, cannot(path, fmt.Errorf("%q is no list's name", list))
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, cannot(path, err)
	}
	claim := fmt.Sprintf("%s.%s.%d.%d", path, host, os.Getpid(), claims.Add(1))
	l := &Lock{path: path}
	if l.file, err = makeClaim(claim); err != nil {
		return nil, cannot(path, err)
	}
	err = acquire(ctx, path, wait, func() error { return linkClaim(l.file, path) })
	if err != nil {
		os.Remove(claim)
		l.file.Close()
		return nil, err
	}
	l.check = isOurs(path, l.file)
	l.free = func() {
		if at(path, l.file) {
			os.Remove(path)
		}
		os.Remove(claim)
	}
	l.keep(lifetime/8, lifetime)
	return l, nil
}

// makeClaim makes the file that becomes the lock, for Mailman's group to write as its own are.
func makeClaim(claim string) (*os.File, error) {
	f, err := os.OpenFile(claim, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o664)
	if errors.Is(err, fs.ErrExist) { // of a killed process that had our id
		if err := os.Remove(claim); err != nil {
			return nil, err
		}
		f, err = os.OpenFile(claim, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o664)
	}
	if err != nil {
		return nil, err
	}
	_, err = io.WriteString(f, claim)
	if err == nil {
		err = f.Chmod(0o664) // whatever the umask is
	}
	if err != nil {
		os.Remove(claim)
		f.Close()
		return nil, err
	}
	return f, nil
}

// linkClaim makes the claim the lock, if there is none.
func linkClaim(claim *os.File, path string) error {
	for range 2 {
		if err := touch(claim, lifetime); err != nil {
			return err
		}
		err := os.Link(claim.Name(), path)
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		winner := ""
		err = breakStale(path, func(f *os.File, info fs.FileInfo) error {
			winner, err = endedLock(f, info)
			return err
		}, lifetime)
		if err != nil {
			return err
		}
		if strings.HasPrefix(winner, path+".") && !strings.Contains(winner[len(path):], "/") {
			os.Remove(winner) // its claim, as Mailman does
		}
	}
	return &busy{holder: "a process that comes and goes", hint: "try again later"}
}

// endedLock is the claim of a lock that may be broken.
func endedLock(f *os.File, info fs.FileInfo) (claim string, err error) {
	text, err := io.ReadAll(io.NewSectionReader(f, 0, 4096))
	if err != nil {
		return "", err
	}
	claim = string(text)
	host, pid := claimant(f.Name(), claim)
	b := &busy{holder: "a process that does not say which it is", hint: "try again later"}
	if pid > 0 {
		b.holder = fmt.Sprintf("process %d on %q", pid, host)
	}
	us, _ := os.Hostname()
	switch {
	case time.Since(info.ModTime()) <= slop:
		b.hint = fmt.Sprintf("try again later; it ends by itself at %s", info.ModTime().Add(slop).Format(time.DateTime))
	case host == us && runs(pid):
		b.holder += ", which should have given it up " + ago(info.ModTime()) + " ago"
		b.hint = fmt.Sprintf("if that process is not Mailman's, remove %q", f.Name())
	default:
		return claim, nil
	}
	return "", b
}

// claimant is who made a claim: PATH.HOST.PID.N, or PATH.HOST.PID after a fork.
func claimant(path, claim string) (host string, pid int) {
	rest, ok := strings.CutPrefix(filepath.Base(claim), filepath.Base(path)+".")
	if !ok {
		return "", 0
	}
	parts := strings.Split(rest, ".")
	for last := len(parts) - 1; last > max(0, len(parts)-3); last-- {
		n, err := strconv.ParseUint(parts[last], 10, 31)
		if err != nil {
			break
		}
		host, pid = strings.Join(parts[:last], "."), int(n)
	}
	return host, pid
}
