package mbox

import (
	"compress/gzip"
	"io"

	"github.com/klauspost/compress/zstd"

	"rplan/lib/diag"
)

// Format is how a file is compressed.
type Format string

const (
	Gzip Format = "gzip" // RFC 1952; a file may have several members
	Zstd Format = "zstd" // RFC 8878; a file may have several frames
)

// Ext is the end of a compressed file's name.
func (f Format) Ext() string {
	return map[Format]string{Gzip: ".gz", Zstd: ".zst"}[f]
}

// Compress writes what it gets to w as one member or frame, which is complete after Close.
func Compress(w io.Writer, f Format) (io.WriteCloser, error) {
	switch f {
	case Gzip:
		return gzip.NewWriter(w), nil
	case Zstd:
		return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(4<<20))
	}
	return nil, diag.Config.Errorf("%q is no format of compression; there are gzip and zstd", f)
}

// decompress reads all members or frames. More memory than longestWindow is refused, as the file is not trusted.
func decompress(r io.Reader, f Format) (io.ReadCloser, error) {
	if f == Gzip {
		return gzip.NewReader(r)
	}
	d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(longestWindow))
	if err != nil {
		return nil, err
	}
	return d.IOReadCloser(), nil
}

// longestWindow is what RFC 8878 section 3.1.1.1.2 asks of readers, in bytes; zstd(1) needs more from level 20 on.
const longestWindow = 8 << 20
