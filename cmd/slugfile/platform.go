package main

import (
	"context"
	"fmt"
	"time"

	"github.com/slugfile/slugfile/cmd/slugfile/internal/view"
	"github.com/slugfile/slugfile/pipeline/platform/local"
)

type platformCmd struct {
	serveFlags
	testFlags
	progressFlags
}

// faults reads the rules of what is to go wrong.
func (c *platformCmd) faults() ([]local.FaultRule, error) {
	rules := make([]local.FaultRule, len(c.Fault))
	for i, spec := range c.Fault {
		var err error
		if rules[i], err = local.ParseFault(spec); err != nil {
			return nil, &usageError{msg: "--" + err.Error(), command: "slugfile platform"}
		}
	}
	return rules, nil
}

// leftover is how long the platform waits for what another one has left: the kernel gives back the
// lock of a killed process with its last child that was just starting, and a command with --local
// that ends may be stopping its dynos still.
const leftover = 5 * time.Second

// Run serves the embedded platform until it is interrupted.
func (c *platformCmd) Run(ctx context.Context, app *App) error {
	if c.BootTimeout <= 0 {
		return &usageError{msg: fmt.Sprintf("--boot-timeout %v: web dynos need some time to listen; give it as 60s or 2m", c.BootTimeout), command: "slugfile platform"}
	}
	faults, err := c.faults()
	if err != nil {
		return err
	}
	if c.RateLimit < 0 {
		return &usageError{msg: fmt.Sprintf("--rate-limit %d: give the number of calls, or 0 for no limit", c.RateLimit), command: "slugfile platform"}
	}
	if c.RateLimit == 0 {
		c.RateLimit = -1 // no limit, for which the zero of an option cannot stand
	}
	dir, err := app.platformDir(c.Data)
	if err != nil {
		return err
	}
	v := c.view(app, false)
	logs := newForward(v)
	o := local.Options{
		Listen: c.Listen, AllowNonLoopback: c.AllowRemote, Log: logs.log, BootTimeout: c.BootTimeout,
		RateLimit: c.RateLimit, Faults: faults, FaultSeed: c.FaultSeed,
	}
	p, _, err := awaitPlatform(ctx, dir, o, leftover, v)
	if err == nil && p == nil {
		p, err = openPlatform(dir, o) // one runs: this says which
	}
	if err != nil {
		return err
	}
	if err := p.Start(ctx); err != nil {
		return err
	}
	logs.start()
	if p.Exposed() {
		if err := view.Exposed(app.Err, c.Listen, app.errStyle()); err != nil {
			return firstError(err, p.Close(context.WithoutCancel(ctx)))
		}
	}
	if err := view.Platform(app.Out, p.Info(), p.StatusURL(), p.Dir(), app.outStyle()); err != nil {
		return firstError(err, p.Close(context.WithoutCancel(ctx)))
	}
	if len(faults) > 0 {
		if err := view.InjectedFaults(app.Out, p.Faults(), app.outStyle()); err != nil {
			return firstError(err, p.Close(context.WithoutCancel(ctx)))
		}
	}
	if err := app.flush(); err != nil {
		return firstError(err, p.Close(context.WithoutCancel(ctx)))
	}
	<-ctx.Done() // being interrupted is how this ends
	return firstError(p.Close(context.WithoutCancel(ctx)), v.Close())
}
