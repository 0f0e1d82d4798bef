// Package structure_test holds the design's rules on who imports whom and what lies where.
package structure_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// pkg is what go list tells of a package.
type pkg struct {
	ImportPath, Name, Dir              string
	Standard                           bool
	GoFiles                            []string
	Imports, TestImports, XTestImports []string
}

// packages are those of the module and all that they need, by import path.
func packages(t *testing.T) map[string]*pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-tags", "urfave_cli_no_docs,urfave_cli_no_suggest",
		"-json=ImportPath,Name,Dir,Standard,GoFiles,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	all := map[string]*pkg{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		p := &pkg{}
		if err := dec.Decode(p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all[p.ImportPath] = p
	}
	return all
}

// tools are the packages that are one command each.
var tools = []string{"genmaps", "failover", "listmove", "rekey", "unlock", "archiveprune"}

// tool is the command's package that path is or lies in, or "".
func tool(path string) string {
	name, in := strings.CutPrefix(path, "rplan/lib/")
	name, _, _ = strings.Cut(name, "/")
	if in && slices.Contains(tools, name) {
		return name
	}
	return ""
}

func within(path string, dirs ...string) bool {
	return slices.ContainsFunc(dirs, func(d string) bool { return path == d || strings.HasPrefix(path, d+"/") })
}

const (
	cli  = "github.com/urfave/cli/v2"
	ldap = "github.com/go-ldap/ldap/v3"
	ber  = "github.com/go-asn1-ber/asn1-ber"
	age  = "filippo.io/age"
)

// wrong says what is against the design in from's import of to, or "".
func wrong(from, to string, standard bool) string {
	switch ours := within(to, "rplan"); {
	case within(to, "rplan/cmd"):
		return "nobody imports a command"
	case within(to, "rplan/tests") && !within(from, "rplan/tests"):
		return "what is for tests stays in tests"
	case within(from, "rplan/tests", "rplan/contrib"):
		return ""
	case within(to, cli) && !within(from, "rplan/cmd", "rplan/lib/app"):
		return "only the commands and lib/app know the flag parser"
	case within(to, ldap, ber) && !within(from, "rplan/lib/source"):
		return "only lib/source speaks LDAP"
	case within(to, age) && !within(from, "rplan/lib/store"):
		return "only lib/store speaks age"
	case within(from, "rplan/cmd"):
		if ours && to != "rplan/lib/app" && tool(to) == "" || !ours && !standard && !within(to, cli) {
			return "a command is lib/app, its tool and nothing else"
		}
	case within(from, "rplan/lib/diag") && ours:
		return "lib/diag is at the bottom"
	case within(from, "rplan/lib/directory") && !standard:
		return "the model needs the standard library only"
	case tool(from) == "" && tool(to) != "":
		return "a mechanism knows no command"
	case tool(from) == "" && to == "rplan/lib/app":
		return "a mechanism knows no command line"
	case tool(from) != tool(to) && tool(to) != "":
		return "no command's package imports another's"
	}
	return ""
}

func TestImports(t *testing.T) {
	all := packages(t)
	checked := 0
	for _, p := range all {
		if !within(p.ImportPath, "rplan") {
			continue
		}
		for _, to := range p.Imports {
			if why := wrong(p.ImportPath, to, all[to] != nil && all[to].Standard); why != "" {
				t.Errorf("%s imports %s: %s", p.ImportPath, to, why)
			}
			checked++
		}
		for _, to := range slices.Concat(p.TestImports, p.XTestImports) {
			if within(to, "rplan/cmd") {
				t.Errorf("the test of %s imports %s: a command is run, not imported", p.ImportPath, to)
			}
		}
	}
	if checked < 100 {
		t.Errorf("only %d imports were looked at", checked)
	}
}

