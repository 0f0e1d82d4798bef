package unlock

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Verdict is what the observations come to.
type Verdict string

// The verdicts. Only a clean node is unlocked with no question.
const (
	Clean      Verdict = "clean"
	Explained  Verdict = "explained"  // what is unusual was announced
	Suspicious Verdict = "suspicious" // somebody may have been at the machine
)

// Weight is what one observation says by itself.
type Weight string

// The weights. What is announced is explained by an admin's ticket, see Entry in lib/store.
const (
	Fine      Weight = "fine"
	Announced Weight = "announced" // it would be grave, but was said before
	Grave     Weight = "grave"
)

// Observation is one thing that was looked at.
type Observation struct {
	What     string `json:"what"`
	Expected string `json:"expected"`
	Seen     string `json:"seen"`
	Weight   Weight `json:"weight"`
}

// Known is what a reading is held against.
type Known struct {
	Baseline *Reading      // from the signed store
	Last     *Reading      // the newest one that an admin of the store noted, nil if there is none since the baseline
	Unlocked bool          // and it was taken in the initramfs just before the node was unlocked
	Alive    time.Time     // when anybody of us last saw the node run; zero if nobody did
	Ticket   string        // why somebody announced that the node would be off, "" if nobody did
	Self     bool          // its system comes up by itself: there is no initramfs that waits for us
	MaxOff   time.Duration // how long it may be off unannounced
	Now      time.Time     // by the admin's clock
}

// maxClock is how much a node's clock may be wrong: a battery may be flat, but
// nothing good sets it back by days.
const maxClock = 10 * time.Minute

// Judge holds a reading against what is known. It is fail-closed: what cannot be
// compared is grave.
func Judge(r *Reading, k *Known) (Verdict, []Observation) {
	j := &judge{r: r, k: k}
	j.off()
	j.files()
	j.cmdline()
	j.headers()
	j.hardware()
	j.drives()
	j.boots()
	j.clock()
	return j.verdict(), j.all
}

type judge struct {
	r   *Reading
	k   *Known
	all []Observation
}

func (j *judge) verdict() Verdict {
	has := func(w Weight) bool {
		return slices.ContainsFunc(j.all, func(o Observation) bool { return o.Weight == w })
	}
	switch {
	case has(Grave):
		return Suspicious
	case has(Announced):
		return Explained
	}
	return Clean
}

func (j *judge) add(w Weight, what, expected, seen string) {
	j.all = append(j.all, Observation{what, expected, seen, w})
}

// announced is grave unless somebody said before that the node would be off.
func (j *judge) announced() Weight {
	if j.k.Ticket != "" {
		return Announced
	}
	return Grave
}

// last is the newest reading of the counters.
func (j *judge) last() *Reading {
	if j.k.Last != nil {
		return j.k.Last
	}
	return j.k.Baseline
}

// off is how long the node was off, or may have been. A node that runs was not, unless
// it comes up by itself: then it is how long it was off before.
func (j *judge) off() {
	if j.r.Where == inSystem && !j.k.Self {
		j.add(Fine, "state", "running", "running")
		return
	}
	expected := "at most " + span(j.k.MaxOff)
	alive, itself, until := j.k.Alive, j.r.Alive, j.k.Now
	if j.k.Self {
		itself, until = j.r.Before, j.k.Now.Add(-time.Duration(j.r.Up)*time.Second)
	}
	if itself.After(alive) && !itself.After(until) {
		alive = itself // by its own word
	}
	if j.k.Ticket != "" {
		expected = "announced: " + j.k.Ticket
	}
	if alive.IsZero() {
		j.add(j.announced(), "off for", expected, "not known: nobody saw it run")
		return
	}
	off := max(until.Sub(alive), 0)
	w := Fine
	if off > j.k.MaxOff {
		w = j.announced()
	}
	j.add(w, "off for", expected, "at most "+span(off))
}

func (j *judge) text(what, expected, seen string) {
	w := Fine
	if expected != seen {
		w = Grave
	}
	j.add(w, what, expected, seen)
}

// cmdline is what the kernel was started with, of which people are shown where it differs.
func (j *judge) cmdline() {
	was, is := j.k.Baseline.Cmdline, j.r.Cmdline
	if was == is {
		j.add(Fine, "kernel command line", "as enrolled", "as enrolled")
		return
	}
	same := 0
	for same < min(len(was), len(is)) && was[same] == is[same] {
		same++
	}
	same = strings.LastIndexByte(was[:same], ' ') + 1
	j.add(Grave, "kernel command line", excerpt(was[same:], same > 0), excerpt(is[same:], same > 0))
}

// excerpt is the beginning of a text, or of the rest of one.
func excerpt(s string, rest bool) string {
	const most = 80
	if rest {
		s = "..." + s
	}
	if len(s) > most {
		s = s[:most] + "..."
	}
	return s
}

// files are those of /boot. What is on an encrypted disk need not be looked at.
func (j *judge) files() {
	wrong := 0
	for _, name := range keys(j.k.Baseline.Files, j.r.Files) {
		was, is := j.k.Baseline.Files[name], j.r.Files[name]
		if was == is {
			continue
		}
		wrong++
		j.add(Grave, "/boot/"+name, digest(was), digest(is))
	}
	if wrong == 0 {
		n := len(j.r.Files)
		if n == 0 {
			j.add(Grave, "files of /boot", "some", "none")
			return
		}
		j.add(Fine, "files of /boot", fmt.Sprintf("%d as enrolled", n), fmt.Sprintf("%d as enrolled", n))
	}
}

