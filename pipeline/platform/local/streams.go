package local

import (
	"errors"
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
	if s.done || s.size > outputLimit || s.open() != nil {
		return
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

func (s *stream) state() (started, done bool, size int64, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.file != nil, s.done, s.size, s.changed
}

var streamKey = regexp.MustCompile(`^[0-9a-f]{40}$`)

// serveStream sends the output of a release phase as it comes, to its end. It is 404 until
// there is some. A Range of bytes resumes it. The address is the credential.
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
	status := http.StatusOK
	from, resumed := strings.CutPrefix(r.Header.Get("Range"), "bytes=")
	if offset, err := strconv.ParseInt(strings.TrimSuffix(from, "-"), 10, 64); resumed && err == nil && offset > 0 {
		if _, err := f.Seek(offset, io.SeekStart); err == nil {
			status = http.StatusPartialContent
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	flusher := http.NewResponseController(w)
	for {
		done, changed := true, (<-chan struct{})(nil)
		if s != nil {
			_, done, _, changed = s.state()
		}
		// What was written before the state was read is in the file now.
		if _, err := io.Copy(w, f); err != nil || flusher.Flush() != nil || done {
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