// TestTheRulesForbid breaks each rule on paper.
func TestTheRulesForbid(t *testing.T) {
	for _, c := range []struct {
		from, to string
		standard bool
	}{
		{"rplan/lib/genmaps", "rplan/cmd/rp-genmaps", false},
		{"rplan/lib/genmaps", "rplan/tests/need", false},
		{"rplan/lib/genmaps", cli, false},
		{"rplan/lib/genmaps", ldap, false},
		{"rplan/lib/app", ber, false},
		{"rplan/lib/rekey", age + "/plugin", false},
		{"rplan/cmd/rp-genmaps", "rplan/lib/diag", false},
		{"rplan/lib/diag", "rplan/lib/run", false},
		{"rplan/lib/directory", "rplan/lib/diag", false},
		{"rplan/lib/directory", "github.com/BurntSushi/toml", false},
		{"rplan/lib/source", "rplan/lib/genmaps/render", false},
		{"rplan/lib/source", "rplan/lib/app", false},
		{"rplan/lib/failover", "rplan/lib/genmaps/render", false},
	} {
		if wrong(c.from, c.to, c.standard) == "" {
			t.Errorf("%s may import %s", c.from, c.to)
		}
	}
}

// TestRenderersArePure: the same input gives the same bytes, so they may not look elsewhere.
func TestRenderersArePure(t *testing.T) {
	all := packages(t)
	p := all["rplan/lib/genmaps/render"]
	if p == nil {
		t.Fatal("there is no lib/genmaps/render")
	}
	for _, to := range p.Imports {
		outside := within(to, "os", "net/http", "io/fs", "io/ioutil", "syscall", "log", "crypto/rand", "math/rand", "plugin") || to == "net"
		if outside || !all[to].Standard && to != "rplan/lib/directory" {
			t.Errorf("render imports %s", to)
		}
	}
	for _, name := range p.GoFiles {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			x, ok := s.X.(*ast.Ident)
			if ok && x.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "Sleep", "Local"}, s.Sel.Name) {
				t.Errorf("%s uses time.%s", name, s.Sel.Name)
			}
			return true
		})
	}
}

func TestPackagesAreNamedForWhatTheyDo(t *testing.T) {
	empty := []string{"util", "utils", "common", "helper", "helpers", "misc", "shared", "manager", "base", "core", "types", "models"}
	for _, p := range packages(t) {
		if within(p.ImportPath, "rplan") && (slices.Contains(empty, p.Name) || slices.Contains(empty, filepath.Base(p.Dir))) {
			t.Errorf("%s is a name for anything", p.ImportPath)
		}
	}
}

// TestTopLevel: bin and build are what make makes.
func TestTopLevel(t *testing.T) {
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		known := []string{"cmd", "lib", "man", "completions", "contrib", "tests", "bin", "build", "go.mod", "go.sum", "Makefile", "README.md", "LICENSE"}
		if name := e.Name(); name[0] != '.' && !slices.Contains(known, name) {
			t.Errorf("%q has no place at the top", name)
		}
	}
}

// TestMainsAreFlagsOnly: a main is its flags and one call, with no logic to grow.
func TestMainsAreFlagsOnly(t *testing.T) {
	const most = 80
	mains, err := filepath.Glob(filepath.Join(root, "cmd", "*", "*.go"))
	if err != nil || len(mains) == 0 {
		t.Fatalf("%q, %v", mains, err)
	}
	for _, path := range mains {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(text, []byte("\n")); filepath.Base(path) != "main.go" || n > most {
			t.Errorf("%s has %d lines; a command is one main.go of at most %d", path, n, most)
		}
	}
}

// TestEveryCommandIsWhole: what belongs to a command, besides its package.
func TestEveryCommandIsWhole(t *testing.T) {
	mains, err := filepath.Glob(filepath.Join(root, "cmd", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range mains {
		name := filepath.Base(dir)
		for _, path := range []string{"man/" + name + ".8", "completions/" + name + ".bash", "completions/_" + name, "completions/" + name + ".fish"} {
			if _, err := os.Stat(filepath.Join(root, path)); err != nil {
				t.Errorf("%s lacks %s", name, path)
			}
		}
		if name, ok := strings.CutPrefix(name, "rp-"); !ok || !slices.Contains(tools, strings.ReplaceAll(name, "-", "")) {
			t.Errorf("cmd/%s is none of the commands", filepath.Base(dir))
		}
	}
}
