package maillock

import (
	"path/filepath"
	"testing"
	"time"

	"rplan/tests/postfix"
)

// With its dotlock or without, Postfix loses nothing, and nothing comes late.
func TestPostfixAppendsDuringPrunes(t *testing.T) {
	for _, locks := range []string{"fcntl, dotlock", "fcntl"} {
		p := postfix.Start(t, locks, "")
		l := live{t: t, path: p.Mbox}
		l.take = func() []*Lock {
			list := []*Lock{must(t, "dotlock", filepath.Dir(p.Mbox), time.Minute), must(t, "fcntl", filepath.Dir(p.Mbox), time.Minute)}
			time.Sleep(20 * time.Millisecond) // as if there were more to do
			return list
		}
		if found := l.run(p.Appends(60), 60); found > 0 {
			t.Errorf("%s: Postfix wrote %d times to a file that was not the mbox any more", locks, found)
		}
		if back := p.Log("status=bounced"); len(back) > 0 {
			t.Errorf("%s: %s", locks, back)
		}
		t.Logf("%s: %d deliveries had to be tried again", locks, len(p.Log("status=deferred")))
	}
}
