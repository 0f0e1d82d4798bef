package interface_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// section is the source of one section of a manual page.
func section(t *testing.T, page, title string) string {
	t.Helper()
	_, text, found := strings.Cut(page, "\n.Sh "+title+"\n")
	if !found {
		t.Fatalf("there is no section %q", title)
	}
	text, _, _ = strings.Cut(text, "\n.Sh ")
	return text
}

// mdocFlag is a flag as mdoc(7) spells it, without the first hyphen.
var mdocFlag = regexp.MustCompile(`\bFl (-?[a-z][a-z-]*)`)

// tags are the heads of a list's items.
var tags = regexp.MustCompile(`(?m)^\.It (.*)$`)

func mdocFlags(text string) []string {
	var all []string
	for _, f := range found1(mdocFlag, text) {
		all = append(all, "-"+f)
	}
	return sorted(all)
}

func TestManualHasTheFlags(t *testing.T) {
	each(t, func(t *testing.T, c command) {
		page, flags := read(t, "man", c.name+".8"), c.flags(t)
		options := strings.Join(found1(tags, section(t, page, "OPTIONS")), "\n")
		same(t, "OPTIONS", mdocFlags(options), flags)
		same(t, "SYNOPSIS", mdocFlags(section(t, page, "SYNOPSIS")), long(flags))
		for _, f := range mdocFlags(page) {
			if len(f) > 2 && !strings.Contains(strings.Join(flags, " ")+" ", f+" ") {
				t.Errorf("the page speaks of %q, which there is not", f)
			}
		}
	})
}

func TestManualHasTheCommands(t *testing.T) {
	var names []string
	for _, c := range commands {
		names = append(names, c.name)
	}
	listed := found1(regexp.MustCompile(`(?m)^\.It Xr (\S+) 8$`), section(t, read(t, "man", "rplan.7"), "COMMANDS"))
	same(t, "rplan(7)", listed, names)
}

// TestManualHasTheVariables compares ENVIRONMENT with what --help says of flags.
func TestManualHasTheVariables(t *testing.T) {
	each(t, func(t *testing.T, c command) {
		page := section(t, read(t, "man", c.name+".8"), "ENVIRONMENT")
		for _, name := range found1(regexp.MustCompile(`\[\$([A-Z_]+)\]`), c.run(t, "--help").stdout) {
			if !strings.Contains(page, "\n.It Ev "+name+"\n") {
				t.Errorf("ENVIRONMENT lacks %q", name)
			}
		}
	})
}

// kinds are the exit codes in the source of lib/diag: name -> "code meaning".
func kinds(t *testing.T) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, "lib", "diag", "diag.go"), nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if kind, named := typeName(v); ok && named && kind == "Kind" {
			all[v.Names[0].Name] = v.Values[0].(*ast.BasicLit).Value + " " + strings.TrimSpace(v.Comment.Text())
		}
		return true
	})
	if len(all) < 5 {
		t.Fatalf("lib/diag has only %v", all)
	}
	return all
}

func typeName(v *ast.ValueSpec) (string, bool) {
	if v == nil {
		return "", false
	}
	id, ok := v.Type.(*ast.Ident)
	if !ok {
		return "", false
	}
	return id.Name, true
}

// exitRow is a row of the table in rplan(7).
var exitRow = regexp.MustCompile(`(?m)^\.It (\d+) Ta (\w+) Ta (.*)$`)

func TestManualHasTheExitCodes(t *testing.T) {
	want := kinds(t)
	rows := exitRow.FindAllStringSubmatch(section(t, read(t, "man", "rplan.7"), "EXIT STATUS"), -1)
	if len(rows) != len(want) {
		t.Errorf("rplan(7) has %d codes, lib/diag %d", len(rows), len(want))
	}
	for _, row := range rows {
		if got := row[1] + " " + row[3]; got != want[row[2]] {
			t.Errorf("%s: rplan(7) has %q, lib/diag %q", row[2], got, want[row[2]])
		}
	}
	known := map[string]bool{"0": true}
	for _, text := range want {
		code, _, _ := strings.Cut(text, " ")
		known[code] = true
	}
	each(t, func(t *testing.T, c command) {
		for _, code := range found1(regexp.MustCompile(`(?m)^\.It (\d+)$`), section(t, read(t, "man", c.name+".8"), "EXIT STATUS")) {
			if !known[code] {
				t.Errorf("exit status %s is none of lib/diag", code)
			}
		}
	})
}

// TestManualSpeaksOfRealMessages looks in the source for the fixed words of
// each refusal that a page explains.
func TestManualSpeaksOfRealMessages(t *testing.T) {
	source := goSource(t, "lib")
	each(t, func(t *testing.T, c command) {
		page := read(t, "man", c.name+".8")
		heads := found1(regexp.MustCompile(`(?m)^\.It Sy (.*?)(?: Pq .*)?$`), section(t, page, "REFUSALS")+section(t, page, "DIAGNOSTICS"))
		if len(heads) < 5 {
			t.Fatalf("the page explains %d messages", len(heads))
		}
		for _, head := range heads {
			for _, words := range fixedWords(head) {
				if !strings.Contains(source, words) {
					t.Errorf("no message has the words %q of %q", words, head)
				}
			}
		}
	})
}

// fixedWords are the parts of a message between what stands for something: NAMES, numbers and "...".
func fixedWords(head string) []string {
	var all []string
	for _, part := range regexp.MustCompile(`\.\.\.|\b[A-Z]+\b|\b0\b`).Split(head, -1) {
		if part = strings.Trim(part, " :,'"); len(part) > 3 {
			all = append(all, strings.TrimPrefix(part, "s "))
		}
	}
	return all
}

// goSource is all Go code below a directory, but for tests, in one string.
func goSource(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	for _, pattern := range []string{"*/*.go", "*/*/*.go"} {
		files, err := filepath.Glob(filepath.Join(root, dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if !strings.HasSuffix(file, "_test.go") {
				fmt.Fprintln(&all, read(t, strings.TrimPrefix(file, root+"/")))
			}
		}
	}
	return all.String()
}
