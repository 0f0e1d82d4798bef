package failover

import (
	"context"

	"rplan/lib/app"
	"rplan/lib/diag"
)

func runStatus(context.Context, *app.Env, Options, *configuration) error { return notBuilt("status") }
func runPlan(context.Context, *app.Env, Options, *configuration) error   { return notBuilt("plan") }
func runOut(context.Context, *app.Env, Options, *configuration) error    { return notBuilt("out") }
func runIn(context.Context, *app.Env, Options, *configuration) error     { return notBuilt("in") }
func runEvict(context.Context, *app.Env, Options, *configuration) error  { return notBuilt("evict") }
func runAdmit(context.Context, *app.Env, Options, *configuration) error  { return notBuilt("admit") }
func runSync(context.Context, *app.Env, Options, *configuration) error   { return notBuilt("sync") }
func runServe(context.Context, *app.Env, Options, *configuration) error  { return notBuilt("serve") }

func notBuilt(verb string) error { return diag.Failed.Errorf("%s is not built yet", verb) }
