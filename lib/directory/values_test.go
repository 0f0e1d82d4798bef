package directory

import (
	"encoding/base64"
	"encoding/binary"
	"strings"
	"testing"
	"unicode/utf8"
)

// poison is every byte sequence that could end a row, a directive or a path in some file of ours.
const poison = "\x00\t\n\v\f\r \"'`\\%$<>;|(){}[],:!?*^#"

// parsers are all ways by which a directory value becomes a string in the model.
var parsers = map[string]func([]byte) (string, error){
	"label":   parseLabel,
	"host":    parseHost,
	"address": parseAddress,
	"box":     parseBoxAddress,
	"alias":   parseAlias,
	"path":    parsePath,
	"keep":    parseKeep,
	"placement": func(v []byte) (string, error) {
		p, err := parsePlacement(v)
		if err != nil {
			return "", err
		}
		return p.Name, nil
	},
	"address of a host": func(v []byte) (string, error) {
		a, err := parseAddr(v)
		return a.String(), err
	},
}

func harmless(t *testing.T, parser, in, out string) {
	t.Helper()
	forbidden := poison
	if parser == "address of a host" {
		forbidden = strings.ReplaceAll(forbidden, ":", "")
	}
	switch {
	case strings.ContainsAny(out, forbidden):
		t.Errorf("%s: %q became %q", parser, in, out)
	case strings.Contains(out, ".."), strings.HasPrefix(out, "-"), strings.HasPrefix(out, "/"), strings.HasPrefix(out, "."), out == "":
		t.Errorf("%s: %q became %q", parser, in, out)
	case len(out) > 512:
		t.Errorf("%s: a value of %d bytes", parser, len(out))
	}
	for _, c := range []byte(out) {
		if c < 0x21 || c > 0x7e {
			t.Errorf("%s: %q became %q", parser, in, out)
		}
	}
}

func TestAccepted(t *testing.T) {
	for _, c := range []struct{ parser, in, want string }{
		{"label", "N1", "n1"},
		{"label", "a-b", "a-b"},
		{"host", "Www.Example.ORG", "www.example.org"},
		{"host", "xn--caf-dma.example", "xn--caf-dma.example"},
		{"address", "Alice.B@Example.org", "alice.b@example.org"},
		{"address", "a+tag@example.org", "a+tag@example.org"},
		{"address", "_x=y~z&w-v@example.org", "_x=y~z&w-v@example.org"},
		{"box", "news-announce@example.org", "news-announce@example.org"},
		{"alias", "admins@example.org", "admins@example.org"},
		{"placement", "n1", "n1"},
		{"placement", "N1_n2_n3", "n1_n2_n3"},
		{"path", "Cafe/public_html-2.0", "Cafe/public_html-2.0"},
		{"keep", "90D", "90d"},
		{"keep", "9999y", "9999y"},
		{"keep", "18m", "18m"},
		{"keep", "8w", "8w"},
		{"keep", "0", "0"},
		{"keep", "Forever", "forever"},
		{"address of a host", "10.77.0.1", "10.77.0.1"},
		{"address of a host", "2001:DB8::1", "2001:db8::1"},
	} {
		if got, err := parsers[c.parser]([]byte(c.in)); err != nil || got != c.want {
			t.Errorf("%s %q: got %q, %v, want %q", c.parser, c.in, got, err, c.want)
		}
	}
}

func TestRefused(t *testing.T) {
	long := strings.Repeat("a", 64)
	for parser, inputs := range map[string][]string{
		"label":             {"", "a.b", "a_b", "-a", "a-", long, "é", "a b"},
		"host":              {"", "localhost", "a..b", ".a.b", "a.b.", "-a.b", "a-.b", "a_b.c", long + ".org", strings.Repeat("a.", 127) + "org", "a.b\n", "*.example.org", "a.b:80", "bücher.example"},
		"address":           {"", "a", "@b.c", "a@", "a@b", "a@b@c.d", ".a@b.c", "a.@b.c", "a..b@c.d", "-a@b.c", "+a@b.c", "o'brien@b.c", `"a b"@c.d`, "a b@c.d", "a@b.c\r\n", "a%b@c.d", "a|b@c.d", "/a@b.c", "a/b@c.d", "$a@b.c", "a\x00@b.c", "a\xff@b.c", long + "a@b.c", "ünal@b.c", "a@[10.0.0.1]"},
		"box":               {"a+b@c.d"},
		"alias":             {"Postmaster@b.c", "ADMIN@b.c", "webmaster@b.c", "mailer-daemon@b.c", "ssladmin@b.c", "a b@c.d"},
		"placement":         {"", "_", "n1_", "_n1", "n1__n2", "n1_n1", "n1 n2", "n1/n2", "n1_n2:x", "a_b_c_d_e_f_g_h_i", long[1:] + "_b" + long[2:] + "_c" + long[2:] + "_" + long[:12]},
		"path":              {"", "/etc", "..", "a/../b", ".git", "a/.ssh", "a//b", "a/", "-a", "a b", "a\nb", `a"b`, "a%b", strings.Repeat("a", 201)},
		"keep":              {"", "d", "0d", "00", "01d", "90", "90 d", "-1d", "+1d", "1.5y", "10000d", "1h", "90days", "1y6m", "never", "forever ", " 0", "\u0661d", "9d\n", Unreadable},
		"address of a host": {"", "10.0.0", "10.0.0.0/8", "0.0.0.0", "::", "224.0.0.1", "::ffff:10.0.0.1", "fe80::1%eth0", "n1", "10.0.0.1\n"},
	} {
		for _, in := range inputs {
			if got, err := parsers[parser]([]byte(in)); err == nil {
				t.Errorf("%s: %q became %q", parser, in, got)
			}
		}
	}
}

