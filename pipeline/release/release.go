// Package release is the last stage: it releases a slug that the platform has, exactly once,
// and follows the release phase to its end.
//
// It never sends a release twice while the first may still appear: the description carries a
// mark, which the journal knows before the platform does, and when an answer is lost or the run is
// killed the mark is searched for. The promise is at most one release per apply, provided that
// the platform acts on a request within Settle of our losing the connection. If it acts later,
// the same slug is released twice under one mark, and the next apply tells of the two; without an
// idempotency key nothing stronger can be promised.
package release

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/event"
	"github.com/slugfile/slugfile/pipeline/journal"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/platform"
)

// Stage releases slugs. Zero durations have the values that Heroku's own limits suggest.
type Stage struct {
	Platform platform.Platform
	// Journal remembers what was asked for. With nil, a run that is killed leaves no trace for the
	// next one. What an earlier run left open must be cleared up by Recover first.
	Journal *journal.Journal
	// Sink may be nil.
	Sink event.Sink
	// Settle is how long a lost release is searched for before it is sent again. Default: 60 s.
	Settle time.Duration
	// Poll is the wait between two looks at the platform. Default: 2 s.
	Poll time.Duration
	// PhaseLimit is how long a release phase may take. Default: 61 minutes; Heroku ends it after 60.
	PhaseLimit time.Duration
}

// subject names the task in events, and the source of the release phase's lines.
const subject = "release"

// grace is how long the answer to a request that is under way is waited for once the run was stopped.
const grace = 3 * time.Second

// lastLook is how long a run that was stopped may take after that to find out what it did.
const lastLook = time.Second

// maxPosts is how often one release is sent when the answers keep getting lost.
const maxPosts = 3

// StaleError says that the app was released since the plan was made. Nothing was released.
type StaleError struct {
	App string
	// Current is the live release, or one that becomes it when its release phase ends well. It is
	// nil when the app has none any more.
	Current *platform.Release
	// BaselineVersion is the highest version when the plan was made.
	BaselineVersion int
}

func (e *StaleError) Error() string {
	if e.Current == nil {
		return fmt.Sprintf("the plan is stale: app %s no longer has the release that the plan was made against", e.App)
	}
	s := fmt.Sprintf("the plan is stale: app %s now runs v%d", e.App, e.Current.Version)
	if !e.Current.Current && e.Current.Status == platform.Pending {
		s = fmt.Sprintf("the plan is stale: app %s is in the release phase of v%d", e.App, e.Current.Version)
	}
	if e.Current.User.Email != "" {
		s += " by " + e.Current.User.Email
	}
	if !e.Current.CreatedAt.IsZero() {
		s += " of " + e.Current.CreatedAt.UTC().Format(time.RFC3339)
	}
	return s + fmt.Sprintf("; the plan was made when v%d was the newest", e.BaselineVersion)
}

// Stale tells it from other errors: the plan must be made again.
func (e *StaleError) Stale() bool { return true }

// FailedError says that the release phase ended with an error; the release before it stays live.
type FailedError struct {
	App     string
	Version int
	// Status is what the platform calls it: failed or expired.
	Status string
	// Tail is the last lines that the release phase wrote.
	Tail []string
}

func (e *FailedError) Error() string {
	return fmt.Sprintf("release v%d of app %s %s in its release phase; the release before it stays live", e.Version, e.App, e.Status)
}

// StoppedError says what became of a release when ctx ended after it had been asked for.
type StoppedError struct {
	App string
	// Version is of the release, or 0 when nobody knows whether there is one.
	Version int
	// Live is set when nothing is left to do.
	Live bool
	err  error
}

func (e *StoppedError) Error() string {
	switch {
	case e.Version == 0:
		return fmt.Sprintf("a release of app %s was asked for, and has not appeared yet; the next apply looks for it", e.App)
	case e.Live:
		return fmt.Sprintf("v%d was released to app %s, and is live", e.Version, e.App)
	}
	return fmt.Sprintf("v%d was released to app %s, and its release phase still runs", e.Version, e.App)
}

