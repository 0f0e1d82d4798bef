package archiveprune

import (
	"context"

	"rplan/lib/app"
	"rplan/lib/diag"
)

// Run is rp-archive-prune, without what finds, proves and removes.
func Run(ctx context.Context, _ *app.Env, o Options) error {
	if err := o.check(); err != nil {
		return err
	}
	c, err := Load(o.Config)
	if err != nil {
		return err
	}
	c.Override(&o)
	if _, err := c.ReadStanding(ctx); err != nil {
		return err
	}
	return diag.Unavailable.Errorf("what finds and prunes archives is not built yet")
}
