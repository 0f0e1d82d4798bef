package mbox

import "strings"

// fieldKind is how addresses stand in a field.
type fieldKind int

const (
	other fieldKind = iota // it has none, or is not for us
	trace                  // as in Received: among versions and ids
	plain                  // whatever looks like an address is one
)

// traces and plains are the fields, beyond those with a telling name, in which mail programs
// note the address of a client.
var (
	traces = []string{
		"received",   // RFC 5321 section 4.4
		"x-received", // Gmail
		"x-greylist", // milter-greylist, with its version
		"x-nntp-posting-host", "nntp-posting-host",
	}
	plains = []string{
		"received-spf",                                         // RFC 7208 section 9.1
		"authentication-results", "arc-authentication-results", // RFC 8601: smtp.remote-ip, policy.iprev, comments
		"x-authentication-results", "x-original-authentication-results", "authentication-results-original",
		"x-forwarded-for", "x-forwarded", "forwarded", // proxies before a webmail
		"x-originating-host", "x-posting-host", "x-remote-host", "x-client-host", "x-remote", "x-http-user",
		"x-client-addr", "x-remote-addr", "x-pobox-client-address", "x-smtp-peer", "x-peer",
		"x-php-script",                                 // cPanel: "HOST/PATH for ADDRESS"
		"x-source-sender",                              // cPanel: "(NAME) [ADDRESS]:PORT"
		"x-host-lookup-failed", "x-broken-reverse-dns", // from Exim's documentation and recipes
		"x-barracuda-connect", "x-clientproxiedby",
		"x-forefront-antispam-report", "x-forefront-antispam-report-untrusted", // CIP:ADDRESS
		"x-microsoft-antispam-report",
		"x-ms-exchange-organization-originalclientipaddress", "x-ms-exchange-organization-originalserveripaddress",
		"x-ms-exchange-crosstenant-originalattributedtenantconnectingip",
		"x-spam-report", "x-spamd-result", "x-rspamd-report", // "[ADDRESS listed in ...]", "RCVD_IN_X(0.00)[ADDRESS:from]"
		"x-rbl-warning",
	}
	kinds = map[string]fieldKind{}
)

func init() {
	for _, name := range traces {
		kinds[name] = trace
	}
	for _, name := range plains {
		kinds[name] = plain
	}
}

// kindOf is by the table, and plain for the many fields of programs that have an address in
// their name: X-Originating-IP, X-AuthUser-IP, X-SenderIP, X-Remote-Addr, X-AOL-IP.
func kindOf(name string) fieldKind {
	if kind := kinds[name]; kind != other || !strings.HasPrefix(name, "x-") {
		return kind
	}
	for part := range strings.SplitSeq(name, "-") {
		for _, what := range []string{"ip", "ipaddress", "ipaddr", "addr", "address"} {
			switch strings.TrimSuffix(part, what) {
			case part:
			case "", "client", "sender", "source", "remote", "originating", "original", "user", "real", "connecting", "peer", "host":
				return plain
			}
		}
	}
	return other
}
