package source

import (
	"slices"
	"strings"
	"time"
)

// Version says what the content of a directory was at one moment: the
// contextCSNs of a server, one for each server that takes writes, or the
// SHA-256 of an LDIF file. It is one line of printable text. "" is the version
// of a server that does not say: without syncprov, or a new replica that has
// not yet got everything.
type Version string

const (
	versionCSN    = "csn:"
	versionSHA256 = "sha256:"
)

// newVersion makes a version of contextCSN values.
func newVersion(csns [][]byte) Version {
	var texts []string
	for _, csn := range csns {
		if text := string(csn); serverID(text) != "" {
			texts = append(texts, text)
		}
	}
	if len(texts) == 0 {
		return ""
	}
	slices.Sort(texts)
	return Version(versionCSN + strings.Join(texts, ","))
}

// Same says whether nothing was written between v and w; of versions that do
// not say, it is false.
func (v Version) Same(w Version) bool { return v != "" && v == w }

// Older says whether something that w has is missing from v: of some server's
// writes, v has only earlier ones, or none. A version of an LDIF file is not
// older than any other.
func (v Version) Older(w Version) bool {
	if strings.HasPrefix(string(v), versionSHA256) {
		return false
	}
	mine := v.csns()
	for id, csn := range w.csns() {
		if mine[id] < csn {
			return true
		}
	}
	return false
}

// csns are the CSNs by server id.
func (v Version) csns() map[string]string {
	list, ok := strings.CutPrefix(string(v), versionCSN)
	if !ok {
		return nil
	}
	csns := map[string]string{}
	for csn := range strings.SplitSeq(list, ",") {
		if id := serverID(csn); id != "" {
			csns[id] = max(csns[id], csn)
		}
	}
	return csns
}

// serverID is the third part of a CSN such as
// 20260301120000.000000Z#000000#001#000000, and "" if it is none. CSNs of one
// server are in order when they are so as strings.
func serverID(csn string) string {
	parts := strings.Split(csn, "#")
	if len(parts) != 4 || strings.Trim(csn, "0123456789abcdefABCDEF.Z#") != "" || parts[0] == "" {
		return ""
	}
	return parts[2]
}

// Lag is for how long, at least, v has been missing something that the
// provider has: since the provider's last write. It is 0 where nothing is missing.
func (v Version) Lag(provider Version, now time.Time) time.Duration {
	if !v.Older(provider) {
		return 0
	}
	return max(1, now.Sub(provider.Last()))
}

// Last is when the last write was; zero if v does not say.
func (v Version) Last() (last time.Time) {
	for _, csn := range v.csns() {
		text, _, _ := strings.Cut(csn, "#")
		if t, err := time.Parse("20060102150405.000000Z", text); err == nil && t.After(last) {
			last = t
		}
	}
	return last
}

// Divided says whether v has writes that the provider, asked later, does not
// have: its data was restored from a backup, or another server took writes.
func (v Version) Divided(provider Version) bool { return provider.Older(v) }
