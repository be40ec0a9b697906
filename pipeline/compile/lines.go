package compile

import (
	"bytes"
	"strings"
	"sync"

	"github.com/slugfile/slugfile/pipeline/transport"
)

const (
	// longest is the length at which a line is cut, so that a progress bar that never ends its
	// line is shown, and memory is bounded.
	longest = 64 << 10
	// tailLines is how many lines of output an error shows.
	tailLines = 20
)

// lines is a writer that hides secrets, and hands on what was written line by line.
type lines struct {
	redact *transport.RedactWriter
	emit   func(line string)
	clean  func(string) string

	mu   sync.Mutex
	rest []byte
	// tail are the last lines, for the error.
	tail []string
}

func newLines(clean func(string) string, secrets []string, emit func(string)) *lines {
	l := &lines{emit: emit, clean: clean}
	l.redact = transport.NewRedactor(secrets...).Writer(splitter{l})
	return l
}

// Write never fails: a view that cannot keep up is no reason to end a step.
func (l *lines) Write(p []byte) (int, error) { return l.redact.Write(p) }

// close hands on what is left without a line end.
func (l *lines) close() {
	_ = l.redact.Flush() // splitter does not fail
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.rest) > 0 {
		l.line(l.rest)
		l.rest = nil
	}
}

func (l *lines) line(b []byte) {
	s := strings.TrimSuffix(string(b), "\r")
	if l.clean != nil {
		s = l.clean(s)
	}
	l.tail = append(l.tail, s)
	if len(l.tail) > tailLines {
		l.tail = append(l.tail[:0], l.tail[1:]...)
	}
	l.emit(s)
}

// splitter gets the output without secrets.
type splitter struct{ l *lines }

func (s splitter) Write(p []byte) (int, error) {
	l := s.l
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, p...)
	for {
		i := bytes.IndexByte(l.rest, '\n')
		next := i + 1
		if i < 0 || i > longest {
			if len(l.rest) < longest {
				return len(p), nil
			}
			i, next = longest, longest
		}
		l.line(l.rest[:i])
		l.rest = l.rest[next:]
	}
}
