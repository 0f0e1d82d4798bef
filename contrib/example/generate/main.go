// Generate prints the reference collective as LDIF: as many users, sites and
// lists as asked for, for benchmarks and for trying things at size. The same
// flags give the same bytes.
//
//	go run ./contrib/example/generate -mailboxes 5000 >big.ldif
//	slapadd -q -b dc=example,dc=net -l big.ldif
//
// The nodes' names lie in nodes.example.net, the sites' contact addresses in
// contact.example.net.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	var c collective
	flag.IntVar(&c.nodes, "nodes", 5, "`number` of nodes, 1 to 250")
	flag.IntVar(&c.mailboxes, "mailboxes", 5000, "`number` of mailboxes")
	flag.IntVar(&c.sites, "sites", 700, "`number` of sites")
	flag.IntVar(&c.lists, "lists", 700, "`number` of mailing lists")
	flag.Uint64Var(&c.seed, "seed", 1, "`number` that chooses among equally good collectives")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "generate: unexpected argument %q\n", flag.Arg(0))
		os.Exit(64)
	}
	if err := c.check(); err != nil {
		fmt.Fprintf(os.Stderr, "generate: %v\n", err)
		os.Exit(64)
	}
	if err := c.write(os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "generate: %v\n", err)
		os.Exit(1)
	}
}

// collective is the size of what is generated.
type collective struct {
	nodes, mailboxes, sites, lists int
	seed                           uint64
}

func (c *collective) check() error {
	if c.nodes < 1 || c.nodes > 250 {
		return fmt.Errorf("%d nodes: 1 to 250 can be numbered", c.nodes)
	}
	if c.mailboxes < 0 || c.sites < 0 || c.lists < 0 {
		return fmt.Errorf("a number of entries is negative")
	}
	return nil
}

// write prints all entries. Nothing is remembered from one to the next, so memory does not grow with their number.
func (c *collective) write(out io.Writer) error {
	w := bufio.NewWriterSize(out, 1<<16)
	fmt.Fprintf(w, "dn: %s\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: The reference collective\n\n", base)
	for _, ou := range []string{"nodes", "domains", "mailboxes", "forwards", "sites", "lists", "services"} {
		fmt.Fprintf(w, "dn: ou=%s,%s\nobjectClass: organizationalUnit\nou: %s\n\n", ou, base, ou)
	}
	fmt.Fprintf(w, "dn: cn=authenticator,ou=services,%s\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\n"+
		"cn: authenticator\nuserPassword: {REPLACE-ME}\n\n", base)
	for _, part := range []struct {
		count int
		write func(io.Writer, int)
	}{
		{c.nodes, c.node},
		{c.domains(), c.domain},
		{c.mailboxes, c.mailbox},
		{c.forwards(), c.forward},
		{c.sites, c.site},
		{c.lists, c.list},
	} {
		for i := range part.count {
			part.write(w, i)
		}
	}
	return w.Flush()
}
