package store

import (
	"errors"
	"fmt"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/plugin"
)

// plainRecipient is a recipient without comment and blanks, if it is one.
func plainRecipient(s string) (string, error) {
	s = strings.TrimSpace(s)
	if isSecret(s) {
		return "", errSecret
	}
	if len(s) > maxText || strings.ContainsAny(s, "\n\r") {
		return "", fmt.Errorf("recipient %.40q... is none", s)
	}
	if strings.HasPrefix(s, "ssh-") {
		key, err := plainKey(s)
		if err != nil {
			return "", fmt.Errorf("recipient: %w", err)
		}
		s = key
	}
	_, err := recipient(s, nil)
	return s, err
}

// recipient is what age(1) makes of a line of a recipients file.
func recipient(s string, ui *plugin.ClientUI) (r age.Recipient, err error) {
	switch {
	case strings.HasPrefix(s, "ssh-"):
		r, err = agessh.ParseRecipient(s)
	case strings.HasPrefix(s, "age1pq1"):
		r, err = age.ParseHybridRecipient(s)
	case pluginOf(s) != "":
		r, err = plugin.NewRecipient(s, ui)
	default:
		r, err = age.ParseX25519Recipient(s)
	}
	if err != nil { // age's own words may quote all of it
		return nil, fmt.Errorf("recipient %.40q is none that age knows", s)
	}
	return r, nil
}

// isSecret says whether a text has an identity where its public half belongs.
func isSecret(s string) bool { return strings.Contains(strings.ToUpper(s), "AGE-SECRET-KEY-") }

var errSecret = errors.New("that is a secret identity, not a recipient: age-keygen -y says its public half")

// pluginOf is the plugin that a recipient needs, "" for one that needs none.
func pluginOf(s string) string {
	if strings.HasPrefix(s, "age1pq1") {
		return ""
	}
	name, _, err := plugin.ParseRecipient(s)
	if err != nil {
		return ""
	}
	return name
}

// PostQuantum says whether the recipient is one of the kind that age does not mix with others.
func PostQuantum(s string) bool { return strings.HasPrefix(s, "age1pq1") }
