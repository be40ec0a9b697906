// Package release is the last stage: it releases a slug that the platform has, exactly once,
// and follows the release phase to its end.
//
// It never sends a release twice while the first may still appear: the description carries a
// mark, and when an answer is lost the mark is searched for. The promise is at most one
// release per apply, provided that the platform acts on a request within Settle of our losing
// the connection; without an idempotency key nothing stronger can be promised.
package release

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/event"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/transport"
)

// Stage releases slugs. Zero durations have the values that Heroku's own limits suggest.
type Stage struct {
	Platform platform.Platform
	// Sink may be nil.
	Sink event.Sink
	// ApplyID names one intended release. Default: a new ULID.
	ApplyID func() string
	// Settle is how long a lost release is searched for before it is sent again. Default: 60 s.
	Settle time.Duration
	// Poll is the wait between two looks at the platform. Default: 2 s.
	Poll time.Duration
	// PhaseLimit is how long a release phase may take. Default: 61 minutes; Heroku ends it after 60.
	PhaseLimit time.Duration
}

// subject names the task in events, and the source of the release phase's lines.
const subject = "release"

// maxPosts is how often one release is sent when the answers keep getting lost.
const maxPosts = 3

// StaleError says that the app was released since the plan was made. Nothing was released.
type StaleError struct {
	App string
	// Current is the live release, nil when the app has none any more.
	Current *platform.Release
	// BaselineVersion is the highest version when the plan was made.
	BaselineVersion int
}

func (e *StaleError) Error() string {
	if e.Current == nil {
		return fmt.Sprintf("the plan is stale: app %s no longer has the release that the plan was made against", e.App)
	}
	s := fmt.Sprintf("the plan is stale: app %s now runs v%d", e.App, e.Current.Version)
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

// Run releases the slug and returns when the release is live. It fails with a *StaleError when
// the app was released since the plan was made, and with a *FailedError when the release
// phase fails. An error that is platform.ErrAmbiguous leaves open whether a release was made.
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

func (s *Stage) run(ctx context.Context, step plan.Release, in artifact.Upload) (artifact.Release, error) {
	base, err := s.checkBaseline(ctx, step)
	if err != nil {
		return artifact.Release{}, err
	}
	id := ""
	if s.ApplyID != nil {
		id = s.ApplyID()
	}
	if id == "" {
		id = ulid.Make().String()
	}
	rel, err := s.create(ctx, step, in.SlugID, id, base)
	if err != nil {
		return artifact.Release{}, err
	}
	s.compareVersion(ctx, step, rel, id, base)
	if rel, err = s.follow(ctx, step, rel); err != nil {
		return artifact.Release{}, err
	}
	out := artifact.Release{ID: rel.ID, Version: rel.Version, Description: rel.Description}
	// The address is a courtesy: the release is live whether or not it can be read.
	if app, err := s.Platform.App(ctx, step.App); err == nil && app.WebURL != nil {
		out.WebURL = *app.WebURL
	}
	return out, nil
}

// recent is how many releases are read at first to find the live one; nearly always it is the newest.
const recent = 20

// checkBaseline reads the live release again and returns the highest version there is.
func (s *Stage) checkBaseline(ctx context.Context, step plan.Release) (base int, err error) {
	list, err := s.Platform.Releases(ctx, step.App, recent)
	if err != nil {
		return 0, err
	}
	isCurrent := func(r platform.Release) bool { return r.Current }
	if !slices.ContainsFunc(list, isCurrent) && len(list) >= recent {
		if list, err = s.Platform.Releases(ctx, step.App, 0); err != nil {
			return 0, err
		}
	}
	var current *platform.Release
	for _, r := range list {
		base = max(base, r.Version)
		if r.Current && (current == nil || r.Version > current.Version) {
			current = &r
		}
	}
	stale := &StaleError{App: step.AppName, Current: current, BaselineVersion: step.BaselineVersion}
	switch {
	case step.Baseline != "" && (current == nil || current.ID != step.Baseline):
		return 0, stale
	case step.Baseline == "" && current != nil && current.Slug != nil:
		return 0, stale
	}
	if step.BaselineVersion > 0 {
		base = step.BaselineVersion
	}
	return base, nil
}

// create sends the release, and searches for it whenever it may have been made unseen.
func (s *Stage) create(ctx context.Context, step plan.Release, slugID, applyID string, base int) (platform.Release, error) {
	in := platform.ReleaseCreate{Slug: slugID, Description: plan.Mark(step.Description, applyID)}
	for post := 1; ; post++ {
		rel, err := s.Platform.CreateRelease(ctx, step.App, in)
		if err == nil || !errors.Is(err, platform.ErrAmbiguous) {
			return rel, err
		}
		found, ok, searchErr := s.search(ctx, step, applyID, base, err)
		if searchErr != nil {
			return platform.Release{}, searchErr
		}
		if ok {
			return found, nil
		}
		if post >= maxPosts {
			return platform.Release{}, fmt.Errorf("%w (sent %d times, and no release appeared)", err, post)
		}
		s.emit(event.Retry{Stage: event.Release, Subject: subject, Attempt: post, Error: fmt.Sprintf("no release appeared within %s; it is sent again with the same mark", s.settle())})
	}
}

// lastLook is how long an interrupted run may take to find out what it did.
const lastLook = 3 * time.Second

// search looks for the mark among the releases above base until it appears or the time to
// settle is over. It says "not there" only when the last look was answered and came after that time.
func (s *Stage) search(ctx context.Context, step plan.Release, applyID string, base int, lost error) (platform.Release, bool, error) {
	s.emit(event.Retry{Stage: event.Release, Subject: subject, Attempt: 1, Wait: s.poll(), Error: lost.Error() + "; looking for the release"})
	deadline := time.Now().Add(s.settle())
	for {
		if ctx.Err() != nil {
			return s.interrupted(ctx, step, applyID, base, lost)
		}
		last := !time.Now().Before(deadline)
		rel, ok, err := s.find(ctx, step, applyID, base)
		switch {
		case ok:
			return rel, true, nil
		case ctx.Err() != nil:
			return s.interrupted(ctx, step, applyID, base, lost)
		case err != nil && last:
			return rel, false, fmt.Errorf("%w; the search for it got no answer either: %w; run apply again, which begins by looking at the app", lost, err)
		case last:
			return rel, false, nil
		}
		_ = transport.Sleep(ctx, min(s.poll(), max(0, time.Until(deadline)))) // the loop looks at ctx itself
	}
}

// interrupted takes one more look, so that the message can say whether a release was made.
func (s *Stage) interrupted(ctx context.Context, step plan.Release, applyID string, base int, lost error) (platform.Release, bool, error) {
	look, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastLook)
	defer cancel()
	rel, ok, err := s.find(look, step, applyID, base)
	switch {
	case ok:
		return rel, false, fmt.Errorf("%w, after v%d of app %s was released", ctx.Err(), rel.Version, step.AppName)
	case err == nil:
		return rel, false, fmt.Errorf("%w, and no release of app %s has appeared yet: %w", ctx.Err(), step.AppName, lost)
	}
	return rel, false, fmt.Errorf("%w: %w", ctx.Err(), lost)
}