// Unwrap returns why ctx ended, and how the answer was lost.
func (e *StoppedError) Unwrap() error { return e.err }

// Run releases the slug and returns when the release is live. It fails with a *StaleError when
// the app was released since the plan was made, with a *FailedError when the release phase
// fails, and with a *StoppedError when ctx ended after the release had been asked for. An error that
// is platform.ErrAmbiguous leaves open whether a release was made.
func (s *Stage) Run(ctx context.Context, step plan.Release, in artifact.Upload) (artifact.Release, error) {
	start := time.Now()
	s.emit(event.TaskStarted{Stage: event.Release, Subject: subject})
	out, err := s.run(ctx, step, in)
	if err != nil {
		s.emit(event.TaskFailed{Stage: event.Release, Subject: subject, Error: err.Error(), Elapsed: time.Since(start)})
		return artifact.Release{}, err
	}
	s.emit(event.TaskFinished{Stage: event.Release, Subject: subject, Elapsed: time.Since(start)})
	return out, nil
}

func (s *Stage) emit(e event.Event) {
	if s.Sink != nil {
		s.Sink.Emit(e)
	}
}

func (s *Stage) settle() time.Duration     { return or(s.Settle, 60*time.Second) }
func (s *Stage) poll() time.Duration       { return or(s.Poll, 2*time.Second) }
func (s *Stage) phaseLimit() time.Duration { return or(s.PhaseLimit, 61*time.Minute) }

func or(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

func (s *Stage) warn(message string) {
	s.emit(event.Warning{Stage: event.Release, Subject: subject, Message: message})
}

func (s *Stage) run(ctx context.Context, step plan.Release, in artifact.Upload) (artifact.Release, error) {
	a, err := s.begin(step, in)
	if err != nil {
		return artifact.Release{}, err
	}
	return a.release(ctx, step)
}

// release makes the release that was begun, and follows it.
func (a *attempt) release(ctx context.Context, step plan.Release) (artifact.Release, error) {
	rel, err := a.create(ctx, step)
	if err != nil {
		return artifact.Release{}, err
	}
	a.compareVersion(ctx, rel)
	if rel, err = a.finish(ctx, rel); err != nil {
		return artifact.Release{}, err
	}
	if ctx.Err() != nil {
		return artifact.Release{}, a.stopped(ctx, rel.Version, true, nil)
	}
	out := artifact.Release{ID: rel.ID, Version: rel.Version, Description: rel.Description}
	// The address is a courtesy: the release is live whether or not it can be read.
	if app, err := a.Platform.App(ctx, step.App); err == nil && app.WebURL != nil {
		out.WebURL = *app.WebURL
	}
	return out, nil
}

// begin goes on with the operation that the slug was uploaded for, or opens one.
func (s *Stage) begin(step plan.Release, in artifact.Upload) (a *attempt, err error) {
	a = &attempt{Stage: s, journal: s.Journal}
	if a.journal == nil {
		a.journal = journal.InMemory()
	}
	switch open := a.journal.State().Open; {
	case open != nil && (open.Step == journal.ReleaseIntent || open.Step == journal.ReleaseCreated):
		return nil, fmt.Errorf("release slug %s: an earlier apply (%s) was interrupted while it released, and that must be cleared up first", in.SlugID, open.Apply)
	case open != nil && open.SlugID == in.SlugID && open.Rollback == nil:
		a.op = *open
	default:
		a.op, err = a.journal.Begin(journal.Operation{
			PlanKey: in.Slug.PlanKey.String(), Checksum: in.Slug.Digest.Checksum(), Size: in.Slug.Size, SlugID: in.SlugID,
		})
	}
	// Whoever uploaded knows the id of an app that the plan could only name.
	a.op.App, a.op.AppName = cmp.Or(a.op.App, step.App), step.AppName
	return a, err
}
