package release

import (
	"context"
	"errors"
	"fmt"

	"github.com/slugfile/slugfile/pipeline/journal"
	"github.com/slugfile/slugfile/pipeline/platform"
)

// Recover clears up what an earlier run left open in the journal: it looks for a release that may
// have been made unseen, for the whole time to settle, and follows one that was made to the end of
// its release phase. It must be called under the app's lock and before the plan is made, which then
// sees what was found. What was not found stays open: the next Run for the same slug sends it with
// the same mark, and Abandon is for everything else.
//
// Releases that the platform made too late, so that there are two, are told of here, once.
func (s *Stage) Recover(ctx context.Context) error {
	if s.Journal == nil {
		return nil
	}
	if open := s.Journal.State().Open; open != nil {
		a := &attempt{Stage: s, journal: s.Journal, op: *open}
		if err := a.recover(ctx); err != nil {
			return fmt.Errorf("look for the release of an earlier apply: %w", err)
		}
	}
	for _, op := range s.Journal.Unsettled() {
		if op.Rollback != nil {
			continue // without a mark, a second one cannot be told from one that somebody wanted
		}
		a := &attempt{Stage: s, journal: s.Journal, op: op}
		// Without an answer, a later apply tells of it.
		if list, err := a.list(ctx, op.Baseline.Version); err == nil && a.tellTwins(a.ours(list)) {
			a.note(op.Step)
		}
	}
	return nil
}

// errInterrupted is how the answer was lost when there is nobody left who knows.
var errInterrupted = errors.New("an earlier apply was interrupted while it released")

func (a *attempt) recover(ctx context.Context) error {
	var rel platform.Release
	var found bool
	var err error
	switch {
	case a.op.Step == journal.ReleaseIntent:
		a.warn(fmt.Sprintf("%s; looking for its release, up to %s", errInterrupted, a.settle()))
		rel, found, err = a.search(ctx, errInterrupted)
	case a.op.Step == journal.ReleaseCreated:
		rel, err = a.Platform.Release(ctx, a.op.App, a.op.Release.ID)
		found = err == nil
	case a.op.Unanswered > 0:
		// It was searched for and given up for lost; one look sees whether it came after all.
		if rel, found, err = a.find(ctx); found {
			a.created(rel)
		}
	}
	if errors.Is(err, platform.ErrNotFound) {
		a.op.Why = "the platform has no such app or release any more"
		a.note(journal.Abandoned)
		return nil
	}
	if err != nil || !found {
		return err
	}
	if rel.Status == platform.Pending {
		a.warn(fmt.Sprintf("v%d of app %s was released by an earlier apply that was interrupted; following its release phase", rel.Version, a.op.AppName))
	} else {
		a.warn(fmt.Sprintf("v%d of app %s was released by an earlier apply that was interrupted", rel.Version, a.op.AppName))
	}
	// The earlier run may have been killed before it could say who released in between.
	a.base = a.op.Baseline.Version
	a.compareVersion(ctx, rel)
	_, err = a.finish(ctx, rel)
	var failed *FailedError
	if errors.As(err, &failed) {
		a.warn(failed.Error())
		return nil
	}
	return err
}