func TestLimits(t *testing.T) {
	if _, err := parseNumber([]byte("-1"), 9); err == nil {
		t.Error("a negative number passed")
	}
	if _, err := parseNumber([]byte("10"), 9); err == nil {
		t.Error("a number over its limit passed")
	}
	if _, err := parseKey([]byte("ssh-ed25519 AAAA root@n1")); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "a\nb", `a"b`, "a;b", strings.Repeat("a", maxKey+1), "\x11"} {
		if _, err := parseKey([]byte(bad)); err == nil {
			t.Errorf("key %q passed", bad)
		}
	}
}

func TestSSHKeys(t *testing.T) {
	const ed25519 = "AAAAC3NzaC1lZDI1NTE5AAAAIHBsYWNlaG9sZGVyIGtleSBvZiBub2RlIG4xIC4uLi4u"
	const key = "ssh-ed25519 " + ed25519
	for _, good := range []string{key, key + " ", key + " root@n1", key + ` "any" comment; {$(x)} é`} {
		if got, err := parseSSHKey([]byte(good)); got != key || err != nil {
			t.Errorf("%q became %q, %v", good, got, err)
		}
	}
	fields := func(fields ...string) string {
		var blob []byte
		for _, f := range fields {
			blob = append(binary.BigEndian.AppendUint32(blob, uint32(len(f))), f...)
		}
		return base64.StdEncoding.EncodeToString(blob)
	}
	if _, err := parseSSHKey([]byte("ssh-rsa " + fields("ssh-rsa", "\x01\x00\x01", strings.Repeat("m", 513)))); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{
		"", " ", "\n", ed25519, "ssh-ed25519", "ssh-ed25519 ", " " + key, "ssh-ed25519  " + ed25519, "SSH-ED25519 " + ed25519,
		"restrict " + key, `command="id" ` + key, "n1 " + key, "# " + key, "@cert-authority * " + key, `from="*",` + key,
		key + "\n" + key, key + "\r" + key, key + "\x00", "\n" + key, "ssh-ed25519\t" + ed25519, "ssh-ed25519\u00a0" + ed25519, key + "\x7f",
		"ssh-rsa " + ed25519, "ssh-dss " + fields("ssh-dss", "x"), "ssh-ed25519-cert-v01@openssh.com " + fields("ssh-ed25519-cert-v01@openssh.com", "x"),
		key[:len(key)-1], key[:len(key)-4], key + "A", key + "=", key + "AAAA", "ssh-ed25519 " + ed25519[:20] + "\n" + ed25519[20:], "ssh-ed25519 " + strings.ReplaceAll(ed25519, "A", "-"),
		"ssh-ed25519 " + fields("ssh-ed25519"), "ssh-ed25519 " + fields("ssh-ed25519", "x")[:24], "ssh-ed25519 AAAA", "ssh-ed25519 /////w==",
		key + " " + strings.Repeat("a", maxKey),
	} {
		if got, err := parseSSHKey([]byte(bad)); err == nil {
			t.Errorf("%q passed as %q", bad, got)
		}
	}
}

func TestShowIsOneShortLine(t *testing.T) {
	for _, v := range []string{"a\nb\x1b[31m", strings.Repeat("x", 1<<20), "\xff\x00"} {
		if got := show(v); len(got) > 600 || strings.ContainsAny(got, "\n\x1b\x00") || !utf8.ValidString(got) {
			t.Errorf("show made %q", got)
		}
	}
}

func FuzzValues(f *testing.F) {
	for _, seed := range []string{"n1_n2", "alice@example.org", "www.example.org", "a/b", "10.0.0.1", "a\nb", "../x", "90d", "%{HTTP_HOST}", "\x10\x19", strings.Repeat("n", 70)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, v []byte) {
		for name, parse := range parsers {
			out, err := parse(v)
			if err != nil {
				continue
			}
			harmless(t, name, string(v), out)
			if again, err := parse([]byte(out)); err != nil || again != out {
				t.Errorf("%s: %q became %q, and that %q, %v", name, v, out, again, err)
			}
		}
	})
}
