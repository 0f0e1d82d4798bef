package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
	"filippo.io/age/armor"
	"filippo.io/age/plugin"

	"rplan/lib/diag"
	"rplan/lib/secret"
)

// sealedSize is how many bytes are sealed, whatever the passphrase: the size of a
// file says nothing of it. The passphrase is the first line; dots fill the rest.
const sealedSize = 1024

// MaxPassphrase is the longest, in bytes: what cryptsetup(8) reads of one that is typed.
const MaxPassphrase = 512

// Seal encrypts a passphrase for all of these recipients, as age(1) would, armored.
func Seal(passphrase *secret.Secret, recipients []string, ui *plugin.ClientUI) ([]byte, error) {
	if err := isPassphrase(passphrase.Bytes()); err != nil {
		return nil, err
	}
	var to []age.Recipient
	pq := 0
	for _, r := range recipients {
		parsed, err := recipient(r, ui)
		if err != nil {
			return nil, diag.BadData.Errorf("%w", err)
		}
		to = append(to, parsed)
		if PostQuantum(r) {
			pq++
		}
	}
	if pq > 0 && pq < len(to) {
		return nil, diag.Refused.Errorf("%d of %d recipients are post-quantum ones, and age does not seal for both kinds in one file", pq, len(to)).
			WithHint("use one kind for all admins of a disk")
	}
	text, err := secret.New(sealedSize)
	if err != nil {
		return nil, err
	}
	defer text.Wipe()
	err = text.Set(func(room []byte) (int, error) {
		n := copy(room, passphrase.Bytes())
		room[n] = '\n'
		for i := n + 1; i < sealedSize-1; i++ {
			room[i] = '.'
		}
		room[sealedSize-1] = '\n'
		return sealedSize, nil
	})
	if err != nil {
		return nil, err
	}
	var sealed bytes.Buffer
	a := armor.NewWriter(&sealed)
	w, err := age.Encrypt(a, to...)
	if err == nil {
		_, err = w.Write(text.Bytes())
	}
	if err == nil {
		err = errors.Join(w.Close(), a.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("sealing a passphrase: %w", err)
	}
	return sealed.Bytes(), nil
}

// Unseal decrypts what Seal made, or age(1) with a line as its input. Nothing of it is
// used before its end was read. Errors are of kind diag.BadData but for those of identities.
func Unseal(file []byte, identities []age.Identity) (*secret.Secret, error) {
	r, err := age.Decrypt(armor.NewReader(bytes.NewReader(file)), identities...)
	if none, ok := errors.AsType[*age.NoIdentityMatchError](err); ok {
		return nil, diag.Refused.Errorf("no identity of yours opens it: %w", none)
	}
	if err != nil {
		return nil, diag.BadData.Errorf("the sealed passphrase: %w", err)
	}
	s, err := secret.New(sealedSize)
	if err != nil {
		return nil, err
	}
	if _, err = s.ReadFrom(r); err == nil {
		err = s.Set(func(room []byte) (int, error) { return firstLine(room) })
	}
	if err == nil {
		err = isPassphrase(s.Bytes())
	}
	if err != nil {
		s.Wipe()
		return nil, diag.BadData.Errorf("the sealed passphrase: %w", err).WithHint("what is sealed is the passphrase and the end of its line, see rplan-store(5); rp-rekey seal makes it")
	}
	return s, nil
}

// firstLine is how long the passphrase is that is followed by a line of dots.
func firstLine(room []byte) (int, error) {
	end := bytes.IndexByte(room, '\n')
	if end < 0 {
		return 0, errors.New("what was sealed has no line")
	}
	if rest := bytes.TrimRight(room[end+1:], "\x00"); len(bytes.Trim(rest, ".\n")) > 0 {
		return 0, errors.New("what was sealed has more than one line")
	}
	return end, nil
}

// isPassphrase refuses what no prompt would take as one line of text.
func isPassphrase(b []byte) error {
	switch {
	case len(b) == 0:
		return diag.BadData.Errorf("a passphrase is empty")
	case len(b) > MaxPassphrase:
		return diag.BadData.Errorf("a passphrase has more than %d bytes", MaxPassphrase)
	}
	for _, c := range b {
		if c < ' ' || c == 0x7f {
			return diag.BadData.Errorf("a passphrase has a control character, perhaps the end of a line")
		}
	}
	return nil
}

// letters are those of generated passphrases: none is taken for another when read
// aloud or from paper, and all are at the same place on QWERTY and QWERTZ
// keyboards, of which an initramfs may have either.
const letters = "abcdefghjkmnpqrstuvwx23456789"

// Of a generated passphrase: 7 groups of 6 letters, 42 times log2(29) bits, which is 204.
const (
	groups    = 7
	groupSize = 6
)

// Generate makes a passphrase of 48 characters from random, which is crypto/rand.Reader.
func Generate(random io.Reader) (*secret.Secret, error) {
	s, err := secret.New(MaxPassphrase)
	if err != nil {
		return nil, err
	}
	err = s.Set(func(room []byte) (n int, err error) {
		var one [1]byte
		defer clear(one[:])
		for i := range groups * groupSize {
			if i > 0 && i%groupSize == 0 {
				room[n] = '-'
				n++
			}
			for {
				if _, err := io.ReadFull(random, one[:]); err != nil {
					return 0, fmt.Errorf("random bytes: %w", err)
				}
				if int(one[0]) < 256/len(letters)*len(letters) { // so that no letter is likelier than another
					break
				}
			}
			room[n] = letters[int(one[0])%len(letters)]
			n++
		}
		return n, nil
	})
	if err != nil {
		s.Wipe()
		return nil, err
	}
	return s, nil
}
