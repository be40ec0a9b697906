package dyno

import (
	"bytes"
	"sync"
)

// maxLine is where Heroku splits a log line: devcenter.heroku.com/articles/logging.
const maxLine = 10_000

// lineWriter hands on whole lines. A last line without an end waits for flush.
type lineWriter struct {
	emit func(string)

	mu      sync.Mutex
	pending []byte
}

func (w *lineWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(b)
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			w.add(b)
			break
		}
		w.add(b[:i])
		w.send()
		b = b[i+1:]
	}
	return n, nil
}

// add appends to the open line and sends it in pieces of maxLine bytes.
func (w *lineWriter) add(b []byte) {
	for len(w.pending)+len(b) > maxLine {
		n := maxLine - len(w.pending)
		w.pending = append(w.pending, b[:n]...)
		b = b[n:]
		w.send()
	}
	w.pending = append(w.pending, b...)
}

func (w *lineWriter) send() {
	w.emit(string(bytes.TrimSuffix(w.pending, []byte{'\r'})))
	w.pending = w.pending[:0]
}

// flush sends a line that the process left without an end.
func (w *lineWriter) flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.pending) > 0 {
		w.send()
	}
}
