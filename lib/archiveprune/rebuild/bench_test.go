package rebuild

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"rplan/tests/need"
)

// BenchmarkRebuild makes pages of 2,000 mails of 3 KB, of which a tenth has an attachment. It took 6 s, and
// 16,124 of them 83 s and 110 MB of memory: MHonArc is slower the more there are in one directory.
func BenchmarkRebuild(b *testing.B) {
	need.Program(b, "mhonarc")
	const n = 2000
	var texts []string
	size := 0
	for i := range n {
		text := fmt.Sprintf("From: Author %d <a%d@example.org>\nSubject: Re: thread %d\nMessage-ID: <%d@example.org>\nIn-Reply-To: <%d@example.org>\nDate: %s\nReceived: from x by y; %[6]s\n\n%[7]s",
			i%90, i%90, i/8, i, i-i%8, time.Unix(int64(1.5e9+i*600), 0).UTC().Format(time.RFC1123Z), strings.Repeat("> a line of an ordinary mail, with a URL https://example.org/x\nand an answer to it\n", 34))
		if i%10 == 0 {
			text = strings.ReplaceAll(mixed(fmt.Sprint(i, "@example.org"), "a file", "\r\ntext\r\n", part("application/pdf", "attachment", []byte(strings.Repeat("x", 6000)))), "1 Mar", fmt.Sprint(1+i%28, " Mar"))
		}
		texts, size = append(texts, text), size+len(text)
	}
	b.SetBytes(int64(size))
	for b.Loop() {
		tree := tree(b)
		r := rebuilt(b, tree, Options{}, texts...)
		b.ReportMetric(float64(r.Bytes)/float64(size), "bytes/byte")
	}
}
