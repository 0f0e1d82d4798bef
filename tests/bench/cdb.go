package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/go-ldap/ldap/v3"

	"rplan/lib/genmaps/mapfile"
	"rplan/lib/genmaps/render"
)

func modifyState(dn, state string) *ldap.ModifyRequest {
	m := ldap.NewModifyRequest(dn, nil)
	m.Replace("rplanState", []string{state})
	return m
}

// cdb writes the mailbox rows as a CDB in turn with postmap cdb:, then has postmap -q read every key of ours.
func (s *scene) cdb() error {
	var keys, text, want bytes.Buffer
	var rows [][2]string
	old, err := mapfile.Open(filepath.Join(s.maps, "postfix/mailboxes.cdb"), render.CDB)
	if err != nil {
		return err
	}
	defer old.Close()
	for row, err := range old.Rows() {
		if err != nil {
			return err
		}
		rows = append(rows, [2]string{string(row.Key), string(row.Value)})
		fmt.Fprintf(&keys, "%s\n", row.Key)
		fmt.Fprintf(&text, "%s %s\n", row.Key, row.Value)
		fmt.Fprintf(&want, "%s\t%s\n", row.Key, row.Value)
	}
	source := filepath.Join(s.dir, "rows")
	if err := os.WriteFile(source, text.Bytes(), 0o644); err != nil {
		return err
	}
	config, err := s.postfixConfig()
	if err != nil {
		return err
	}
	var ours, theirs []usage
	path := filepath.Join(s.dir, "ours.cdb")
	for range s.runs {
		peer, err := timed(filepath.Join(s.dir, "out"), []int{0}, "postmap", "-c", config, "cdb:"+source)
		if err != nil {
			return err
		}
		start := time.Now()
		if err := writeCDB(path, rows); err != nil {
			return err
		}
		ours, theirs = append(ours, usage{wall: time.Since(start)}), append(theirs, peer)
	}
	s.row("CDB of the mailboxes, against postmap cdb:", median(ours), median(theirs))
	query := exec.Command("postmap", "-c", config, "-q", "-", "cdb:"+filepath.Join(s.dir, "ours"))
	query.Stdin = &keys
	got, err := query.Output()
	if err != nil {
		return fmt.Errorf("postmap -q: %w", err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		return fmt.Errorf("postmap -q does not read every key of the CDB")
	}
	fmt.Printf("%-10d %-44s %10d\n", s.mailboxes, "  keys that postmap -q reads, all right", len(rows))
	return nil
}

func writeCDB(path string, rows [][2]string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = mapfile.Write(f, render.CDB, func(yield func(string, string) bool) {
		for _, r := range rows {
			if !yield(r[0], r[1]) {
				return
			}
		}
	})
	if err != nil {
		return err
	}
	return f.Sync()
}

// postfixConfig is a configuration directory for postmap, old enough that it does not wait for it.
func (s *scene) postfixConfig() (string, error) {
	dir := filepath.Join(s.dir, "postfix")
	main := filepath.Join(dir, "main.cf")
	for _, err := range []error{
		os.Mkdir(dir, 0o755),
		os.WriteFile(main, []byte("compatibility_level = 3.6\ninet_interfaces = loopback-only\n"), 0o644),
		os.Chtimes(main, time.Time{}, time.Unix(0, 0)),
		os.Symlink("/etc/postfix/dynamicmaps.cf", filepath.Join(dir, "dynamicmaps.cf")),
	} {
		if err != nil {
			return "", err
		}
	}
	return dir, nil
}
