package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Fault is what goes wrong with one request. The fields combine: a fault may wait, act, and
// then cut the connection.
type Fault struct {
	// Delay comes before everything else.
	Delay time.Duration
	// Status is answered instead of acting; 0 acts.
	Status int
	// RetryAfter goes with Status, in the header of that name; 0 sends none.
	RetryAfter time.Duration
	// ResetRequest cuts the connection after that many bytes of the request's body.
	ResetRequest *int64
	// ResetResponse cuts it after that many bytes of the answer's body.
	ResetResponse *int64
	// DropAnswer acts and then cuts the connection without a byte of answer.
	DropAnswer bool
	// Late, with DropAnswer, acts only that long after the connection was cut.
	Late time.Duration
}

// FaultRule is a fault for the next Times requests that match. It is also the JSON of the
// /_fault endpoint: POST one rule or a list, GET what is left, DELETE to clear.
type FaultRule struct {
	// Listener is api or blob; empty is both.
	Listener string `json:"listener,omitempty"`
	// Method is empty for every method.
	Method string `json:"method,omitempty"`
	// Path is the beginning of the path; "*" stands for one component.
	Path string `json:"path,omitempty"`
	// Skip lets that many matching requests pass first.
	Skip int `json:"skip,omitempty"`
	// Times is how many requests it hits; 0 is one, below zero is all.
	Times              int    `json:"times,omitempty"`
	DelayMS            int64  `json:"delay_ms,omitempty"`
	Status             int    `json:"status,omitempty"`
	RetryAfterSeconds  int64  `json:"retry_after_s,omitempty"`
	ResetRequestAfter  *int64 `json:"reset_request_after,omitempty"`
	ResetResponseAfter *int64 `json:"reset_response_after,omitempty"`
	DropAnswer         bool   `json:"drop_answer,omitempty"`
	LateMS             int64  `json:"late_ms,omitempty"`
}

func (r FaultRule) fault() *Fault {
	return &Fault{
		Delay: time.Duration(r.DelayMS) * time.Millisecond, Status: r.Status,
		RetryAfter:   time.Duration(r.RetryAfterSeconds) * time.Second,
		ResetRequest: r.ResetRequestAfter, ResetResponse: r.ResetResponseAfter,
		DropAnswer: r.DropAnswer, Late: time.Duration(r.LateMS) * time.Millisecond,
	}
}

func (r FaultRule) matches(listener string, req *http.Request) bool {
	if r.Listener != "" && r.Listener != listener || r.Method != "" && !strings.EqualFold(r.Method, req.Method) {
		return false
	}
	want, have := strings.Split(r.Path, "/"), strings.Split(req.URL.Path, "/")
	if len(want) > len(have) {
		return false
	}
	for i, part := range want {
		if part == "*" {
			continue
		}
		// The last part is a prefix, unless it closes with a slash.
		if i == len(want)-1 && !strings.HasPrefix(have[i], part) || i < len(want)-1 && have[i] != part {
			return false
		}
	}
	return true
}

// The names of the listeners in rules.
const (
	listenerAPI  = "api"
	listenerBlob = "blob"
)

// faults holds the rules and the hook of the options.
type faults struct {
	hook func(*http.Request) *Fault

	mu    sync.Mutex
	rules []FaultRule
}

// pick finds the fault of a request: rules in their order, then the hook.
func (f *faults) pick(listener string, r *http.Request) *Fault {
	f.mu.Lock()
	for i := range f.rules {
		rule := &f.rules[i]
		if !rule.matches(listener, r) {
			continue
		}
		if rule.Skip > 0 {
			rule.Skip--
			continue
		}
		fault := rule.fault()
		if rule.Times > 0 {
			if rule.Times--; rule.Times == 0 {
				f.rules = append(f.rules[:i:i], f.rules[i+1:]...)
			}
		}
		f.mu.Unlock()
		return fault
	}
	f.mu.Unlock()
	if f.hook != nil {
		return f.hook(r)
	}
	return nil
}

// InjectFault adds rules as the /_fault endpoint does.
func (p *Platform) InjectFault(rules ...FaultRule) {
	p.faults.mu.Lock()
	defer p.faults.mu.Unlock()
	for _, r := range rules {
		if r.Times == 0 {
			r.Times = 1
		}
		p.faults.rules = append(p.faults.rules, r)
	}
}