func (s *Stage) find(ctx context.Context, step plan.Release, applyID string, base int) (platform.Release, bool, error) {
	newer, err := s.newer(ctx, step.App, base)
	if err != nil {
		return platform.Release{}, false, err
	}
	// The oldest one that carries the mark is the first that the platform made.
	for _, r := range slices.Backward(newer) {
		if marked(r, applyID) {
			return r, true, nil
		}
	}
	return platform.Release{}, false, nil
}

// newer lists the releases above base, newest first.
func (s *Stage) newer(ctx context.Context, app string, base int) ([]platform.Release, error) {
	list, err := s.Platform.Releases(ctx, app, recent)
	if err == nil && len(list) >= recent && list[len(list)-1].Version > base {
		list, err = s.Platform.Releases(ctx, app, 0)
	}
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list, func(r platform.Release) bool { return r.Version <= base }), nil
}

func marked(r platform.Release, applyID string) bool {
	_, id, ok := plan.ParseMark(r.Description)
	return ok && id == applyID
}

// compareVersion tells the user of releases that others made in the meantime, and of our own if the
// platform acted twice.
func (s *Stage) compareVersion(ctx context.Context, step plan.Release, rel platform.Release, applyID string, base int) {
	if rel.Version == base+1 {
		return
	}
	newer, err := s.newer(ctx, step.App, base)
	if err != nil {
		s.warn(fmt.Sprintf("the release is v%d, expected v%d: there were other releases since the plan was made", rel.Version, base+1))
		return
	}
	var others, ours []string
	for _, r := range slices.Backward(newer) {
		switch {
		case r.ID == rel.ID || r.Version == rel.Version:
		case marked(r, applyID):
			ours = append(ours, fmt.Sprintf("v%d", r.Version))
		case r.Version < rel.Version:
			others = append(others, describe(r))
		}
	}
	if len(ours) > 0 {
		s.warn(fmt.Sprintf("the platform acted late: %s and v%d are one release made more than once", strings.Join(ours, ", "), rel.Version))
	}
	if len(others) > 0 {
		s.warn(fmt.Sprintf("between the plan and v%d app %s was released by others: %s", rel.Version, step.AppName, strings.Join(others, ", ")))
	}
}

func describe(r platform.Release) string {
	s := fmt.Sprintf("v%d", r.Version)
	if r.User.Email != "" {
		s += " by " + r.User.Email
	}
	if r.Description != "" {
		s += fmt.Sprintf(" (%q)", r.Description)
	}
	return s
}

func (s *Stage) warn(message string) {
	s.emit(event.Warning{Stage: event.Release, Subject: subject, Message: message})
}
