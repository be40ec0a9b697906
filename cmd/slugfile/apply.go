package main

import (
	"context"
	"fmt"

	"github.com/slugfile/slugfile/cmd/slugfile/internal/view"
	"github.com/slugfile/slugfile/pipeline"
	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/platform/local"
)

type applyCmd struct {
	planningFlags
	lockFlag
	platformFlags
	yesFlag
	checkFlags
	applyFlags
	Saved string `arg:"" optional:"" name:"plan" help:"Carry out the plan that \"plan --out\" saved in this file, without asking; or refuse when it is stale."`
}

// Run makes the platform be what slug.yaml says. With nothing to do it does nothing, except
// that the embedded platform boots what is released already.
func (c *applyCmd) Run(ctx context.Context, app *App) (err error) {
	var saved *plan.Saved
	var outputs []string
	if c.Saved != "" {
		if saved, err = c.adopt(app); err != nil {
			return err
		}
		outputs = append(outputs, c.Saved)
	}
	if c.Stay && !c.Local {
		return &usageError{msg: "--stay goes with --local", command: "slugfile apply"}
	}
	s, err := c.open(ctx, app, outputs...)
	if err != nil {
		return err
	}
	s.inputs.Create, s.lockTimeout, s.allow = c.Create, c.LockTimeout, c.Allow
	s.view = c.view(app, c.JSON)
	defer closing(s.view, &err)
	logs := newForward(s.view)
	conn, unlock, err := s.enter(ctx, c.platformFlags, local.Options{Log: logs.log, Private: !c.stays(app)})
	if err != nil {
		return err
	}
	defer func() { err = firstError(err, conn.close(ctx)) }()
	defer unlock()
	p, err := s.plan(ctx, conn)
	if err != nil {
		return err
	}
	if saved != nil {
		if err := s.holds(saved, &p); err != nil {
			return err
		}
	}
	shown, err := c.show(app, p)
	if err != nil {
		return err
	}
	if err := problems(p); err != nil {
		return err
	}
	var done view.Applied
	if p.Changed {
		if !c.Local && !c.Yes && saved == nil {
			if err := app.confirm(ctx, "Apply this plan to "+p.App+"?", "slugfile apply"); err != nil {
				return err
			}
		}
		done, err = c.carryOut(ctx, s, conn, p)
	} else {
		s.leave()
		done, err = c.unchanged(ctx, conn, p)
	}
	if err != nil {
		return err
	}
	unlock() // others need not wait while this one boots, or stays
	if conn.local {
		if err := conn.awaitWeb(ctx, p.App); err != nil {
			return err
		}
	}
	// The live lines go before the result comes: both would write to the same screen.
	if err := s.view.Close(); err != nil {
		return err
	}
	if err := c.tell(app, conn, done, shown); err != nil {
		return err
	}
	if conn.own != nil && c.stays(app) {
		if !c.Quiet && !c.JSON {
			if err := view.Staying(app.Err, p.App, app.errStyle()); err != nil {
				return err
			}
		}
		if err := app.flush(); err != nil {
			return err
		}
		logs.start()
		<-ctx.Done() // being interrupted is how this ends
	}
	return nil
}

// stays says whether the embedded platform of this process outlives the deploy.
func (c *applyCmd) stays(app *App) bool { return c.Stay || app.OutTerminal }

// show prints the plan before anything is done, and reports whether it did. A plan without
// changes is shown only when there is something to know besides: that nothing changed stands in
// the result.
func (c *applyCmd) show(app *App, p plan.Plan) (shown bool, err error) {
	if c.JSON {
		return true, view.WriteLine(app.Out, view.Planned{Plan: p})
	}
	silent := !p.Changed && c.Verbose == 0 && len(p.Drift)+len(p.Warnings)+len(p.Problems)+len(p.Unpinned) == 0
	if c.Quiet || silent {
		return false, nil
	}
	return true, view.Plan(app.Out, p, view.PlanOptions{Style: app.outStyle(), Verbose: c.Verbose > 0})
}

// carryOut runs the five stages.
func (c *applyCmd) carryOut(ctx context.Context, s *session, conn *connection, p plan.Plan) (view.Applied, error) {
	run := s.pipeline(conn.platform)
	var slug artifact.Slug
	var up artifact.Upload
	var rel artifact.Release
	err := s.deliver(ctx, run, conn, p, func(b pipeline.Built) (err error) {
		slug = b.Slug
		if up, rel, err = run.Publish(ctx, p.Work, slug); err == nil {
			s.keep(keptRelease{
				AppID: p.AppID, ID: rel.ID, Version: rel.Version, Description: p.Work.Release.Description, SlugID: up.SlugID, Slug: slug.Digest, Size: slug.Size, PlanKey: slug.PlanKey,
				ProcessTypes: p.Work.Upload.ProcessTypes, Stack: p.Work.Upload.Stack, Commit: p.Work.Upload.Commit, CommitDescription: p.Work.Upload.CommitDescription,
			})
		}
		return err
	})
	if err != nil {
		return view.Applied{}, err
	}
	address := rel.WebURL
	if address == "" {
		if address, err = webURL(ctx, conn.platform, p.App); err != nil {
			return view.Applied{}, err
		}
	}
	return view.Applied{
		App:     p.App,
		Release: view.AppliedRelease{ID: rel.ID, Version: rel.Version},
		Slug:    view.AppliedSlug{ID: up.SlugID, Checksum: slug.Digest.Checksum(), Size: slug.Size},
		WebURL:  address,
		Changed: true,
	}, nil
}

// unchanged tells of the release that runs already.
func (c *applyCmd) unchanged(ctx context.Context, conn *connection, p plan.Plan) (view.Applied, error) {
	done := view.Applied{App: p.App}
	address, err := webURL(ctx, conn.platform, p.AppID)
	if err != nil {
		return done, err
	}
	done.WebURL = address
	if now := p.Current; now != nil {
		done.Release = view.AppliedRelease{ID: now.ID, Version: now.Version}
		done.Slug = view.AppliedSlug{ID: now.SlugID, Checksum: now.Checksum}
		slug, err := conn.platform.Slug(ctx, p.AppID, now.SlugID)
		if err != nil {
			return done, fmt.Errorf("look at the slug of v%d: %w", now.Version, err)
		}
		if slug.Size != nil {
			done.Slug.Size = *slug.Size
		}
	}
	return done, nil
}

// tell prints the result. shown says that the plan was printed.
func (c *applyCmd) tell(app *App, conn *connection, done view.Applied, shown bool) error {
	if c.JSON {
		return view.WriteLine(app.Out, done)
	}
	write := view.WriteApplied
	if shown && !done.Changed { // the plan has said so
		write = view.WriteAddress
	}
	if err := write(app.Out, done, conn.local, app.outStyle()); err != nil {
		return err
	}
	return app.flush()
}
