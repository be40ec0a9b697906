// Package archive is the third stage: it makes the slug of what compile hands on and puts it
// into the store under its digest.
//
// It reads the files and never changes one. It does not decide what belongs into the slug
// (plan.Layout does) nor how the bytes look (package slug does); it holds the limits, notices
// a tree that moves under it, and says what the user should know.
package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/event"
	"github.com/slugfile/slugfile/pipeline/failpoint"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/slug"
	"github.com/slugfile/slugfile/pipeline/stack"
	"github.com/slugfile/slugfile/pipeline/store"
)

// Stage makes slugs.
type Stage struct {
	Store *store.Store
	// Sink may be nil.
	Sink event.Sink
	// Workers is how many parts of the slug are compressed at a time; 0 means one a core, at
	// most 8. The slug does not depend on it.
	Workers int
	// Cold takes nothing from earlier slugs.
	Cold bool
	// Mend may be nil. It makes the file at a path anew, with the bytes that it should have, and
	// reports false when it cannot know them.
	Mend func(ctx context.Context, path string) (bool, error)
}

// subject names the task in events.
const subject = "slug"

// Run writes the slug into the store and returns it with its members. A slug over the limit is
// a *TooLargeError, a file that is not what the plan saw a *slug.ChangedError, and two entries
// that want one path a *plan.ConflictError; in each case nothing is stored.
func (s *Stage) Run(ctx context.Context, step plan.Archive, in artifact.Tree) (artifact.Slug, error) {
	sink := s.Sink
	if sink == nil {
		sink = event.Discard
	}
	began := time.Now()
	sink.Emit(event.TaskStarted{Stage: event.Archive, Subject: subject})
	out, why, err := s.run(ctx, step, in, sink)
	if err != nil {
		sink.Emit(event.TaskFailed{Stage: event.Archive, Subject: subject, Error: err.Error(), Elapsed: time.Since(began)})
		return artifact.Slug{}, err
	}
	sink.Emit(event.TaskFinished{Stage: event.Archive, Subject: subject, Bytes: out.Size, Why: why, Elapsed: time.Since(began)})
	return out, nil
}

func (s *Stage) run(ctx context.Context, step plan.Archive, in artifact.Tree, sink event.Sink) (out artifact.Slug, why string, err error) {
	members, err := plan.Layout(step.Files, in)
	if err != nil {
		return out, "", err
	}
	if err := early(members, step.Limit); err != nil {
		return out, "", err
	}

	earlier := newCache(s.Store, sink)
	if !s.Cold {
		earlier.load()
	}
	defer earlier.close()
	w := &writing{stage: s, step: step, members: members, sink: sink, masked: map[string]bool{}}
	made, err := w.write(ctx, earlier)
	if err != nil {
		return out, "", err
	}
	out = artifact.Slug{
		Path:   s.Store.Path(made.Digest),
		Digest: made.Digest, Size: made.Size,
		TarSize: made.TarSize,
		PlanKey: step.Key,
	}
	out.Members = w.members
	if checks {
		out.Findings, out.Checked = check(step, w.members, w.facts), stack.CheckVersion
	}
	if err := s.Store.PutRef("slug", step.Key.String(), out); err != nil {
		return artifact.Slug{}, "", err
	}
	failpoint.Hit("archive.named")
	if made.Fresh < made.Size {
		why = decimal(made.Fresh) + " of it new"
	}
	return out, why, nil
}

// writing is the way of one slug into the store.
type writing struct {
	stage   *Stage
	step    plan.Archive
	members []artifact.Member
	sink    event.Sink
	// masked are the files that a warning told of.
	masked map[string]bool
	// facts are what the files need, by their paths.
	facts facts
}

// write writes the slug, or finds that it is there. A tree that moves is looked at twice, and
// earlier slugs that are damaged are left out.
func (w *writing) write(ctx context.Context, earlier *cache) (slug.Result, error) {
	ingest, err := w.stage.Store.CreateVouched()
	if err != nil {
		return slug.Result{}, err
	}
	defer ingest.Close()
	moved, damaged := (*slug.ChangedError)(nil), (*slug.CacheError)(nil)
	for retried := false; ; {
		tell := event.Thin(w.sink, event.Archive, subject)
		var done, total int64
		draft, err := slug.New(w.members, slug.Options{
			Level: w.step.Level, Epoch: w.step.Epoch, Workers: w.stage.Workers, Cache: earlier.slugs,
			Limit: w.step.Limit,
			Progress: func(d, t int64) {
				done, total = d, t
				tell(d, t)
			},
			Masked: w.tellMasked,
			Look:   w.look,
		})
		if err != nil {
			return slug.Result{}, err
		}
		w.members, w.facts = draft.Members(), facts{}
		if same, ok := draft.Same(); ok && (w.step.Limit <= 0 || same.Index.Size <= w.step.Limit) {
			tell(0, draft.TarSize())
			tell(draft.TarSize(), draft.TarSize())
			if err := w.learn(ctx, draft, earlier); err != nil {
				return slug.Result{}, err
			}
			earlier.first(same.Index.Slug)
			return slug.Result{Digest: same.Index.Slug, Size: same.Index.Size, TarSize: draft.TarSize(), Index: same.Index}, nil
		}
		result, err := draft.Write(ctx, ingest)
		switch {
		case err == nil:
			failpoint.Hit("archive.written")
			if _, _, err := ingest.Commit(subject, result.Digest, result.Size); err != nil {
				return slug.Result{}, err
			}
			failpoint.Hit("archive.committed")
			if err := w.learn(ctx, draft, earlier); err != nil {
				return slug.Result{}, err
			}
			earlier.know(result.Digest, w.members, w.facts)
			earlier.remember(result.Index)
			return result, nil
		case errors.Is(err, slug.ErrLimit):
			return slug.Result{}, &TooLargeError{Limit: w.step.Limit, Why: fmt.Sprintf("it reached the limit at %d%% of the files", percent(done, total)), Largest: largest(w.members)}
		case errors.As(err, &damaged):
			earlier.forget(damaged)
		case errors.As(err, &moved) && !retried:
			// An editor or a build that is just saving is over by the second look. What stays
			// changed is not what was planned.
			retried = true
			if mended, err := w.mend(ctx, moved.Path); err != nil {
				return slug.Result{}, err
			} else if !mended {
				w.sink.Emit(event.Retry{Stage: event.Archive, Subject: subject, Attempt: 1, Error: moved.Error()})
			}
		case errors.As(err, &moved):
			return slug.Result{}, fmt.Errorf("%w; no slug was made: run slugfile again when nothing writes to it", err)
		default:
			return slug.Result{}, err
		}
		if err := ingest.Reset(); err != nil {
			return slug.Result{}, err
		}
	}
}

// mend is for files of the store, in which nobody should have written.
func (w *writing) mend(ctx context.Context, path string) (bool, error) {
	if w.stage.Mend == nil {
		return false, nil
	}
	return w.stage.Mend(ctx, path)
}

// tellMasked says once of a file that the slug has it with fewer bits.
func (w *writing) tellMasked(m artifact.Member, mode fs.FileMode) {
	if w.masked[m.Path] {
		return
	}
	w.masked[m.Path] = true
	w.sink.Emit(event.Warning{
		Stage: event.Archive, Subject: m.Path,
		Message: fmt.Sprintf("it has mode %s; the slug has it without the setuid, setgid and sticky bits", mode),
		Hint:    "a dyno runs everything as one user, who could not use them",
	})
}

// percent is done of total, in whole percents.
func percent(done, total int64) int64 {
	if total == 0 {
		return 0
	}
	return done * 100 / total
}
