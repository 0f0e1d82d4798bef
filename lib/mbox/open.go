package mbox

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/klauspost/compress/zstd"

	"rplan/lib/diag"
)

// maxWindow is how far back a zstd file may refer: what RFC 8878 section 3.1.1.1.2 asks
// every decoder for, and what zstd does up to -19 without --long. More would cost as much memory.
const maxWindow = 8 << 20

// Open reads f from its start: as it is, or what gzip(1) or zstd(1) compressed, which it sees
// by the first bytes. Files that were compressed one by one and joined are read as one.
// An end within the compressed data, or anything that comes after it, is an error of kind
// diag.BadData. To close the reader closes f.
func Open(f *os.File) (io.ReadCloser, error) {
	magic := make([]byte, 4)
	n, err := f.ReadAt(magic, 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	magic = magic[:n]
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		// RFC 1952 section 2.3.1
		z, err := gzip.NewReader(f)
		if err != nil {
			return nil, damaged(f, "gzip", err)
		}
		return &unpacked{z, f, "gzip", func() {}}, nil
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}), n == 4 && magic[0]&0xf0 == 0x50 && bytes.Equal(magic[1:], []byte{0x2a, 0x4d, 0x18}):
		// RFC 8878 sections 3.1.1 and 3.1.2
		z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, damaged(f, "zstd", err)
		}
		return &unpacked{z, f, "zstd", z.Close}, nil
	}
	return f, nil
}

// unpacked reads what a file held before it was compressed.
type unpacked struct {
	io.Reader
	file    *os.File
	format  string
	release func()
}

func (u *unpacked) Read(b []byte) (int, error) {
	n, err := u.Reader.Read(b)
	if err != nil && err != io.EOF {
		err = damaged(u.file, u.format, err)
	}
	return n, err
}

func (u *unpacked) Close() error {
	u.release()
	return u.file.Close()
}

// damaged names the file, unless that is the error's own: then the disk is at fault, and not what it holds.
func damaged(f *os.File, format string, err error) error {
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return err
	}
	if err == io.EOF { // gzip says so where not even its header is whole
		err = io.ErrUnexpectedEOF
	}
	if errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		return diag.BadData.Errorf("%q: %s: %w", f.Name(), format, err).WithHint("was it compressed with --long or --ultra? zstd -d, and zstd again")
	}
	return diag.BadData.Errorf("%q: %s: %w", f.Name(), format, err)
}
