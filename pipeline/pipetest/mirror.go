package pipetest

import (
	"bytes"
	"compress/gzip"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/digest"
)

// MirrorServer is a file server on loopback that remembers its requests and can be told to
// misbehave, one request at a time.
type MirrorServer struct {
	// URL is its address, without a final slash.
	URL string

	server      *httptest.Server
	ignoreRange bool
	noETag      bool
	addr        string
	tls         bool

	mu       sync.Mutex
	files    map[string][]byte
	faults   map[string][]Fault
	requests []MirrorRequest
}

// MirrorRequest is one request as it arrived.
type MirrorRequest struct {
	Method, Host, Path, Query string
	Header                    http.Header
}

// MirrorOption changes a Mirror.
type MirrorOption func(*MirrorServer)

// WithTLS serves https, with a certificate for 127.0.0.1 that CertPool trusts.
func WithTLS() MirrorOption { return func(m *MirrorServer) { m.tls = true } }

// WithAddress listens on another loopback address, such as 127.0.0.2. The test is skipped
// where this machine does not have it.
func WithAddress(ip string) MirrorOption { return func(m *MirrorServer) { m.addr = ip } }

// WithoutRange ignores Range headers, as simple servers do.
func WithoutRange() MirrorOption { return func(m *MirrorServer) { m.ignoreRange = true } }

// WithoutETag sends no ETag, so that no download can be resumed.
func WithoutETag() MirrorOption { return func(m *MirrorServer) { m.noETag = true } }

// Mirror serves files, by their path with a leading slash, until the test ends. Without
// faults it knows ETag, Range and If-Range.
func Mirror(t testing.TB, files map[string][]byte, options ...MirrorOption) *MirrorServer {
	t.Helper()
	m := &MirrorServer{addr: "127.0.0.1", files: map[string][]byte{}, faults: map[string][]Fault{}}
	for path, body := range files {
		m.files[path] = body
	}
	for _, o := range options {
		o(m)
	}
	l, err := net.Listen("tcp", net.JoinHostPort(m.addr, "0"))
	if err != nil {
		if m.addr != "127.0.0.1" {
			t.Skipf("this machine has no address %s: %v", m.addr, err)
		}
		t.Fatal(err)
	}
	m.server = httptest.NewUnstartedServer(http.HandlerFunc(m.serve))
	if err := m.server.Listener.Close(); err != nil {
		t.Fatal(err)
	}
	m.server.Listener = l
	m.server.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that refuse its certificate
	if m.tls {
		m.server.StartTLS()
	} else {
		m.server.Start()
	}
	m.URL = m.server.URL
	t.Cleanup(func() {
		m.server.CloseClientConnections()
		m.server.Close()
	})
	return m
}

// CertPool trusts a server made WithTLS.
func (m *MirrorServer) CertPool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(m.server.Certificate())
	return pool
}

// Put adds or replaces a file.
func (m *MirrorServer) Put(path string, body []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files[path] = body
}

// Fault queues faults for a path: each request takes one, then all is well again. A fault
// wrapped in Always stays.
func (m *MirrorServer) Fault(path string, faults ...Fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults[path] = append(m.faults[path], faults...)
}

// Heal ends all faults of a path.
func (m *MirrorServer) Heal(path string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.faults, path)
}

// Requests are those that came so far, in their order.
func (m *MirrorServer) Requests() []MirrorRequest {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]MirrorRequest(nil), m.requests...)
}

// Count is the number of requests for a path.
func (m *MirrorServer) Count(path string) int {
	n := 0
	for _, r := range m.Requests() {
		if r.Path == path {
			n++
		}
	}
	return n
}

func (m *MirrorServer) serve(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	m.requests = append(m.requests, MirrorRequest{
		Method: r.Method, Host: r.Host, Path: r.URL.Path, Query: r.URL.RawQuery, Header: r.Header.Clone(),
	})
	body, ok := m.files[r.URL.Path]
	tag := fmt.Sprintf("%q", digest.Of(body).Short()) // of the file, whatever a fault makes of it
	var fault Fault
	if queue := m.faults[r.URL.Path]; len(queue) > 0 {
		fault = queue[0]
		if !fault.always {
			m.faults[r.URL.Path] = queue[1:]
		}
	}
	m.mu.Unlock()
	if fault.answer != nil {
		fault.answer(w, r, body)
		return
	}
	if !ok {
		http.NotFound(w, r)
		return
	}
	if fault.body != nil {
		body = fault.body(bytes.Clone(body))
	}
	if fault.writer != nil {
		w = fault.writer(w, r)
	}
	if !m.noETag && w.Header().Get("Etag") == "" {
		w.Header().Set("Etag", tag)
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	if m.ignoreRange {
		r.Header.Del("Range")
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

// Fault is one way in which a server can be wrong.
type Fault struct {
	always bool
	answer func(http.ResponseWriter, *http.Request, []byte)
	body   func([]byte) []byte
	writer func(http.ResponseWriter, *http.Request) http.ResponseWriter
}

// Always keeps a fault for all requests to come.
func Always(f Fault) Fault { f.always = true; return f }

// Status answers with a status and no file. Headers are pairs of name and value.
func Status(code int, headers ...string) Fault {
	return Fault{answer: func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		http.Error(w, http.StatusText(code), code)
	}}
}

// Redirect answers with a redirect.
func Redirect(code int, to string) Fault { return Status(code, "Location", to) }

// HTML answers 200 with a web page, as captive portals do.
func HTML() Fault {
	return Fault{answer: func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, "<!DOCTYPE html><title>Log in</title><p>Please log in to use this network.")
	}}
}

