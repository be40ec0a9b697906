// Package pipeline carries a plan out: five stages, always in this order.
//
//	fetch      download and verify the runtimes
//	compile    run the build steps
//	archive    make the slug
//	upload     allocate a slug on the platform, PUT the archive, verify it
//	release    release the slug, and follow the release phase
//
// It decides nothing: what is to be done, and what is there already, stands in plan.Work.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slugfile/slugfile/pipeline/archive"
	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/compile"
	"github.com/slugfile/slugfile/pipeline/event"
	"github.com/slugfile/slugfile/pipeline/fetch"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/release"
	"github.com/slugfile/slugfile/pipeline/upload"
)

// Pipeline is the five stages with what they need. Build uses the first three; Upload and Release
// are nil where nothing else is to be done.
type Pipeline struct {
	Fetch   *fetch.Stage
	Compile *compile.Stage
	Archive *archive.Stage
	Upload  *upload.Stage
	Release *release.Stage

	Sink event.Sink
	// Now is the clock that stages are timed with.
	Now func() time.Time
}

// Built is what the first three stages made.
type Built struct {
	Slug artifact.Slug
	// Tree is what the slug was made of. It is empty when the slug was in the store.
	Tree artifact.Tree
}

// Build makes the slug, or takes it from the store.
func (p *Pipeline) Build(ctx context.Context, w plan.Work) (Built, error) {
	var b Built
	runtimes, err := run(ctx, p, event.Fetch, w.Fetch.Decision, func(ctx context.Context) ([]artifact.Runtime, error) {
		return p.Fetch.Run(ctx, w.Fetch)
	})
	if err != nil {
		return b, err
	}
	b.Tree, err = run(ctx, p, event.Compile, w.Compile.Decision, func(ctx context.Context) (artifact.Tree, error) {
		return p.Compile.Run(ctx, w.Compile, runtimes)
	})
	if err != nil {
		return b, err
	}
	b.Slug, err = run(ctx, p, event.Archive, w.Archive.Decision, func(ctx context.Context) (artifact.Slug, error) {
		return p.Archive.Run(ctx, w.Archive, b.Tree)
	})
	return b, err
}

// Check stops a slug that would not run on its stack, and tells what else was found in it. It belongs to
// the archive stage, and comes when the slug is remembered: who allows what was found need not make it again.
func (p *Pipeline) Check(ctx context.Context, w plan.Work, s artifact.Slug) (artifact.Slug, error) {
	s, err := p.Archive.Check(ctx, w.Archive, s)
	if err != nil {
		return s, p.failed(ctx, event.Archive, err)
	}
	return s, nil
}

// Publish uploads a slug and releases it.
func (p *Pipeline) Publish(ctx context.Context, w plan.Work, s artifact.Slug) (artifact.Upload, artifact.Release, error) {
	up, err := run(ctx, p, event.Upload, plan.Decision[artifact.Upload]{}, func(ctx context.Context) (artifact.Upload, error) {
		return p.Upload.Run(ctx, w.Upload, s)
	})
	if err != nil {
		return up, artifact.Release{}, err
	}
	rel, err := run(ctx, p, event.Release, plan.Decision[artifact.Release]{}, func(ctx context.Context) (artifact.Release, error) {
		return p.Release.Run(ctx, w.Release, up)
	})
	return up, rel, err
}

// run is how every stage is run: it says when the stage starts and ends, takes what is
// known already, and puts the stage's name on its error.
func run[Out any](ctx context.Context, p *Pipeline, stage string, d plan.Decision[Out], do func(context.Context) (Out, error)) (Out, error) {
	if d.Known != nil {
		p.Sink.Emit(event.StageSkipped{Stage: stage, Why: d.Why})
		return *d.Known, nil
	}
	began := p.Now()
	p.Sink.Emit(event.StageStarted{Stage: stage})
	out, err := do(ctx)
	elapsed := p.Now().Sub(began)
	if err != nil {
		err = p.failed(ctx, stage, err)
		p.Sink.Emit(event.StageFailed{Stage: stage, Error: err.Error(), Elapsed: elapsed})
		return out, err
	}
	p.Sink.Emit(event.StageFinished{Stage: stage, Elapsed: elapsed})
	return out, nil
}

// stages are their names, in their order.
var stages = []string{event.Fetch, event.Compile, event.Archive, event.Upload, event.Release}

// failed puts the stage's name on its error, and says what is left when the run was stopped.
func (p *Pipeline) failed(ctx context.Context, stage string, err error) error {
	ended := ctx.Err() != nil && (errors.Is(err, ctx.Err()) || errors.Is(err, context.Cause(ctx)))
	err = fmt.Errorf("%s: %w", stage, err)
	var released *release.StoppedError
	if !ended || errors.As(err, &released) && released.Version > 0 {
		return err
	}
	last := len(stages)
	if p.Release == nil {
		last = slices.Index(stages, event.Upload)
	}
	return &StoppedError{Err: err, Remaining: stages[slices.Index(stages, stage):last]}
}

// StoppedError says how far a run came whose context ended.
type StoppedError struct {
	// Err is what the stage says that was at work.
	Err error
	// Remaining are the stages that are still to be done, in their order.
	Remaining []string
}

// Error puts what remains before the lines of output that a step's error may have.
func (e *StoppedError) Error() string {
	what, output, lines := strings.Cut(e.Err.Error(), "\n")
	what += "; remaining: " + strings.Join(e.Remaining, ", ")
	if lines {
		what += "\n" + output
	}
	return what
}

// Unwrap returns what the stage says.
func (e *StoppedError) Unwrap() error { return e.Err }
