package mbox

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"rplan/lib/diag"
	"rplan/tests/need"
)

// ordinary is an mbox of n messages, 200 to 300 bytes each.
func ordinary(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "From alice%d@example.org Thu Jan  1 15:04:05 2009\nFrom: Alice <alice%[1]d@example.org>\nMessage-ID: <%[1]d@example.org>\n"+
			"Subject: number %[1]d\nDate: Thu, %d Jan 2009 15:04:05 %+05d\n\nThis is message %[1]d,\n>From alice.\n\n", i, 1+i%31, i%24*100-1200)
	}
	return b.String()
}

// compress has a program make what it makes of text.
func compress(t testing.TB, text string, argv ...string) []byte {
	t.Helper()
	cmd := exec.Command(need.Program(t, argv[0]), argv[1:]...)
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// file is one in memory, at its end.
func file(t testing.TB, data []byte) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("mbox", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "/archive/list.mbox")
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	return f
}

// opened is what Open makes of data.
func opened(t testing.TB, data []byte) (string, error) {
	t.Helper()
	f := file(t, data)
	r, err := Open(f)
	if err != nil {
		f.Close()
		return "", err
	}
	text, err := io.ReadAll(r)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Stat(); err == nil {
		t.Fatal("the file is still open")
	}
	return string(text), err
}

func TestOpen(t *testing.T) {
	text := ordinary(3000)
	gz, zst := compress(t, text, "gzip"), compress(t, text, "zstd")
	skippable := []byte("\x5a\x2a\x4d\x18\x03\x00\x00\x00abc") // RFC 8878 section 3.1.2
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty":             {nil, ""},
		"plain":             {[]byte(text), text},
		"short":             {[]byte("\x1f"), "\x1f"},
		"gzip":              {gz, text},
		"gzip of nothing":   {compress(t, "", "gzip"), ""},
		"gzip joined":       {bytes.Join([][]byte{gz, gz}, nil), text + text},
		"gzip with a name":  {compress(t, text, "gzip", "-9"), text},
		"zstd":              {zst, text},
		"zstd of nothing":   {compress(t, "", "zstd"), ""},
		"zstd joined":       {bytes.Join([][]byte{zst, skippable, zst}, nil), text + text},
		"zstd skippable":    {bytes.Join([][]byte{skippable, zst}, nil), text},
		"zstd strong":       {compress(t, text, "zstd", "-19"), text},
		"zstd from threads": {compress(t, text, "zstd", "-T2", "-B100000"), text},
	} {
		if got, err := opened(t, c.data); err != nil || got != c.want {
			t.Errorf("%s: %d bytes, %v, want %d", name, len(got), err, len(c.want))
		}
	}
}

// Wherever such a file is cut off, that is no end of the mbox; nor is anything after it taken for nothing.
func TestOpenDamaged(t *testing.T) {
	text := ordinary(30)
	for _, argv := range [][]string{{"gzip"}, {"zstd"}, {"zstd", "--no-check"}} {
		whole := compress(t, text, argv...)
		for n := 4; n < len(whole); n++ {
			isDamaged(t, fmt.Sprintf("%s, %d of %d bytes", argv, n, len(whole)), whole[:n])
		}
		for _, after := range []string{"x", "\x00", "\x1f", "\x28\xb5", "\x28\xb5\x2f", "\x1f\x8b\x08", "From ", "\x00\x00\x00\x00\x00", string(whole[:4]), string(whole[:len(whole)-1]), text} {
			isDamaged(t, fmt.Sprintf("%s and %.10q", argv, after), append(bytes.Clone(whole), after...))
		}
		if argv[len(argv)-1] == "--no-check" {
			continue
		}
		for i := range whole[4:] {
			broken := bytes.Clone(whole)
			broken[i+4] ^= 0x10
			if got, err := opened(t, broken); err == nil && got != text { // gzip's header has bytes that do not matter
				t.Errorf("%s with byte %d changed: other text and no error", argv, i+4)
			}
		}
	}
}

func isDamaged(t *testing.T, name string, data []byte) {
	t.Helper()
	_, err := opened(t, data)
	if diag.KindOf(err) != diag.BadData || !strings.Contains(err.Error(), `/list.mbox": `) {
		t.Errorf("%s: %v", name, err)
	}
}

// A file that can only be read with more memory is refused.
func TestOpenWindow(t *testing.T) {
	text := strings.Repeat("\x00", 40<<20)
	if _, err := opened(t, compress(t, text, "zstd", "--long=27")); diag.KindOf(err) != diag.BadData || diag.HintOf(err) == "" {
		t.Errorf("%v, hint %q", err, diag.HintOf(err))
	}
	if got, err := opened(t, compress(t, text, "zstd", "-19")); err != nil || len(got) != len(text) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestOpenFails(t *testing.T) {
	f, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := Open(f); err == nil || diag.KindOf(err) == diag.BadData {
		t.Errorf("a directory: %v", err)
	}
}

// FuzzOpen reads whatever it is given as a compressed file: without end, it would not return.
func FuzzOpen(f *testing.F) {
	text := ordinary(3)
	f.Add(compress(f, text, "gzip"))
	f.Add(compress(f, text, "zstd"))
	f.Add([]byte(text))
	f.Fuzz(func(t *testing.T, data []byte) {
		plain := file(t, data)
		defer plain.Close()
		r, err := Open(plain)
		if err != nil {
			return
		}
		defer r.Close()
		n, err := io.Copy(io.Discard, io.LimitReader(r, 64<<20))
		if r == io.ReadCloser(plain) && (err != nil || n != int64(len(data))) {
			t.Errorf("%d of %d plain bytes, %v", n, len(data), err)
		}
	})
}
