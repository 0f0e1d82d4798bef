// Mboxscan counts the messages of an mbox and adds up their dates, for bench to
// measure: with lib/mbox, or with go-mbox and net/mail. A second line says how many bytes of
// memory it needed: what wait4(2) says of a process has its parent's at the fork in it.
package main

import (
	"fmt"
	"io"
	"net/mail"
	"os"
	"strings"
	"time"

	gombox "github.com/emersion/go-mbox"

	"rplan/lib/mbox"
)

func main() {
	scan := map[string]func(*os.File) (messages int, sum int64, err error){"rplan": rplan, "go-mbox": goMbox}
	if len(os.Args) != 3 || scan[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: mboxscan rplan|go-mbox FILE")
		os.Exit(64)
	}
	f, err := os.Open(os.Args[2])
	if err == nil {
		var messages int
		var sum int64
		if messages, sum, err = scan[os.Args[1]](f); err == nil {
			fmt.Printf("%d %d\n%d\n", messages, sum, peak())
			return
		}
	}
	fmt.Fprintln(os.Stderr, "mboxscan:", err)
	os.Exit(1)
}

// peak is the most memory that was resident, by proc(5).
func peak() (bytes int64) {
	status, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	fmt.Sscan(rest, &bytes)
	return bytes << 10
}

func rplan(f *os.File) (messages int, sum int64, err error) {
	r, err := mbox.Open(f)
	if err != nil {
		return 0, 0, err
	}
	for s := mbox.NewScanner(r, time.Now()); ; messages++ {
		m, err := s.Next()
		if err == io.EOF {
			return messages, sum, nil
		}
		if err != nil {
			return 0, 0, err
		}
		if m.Dating == mbox.Dated {
			sum += m.Date.Unix()
		}
	}
}

func goMbox(f *os.File) (messages int, sum int64, err error) {
	for r := gombox.NewReader(f); ; messages++ {
		text, err := r.NextMessage()
		if err == io.EOF {
			return messages, sum, nil
		}
		if err != nil {
			return 0, 0, err
		}
		m, err := mail.ReadMessage(text)
		if err != nil {
			return 0, 0, err
		}
		if date, err := m.Header.Date(); err == nil {
			sum += date.Unix()
		}
	}
}
