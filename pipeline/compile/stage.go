// Package compile is the stage that runs the build steps.
//
// A step is a value: a script, an environment, and files to see. The stage lays out a fresh
// work tree, hands a Job to a Runner, and stores what the step was said to make under the
// step's key, so that an equal step never runs twice. It decides nothing: plan said which
// steps there are. It reads no environment, and no credential of a platform reaches a step.
package compile

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/event"
	"github.com/slugfile/slugfile/pipeline/failpoint"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/sandbox"
	"github.com/slugfile/slugfile/pipeline/store"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// outputKind is the kind of tree in the store that an output is.
const outputKind = "output"

// Stage runs build steps.
type Stage struct {
	// Store holds the outputs, and the work trees while steps run.
	Store *store.Store
	// Sink may be nil.
	Sink event.Sink
	// Env holds the values for pass_env, and the proxy and certificate variables that every
	// step gets. Nothing else of it reaches a step, but bash is also looked for in its PATH.
	Env map[string]string
	// Redact is applied to every line of output, after the values of pass_env were hidden.
	// It may be nil.
	Redact func(string) string
	// Home is the absolute path of the directory that holds the steps' home directories, one
	// for each app directory and step. When it is empty they are not kept.
	Home string
	// LockTimeout is how long a step waits for another process that runs the same step; 0 is
	// as long as it takes.
	LockTimeout time.Duration
	// Cold gives every step an empty home directory, also when Home is set.
	Cold bool
	// Plain runs without namespaces even where they work.
	Plain bool
	// Runner carries out the jobs. It is nil for this machine.
	Runner Runner
}

// Run runs the steps in their order, and skips those whose output is known. The error of a
// step that failed is a *StepError.
func (s *Stage) Run(ctx context.Context, c plan.Compile, runtimes []artifact.Runtime) (artifact.Tree, error) {
	if c.Known != nil {
		return *c.Known, nil
	}
	r := &run{Stage: s, source: c.Source, runtimes: runtimes}
	for _, step := range c.Steps {
		out, err := r.step(ctx, step)
		if err != nil {
			return artifact.Tree{}, err
		}
		r.outputs = append(r.outputs, out)
	}
	return artifact.Tree{Runtimes: runtimes, Outputs: r.outputs, Source: c.Source}, nil
}

// run is one call of Stage.Run.
type run struct {
	*Stage
	source   artifact.Source
	runtimes []artifact.Runtime
	outputs  []artifact.Output
	// bash is found when the first step runs, and plain decided.
	bash  string
	plain bool
}

func (r *run) emit(e event.Event) {
	if r.Sink != nil {
		r.Sink.Emit(e)
	}
}

func (r *run) warn(step, message, hint string) {
	r.emit(event.Warning{Stage: event.Compile, Subject: step, Message: message, Hint: hint})
}

// step returns the output of one step, from the store or by running it.
func (r *run) step(ctx context.Context, step plan.Step) (artifact.Output, error) {
	if step.Known != nil {
		out, ok, err := r.known(ctx, step, *step.Known)
		if err != nil || ok {
			return out, err
		}
	}
	seen, err := r.seen(step)
	if err != nil {
		return artifact.Output{}, err
	}
	key := plan.StepKey(step, seen, r.outputs)
	if out, ok, err := r.stored(ctx, step.Name, key); err != nil || ok {
		return out, err
	}
	start := time.Now()
	r.emit(event.TaskStarted{Stage: event.Compile, Subject: step.Name})
	out, reused, err := r.execute(ctx, step, seen, key)
	if err != nil {
		text := err.Error()
		var stepErr *StepError
		if errors.As(err, &stepErr) {
			text = stepErr.summary()
		}
		r.emit(event.TaskFailed{Stage: event.Compile, Subject: step.Name, Error: text, Elapsed: time.Since(start)})
		return out, err
	}
	if !reused {
		r.emit(event.TaskFinished{Stage: event.Compile, Subject: step.Name, Bytes: out.Tree.Size(), Elapsed: time.Since(start)})
	}
	return out, nil
}

// known takes the output that the plan names, unless the disk has changed it since.
func (r *run) known(ctx context.Context, step plan.Step, out artifact.Output) (artifact.Output, bool, error) {
	dir, m, ok, err := r.Store.VerifyTree(ctx, outputKind, out.Key)
	if err != nil {
		return out, false, fmt.Errorf("step %q: %w", step.Name, err)
	}
	if !ok {
		r.warn(step.Name, "its stored output is gone or damaged; the step runs again", "")
		return out, false, nil
	}
	out.Step, out.Dir, out.Tree = step.Name, dir, m
	why := step.Why
	if why == "" {
		why = reusedWhy
	}
	r.emit(event.TaskFinished{Stage: event.Compile, Subject: step.Name, Reused: true, Why: why, Bytes: m.Size()})
	return out, true, nil
}

const reusedWhy = "inputs unchanged"

