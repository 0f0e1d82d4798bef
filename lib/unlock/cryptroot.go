package unlock

import "strings"

// cryptroot is cryptroot-unlock of Debian's cryptsetup-initramfs. The end of the input
// is that of the passphrase: one that is cut short, or empty, is a try.
var cryptroot = &asker{before: cryptrootBefore, after: cryptrootAfter}

// The words of cryptroot-unlock.
const (
	openWords  = " set up successfully"
	wrongWords = "bad password or options?"
	triesWords = "maximum number of tries exceeded"
	noneWords  = "Timeout reached while waiting for askpass"
	slowWords  = "Timeout reached while waiting for PID"
	errorWords = "Error: " // begins every other reason to end before the prompt; without one it is too early
)

// cryptrootBefore says what it means that there was no prompt.
func cryptrootBefore(code int, text, said string) Outcome {
	switch {
	case code == 0 && text == "":
		return Nothing
	case code == 1 && strings.Contains(said, noneWords):
		return NoPrompt
	case code == 1 && !strings.Contains(said, errorWords):
		return Early // between two tries it ends with no word
	}
	return LostBefore
}

// cryptrootAfter reads what came of a passphrase.
func cryptrootAfter(code int, said string) Outcome {
	switch {
	case strings.Contains(said, openWords) && code != 1:
		return Opened
	case strings.Contains(said, triesWords):
		return LastTry
	case strings.Contains(said, wrongWords):
		return Wrong
	case strings.Contains(said, slowWords), code == -2:
		return Slow
	case code == 0:
		return Opened
	case code == 1:
		return Wrong
	}
	return LostAfter // 255 of ssh(1), or a signal: the node may have gone on
}
