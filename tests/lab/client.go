package lab

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
)

// Page is the answer to an HTTP request.
type Page struct {
	Status int
	Header http.Header
	Body   string
}

// Get asks a node for a URL, from the visitor, whatever the URL's host
// resolves to. Redirects are not followed. The header pairs are name, value.
func (l *Lab) Get(ctx context.Context, from *Node, url string, header ...string) (*Page, error) {
	transport := &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // a certificate of the lab's own
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			return l.Visitor.Dial(ctx, "tcp", net.JoinHostPort(from.Public[0].String(), port))
		},
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return &Page{response.StatusCode, response.Header, string(body)}, err
}

// Dig asks a node's DNS server, from the visitor, and returns the values of
// the answer's records, sorted.
func (l *Lab) Dig(ctx context.Context, at *Node, name, kind string) ([]string, error) {
	out, err := l.Visitor.Run(ctx, "dig", "+short", "+norecurse", "+tries=1", "+time=5", "@"+at.Public[0].String(), name, kind)
	if err != nil {
		return nil, err
	}
	values := strings.Fields(out)
	if strings.Contains(out, " ") {
		values = strings.Split(strings.TrimSpace(out), "\n")
	}
	slices.Sort(values)
	return values, nil
}

// Queued is a message in a node's mail queue, as postqueue -j shows it.
type Queued struct {
	ID         string `json:"queue_id"`
	Queue      string `json:"queue_name"`
	Sender     string `json:"sender"`
	Recipients []struct {
		Address string `json:"address"`
		Reason  string `json:"delay_reason"`
	} `json:"recipients"`
}

// Queue is the node's mail queue.
func (n *Node) Queue(ctx context.Context) ([]Queued, error) {
	out, err := n.Run(ctx, "postqueue", "-j")
	if err != nil {
		return nil, err
	}
	var queue []Queued
	for decoder := json.NewDecoder(strings.NewReader(out)); decoder.More(); {
		var q Queued
		if err := decoder.Decode(&q); err != nil {
			return nil, fmt.Errorf("postqueue on %s: %w", n.Name, err)
		}
		queue = append(queue, q)
	}
	return queue, nil
}

// Mailbox is every message that the node itself keeps for a user, in all folders.
func (n *Node) Mailbox(ctx context.Context, user string) ([]string, error) {
	return n.fetch(ctx, user, "*")
}

// Copies are the second copies of a user's messages that the node keeps, out of the user's sight.
func (n *Node) Copies(ctx context.Context, user string) ([]string, error) {
	return n.fetch(ctx, user, "rplan-copies/*")
}

func (n *Node) fetch(ctx context.Context, user, folders string) ([]string, error) {
	var said bytes.Buffer
	cmd := n.Command(ctx, "doveadm", "-f", "json", "fetch", "-u", user, "text", "mailbox", folders, "all")
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("mailbox of %q on %s: %w: %s", user, n.Name, err, said.String())
	}
	var rows []struct{ Text string }
	if err := json.Unmarshal(out, &rows); err != nil {
		return nil, fmt.Errorf("mailbox of %q on %s: %w", user, n.Name, err)
	}
	var texts []string
	for _, row := range rows {
		texts = append(texts, row.Text)
	}
	return texts, nil
}
