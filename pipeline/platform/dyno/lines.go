package dyno

import (
	"bytes"
	"sync"
	"unicode/utf8"
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
		// A character that the limit cuts belongs to the next piece.
		cut := wholeRunes(w.pending)
		rest := bytes.Clone(w.pending[cut:])
		w.pending = w.pending[:cut]
		w.send()
		w.pending = append(w.pending, rest...)
	}
	w.pending = append(w.pending, b...)
}

// wholeRunes is the length of b without a character that is not complete at its end.
func wholeRunes(b []byte) int {
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if c := b[len(b)-i]; utf8.RuneStart(c) {
			if c >= utf8.RuneSelf && !utf8.FullRune(b[len(b)-i:]) {
				return len(b) - i
			}
			break
		}
	}
	return len(b)
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
