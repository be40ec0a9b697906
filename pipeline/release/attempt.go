package release

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slugfile/slugfile/pipeline/event"
	"github.com/slugfile/slugfile/pipeline/failpoint"
	"github.com/slugfile/slugfile/pipeline/journal"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/transport"
)

// attempt is one intended release, of this run or of an earlier one.
type attempt struct {
	*Stage
	journal *journal.Journal
	op      journal.Operation
	// base is the highest version that the plan knows of.
	base int
}

// note writes what has happened already. When that fails the next apply has to find it out, so that this
// one goes on.
func (a *attempt) note(step journal.Step) {
	a.op.Step = step
	if err := a.journal.Write(a.op); err != nil {
		a.warn(err.Error() + "; the next apply has to look for it")
	}
}

func (a *attempt) stopped(ctx context.Context, version int, live bool, lost error) error {
	return &StoppedError{App: a.op.AppName, Version: version, Live: live, err: errors.Join(ctx.Err(), context.Cause(ctx), lost)}
}

// unsent is the error of a run that was stopped before anything was asked for.
func (a *attempt) unsent(ctx context.Context) error {
	if back := a.op.Rollback; back != nil {
		return fmt.Errorf("app %s is not rolled back to v%d: %w", a.op.AppName, back.Version, context.Cause(ctx))
	}
	return fmt.Errorf("the slug is uploaded (slug %s), and not released: %w", a.op.SlugID, context.Cause(ctx))
}

// create sends the release, and searches for it whenever it may have been made unseen.
func (a *attempt) create(ctx context.Context, step plan.Release) (platform.Release, error) {
	in := platform.ReleaseCreate{Slug: a.op.SlugID, Description: plan.Mark(step.Description, a.op.Apply)}
	if back := a.op.Rollback; back != nil {
		in = platform.ReleaseCreate{Release: back.ID} // it takes no description, and so no mark
	}
	for post := 1; ; post++ {
		if rel, ok, err := a.checkBaseline(ctx, step); ok || err != nil {
			return rel, err
		}
		rel, err := a.post(ctx, in)
		if err == nil {
			a.created(rel)
			return rel, nil
		}
		if !errors.Is(err, platform.ErrAmbiguous) {
			return rel, err
		}
		a.emit(event.Retry{Stage: event.Release, Subject: subject, Attempt: 1, Wait: a.poll(), Error: err.Error() + "; looking for the release"})
		found, ok, searchErr := a.search(ctx, err)
		if ok || searchErr != nil {
			return found, searchErr
		}
		if post >= maxPosts {
			return rel, fmt.Errorf("%w (sent %d times, and no release appeared)", err, post)
		}
		a.emit(event.Retry{Stage: event.Release, Subject: subject, Attempt: post, Error: fmt.Sprintf("no release appeared within %s; it is sent again with the same mark", a.settle())})
	}
}

// checkBaseline reads the releases right before one is asked for. It fails with a *StaleError when the app
// was released since the plan was made, or is being released. A request that was given up for lost
// may have been carried out after all; its release is returned then.
func (a *attempt) checkBaseline(ctx context.Context, step plan.Release) (rel platform.Release, ok bool, err error) {
	failpoint.Hit("release.check.before")
	list, err := a.list(ctx, step.BaselineVersion)
	failpoint.Hit("release.checked")
	if ctx.Err() != nil {
		return rel, false, a.unsent(ctx)
	}
	if err != nil {
		return rel, false, err
	}
	a.base = step.BaselineVersion
	if ours := a.ours(list); len(ours) > 0 {
		a.base = a.op.Baseline.Version
		a.created(ours[0])
		return ours[0], true, nil
	}
	var current, coming *platform.Release
	for _, r := range list {
		if step.BaselineVersion == 0 {
			a.base = max(a.base, r.Version) // those of an app that was made since
		}
		if r.Current && (current == nil || r.Version > current.Version) {
			current = &r
		}
		if coming == nil && r.Version > step.BaselineVersion && r.Status == platform.Pending && r.Slug != nil {
			coming = &r
		}
	}
	stale := &StaleError{App: step.AppName, Current: current, BaselineVersion: step.BaselineVersion}
	switch {
	case step.Baseline != "" && (current == nil || current.ID != step.Baseline),
		step.Baseline == "" && current != nil && current.Slug != nil:
		return rel, false, stale
	case coming != nil:
		stale.Current = coming
		return rel, false, stale
	}
	if a.op.Unanswered == 0 {
		a.op.Baseline = journal.Release{ID: step.Baseline, Version: a.base}
	}
	return rel, false, nil
}

