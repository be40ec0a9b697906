package view

import (
	"io"
	"sync"

	"github.com/slugfile/slugfile/pipeline/event"
)

// None shows warnings only.
type None struct {
	words words
	mu    sync.Mutex
	w     *stickyWriter
}

// NewNone returns a None that writes to w.
func NewNone(w io.Writer, o Options) *None {
	return &None{words: words{style: o.Style}, w: &stickyWriter{w: w}}
}

// Emit implements event.Sink.
func (v *None) Emit(e event.Event) {
	if e, ok := e.(event.Warning); ok {
		v.mu.Lock()
		defer v.mu.Unlock()
		for _, l := range v.words.warning(e) {
			v.w.line(l)
		}
	}
}

// Close implements View.
func (v *None) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.w.err
}

func (*None) view() {}

// stickyWriter writes whole lines and keeps the first error: a sink must not fail, so the
// error waits for Close.
type stickyWriter struct {
	w   io.Writer
	err error
}

func (s *stickyWriter) line(l string) {
	if s.err == nil {
		_, s.err = io.WriteString(s.w, l+"\n")
	}
}
