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
	"io"
	"io/fs"
	"path"
	"time"

	"golang.org/x/text/unicode/norm"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/event"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/slug"
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
}

// subject names the task in events.
const subject = "slug"

// Run writes the slug into the store and returns it with its tree. A slug over the limit is
// a *TooLargeError, a file that is not what the plan saw a *slug.ChangedError, and two entries
// that want one path a *plan.ConflictError; in each case nothing is stored.
func (s *Stage) Run(ctx context.Context, step plan.Archive, in artifact.Tree) (artifact.Slug, error) {
	sink := s.Sink
	if sink == nil {
		sink = event.Discard
	}
	began := time.Now()
	sink.Emit(event.TaskStarted{Stage: event.Archive, Subject: subject})
	out, err := s.run(ctx, step, in, sink)
	if err != nil {
		sink.Emit(event.TaskFailed{Stage: event.Archive, Subject: subject, Error: err.Error(), Elapsed: time.Since(began)})
		return artifact.Slug{}, err
	}
	sink.Emit(event.TaskFinished{Stage: event.Archive, Subject: subject, Bytes: out.Size, Elapsed: time.Since(began)})
	return out, nil
}

func (s *Stage) run(ctx context.Context, step plan.Archive, in artifact.Tree, sink event.Sink) (artifact.Slug, error) {
	members, err := plan.Layout(step.Files, in)
	if err != nil {
		return artifact.Slug{}, err
	}
	if err := early(members, step.Limit); err != nil {
		return artifact.Slug{}, err
	}
	warnTwins(members, sink)

	ingest, err := s.Store.Create()
	if err != nil {
		return artifact.Slug{}, err
	}
	defer ingest.Close()
	write := s.writer(step, members, sink)
	result, err := write(ctx, ingest)
	if moved := (*slug.ChangedError)(nil); errors.As(err, &moved) {
		// An editor or a build that is just saving is over by the second look. What stays
		// changed is not what was planned.
		sink.Emit(event.Retry{Stage: event.Archive, Subject: subject, Attempt: 1, Error: err.Error()})
		if err := ingest.Reset(); err != nil {
			return artifact.Slug{}, err
		}
		if result, err = write(ctx, ingest); errors.As(err, &moved) {
			err = fmt.Errorf("%w; no slug was made: run slugfile again when nothing writes to it", err)
		}
	}
	if err != nil {
		return artifact.Slug{}, err
	}
	if _, _, err := ingest.Commit(subject, result.Digest, result.Size); err != nil {
		return artifact.Slug{}, err
	}
	out := artifact.Slug{
		Path:   s.Store.Path(result.Digest),
		Digest: result.Digest, Size: result.Size,
		TarDigest: result.TarDigest, TarSize: result.TarSize,
		PlanKey: step.Key,
	}
	if err := s.Store.PutRef("slug", step.Key.String(), out); err != nil {
		return artifact.Slug{}, err
	}
	out.Tree = slug.Tree(members)
	return out, nil
}

// writer returns the function that writes the slug: it may be called twice and says each
// warning once.
func (s *Stage) writer(step plan.Archive, members []artifact.Member, sink event.Sink) func(context.Context, io.Writer) (slug.Result, error) {
	masked := map[string]bool{}
	return func(ctx context.Context, w io.Writer) (slug.Result, error) {
		tell := event.Thin(sink, event.Archive, subject)
		var done, total int64
		lim := &limited{w: w, limit: step.Limit}
		result, err := slug.Write(ctx, lim, members, slug.Options{
			Level: step.Level, Epoch: step.Epoch, Workers: s.Workers,
			Progress: func(d, t int64) {
				done, total = d, t
				tell(d, t)
			},
			Masked: func(m artifact.Member, mode fs.FileMode) {
				if masked[m.Path] {
					return
				}
				masked[m.Path] = true
				sink.Emit(event.Warning{
					Stage: event.Archive, Subject: m.Path,
					Message: fmt.Sprintf("%q has mode %s; the slug has it without the setuid, setgid and sticky bits", m.Path, mode),
					Hint:    "a dyno runs everything as one user, who could not use them",
				})
			},
		})
		if errors.Is(err, errLimit) {
			return result, &TooLargeError{Limit: step.Limit, Why: fmt.Sprintf("it reached the limit at %d%% of the files", percent(done, total)), Largest: largest(members)}
		}
		return result, err
	}
}

// percent is done of total, in whole percents.
func percent(done, total int64) int64 {
	if total == 0 {
		return 0
	}
	return done * 100 / total
}

// warnTwins tells of names in one directory that differ in their Unicode form alone. They
// are two files on Linux, and one on the macOS disk of a colleague.
func warnTwins(members []artifact.Member, sink event.Sink) {
	first := map[string]string{}
	for _, m := range members {
		if isASCII(m.Path) {
			continue
		}
		dir, base := path.Split(m.Path)
		key := dir + norm.NFC.String(base)
		twin, ok := first[key]
		if !ok {
			first[key] = m.Path
			continue
		}
		sink.Emit(event.Warning{
			Stage: event.Archive, Subject: m.Path,
			Message: fmt.Sprintf("%+q and %+q look the same: they differ only in their Unicode form", twin, m.Path),
			Hint:    "rename one of them; other systems take them for one file",
		})
	}
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
