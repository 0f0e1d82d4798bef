package archiveprune

import (
	"context"
	"fmt"
	"io"

	"rplan/lib/archiveprune/layout"
	"rplan/lib/mbox"
)

// longestHeader is how much of the header of a message in a file of its own is looked at, in bytes, as lib/mbox does in an mbox.
const longestHeader = 4 << 20

// weighScrubbing counts the addresses that --scrub-addresses would take out.
func (r *runner) weighScrubbing(ctx context.Context, t *tree, p *plan, result *Result) error {
	if len(p.evidence.damage) > 0 {
		return nil // nothing would be done
	}
	for s := range p.evidence.sources {
		source := &p.evidence.sources[s]
		if source.file.Kind == layout.Message && len(p.expired[s]) > 0 || p.allExpired(s) {
			continue
		}
		found, err := addresses(t, source, source.ranges(p.expired[s]))
		if err != nil {
			return err
		}
		result.scrubs(source, found)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// addresses counts what is to be taken out of a source, from which some ranges are to be cut.
func addresses(t *tree, s *source, cut []mbox.Range) (found mbox.Scrubbing, err error) {
	err = reading(t, s, func(src io.ReaderAt) (err error) {
		if s.file.Kind == layout.Message {
			found, err = addressesOfOne(src, s)
		} else {
			found, err = mbox.ScrubFile(io.Discard, src, s.size(), cut, s.headers())
		}
		return err
	})
	return found, err
}

// addressesOfOne is addresses for a file of one message, of which it reads no more than the header.
func addressesOfOne(file io.ReaderAt, s *source) (found mbox.Scrubbing, err error) {
	m := s.messages[0]
	if m.body > longestHeader {
		found.TooLong = append(found.TooLong, m.Range)
		return found, nil
	}
	header := make([]byte, m.body)
	if _, err := file.ReadAt(header, 0); err != nil {
		return found, err
	}
	_, n := mbox.Scrub(header)
	found.Addresses, found.Messages = int64(n), int64(min(n, 1))
	return found, nil
}

// scrubMessage takes addresses out of a file of one message. Nobody adds to one, so there is no lock.
func (w *rewriting) scrubMessage(ctx context.Context, s *source) (changed bool, err error) {
	found, err := addresses(w.tree, s, nil)
	if err != nil || found.Addresses == 0 {
		w.result.scrubs(s, found)
		return false, err
	}
	file, e, err := w.again(ctx, w.listedNow(s.file))
	if err != nil {
		return false, err
	}
	defer file.Close()
	return w.cut(file, &plan{archive: w.plan.archive, evidence: e, expired: make([][]int, 1)})
}

// scrubs counts what is taken out, and names messages that are as they were.
func (r *Result) scrubs(s *source, done mbox.Scrubbing) {
	r.Scrubbed.Addresses += int(done.Addresses)
	r.Scrubbed.Messages += int(done.Messages)
	for _, m := range done.TooLong {
		r.Notes = append(r.Notes, fmt.Sprintf("the message at byte %d of %s has too long a header to be scrubbed", m.Start, harmless(s.file.Path)))
	}
}
