package local

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// outputLimit is how much of a release phase's output is kept:
// devcenter.heroku.com/articles/release-phase.
const outputLimit = 300 << 20

// stream is the output of one release phase, on disk so that it outlives the platform.
type stream struct {
	path string

	mu      sync.Mutex
	file    *os.File
	size    int64
	full    bool
	done    bool
	changed chan struct{}
}

func (p *Platform) streamPath(key string) string { return filepath.Join(p.dir, "outputs", key+".log") }

// openStream finds or begins the stream of a release phase.
func (p *Platform) openStream(key string) *stream {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.streams[key]
	if s == nil {
		s = &stream{path: p.streamPath(key), changed: make(chan struct{})}
		p.streams[key] = s
	}
	return s
}

// write appends a line. The output is a convenience: what cannot be written is not kept.
func (s *stream) write(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done || s.full || s.open() != nil {
		return
	}
	if s.size+int64(len(line))+1 > outputLimit {
		s.full = true
		line = fmt.Sprintf("Error: the output of a release phase is limited to %d MB; the rest is left out", outputLimit>>20)
	}
	n, _ := io.WriteString(s.file, line+"\n") // see above
	s.size += int64(n)
	s.announce()
}

// open creates the file with the first line: before it there is nothing to see.
func (s *stream) open() (err error) {
	if s.file == nil {
		s.file, err = os.OpenFile(s.path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	}
	return err
}

func (s *stream) announce() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// finish ends the stream. An empty one exists from now on.
func (s *stream) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open() == nil {
		_ = s.file.Close() // as in write
	}
	s.done = true
	s.announce()
}

// endStream ends the stream of a release phase, which from now on is no more than its file.
func (p *Platform) endStream(key string) {
	p.mu.Lock()
	s := p.streams[key]
	delete(p.streams, key)
	p.mu.Unlock()
	if s != nil {
		s.finish()
	}
}

// breakStream ends, with a reason, the stream of a release phase that died with the platform.
func (p *Platform) breakStream(key string) {
	f, err := os.OpenFile(p.streamPath(key), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return // as in write
	}
	_, _ = io.WriteString(f, "Error: the platform ended before the release phase did\n")
	_ = f.Close()
}

func (s *stream) state() (started, done bool, size int64, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.file != nil, s.done, s.size, s.changed
}

var streamKey = regexp.MustCompile(`^[0-9a-f]{40}$`)

// serveStream sends the output of a release phase as it comes, to its end: as text, or as
// events whose ids are the byte at which the next one begins. It is 404 until there is some. A
// Range of bytes or a Last-Event-Id resumes it. The address is the credential.
func (p *Platform) serveStream(w http.ResponseWriter, r *http.Request) {
	key := strings.TrimPrefix(r.URL.Path, "/streams/")
	missing := notFound("stream", "Couldn't find that stream.")
	if !streamKey.MatchString(key) {
		writeError(w, missing)
		return
	}
	p.mu.Lock()
	s := p.streams[key]
	p.mu.Unlock()
	if s != nil {
		if started, _, _, _ := s.state(); !started {
			writeError(w, missing)
			return
		}
	}
	f, err := os.Open(p.streamPath(key))
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			missing = err
		}
		writeError(w, missing)
		return
	}
	defer f.Close()
	over, size := true, int64(0)
	if s != nil {
		_, over, size, _ = s.state()
	}
	if over {
		if info, err := f.Stat(); err == nil {
			size = info.Size()
		}
	}
	offset, resumed := resumeAt(r.Header)
	events := strings.Contains(r.Header.Get("Accept"), "text/event-stream")
	h, status := w.Header(), http.StatusOK
	h.Set("Cache-Control", "no-store") // it grows
	switch {
	case resumed && events && over && offset >= size:
		w.WriteHeader(http.StatusNoContent) // which tells a browser's EventSource to stop
		return
	case resumed && over && offset >= size, resumed && offset > size:
		h.Set("Content-Range", fmt.Sprintf("bytes */%d", size))
		writeError(w, &apiError{status: http.StatusRequestedRangeNotSatisfiable, id: "requested_range_not_satisfiable", message: fmt.Sprintf("The output has %d bytes.", size)})
		return
	case resumed && !events:
		status = http.StatusPartialContent
		if over { // else nobody knows its end yet
			h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", offset, size-1, size))
		}
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		writeError(w, err)
		return
	}
	h.Set("Content-Type", "text/plain; charset=utf-8")
	var to io.Writer = w
	if events {
		h.Set("Content-Type", "text/event-stream")
		to = &eventWriter{w: w, at: offset}
	}
	w.WriteHeader(status)
	flusher := http.NewResponseController(w)
	for {
		done, changed := true, (<-chan struct{})(nil)
		if s != nil {
			_, done, _, changed = s.state()
		}
		// What was written before the state was read is in the file now.
		if _, err := io.Copy(to, f); err != nil || flusher.Flush() != nil || done {
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		case <-p.run.Done():
			return
		}
	}
}

// resumeAt is the byte from which a client goes on: `Range: bytes=N-`, or the id of the last
// event that it got. Other ranges are ignored, as HTTP permits.
func resumeAt(h http.Header) (offset int64, resumed bool) {
	text, bytes := strings.CutPrefix(strings.ReplaceAll(h.Get("Range"), " ", ""), "bytes=")
	if bytes {
		text, bytes = strings.CutSuffix(text, "-")
	}
	if !bytes {
		text = h.Get("Last-Event-Id")
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return max(n, 0), err == nil && n > 0
}

// eventWriter turns lines into events.
type eventWriter struct {
	w    io.Writer
	at   int64
	line []byte // without its end so far
}

func (e *eventWriter) Write(b []byte) (int, error) {
	n := len(b)
	for {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			e.line = append(e.line, b...)
			return n, nil
		}
		e.line = append(e.line, b[:i]...)
		e.at += int64(len(e.line)) + 1
		if _, err := fmt.Fprintf(e.w, "id: %d\ndata: %s\n\n", e.at, printable(string(e.line))); err != nil {
			return 0, err
		}
		e.line, b = e.line[:0], b[i+1:]
	}
}
