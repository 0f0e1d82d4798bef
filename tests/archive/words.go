package archive

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// Domain is that of the lists and List the address that all mails are to.
const (
	Domain = "lists.example.org"
	List   = "dev@" + Domain
)

var people = []struct{ name, address string }{
	{"Alice Archer", "alice@example.org"},
	{"Bob van der Berg", "bob@example.net"},
	{"", "carol@mail.example.com"},
	{"Dörte Müller", "doerte@example.org"},
	{"Émile Noël", "emile+lists@example.net"},
	{"Łucja Żak", "lucja@example.com"},
	{"山田 花子", "hanako@example.net"},
	{`O'Neil, "Pat"`, "pat.oneil@example.com"},
}

var zones = []*time.Location{
	time.UTC, time.FixedZone("", 3600), time.FixedZone("", 2*3600), time.FixedZone("", -5*3600), time.FixedZone("", 5*3600+1800),
}

var words = strings.Fields(`the a we you they have has will can server list archive mail node disk backup meeting on Tuesday at
	eight for from with without about after before every new old broken quick slow and or but not yet again patch release
	build test key door money rent kitchen garden übung größe déjà façade naïve <br> & "quoted" 100% #42 C++ 2^8 --`)

func pick(r *rand.Rand) string { return words[r.IntN(len(words))] }

// title is a subject of two to seven words.
func title(r *rand.Rand) string {
	t := pick(r)
	for range 1 + r.IntN(6) {
		t += " " + pick(r)
	}
	return t
}

func reply(subject string) string {
	if strings.HasPrefix(subject, "Re: ") {
		return subject
	}
	return "Re: " + subject
}

// prose is a text of about size bytes, in lines of up to 72, with paragraphs, citations, links and addresses.
// No line of it begins with "From ".
func prose(r *rand.Rand, size int) string {
	var b strings.Builder
	for b.Len() < size {
		switch r.IntN(12) {
		case 0:
			b.WriteString("\n")
		case 1:
			fmt.Fprintf(&b, "> %s\n>> %s\n", title(r), title(r))
		case 2:
			fmt.Fprintf(&b, "See http://www.example.org/%s?a=1&b=2 or ask %s.\n", strings.Trim(pick(r), `<>"`), people[r.IntN(len(people))].address)
		default:
			line := pick(r)
			for len(line) < 60 {
				line += " " + pick(r)
			}
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

// noise are n bytes that no compression makes smaller.
func noise(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := 0; i < n; i += 8 {
		for k, v := i, r.Uint64(); k < min(i+8, n); k, v = k+1, v>>8 {
			b[k] = byte(v)
		}
	}
	return b
}

func randomID(r *rand.Rand, address string) string {
	_, domain, _ := strings.Cut(address, "@")
	return fmt.Sprintf("%08X.%07d@%s", r.Uint32(), r.IntN(1e7), domain)
}

// client is an address in one of the networks that are for documentation.
func client(r *rand.Rand) string {
	switch r.IntN(3) {
	case 0:
		return fmt.Sprintf("203.0.113.%d", 1+r.IntN(254))
	case 1:
		return fmt.Sprintf("198.51.100.%d", 1+r.IntN(254))
	}
	return fmt.Sprintf("2001:db8::%x:%x", 1+r.IntN(0xfffe), 1+r.IntN(0xfffe))
}
