package view

import (
	"io"
	"sync"
	"time"

	"github.com/slugfile/slugfile/pipeline/event"
)

// Plain writes one line for each thing that happened, with the time of day:
//
//	12:03:01 fetch   node 22.11.0  27.8 MB  sha256 ok  (2.1s)
//
// It moves no cursor, so it suits logs, pipes and CI.
type Plain struct {
	o     Options
	words words
	mu    sync.Mutex
	w     *stickyWriter
	shown map[task]time.Time
}

type task struct{ stage, subject string }

// aliveEvery is how often a long task shows a sign of life. CI systems end jobs that are
// silent for some minutes.
const aliveEvery = 30 * time.Second

// NewPlain returns a Plain that writes to w.
func NewPlain(w io.Writer, o Options) *Plain {
	o = o.withDefaults()
	return &Plain{
		o:     o,
		words: words{style: o.Style, verbose: o.Verbose},
		w:     &stickyWriter{w: w},
		shown: map[task]time.Time{},
	}
}

// Emit implements event.Sink.
func (v *Plain) Emit(e event.Event) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.o.Now()
	switch e := e.(type) {
	case event.TaskStarted:
		v.shown[task{e.Stage, e.Subject}] = now
	case event.Progress:
		t := task{e.Stage, e.Subject}
		if now.Sub(v.shown[t]) < aliveEvery {
			return
		}
		v.shown[t] = now
	case event.Output:
		v.line(now, v.words.about("", e.Stage, e.Subject+" |").text+" "+cleanOutput(e.Line, v.o.Style))
		return
	case event.Warning:
		for _, l := range v.words.warning(e) {
			v.line(now, l)
		}
		return
	}
	if l, ok := v.words.sentence(e); ok {
		v.line(now, l.text)
	}
}

func (v *Plain) line(now time.Time, text string) {
	v.w.line(v.o.Style.dim(now.Format(time.TimeOnly)) + " " + text)
}

// Close implements View.
func (v *Plain) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.w.err
}

func (*Plain) view() {}
