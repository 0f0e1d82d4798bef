package ssh

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"rplan/lib/diag"
)

// command joins words by one blank. In each, what is not plain is written as %
// and two digits, so that no shell that may see it, there or on the way, finds
// anything in it to act on.
func command(words []string) string {
	var b strings.Builder
	for i, word := range words {
		if i > 0 {
			b.WriteByte(' ')
		}
		for _, c := range []byte(word) {
			if plain(c) {
				b.WriteByte(c)
			} else {
				fmt.Fprintf(&b, "%%%02X", c)
			}
		}
	}
	return b.String()
}

func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("@._+=-", c) >= 0
}

// Words reads the words of a Client's command from SSH_ORIGINAL_COMMAND. A
// text that no Client sends is an error of kind diag.BadData.
func Words(original string) ([]string, error) {
	if original == "" {
		return nil, nil
	}
	var words []string
	for text := range strings.SplitSeq(original, " ") {
		word, err := decode(text)
		if err != nil {
			return nil, diag.BadData.Errorf("the command %.200q is none that rplan sends: %w", original, err)
		}
		words = append(words, word)
	}
	return words, nil
}

func decode(text string) (string, error) {
	if text == "" {
		return "", errors.New("an empty word")
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '%':
			digits := text[i+1 : min(i+3, len(text))]
			value, err := hex.DecodeString(digits)
			if err != nil || len(value) != 1 {
				return "", fmt.Errorf("%q after %% is not two digits", digits)
			}
			b.WriteByte(value[0])
			i += 2
		case plain(c):
			b.WriteByte(c)
		default:
			return "", fmt.Errorf("%q is not plain", c)
		}
	}
	return b.String(), nil
}
