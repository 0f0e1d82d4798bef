package app

import (
	"fmt"
	"io"
	"time"
)

// Progress shows on a terminal how far long work has come, and nothing
// elsewhere. Its methods may be called on a nil *Progress.
type Progress struct {
	out     io.Writer
	now     func() time.Time
	unit    string
	started time.Time
	shown   time.Time
	width   int
}

// Progress starts to count units such as "entries".
func (e *Env) Progress(unit string) *Progress {
	if !e.Terminal {
		return nil
	}
	now := e.Now()
	return &Progress{out: e.Stderr, now: e.Now, unit: unit, started: now, shown: now}
}

// interval is how often the line is rewritten; work done within the first is never announced.
const interval = 500 * time.Millisecond

// Show says that done units are behind; total is 0 where it is not known.
func (p *Progress) Show(done, total int) {
	if p == nil || p.now().Sub(p.shown) < interval {
		return
	}
	p.shown = p.now()
	elapsed := p.shown.Sub(p.started).Seconds()
	line := fmt.Sprintf("%d %s, %.0f/s", done, p.unit, float64(done)/elapsed)
	if total > done && done > 0 {
		left := time.Duration(elapsed * float64(total-done) / float64(done) * float64(time.Second))
		line = fmt.Sprintf("%d of %d %s, %.0f/s, %s left", done, total, p.unit, float64(done)/elapsed, left.Round(time.Second))
	}
	fmt.Fprintf(p.out, "\r%-*s", p.width, line)
	p.width = len(line)
}

// Done takes the line away.
func (p *Progress) Done() {
	if p != nil && p.width > 0 {
		fmt.Fprintf(p.out, "\r%*s\r", p.width, "")
		p.width = 0
	}
}
