package unlock

import (
	_ "embed"
	"fmt"
	"strings"
	"time"
)

// systemd asks by its password agents. A script that is sent takes the passphrase on
// the node: as one line, so that one that is cut short is not used.
var systemd = &asker{end: "\n", before: systemdBefore, after: systemdAfter}

//go:embed systemd.sh
var systemdScript string

// systemdCommand runs it. It waits a little less than we do, so that it can say so.
func systemdCommand(disks []string, prompt, answer time.Duration) string {
	seconds := func(d time.Duration) int { return int((d - d/6) / time.Second) }
	// The names are by store.IsDisk: none ends the quotes.
	return fmt.Sprintf("disks='%s' prompt=%d answer=%d\n%s", strings.Join(disks, "\n"), seconds(prompt), seconds(answer), systemdScript)
}

// What the script ends with.
const (
	systemdEarly  = 41 // nobody asks, and nobody is going to yet
	systemdBusy   = 42 // nothing was handed over
	systemdWrong  = 43
	systemdGaveUp = 44
	systemdSlow   = 45
	systemdCut    = 46 // nothing was handed over
)

// systemdBefore says what it means that there was no prompt.
func systemdBefore(code int, text, _ string) Outcome {
	switch {
	case code == 0 && text == "":
		return Nothing
	case code == systemdEarly:
		return Early
	case code == systemdBusy:
		return Busy
	}
	return LostBefore
}

// systemdAfter reads what came of a passphrase.
func systemdAfter(code int, _ string) Outcome {
	switch code {
	case 0:
		return Opened
	case systemdBusy:
		return Busy
	case systemdWrong:
		return Wrong
	case systemdGaveUp:
		return GaveUp
	case systemdSlow, -2:
		return Slow
	case systemdCut:
		return LostDuring
	}
	return LostAfter // the initramfs ends its sessions when the last disk is open
}
