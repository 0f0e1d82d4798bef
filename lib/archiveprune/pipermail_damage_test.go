package archiveprune

import (
	"bytes"
	"compress/gzip"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rplan/tests/archive"
)

// starts are where each mail of the truth begins in the mbox, and where the last one ends; mails that are in none
// begin where the next one does.
func (s *pipermailScene) starts() []int64 {
	s.Helper()
	var starts []int64
	at := int64(0)
	for _, page := range s.truth.Pages {
		starts = append(starts, at)
		if m := s.mails[page.Mail]; page.InMbox {
			at += int64(len(m.FromLine()) + len(archive.Quote(m.Raw, archive.Mangled)) + len("\n"))
		}
	}
	if size := int64(len(s.read(s.truth.Mbox))); at != size {
		s.Fatalf("the mails are %d bytes, and the mbox %d", at, size)
	}
	return append(starts, at)
}

// A page is not proven by a message of which the mbox has a part only, wherever the mbox was cut off.
func TestPipermailCutOff(t *testing.T) {
	s := newPipermail(t, archive.Make{Seed: 40, N: everyWart()}, archive.PipermailOptions{})
	starts, box := s.starts(), s.read(s.truth.Mbox)
	r := rand.New(rand.NewPCG(40, 0))
	var cuts []int
	for range 6 {
		cuts = append(cuts, r.IntN(len(box))) // somewhere
		i := r.IntN(len(starts) - 1)
		in := box[starts[i]:starts[i+1]]
		cuts = append(cuts, int(starts[i])+bytes.LastIndexByte(in[:r.IntN(len(in))+1], '\n')+1) // after a line
		if k := bytes.Index(in, []byte("\n\n")); k > 0 {
			cuts = append(cuts, int(starts[i])+k+1, int(starts[i])+k+2) // after the header, with and without the empty line
			if last := bytes.LastIndex(bytes.TrimRight(in, "\n"), []byte("\n\n")); last > k+1 {
				cuts = append(cuts, int(starts[i])+last+2) // after a paragraph
			}
		}
	}
	refused, partly := 0, 0
	for _, cut := range cuts {
		s.write(s.truth.Mbox, box[:cut])
		before := s.picture()
		got := s.run(Options{Apply: true})
		gone := before.gone(s.picture())
		switch {
		case got.code == 2 && strings.Contains(got.stderr, "damaged: dev.mbox/dev.mbox: at offset"):
			refused++
			if len(gone) > 0 {
				t.Errorf("cut at %d: refused, and %v went", cut, gone)
			}
		case got.code == 0:
			partly++
		default:
			t.Fatalf("cut at %d: %s", cut, got)
		}
		for _, p := range gone {
			// After an empty line in the last mail of all nothing shows that some of it is missing.
			if page, is := s.page(p); is && starts[page.Mail+1] > int64(cut) && !(page.Mail == len(s.mails)-1 && bytes.HasSuffix(box[:cut], []byte("\n\n"))) {
				t.Errorf("cut at %d: %s went, whose mail (%s) ends at %d", cut, p, s.mails[page.Mail].Wart, starts[page.Mail+1])
			}
		}
		if got := s.read(s.truth.Mbox); !bytes.Equal(got, box[:cut]) {
			t.Errorf("cut at %d: the mbox changed", cut)
		}
		s.want(0, Options{Undo: true})
		s.is(before)
		if t.Failed() {
			t.FailNow()
		}
	}
	t.Logf("of %d cuts %d were seen", len(cuts), refused)
	if refused < 8 || partly < 5 {
		t.Errorf("%d refused, %d pruned in part", refused, partly)
	}
}

