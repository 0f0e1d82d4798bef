// Package render turns a Snapshot into the files of one node. It is pure: no
// file, socket or clock; the same input gives the same bytes. There is one
// source file for each service.
package render

import (
	"bytes"
	"iter"

	"rplan/lib/directory"
)

// Input is all that a renderer may look at.
type Input struct {
	Snapshot *directory.Snapshot
	Self     *directory.Node // the node the files are for
	Network  directory.Network
	Settings Settings
	Maps     string // absolute path of the maps directory, for files that name others
	Local    Local
}

// Local is what only the node itself knows.
type Local struct {
	// Certificates are the names of the sites and nodes for which a certificate and its key are on
	// this node, as DIR/NAME/fullchain.pem and DIR/NAME/privkey.pem (the layout of certbot's live/).
	Certificates map[string]bool
	// CertificateStamp differs when one of them was renewed; "" if there is none.
	CertificateStamp string
	// ZoneExtras are the records that the admin keeps by hand, by domain (SPF, DKIM, other hosts).
	ZoneExtras map[string][]byte
}

// Format is how a file's rows are stored.
type Format uint8

const (
	Document  Format = iota // no rows: Text as it is
	CDB                     // constant database, cr.yp.to/cdb/cdb.txt
	TextMap                 // lines "key value": Postfix texthash, Apache txt
	LMDB                    // made by postmap(1) from a TextMap of the same name, in place
	Hash                    // likewise
	DBM                     // made by httxt2dbm(1) from a TextMap of the same name, type db
	PasswdMap               // lines "key:::::::value": Dovecot passwd-file with extra fields only
	Zone                    // Text with %SERIAL% where the SOA's serial goes
)

// File is one file of a node's maps.
type File struct {
	Service string // ssh, postfix, dovecot, apache, dns: a directory below the maps directory
	Name    string // file name without the ending that its format adds
	Format  Format
	Rows    iter.Seq2[string, string] // sorted by key, no key twice; nil for Document and Zone
	Text    []byte                    // for Document and Zone

	Guarded bool // to lose many of its rows is refused unless allowed
	Urgent  bool // what a node's state changes: it goes out even when other files of its service are refused
	Reload  bool // the service reads a change of it only when told to
}

// Renderer makes the files of one service.
type Renderer struct {
	Service string
	Roles   directory.Roles // it runs on nodes with any of these
	Files   func(*Input) []File
}

// All are the renderers, in the order in which their files are swapped in.
var All = []Renderer{
	{"ssh", ^directory.Roles(0), SSH}, // before all else: it shuts an evicted node out
	{"postfix", directory.Roles(directory.MX | directory.Lists), Postfix},
	{"dovecot", directory.Roles(directory.IMAP), Dovecot},
	{"apache", directory.Roles(directory.Web | directory.Mirror), Apache},
	{"dns", directory.Roles(directory.DNS), DNS},
}

// For are the renderers that a node with these roles needs.
func For(roles directory.Roles) []Renderer {
	var need []Renderer
	for _, r := range All {
		if roles&r.Roles != 0 {
			need = append(need, r)
		}
	}
	return need
}

// document makes a Document that the service reads only when told to.
func document(service, name string, text *bytes.Buffer) File {
	return File{Service: service, Name: name, Format: Document, Text: text.Bytes(), Reload: true}
}
