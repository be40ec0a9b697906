// Package view shows people and programs what slugfile does: the only place that chooses
// words, columns and colours.
//
// It is for the commands in cmd/slugfile. A View takes events while the pipeline runs;
// functions draw what stands at the end: plans, on a terminal or as a comment for a pull
// request, releases, diagnostics, errors. Text that comes from elsewhere (build output, server
// messages, file names) is cleaned first, so that a terminal sees no control sequence but ours,
// and a comment no markup. Nothing here decides, looks anything
// up, or reads the environment: width, clock and colour are handed in.
//
// # JSON lines
//
// With --json, standard output has one object a line. Each has "v", which is 1, and
// "type", which is one of these:
//
//	stage_started   a stage begins: stage
//	stage_finished  a stage is done: stage, elapsed_ns
//	stage_skipped   a stage has nothing to do: stage, why
//	stage_failed    a stage ended with an error: stage, error, elapsed_ns
//	task_started    a download, step, archive or upload begins: stage, subject, total
//	progress        bytes of an open task: stage, subject, done, total
//	task_finished   a task is done or was reused: stage, subject, reused, why, bytes, elapsed_ns
//	task_failed     a task ended with an error: stage, subject, error, elapsed_ns
//	output          a line of a step, release phase or dyno: stage, subject, line
//	warning         something to know: stage, subject, message, hint
//	retry           an attempt failed and another follows: stage, subject, attempt, wait_ns, error
//	planned         the plan that is carried out: plan
//	applied         the last line of apply: app, release, slug, web_url, changed
//	built           the last line of build: slug, sbom, provenance, advice
//	locked          the last line of lock: file, changed, pins
//	released        one release of an app's history: id, version, status, current, description, user, created_at, slug_id
//	release         one release in full: the same, with stack, checksum, size, commit, process_types, config_names
//	rolled_back     the last line of rollback: app, from, to, release, slug, web_url, changed, uploaded
//	log             a line of an app's log: time, source, dyno, text
//	opened          the line of open: app, web_url, browser
//	diagnostic      a fault of slug.yaml: file, line, column, path, message, hint, snippet
//	error           why a command failed: message, output, hint, exit_code
//
// The fields of one type may grow; none is renamed or changes its meaning within "v":1.
package view

import (
	"io"
	"time"

	"github.com/slugfile/slugfile/pipeline/event"
)

// View shows events until it is closed. The set is closed: Terminal, Plain, JSON and None.
type View interface {
	event.Sink
	// Close ends what is still open on the screen. It returns the first error of writing.
	// Lines of Output and Warning may still be emitted after it.
	Close() error
	view()
}

// Options are what every view needs. The zero value is sensible.
type Options struct {
	Style Style
	// Now is the clock; default: time.Now.
	Now func() time.Time
	// Width is the terminal's width in columns; default: 80.
	Width func() int
	// Verbose shows reasons, timings and the output of steps that succeed.
	Verbose bool
}

func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Width == nil {
		o.Width = func() int { return 80 }
	}
	return o
}

// Kind names one of the views.
type Kind int

// The views.
const (
	KindTerminal Kind = iota
	KindPlain
	KindJSON
	KindNone
)

// Request is what decides which view a command gets.
type Request struct {
	// Progress is the flag: auto, plain or none.
	Progress string
	JSON     bool
	Quiet    bool
	// Terminal says that the stream of progress is one.
	Terminal bool
	// Env is the environment.
	Env map[string]string
}

// Choose decides once. In CI and on dumb terminals no cursor is moved, so lines are plain.
func Choose(r Request) Kind {
	switch {
	case r.JSON:
		return KindJSON
	case r.Quiet || r.Progress == "none":
		return KindNone
	case r.Progress == "plain" || !r.Terminal || r.Env["TERM"] == "dumb" || inCI(r.Env):
		return KindPlain
	}
	return KindTerminal
}

func inCI(env map[string]string) bool {
	ci := env["CI"]
	return ci != "" && ci != "false" && ci != "0"
}

// New returns the view of that kind, writing to w.
func New(k Kind, w io.Writer, o Options) View {
	switch k {
	case KindTerminal:
		return NewTerminal(w, o)
	case KindJSON:
		return NewJSON(w)
	case KindNone:
		return NewNone(w, o)
	default:
		return NewPlain(w, o)
	}
}

// columns is the width that plans and tables are drawn for, whatever the terminal's.
const columns = 80