func TestPipermailDamage(t *testing.T) {
	whole := newPipermail(t, archive.Make{Seed: 41, N: 20, Plain: true}, archive.PipermailOptions{})
	box := whole.read(whole.truth.Mbox)
	middle := len(box) / 2
	hole := func(n int) []byte {
		return slices.Concat(box[:middle], make([]byte, n), box[min(middle+n, len(box)):])
	}
	noMbox := func(s *pipermailScene) { s.ok(os.RemoveAll(filepath.Dir(s.at(s.truth.Mbox)))) }
	put := func(b []byte) func(*pipermailScene) { return func(s *pipermailScene) { s.write(s.truth.Mbox, b) } }
	for name, x := range map[string]struct {
		do   func(s *pipermailScene)
		code int    // of --apply
		why  string // is said by both
	}{
		"cut in a line":       {put(box[:len(box)-9]), 2, "it is cut off in the middle of a line"},
		"cut in a header":     {put(box[:bytes.LastIndex(box, []byte("\nMIME-Version"))+1]), 2, "it is cut off in the header of a message"},
		"garbage first":       {put(append([]byte("x"), box...)), 2, "at offset 0: no From_ line"},
		"an empty line first": {put(append([]byte("\n"), box...)), 2, "at offset 0: no From_ line"},
		"zeros first":         {put(append(make([]byte, 4096), box...)), 2, "at offset 0: no From_ line"},
		"a hole":              {put(hole(4096)), 2, "512 zero bytes or more, as a crash leaves them"},
		"zeros at its end":    {put(append(box[:len(box):len(box)], make([]byte, 512)...)), 2, "512 zero bytes"},
		"a few zeros at end":  {put(append(box[:len(box):len(box)], 0, 0)), 2, "it is cut off in the middle of a line"},
		"only zeros":          {put(make([]byte, len(box))), 2, "at offset 0: no From_ line"},
		"a damaged month": {func(s *pipermailScene) {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			z.Write(box)
			z.Close()
			s.write("dev.mbox/2002-12.mbox.gz", b.Bytes()[:b.Len()-5])
		}, 2, "dev.mbox/2002-12.mbox.gz: "},
		"a directory": {func(s *pipermailScene) {
			s.ok(os.Remove(s.at(s.truth.Mbox)))
			s.ok(os.Mkdir(s.at(s.truth.Mbox), 0o755))
		}, 0, whyNoSource},
		"a symlink to it": {func(s *pipermailScene) {
			s.ok(os.Rename(s.at(s.truth.Mbox), filepath.Join(s.dir, "elsewhere")))
			s.ok(os.Symlink(filepath.Join(s.dir, "elsewhere"), s.at(s.truth.Mbox)))
		}, 0, whyNoSource},
		"empty":   {put(nil), 0, whyUnproven},
		"no mbox": {noMbox, 0, whyNoSource},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newPipermail(t, archive.Make{Seed: 41, N: 20, Plain: true}, archive.PipermailOptions{})
			x.do(s)
			before := s.picture()
			if report := s.want(0, Options{}); !strings.Contains(report.stdout, x.why) {
				t.Errorf("want %q: %s", x.why, report)
			}
			r := s.result(x.code, Options{Apply: true})
			if r.Goes.Files > 0 || r.Freed > 0 || r.Done != (x.code == 0) {
				t.Errorf("%+v", r)
			}
			if got := s.want(x.code, Options{Apply: true}); x.code != 0 && !strings.Contains(got.stderr, x.why) || x.code == 0 && got.stderr != "" {
				t.Errorf("want %q: %s", x.why, got)
			}
			s.is(before)
			if x.code != 0 { // nor does anything else change it
				s.want(x.code, Options{Apply: true, KeepMbox: "0", Scrub: true, Compress: "gzip"})
				s.is(before)
			}
		})
	}
}

// Zero bytes in a mail are odd, and no damage.
func TestPipermailFewZeros(t *testing.T) {
	s := newPipermail(t, archive.Make{Seed: 42, N: 6, Only: "nul bytes"}, archive.PipermailOptions{})
	s.want(0, Options{Apply: true})
	for _, page := range s.truth.Pages {
		if s.there(page.Path) {
			t.Errorf("%s stays", page.Path)
		}
	}
}

// TestWitness tries every way of reading, and counts by hand.
func TestWitness(t *testing.T) {
	r := rand.New(rand.NewPCG(43, 0))
	holes := 0
	for range 2000 {
		var b []byte
		for range r.IntN(6) {
			b = append(b, bytes.Repeat([]byte{byte(r.IntN(3) * 7)}, r.IntN(900))...)
		}
		b = append(b, []string{"", "\n", "\n\n", "\n\r\n", "x"}[r.IntN(5)]...)
		w := newWitness(nil)
		for rest := b; len(rest) > 0; {
			n := min(len(rest), 1+r.IntN(700))
			w.saw(rest[:n])
			rest = rest[n:]
		}
		hole := int64(bytes.Index(b, make([]byte, aHole)))
		empty := strings.HasSuffix(string(b), "\n\n") || strings.HasSuffix(string(b), "\n\r\n")
		if w.hole != hole || w.size != int64(len(b)) || w.emptyLine() != empty {
			t.Fatalf("%d bytes, a hole at %d, an empty line %v: it saw %+v", len(b), hole, empty, w)
		}
		if hole >= 0 {
			holes++
		}
	}
	if holes < 100 {
		t.Error(holes)
	}
	got, err := io.ReadAll(newWitness(strings.NewReader("all of it")))
	if err != nil || string(got) != "all of it" {
		t.Errorf("%q, %v", got, err)
	}
}