// Flip changes the byte at an offset of the file.
func Flip(offset int) Fault {
	return Fault{body: func(b []byte) []byte { b[offset] ^= 1; return b }}
}

// Truncated serves the first n bytes as if they were all.
func Truncated(n int) Fault { return Fault{body: func(b []byte) []byte { return b[:n] }} }

// Cut closes the connection in an orderly way after n bytes of the body.
func Cut(n int) Fault {
	return Fault{writer: cutter(n, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })}
}

// Reset resets the connection after n bytes of the body.
func Reset(n int) Fault {
	return Fault{writer: cutter(n, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			if tcp, ok := conn.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0) // then Close sends a reset, else it is a plain cut
			}
			_ = conn.Close()
		}
		panic(http.ErrAbortHandler)
	})}
}

// Stall sends n bytes of the body and then nothing, until the client leaves.
func Stall(n int) Fault {
	return Fault{writer: cutter(n, func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	})}
}

// Slow sends one byte each pause.
func Slow(pause time.Duration) Fault {
	return Fault{writer: func(w http.ResponseWriter, r *http.Request) http.ResponseWriter {
		return &slowWriter{ResponseWriter: w, r: r, pause: pause}
	}}
}

// NoLength sends the file in chunks, without a Content-Length.
func NoLength() Fault {
	return Fault{answer: func(w http.ResponseWriter, _ *http.Request, body []byte) {
		half := len(body) / 2
		_, _ = w.Write(body[:half]) // the client may be gone
		_ = http.NewResponseController(w).Flush()
		_, _ = w.Write(body[half:])
	}}
}

// Length says a Content-Length of n, whatever the file's is, and then sends the file.
func Length(n int64) Fault {
	return Fault{answer: func(w http.ResponseWriter, _ *http.Request, body []byte) {
		w.Header().Set("Content-Length", fmt.Sprint(n))
		_, _ = w.Write(body[:min(int64(len(body)), n)]) // what is missing ends as a cut
	}}
}

// Gzip compresses the file on the way and says so in Content-Encoding.
func Gzip() Fault {
	return Fault{answer: func(w http.ResponseWriter, _ *http.Request, body []byte) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = z.Write(body)
		_ = z.Close()
	}}
}

// ETag serves the file under another tag.
func ETag(tag string) Fault {
	return Fault{writer: func(w http.ResponseWriter, _ *http.Request) http.ResponseWriter {
		w.Header().Set("Etag", tag)
		return w
	}}
}

// CutETag is Cut with a tag.
func CutETag(n int, tag string) Fault {
	cut := Cut(n)
	return Fault{writer: func(w http.ResponseWriter, r *http.Request) http.ResponseWriter {
		w.Header().Set("Etag", tag)
		return cut.writer(w, r)
	}}
}

// FlipTail changes the last byte, and keeps the tag: a resumed part that is not of the same file.
func FlipTail() Fault {
	return Fault{body: func(b []byte) []byte { b[len(b)-1] ^= 1; return b }}
}

// Sums is a checksum file for the served files, such as SHASUMS256.txt: every path's last
// component, in the order given.
func Sums(files map[string][]byte, paths ...string) []byte {
	var b strings.Builder
	for _, p := range paths {
		fmt.Fprintf(&b, "%s  %s\n", digest.Of(files[p]), p[strings.LastIndexByte(p, '/')+1:])
	}
	return []byte(b.String())
}

func cutter(n int, then func(http.ResponseWriter, *http.Request)) func(http.ResponseWriter, *http.Request) http.ResponseWriter {
	return func(w http.ResponseWriter, r *http.Request) http.ResponseWriter {
		return &cutWriter{ResponseWriter: w, r: r, left: n, then: then}
	}
}

type cutWriter struct {
	http.ResponseWriter
	r    *http.Request
	left int
	then func(http.ResponseWriter, *http.Request)
}

func (w *cutWriter) Write(p []byte) (int, error) {
	if len(p) < w.left {
		w.left -= len(p)
		return w.ResponseWriter.Write(p)
	}
	_, _ = w.ResponseWriter.Write(p[:w.left]) // the client may be gone
	_ = http.NewResponseController(w.ResponseWriter).Flush()
	w.then(w.ResponseWriter, w.r)
	return 0, http.ErrAbortHandler
}

type slowWriter struct {
	http.ResponseWriter
	r     *http.Request
	pause time.Duration
}

func (w *slowWriter) Write(p []byte) (int, error) {
	for i := range p {
		if _, err := w.ResponseWriter.Write(p[i : i+1]); err != nil {
			return i, err
		}
		_ = http.NewResponseController(w.ResponseWriter).Flush()
		select {
		case <-w.r.Context().Done():
			return i + 1, w.r.Context().Err()
		case <-time.After(w.pause):
		}
	}
	return len(p), nil
}
