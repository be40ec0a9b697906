package release

import (
	"context"
	"fmt"
	"time"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/event"
	"github.com/slugfile/slugfile/pipeline/journal"
	"github.com/slugfile/slugfile/pipeline/plan"
)

// Back is a release of before that is to run again, with its slug and its config vars.
type Back struct {
	// To is that release, and SlugID its slug.
	To     journal.Release
	SlugID string
	// SameSlug says that the live release has that slug already.
	SameSlug bool
	// Checksum and Size are of the slug, as far as the platform knows them.
	Checksum string
	Size     int64
}

// Rollback has the platform release an earlier release again, once, and follows the release
// phase. The step is as for Run, without a description: the platform writes its own. When an answer
// is lost, it looks for a release above the baseline that has the slug, before it asks again; there
// is no mark to look for. Its errors are those of Run.
func (s *Stage) Rollback(ctx context.Context, step plan.Release, to Back) (artifact.Release, error) {
	start := time.Now()
	s.emit(event.TaskStarted{Stage: event.Release, Subject: subject})
	out, err := s.rollback(ctx, step, to)
	if err != nil {
		s.emit(event.TaskFailed{Stage: event.Release, Subject: subject, Error: err.Error(), Elapsed: time.Since(start)})
		return artifact.Release{}, fmt.Errorf("rollback: %w", err)
	}
	s.emit(event.TaskFinished{Stage: event.Release, Subject: subject, Elapsed: time.Since(start)})
	return out, nil
}

func (s *Stage) rollback(ctx context.Context, step plan.Release, to Back) (out artifact.Release, err error) {
	a := &attempt{Stage: s, journal: s.Journal}
	if a.journal == nil {
		a.journal = journal.InMemory()
	}
	switch open := a.journal.State().Open; {
	case open != nil && (open.Step == journal.ReleaseIntent || open.Step == journal.ReleaseCreated):
		return out, fmt.Errorf("an earlier run (%s) was interrupted while it released, and that must be cleared up first", open.Apply)
	case open != nil && open.Rollback != nil && open.Rollback.ID == to.To.ID && open.Unanswered > 0:
		// It was asked for before, and may be carried out yet: its baseline is where to look from.
		a.op = *open
	default:
		a.op, err = a.journal.Begin(journal.Operation{
			App: step.App, AppName: step.AppName, Checksum: to.Checksum, Size: to.Size, SlugID: to.SlugID,
			Rollback: &journal.Rollback{Release: to.To, SameSlug: to.SameSlug},
			Baseline: journal.Release{ID: step.Baseline, Version: step.BaselineVersion},
		})
	}
	if err != nil {
		return out, err
	}
	return a.release(ctx, step)
}