func digest(s string) string {
	if s == "" {
		return "none"
	}
	return s[:min(len(s), 12)] + "..."
}

func (j *judge) headers() {
	for _, uuid := range keys(j.k.Baseline.Headers, j.r.Headers) {
		was, known := j.k.Baseline.Headers[uuid]
		is, there := j.r.Headers[uuid]
		what, expected, seen := "LUKS header "+uuid, fmt.Sprintf("epoch %d", was.Epoch), fmt.Sprintf("epoch %d", is.Epoch)
		switch {
		case !known:
			j.add(Grave, what, "none", seen)
		case !there:
			j.add(Grave, what, expected, "none")
		case is.Epoch < was.Epoch:
			j.add(Grave, what, expected, seen+", an older header")
		case is.Epoch > was.Epoch:
			j.add(Grave, what, expected, seen+": a keyslot was changed")
		case is.Digest != was.Digest:
			j.add(Grave, what, expected, seen+", another content")
		default:
			j.add(Fine, what, expected, seen)
		}
	}
}

func (j *judge) hardware() {
	for _, name := range keys(j.k.Baseline.Hardware, j.r.Hardware) {
		was, is := j.k.Baseline.Hardware[name], j.r.Hardware[name]
		j.text("hardware "+name, cmp.Or(was, "none"), cmp.Or(is, "none"))
	}
}

// drives are the disks' own counts. A drive that was powered up more often than the
// machine was unlocked, or ran longer than time has passed, was elsewhere meanwhile.
func (j *judge) drives() {
	since := j.last()
	for _, serial := range keys(j.k.Baseline.Drives, j.r.Drives) {
		_, known := j.k.Baseline.Drives[serial]
		is, there := j.r.Drives[serial]
		what := "drive " + serial
		if !known || !there {
			j.add(Grave, what, cmp.Or(j.k.Baseline.Drives[serial].Model, "none"), cmp.Or(is.Model, "none"))
			continue
		}
		was, ok := since.Drives[serial]
		if !ok {
			was = j.k.Baseline.Drives[serial]
		}
		j.cycles(what, was, is, since)
		j.hours(what, was, is, since)
	}
}

// cycles: from a running machine or one that was just unlocked to its next prompt, the power fails once at most.
func (j *judge) cycles(what string, was, is Drive, since *Reading) {
	what += ": power cycles"
	if was.Cycles < 0 {
		return
	}
	most := was.Cycles + 1
	if j.r.Where == inSystem && since.Where == inSystem && !j.k.Self {
		most = was.Cycles // it has not been off, or somebody unlocked it and that is noted
	}
	expected := fmt.Sprintf("%d", was.Cycles)
	if most > was.Cycles {
		expected = fmt.Sprintf("%d or %d", was.Cycles, most)
	}
	j.count(what, expected, is.Cycles, was.Cycles, most, ": it was powered up more often than the node was unlocked")
}

// hours cannot grow faster than time passes. A drive counts whole ones.
func (j *judge) hours(what string, was, is Drive, since *Reading) {
	what += ": hours on"
	if was.Hours < 0 {
		return
	}
	most := was.Hours + int(j.k.Now.Sub(since.Clock)/time.Hour) + 1
	j.count(what, fmt.Sprintf("%d to %d", was.Hours, max(most, was.Hours)), is.Hours, was.Hours, most, ", more than have passed")
}

// count holds a drive's count against the least and the most that it can be by now.
func (j *judge) count(what, expected string, is, least, most int, tooMany string) {
	switch {
	case is < 0:
		j.add(Grave, what, expected, "it does not say any more")
	case is < least:
		j.add(Grave, what, expected, fmt.Sprintf("%d, fewer than before", is))
	case is > most:
		j.add(Grave, what, expected, fmt.Sprintf("%d%s", is, tooMany))
	default:
		j.add(Fine, what, expected, fmt.Sprintf("%d", is))
	}
}

// boots of the system are those that followed an unlocking.
func (j *judge) boots() {
	was := j.last().Boots
	if was < 0 {
		return
	}
	// The node counts when its system is up: once more if it was unlocked since.
	most := was
	if j.k.Unlocked || j.k.Self {
		most++
	}
	expected := fmt.Sprintf("%d", most)
	switch is := j.r.Boots; {
	case is < 0:
		j.add(Grave, "boots", expected, "it does not count any more")
	case is > most:
		j.add(Grave, "boots", expected, fmt.Sprintf("%d: it came up without us", is))
	case is < was:
		j.add(Grave, "boots", expected, fmt.Sprintf("%d: what is on its disk is older", is))
	default:
		j.add(Fine, "boots", expected, fmt.Sprint(is))
	}
}

func (j *judge) clock() {
	wrong := j.r.Clock.Sub(j.k.Now)
	w := Fine
	if wrong.Abs() > maxClock {
		w = Grave
	}
	seen := "right"
	if wrong.Abs() > time.Minute {
		seen = span(wrong.Abs()) + map[bool]string{true: " ahead", false: " behind"}[wrong > 0]
	}
	j.add(w, "clock", "right to "+span(maxClock), seen)
}

// span is a length of time in the largest units that matter.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + span(-d)
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return strings.TrimSuffix(fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60), " 0 min")
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}
