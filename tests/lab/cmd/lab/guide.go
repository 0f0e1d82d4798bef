package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"text/template"
	"time"

	"rplan/tests/lab"
)

// guide says what there is to play with, and how.
func guide(w io.Writer, l *lab.Lab, self string, took time.Duration) {
	fmt.Fprintf(w, "The lab is up after %.1f s. Ctrl-C ends it, and leaves nothing behind.\n\n", took.Seconds())
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "NODE\tVPN\tPUBLIC")
	for _, n := range l.Nodes {
		fmt.Fprintf(t, "%s\t%s\t%s\n", n.Name, n.VPN, strings.Trim(fmt.Sprint(n.Public), "[]"))
	}
	fmt.Fprintf(t, "visitor\t\t%s\n\nUSER\tPASSWORD\tPLACEMENT\n", lab.VisitorAddress)
	for _, u := range lab.Users(len(l.Nodes)) {
		fmt.Fprintf(t, "%s\t%s\t%s\n", u.Address, lab.Password(u.Address), strings.Join(u.Placement, "_")+suspended(u))
	}
	fmt.Fprintf(t, "\nSITE\tMODE\tPLACEMENT\n")
	for _, s := range lab.Sites() {
		fmt.Fprintf(t, "%s\t%s\t%s\n", s.Host, s.Mode, s.Placement)
	}
	_ = t.Flush()
	alice := lab.Users(len(l.Nodes))[0].Address
	err := samples.Execute(w, map[string]any{"Lab": self, "Nodes": l.Nodes, "First": l.Nodes[0], "Second": l.Nodes[1], "Last": l.Nodes[len(l.Nodes)-1],
		"Alice": alice, "Password": lab.Password(alice), "DN": lab.NodeDN("n1"), "Elsewhere": lab.Elsewhere})
	if err != nil {
		fmt.Fprintln(w, err)
	}
}

func suspended(u lab.User) string {
	if u.Suspended {
		return ", suspended"
	}
	return ""
}

var samples = template.Must(template.New("").Parse(`
In another terminal "{{.Lab}} NAME" is a shell on a machine, "{{.Lab}} NAME COMMAND" runs one there.

Mail to alice by {{.Last.Name}}, and reading it by {{.Second.Name}}:
  printf 'Subject: hello\n\nworld\n' | {{.Lab}} visitor curl -sT - smtp://{{index .Last.Public 0}} --mail-from me@{{.Elsewhere}} --mail-rcpt {{.Alice}}
  {{.Lab}} visitor curl -sk 'imaps://{{index .Second.Public 0}}/INBOX;MAILINDEX=1' -u {{.Alice}}:{{.Password}}
  {{.Lab}} {{.First.Name}} doveadm fetch -u {{.Alice}} 'mailbox hdr.subject' all
A site that lives on n1, asked for at {{.Last.Name}}; the answers of the DNS:
  {{.Lab}} visitor curl -si -H 'Host: redirect.example.org' http://{{index .Last.Public 0}}/page
  {{.Lab}} visitor dig +noall +answer @{{index .Second.Public 0}} example.org mx redirect.example.org a
Why it goes where it goes:
  {{.Lab}} n2 rp-genmaps --explain {{.Alice}}
Take n1 out: one write in the directory, whose provider is n1, then new maps on the others. "up" brings it back:
  printf 'dn: {{.DN}}\nchangetype: modify\nreplace: rplanState\nrplanState: out\n' | {{.Lab}} n1 ldapmodify -QY EXTERNAL -H ldapi:///
  for n in{{range .Nodes}} {{.Name}}{{end}}; do {{.Lab}} $n rp-genmaps --diff; done
  {{.Lab}} n2 rp-genmaps --explain {{.Alice}}
`))
