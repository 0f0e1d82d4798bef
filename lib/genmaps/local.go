package genmaps

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"rplan/lib/diag"
	"rplan/lib/genmaps/render"
	"rplan/lib/published"
)

// readLocal finds what only this node knows. A directory that is not there means there is nothing.
func readLocal(s *Settings) (local render.Local, err error) {
	local.Certificates = map[string]bool{}
	renewals := sha256.New()
	for _, name := range names(s.Apache.Certificates, &err) {
		dir := filepath.Join(s.Apache.Certificates, name)
		chain, err := published.Stamp(filepath.Join(dir, "fullchain.pem"))
		if err == nil && isFile(filepath.Join(dir, "privkey.pem")) {
			local.Certificates[name] = true
			fmt.Fprintln(renewals, name, chain)
		}
	}
	if len(local.Certificates) > 0 {
		local.CertificateStamp = hex.EncodeToString(renewals.Sum(nil)[:8])
	}
	local.ZoneExtras = map[string][]byte{}
	for _, name := range names(s.ZoneExtras, &err) {
		if path := filepath.Join(s.ZoneExtras, name); isFile(path) {
			text, readErr := os.ReadFile(path)
			err = errors.Join(err, readErr)
			local.ZoneExtras[name] = text
		}
	}
	if err != nil {
		return local, diag.Failed.Errorf("looking at what is on this node: %w", err)
	}
	return local, nil
}

// names are the entries of a directory, and nothing where there is none.
func names(dir string, err *error) []string {
	entries, readErr := os.ReadDir(dir)
	// Who may not look in there publishes for no service either: a preview.
	if readErr != nil && !errors.Is(readErr, fs.ErrNotExist) && !errors.Is(readErr, fs.ErrPermission) {
		*err = errors.Join(*err, readErr)
	}
	var all []string
	for _, entry := range entries {
		all = append(all, entry.Name())
	}
	return all
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