// stored takes the output of an equal step from the store.
func (r *run) stored(ctx context.Context, step string, key digest.Digest) (artifact.Output, bool, error) {
	start := time.Now()
	dir, m, ok, err := r.Store.VerifyTree(ctx, outputKind, key)
	if err != nil {
		return artifact.Output{}, false, fmt.Errorf("step %q: %w", step, err)
	}
	if !ok {
		return artifact.Output{}, false, nil
	}
	r.emit(event.TaskFinished{
		Stage: event.Compile, Subject: step, Reused: true, Why: reusedWhy, Bytes: m.Size(), Elapsed: time.Since(start),
	})
	return artifact.Output{Step: step, Key: key, Dir: dir, Tree: m}, true, nil
}

// seen returns the runtimes that a step sees, in the step's order.
func (r *run) seen(step plan.Step) ([]artifact.Runtime, error) {
	list := make([]artifact.Runtime, 0, len(step.Runtimes))
	for _, name := range step.Runtimes {
		i := slices.IndexFunc(r.runtimes, func(a artifact.Runtime) bool { return a.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("step %q: the runtime %q was not fetched", step.Name, name)
		}
		if r.runtimes[i].Pack != "" {
			return nil, fmt.Errorf("step %q: the runtime %q was not unpacked", step.Name, name)
		}
		list = append(list, r.runtimes[i])
	}
	return list, nil
}

// execute runs a step in a place of its own and stores what it made. It is reused when
// another process made it while this one waited for the place.
func (r *run) execute(ctx context.Context, step plan.Step, seen []artifact.Runtime, key digest.Digest) (out artifact.Output, reused bool, err error) {
	if err := r.begin(); err != nil {
		return out, false, fmt.Errorf("step %q: %w", step.Name, err)
	}
	p, waited, err := r.place(ctx, step)
	if err != nil {
		return out, false, fmt.Errorf("step %q: %w", step.Name, err)
	}
	defer p.release()
	if waited {
		if out, ok, err := r.stored(ctx, step.Name, key); err != nil || ok {
			return out, ok, err
		}
	}
	if err := r.layOut(ctx, p, step, seen); err != nil {
		return out, false, fmt.Errorf("step %q: lay out its work tree: %w", step.Name, err)
	}
	failpoint.Hit("compile.laid_out")
	start := time.Now()
	tail, err := r.carryOut(ctx, p, step, seen)
	if err != nil {
		return out, false, err
	}
	failpoint.Hit("compile.ran")
	took := time.Since(start)
	out, err = r.capture(ctx, p, step, key)
	var missing *StepError
	if errors.As(err, &missing) && missing.Missing != "" {
		missing.Elapsed, missing.Tail = took, tail
	}
	return out, false, err
}

// begin decides what holds for all steps of a run, when the first of them has to run.
func (r *run) begin() error {
	if r.bash != "" {
		return nil
	}
	var err error
	if r.bash, err = findBash(r.Env["PATH"]); err != nil {
		return err
	}
	r.plain = r.Plain
	if r.plain || r.Runner != nil {
		return nil
	}
	if err := sandbox.Supported(); err != nil {
		r.plain = true
		r.warn("", fmt.Sprintf("steps run without namespaces, not at /app but in one directory of the cache: %v", err),
			"absolute paths below /app will not work in steps, and steps can see all of this machine")
	}
	return nil
}

// carryOut runs the step's command, and returns the last lines of what it wrote.
func (r *run) carryOut(ctx context.Context, p *place, step plan.Step, seen []artifact.Runtime) (tail []string, err error) {
	env, secrets := r.environment(p, step, seen)
	lines := newLines(r.Redact, secrets, func(line string) {
		r.emit(event.Output{Stage: event.Compile, Subject: step.Name, Line: line})
	})
	runner := r.Runner
	if runner == nil {
		runner = Machine{}
	}
	start := time.Now()
	err = runner.Run(ctx, Job{
		Argv:    []string{r.bash, "-euo", "pipefail", "-c", step.Run},
		Env:     env,
		Work:    p.work,
		Tmp:     p.tmp,
		Mounts:  p.mounts,
		Plain:   p.plain,
		Timeout: time.Duration(step.Timeout),
		Output:  lines,
	})
	lines.close()
	if err == nil {
		return lines.tail, nil
	}
	stepErr := &StepError{Step: step.Name, Elapsed: time.Since(start), Tail: lines.tail, Err: err}
	var exit *ExitError
	if errors.As(err, &exit) {
		stepErr.Code, stepErr.Timeout = exit.Code, exit.Timeout
	}
	return lines.tail, stepErr
}

// Place names that a step sees. They are no part of the machine's file system, so a step
// finds them alike everywhere.
const (
	insideApp   = "/app"
	insideHome  = "/build-home"
	insideTools = "/build-tools"
)

// runtimeDir is the directory of a runtime below root.
func runtimeDir(root string, a artifact.Runtime) string {
	return filepath.Join(root, filepath.FromSlash(a.Into))
}

// binDir is the directory of a runtime on PATH.
func binDir(root string, a artifact.Runtime) string {
	dir := runtimeDir(root, a)
	if slices.ContainsFunc(a.Tree, func(e tree.Entry) bool {
		return strings.HasPrefix(e.Path, "bin/") || e.Path == "bin" && e.Kind != tree.File
	}) {
		return filepath.Join(dir, "bin")
	}
	return dir
}
