// Package event says what happened during a run, as data.
//
// Stages state facts; views choose words. A Sink never fails and never stops a run. The
// set of events is closed: a view that switches over all of them is complete, and the
// JSON lines of `--json` are these structs.
package event

import "time"

// Sink receives events. Emit is called from several goroutines at once and must not block
// for long.
type Sink interface{ Emit(Event) }

// Func is a function as a Sink.
type Func func(Event)

// Emit calls f.
func (f Func) Emit(e Event) { f(e) }

// Discard is a Sink that drops everything.
var Discard Sink = Func(func(Event) {})

// Event is one of the structs of this package.
type Event interface {
	// Type is the name in JSON lines, such as "stage_started".
	Type() string
}

// StageStarted opens a stage: fetch, compile, archive, upload or release.
type StageStarted struct {
	Stage string `json:"stage"`
}

// StageFinished closes a stage that ran to its end without an error.
type StageFinished struct {
	Stage   string        `json:"stage"`
	Elapsed time.Duration `json:"elapsed_ns"`
}

// StageSkipped stands for a stage that had nothing to do, with the reason.
type StageSkipped struct {
	Stage string `json:"stage"`
	Why   string `json:"why"`
}

// StageFailed closes a stage that ended with an error.
type StageFailed struct {
	Stage   string        `json:"stage"`
	Error   string        `json:"error"`
	Elapsed time.Duration `json:"elapsed_ns"`
}

// TaskStarted opens one piece of a stage's work: a download, a step, the archive, an upload.
type TaskStarted struct {
	Stage   string `json:"stage"`
	Subject string `json:"subject"`
	// Total is in bytes; 0 when it is not known or not a matter of bytes.
	Total int64 `json:"total,omitempty"`
}

// Progress counts the bytes of an open task. It is sent a few times a second at most.
type Progress struct {
	Stage   string `json:"stage"`
	Subject string `json:"subject"`
	Done    int64  `json:"done"`
	// Total is in bytes; 0 when it is not known.
	Total int64 `json:"total,omitempty"`
}

// TaskFinished closes a task, or stands alone for one that was reused.
type TaskFinished struct {
	Stage   string `json:"stage"`
	Subject string `json:"subject"`
	// Reused says that nothing had to be done, and Why gives the reason.
	Reused bool   `json:"reused,omitempty"`
	Why    string `json:"why,omitempty"`
	// Bytes is the size of the result; 0 when it has none.
	Bytes   int64         `json:"bytes,omitempty"`
	Elapsed time.Duration `json:"elapsed_ns"`
}

// TaskFailed closes a task that ended with an error.
type TaskFailed struct {
	Stage   string        `json:"stage"`
	Subject string        `json:"subject"`
	Error   string        `json:"error"`
	Elapsed time.Duration `json:"elapsed_ns"`
}

// Output is one line that a step, a release phase or a dyno wrote, without its line end.
// It is foreign text: a view cleans it before a terminal sees it.
type Output struct {
	Stage   string `json:"stage"`
	Subject string `json:"subject"`
	Line    string `json:"line"`
}

// Warning is something that the user should know and that stops nothing.
type Warning struct {
	Stage   string `json:"stage,omitempty"`
	Subject string `json:"subject,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// Retry says that an attempt failed and another follows after Wait.
type Retry struct {
	Stage   string        `json:"stage"`
	Subject string        `json:"subject"`
	Attempt int           `json:"attempt"`
	Wait    time.Duration `json:"wait_ns"`
	Error   string        `json:"error"`
}

// The names of the events in JSON lines.
func (StageStarted) Type() string  { return "stage_started" }
func (StageFinished) Type() string { return "stage_finished" }
func (StageSkipped) Type() string  { return "stage_skipped" }
func (StageFailed) Type() string   { return "stage_failed" }
func (TaskStarted) Type() string   { return "task_started" }
func (Progress) Type() string      { return "progress" }
func (TaskFinished) Type() string  { return "task_finished" }
func (TaskFailed) Type() string    { return "task_failed" }
func (Output) Type() string        { return "output" }
func (Warning) Type() string       { return "warning" }
func (Retry) Type() string         { return "retry" }

// The names of the five stages, in their order.
const (
	Fetch   = "fetch"
	Compile = "compile"
	Archive = "archive"
	Upload  = "upload"
	Release = "release"
)
