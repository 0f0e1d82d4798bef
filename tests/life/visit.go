package life

import (
	"context"
	"math/rand/v2"
	"net/http"

	"rplan/tests/judge"
	"rplan/tests/lab"
)

// visit fetches pages of random sites at random nodes.
func (l *Life) visit(ctx context.Context, r *rand.Rand) {
	sites := lab.Sites()
	for ctx.Err() == nil {
		at, site := pick(r, l.lab.Nodes), pick(r, sites)
		if reachable(ctx, l.lab, at, "80") { // or a visitor tries another address
			l.fetch(ctx, at, "http://"+site.Host+"/page")
		}
		sleep(ctx, 4*l.config.Pause)
	}
}

func (l *Life) fetch(ctx context.Context, at *lab.Node, url string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answer)
	defer cancel()
	page, err := l.lab.Get(ctx, at, url)
	served := err == nil && (page.Status == http.StatusOK || page.Status == http.StatusFound || page.Status == http.StatusTemporaryRedirect)
	l.Ledger.Count(func(c *judge.Counts) {
		if c.Pages++; !served {
			c.PagesFailed++
		}
	})
}