// serveFaults is the /_fault endpoint.
func (p *Platform) serveFaults(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodPost:
		text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			writeError(w, err)
			return
		}
		if text = bytes.TrimSpace(text); !bytes.HasPrefix(text, []byte("[")) {
			text = append(append([]byte("["), text...), ']')
		}
		var rules []FaultRule
		d := json.NewDecoder(bytes.NewReader(text))
		d.DisallowUnknownFields()
		if err := d.Decode(&rules); err != nil {
			writeError(w, invalid("%s", err))
			return
		}
		p.InjectFault(rules...)
	case http.MethodDelete:
		p.faults.mu.Lock()
		p.faults.rules = nil
		p.faults.mu.Unlock()
	case http.MethodGet:
	default:
		writeError(w, notFound("", "The requested API endpoint was not found."))
		return
	}
	p.faults.mu.Lock()
	left := append([]FaultRule{}, p.faults.rules...)
	p.faults.mu.Unlock()
	writeJSON(w, r, answer{http.StatusOK, left})
}

// connKey finds the connection of a request.
type connKey struct{}

// cut ends the connection of a request with a reset, as a failing network does. It does not
// return.
func cut(r *http.Request) {
	if c, ok := r.Context().Value(connKey{}).(net.Conn); ok {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // without it the close would be an orderly one
		}
		_ = c.Close()
	}
	panic(http.ErrAbortHandler)
}

func (f *faults) wrap(listener string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fault := f.pick(listener, r)
		if fault == nil {
			next.ServeHTTP(w, r)
			return
		}
		if fault.Delay > 0 {
			select {
			case <-time.After(fault.Delay):
			case <-r.Context().Done():
				panic(http.ErrAbortHandler)
			}
		}
		if fault.ResetRequest != nil {
			r.Body = &cutReader{body: r.Body, left: *fault.ResetRequest, r: r}
		}
		switch {
		case fault.Status != 0:
			answerFault(w, listener, fault)
		case fault.DropAnswer && fault.Late > 0:
			actLate(next, r, fault.Late)
		case fault.DropAnswer:
			next.ServeHTTP(&nowhere{header: http.Header{}}, r)
			cut(r)
		case fault.ResetResponse != nil:
			next.ServeHTTP(&cutWriter{ResponseWriter: w, left: *fault.ResetResponse, r: r}, r)
			cut(r)
		default:
			next.ServeHTTP(w, r)
		}
		if fault.ResetRequest != nil {
			cut(r) // the body ended, or was not read, before the byte was reached
		}
	})
}

func answerFault(w http.ResponseWriter, listener string, fault *Fault) {
	if listener == listenerBlob {
		message := "injected fault"
		if fault.Status == http.StatusForbidden {
			message = "Request has expired"
		}
		blobError(w, fault.Status, "AccessDenied", message)
		return
	}
	id := map[int]string{
		http.StatusUnauthorized: "unauthorized", http.StatusForbidden: "forbidden", http.StatusNotFound: "not_found",
		http.StatusConflict: "conflict", http.StatusUnprocessableEntity: "invalid_params", http.StatusTooManyRequests: "rate_limit",
	}[fault.Status]
	if id == "" {
		id = "internal_server_error"
	}
	writeError(w, &apiError{status: fault.Status, id: id, message: "An injected fault.", after: fault.RetryAfter})
}

// actLate cuts the connection now and acts on the request later.
func actLate(next http.Handler, r *http.Request, after time.Duration) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err == nil {
		late := r.Clone(context.WithoutCancel(r.Context()))
		late.Body = io.NopCloser(bytes.NewReader(body))
		time.AfterFunc(after, func() {
			// A handler that cuts its own connection has nothing left to cut.
			defer func() {
				v := recover()
				if err, isErr := v.(error); v != nil && (!isErr || !errors.Is(err, http.ErrAbortHandler)) {
					panic(v)
				}
			}()
			next.ServeHTTP(&nowhere{header: http.Header{}}, late)
		})
	}
	cut(r)
}

// nowhere is an answer that nobody reads.
type nowhere struct{ header http.Header }

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (n *nowhere) WriteHeader(int)             {}

type cutReader struct {
	body io.ReadCloser
	left int64
	r    *http.Request
}

func (c *cutReader) Read(b []byte) (int, error) {
	if c.left <= 0 {
		cut(c.r)
	}
	n, err := c.body.Read(b[:min(int64(len(b)), c.left)])
	c.left -= int64(n)
	return n, err
}

func (c *cutReader) Close() error { return c.body.Close() }

type cutWriter struct {
	http.ResponseWriter
	left int64
	r    *http.Request
}

func (c *cutWriter) Write(b []byte) (int, error) {
	n := min(int64(len(b)), c.left)
	if _, err := c.ResponseWriter.Write(b[:n]); err != nil {
		return 0, err
	}
	c.left -= n
	if c.left <= 0 {
		_ = http.NewResponseController(c.ResponseWriter).Flush() // what cannot be flushed is cut too
		cut(c.r)
	}
	return int(n), nil
}

// Unwrap lets streams be flushed.
func (c *cutWriter) Unwrap() http.ResponseWriter { return c.ResponseWriter }