// post sends one request, which the journal knows of before it leaves.
func (a *attempt) post(ctx context.Context, in platform.ReleaseCreate) (platform.Release, error) {
	if ctx.Err() != nil {
		return platform.Release{}, a.unsent(ctx)
	}
	a.op.Step = journal.ReleaseIntent
	a.op.Unanswered++
	if err := a.journal.Write(a.op); err != nil {
		return platform.Release{}, err
	}
	call, cancel := transport.Finish(ctx, grace)
	defer cancel()
	failpoint.Hit("release.post.before")
	rel, err := a.Platform.CreateRelease(call, a.op.App, in)
	failpoint.Hit("release.posted")
	var refused *platform.Error
	switch {
	case err == nil || errors.Is(err, platform.ErrAmbiguous):
	case errors.As(err, &refused):
		a.op.Unanswered--
		if a.op.Unanswered > 0 {
			// An earlier request may yet be carried out, and the next one must have its mark.
			a.note(journal.BlobVerified)
			break
		}
		a.op.Why = fmt.Sprintf("the platform refused it with HTTP status %d", refused.Status)
		a.note(journal.Abandoned)
	default: // it was not sent
		a.op.Unanswered--
		a.note(journal.BlobVerified)
		if ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", a.unsent(ctx), err)
		}
	}
	return rel, err
}

// created remembers the release.
func (a *attempt) created(rel platform.Release) {
	a.op.Release = journal.Release{ID: rel.ID, Version: rel.Version}
	a.op.Unanswered = max(0, a.op.Unanswered-1)
	a.note(journal.ReleaseCreated)
}

// search looks for the release until it appears or the time to settle is over. It says "not there"
// only when the last look was answered and came after that time. lost is how the answer was lost.
func (a *attempt) search(ctx context.Context, lost error) (platform.Release, bool, error) {
	deadline := time.Now().Add(a.settle())
	for {
		last := !time.Now().Before(deadline)
		rel, ok, err := a.find(ctx)
		switch {
		case ok:
			a.created(rel)
			return rel, true, nil
		case ctx.Err() != nil:
			return rel, false, a.interrupted(ctx, lost)
		case err != nil && (last || errors.Is(err, platform.ErrNotFound)):
			return rel, false, fmt.Errorf("%w; the search for it got no answer either: %w; run apply again, which begins by looking at the app", lost, err)
		case last:
			// Known to be lost, it need not be waited for again.
			a.note(journal.BlobVerified)
			return rel, false, nil
		}
		_ = transport.Sleep(ctx, min(a.poll(), max(0, time.Until(deadline)))) // the loop looks at ctx itself
	}
}

// interrupted takes one more look, so that the message can say whether a release was made.
func (a *attempt) interrupted(ctx context.Context, lost error) error {
	look, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastLook)
	defer cancel()
	rel, ok, _ := a.find(look) // without an answer nothing is known, which is what is said then
	if ok {
		a.created(rel)
		return a.stopped(ctx, rel.Version, rel.Status == platform.Succeeded, lost)
	}
	return a.stopped(ctx, 0, false, lost)
}

// find takes one look. The oldest release that carries the mark is the first that the platform made.
func (a *attempt) find(ctx context.Context) (platform.Release, bool, error) {
	failpoint.Hit("release.look.before")
	list, err := a.list(ctx, a.op.Baseline.Version)
	ours := a.ours(list)
	if err != nil || len(ours) == 0 {
		return platform.Release{}, false, err
	}
	return ours[0], true, nil
}

// recent is how many releases are read at first; nearly always they are enough.
const recent = 20

