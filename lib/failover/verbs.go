package failover

import (
	"context"

	"rplan/lib/app"
	"rplan/lib/diag"
)

func runSync(context.Context, *app.Env, Options, *configuration) error { return notBuilt("sync") }

func notBuilt(verb string) error { return diag.Failed.Errorf("%s is not built yet", verb) }