// list reads the releases, newest first, down to the live one and to version base at least.
func (a *attempt) list(ctx context.Context, base int) ([]platform.Release, error) {
	list, err := a.Platform.Releases(ctx, a.op.App, recent)
	isCurrent := func(r platform.Release) bool { return r.Current }
	if err == nil && len(list) >= recent && (list[len(list)-1].Version > base || !slices.ContainsFunc(list, isCurrent)) {
		return a.Platform.Releases(ctx, a.op.App, 0)
	}
	return list, err
}

// ours are the releases that carry the mark, oldest first; of a rollback, those that look like it.
func (a *attempt) ours(list []platform.Release) (ours []platform.Release) {
	if a.op.Rollback != nil {
		return a.rollbacks(list)
	}
	for _, r := range slices.Backward(list) {
		if _, id, marked := plan.ParseMark(r.Description); marked && id == a.op.Apply {
			ours = append(ours, r)
		}
	}
	return ours
}

// rollbacks are the releases that a rollback which was asked for may have made, oldest first. Nothing
// marks them but the slug, and the words of the platform. Two people who roll back to one release
// at one time want the same, so that either may take the other's for its own.
func (a *attempt) rollbacks(list []platform.Release) (ours []platform.Release) {
	back := a.op.Rollback
	for _, r := range slices.Backward(list) {
		switch {
		case r.ID == a.op.Release.ID && r.ID != "":
		case a.op.Unanswered == 0, r.Version <= a.op.Baseline.Version, r.Slug == nil, r.Slug.ID != a.op.SlugID:
			continue
		case r.Description == fmt.Sprintf("Rollback to v%d", back.Version):
		case back.SameSlug || !r.Current:
			continue
		}
		ours = append(ours, r)
	}
	return ours
}

// compareVersion tells the user of releases that others made since the plan, and of our own if the
// platform acted twice.
func (a *attempt) compareVersion(ctx context.Context, rel platform.Release) {
	if rel.Version == a.base+1 {
		return
	}
	list, err := a.list(ctx, a.base)
	if err != nil {
		a.warn(fmt.Sprintf("the release is v%d, expected v%d: there were other releases since the plan was made", rel.Version, a.base+1))
		return
	}
	ours := a.ours(list)
	a.tellTwins(ours)
	isOurs := func(r platform.Release) bool {
		return slices.ContainsFunc(ours, func(o platform.Release) bool { return o.ID == r.ID })
	}
	var others []string
	for _, r := range slices.Backward(list) {
		if r.Version > a.base && r.Version < rel.Version && !isOurs(r) {
			others = append(others, describe(r))
		}
	}
	if len(others) > 0 {
		a.warn(fmt.Sprintf("between the plan and v%d app %s was released by others: %s", rel.Version, a.op.AppName, strings.Join(others, ", ")))
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

// tellTwins tells the user of releases that the platform made of the requests that were given up
// for lost, each once.
func (a *attempt) tellTwins(ours []platform.Release) (told bool) {
	var late []string
	for _, r := range ours {
		if r.ID == a.op.Release.ID || r.Version <= a.op.Told {
			continue
		}
		late = append(late, fmt.Sprintf("v%d", r.Version))
		a.op.Told = r.Version
		a.op.Unanswered = max(0, a.op.Unanswered-1)
	}
	switch {
	case len(late) == 0:
		return false
	case a.op.Release.Version == 0:
		a.warn(fmt.Sprintf("the platform acted late: %s of app %s is of an earlier apply that had been given up (%s)", strings.Join(late, ", "), a.op.AppName, a.op.Apply))
	default:
		a.warn(fmt.Sprintf("the platform acted late: v%d and %s of app %s are one release made more than once (%s)", a.op.Release.Version, strings.Join(late, ", "), a.op.AppName, a.op.Apply))
	}
	return true
}

// finish waits for the release to be live, and closes the operation when its outcome is known.
func (a *attempt) finish(ctx context.Context, rel platform.Release) (platform.Release, error) {
	rel, err := a.follow(ctx, rel)
	var failed *FailedError
	if errors.As(err, &failed) {
		a.op.Why = "its release phase " + failed.Status
	}
	if err == nil || failed != nil {
		a.note(journal.Done)
	}
	return rel, err
}
