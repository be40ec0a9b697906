package heroku

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/transport"
)

// Caps on what is read of an answer, so that a wrong or hostile server cannot fill memory.
const (
	maxJSON  = 8 << 20
	maxError = 64 << 10
	maxPages = 1000
)

// again says when a request may be sent a second time.
type again int

const (
	// always: a second request does no harm.
	always again = iota
	// unsent: only while the first cannot have arrived, or was refused for the moment.
	unsent
)

// call is one request of the API.
type call struct {
	op           string // for messages
	method, path string
	rangeHeader  string
	in, out      any
	again        again
	check        func() error // looks at out; nil accepts everything
}

// hasID is the check of answers that later calls build on.
func hasID(id *string) func() error {
	return func() error {
		if *id == "" {
			return errors.New("it has no id")
		}
		return nil
	}
}

// do sends a request as often as its rule allows and decodes the answer into call.out. It returns the
// headers of the answer.
func (c *Client) do(ctx context.Context, k call) (http.Header, error) {
	if c.baseErr != nil {
		return nil, c.baseErr
	}
	var body []byte
	if k.in != nil {
		b, err := json.Marshal(k.in)
		if err != nil {
			return nil, fmt.Errorf("%s: encode request: %w", k.op, err)
		}
		body = b
	}
	var header http.Header
	err := c.o.Backoff.Retry(ctx, c.notify(k.op), func(int) error {
		h, err := c.once(ctx, k, body)
		header = h
		return err
	})
	return header, err
}

func (c *Client) notify(op string) func(int, time.Duration, error) {
	return func(attempt int, wait time.Duration, err error) {
		if c.o.Retry != nil {
			c.o.Retry(op, attempt, wait, err)
		}
	}
}

// once sends one request. Errors that must not be tried again are marked Permanent.
func (c *Client) once(ctx context.Context, k call, body []byte) (http.Header, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.o.AnswerTimeout, c.late())
	defer cancel()
	// From the moment that a connection is ours, bytes may have left. Before it, that is
	// while dialling or during the TLS handshake, nothing has.
	var got atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { got.Store(true) }})

	if k.again == unsent {
		// A connection that idled during the upload may be closed by now, which shows only
		// after the request is written, and then nobody knows whether it arrived.
		c.api.CloseIdleConnections()
	}
	address := c.base.String() + k.path
	req, err := http.NewRequestWithContext(ctx, k.method, address, bytes.NewReader(body))
	if err != nil {
		return nil, transport.Permanent(transport.Error(k.method, address, err))
	}
	if k.in == nil {
		req.Body, req.GetBody, req.ContentLength = nil, nil, 0
	} else {
		req.Header.Set("Content-Type", "application/json")
	}
	sent := requestID()
	req.Header.Set("Accept", "application/vnd.heroku+json; version=3")
	req.Header.Set("User-Agent", c.o.UserAgent)
	req.Header.Set("Request-Id", sent)
	if k.rangeHeader != "" {
		req.Header.Set("Range", k.rangeHeader)
	}
	c.authorize(req)

	resp, err := c.api.Do(req)
	if err != nil {
		return nil, k.undelivered(transport.Error(k.method, address, err), got.Load())
	}
	defer func() { _ = resp.Body.Close() }() // the answer is read or given up by now
	c.warn(resp.Header)

	if resp.StatusCode/100 != 2 {
		return nil, k.refused(answerError(k.op, resp, sent), resp)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxJSON+1))
	if err != nil {
		return nil, k.undelivered(transport.Error(k.method, address, fmt.Errorf("read answer: %w", err)), true)
	}
	if len(b) > maxJSON {
		return nil, k.unreadable(fmt.Errorf("%s: the answer is larger than %d MiB", k.op, maxJSON>>20))
	}
	err = json.Unmarshal(b, k.out)
	if err == nil && k.check != nil {
		err = k.check()
	}
	if err != nil {
		what := "is not the JSON that was expected"
		if t, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); t != "" && t != "application/json" {
			what = fmt.Sprintf("is %s, not JSON", t)
		}
		return nil, k.unreadable(fmt.Errorf("%s: the answer %s: %w", k.op, what, err))
	}
	return resp.Header, nil
}

// late is the cause of an attempt that took too long.
func (c *Client) late() error {
	return fmt.Errorf("no whole answer within %s: %w", c.o.AnswerTimeout, context.DeadlineExceeded)
}

// undelivered decides about a request that got no whole answer.
func (k call) undelivered(err error, sent bool) error {
	err = fmt.Errorf("%s: %w", k.op, err)
	if k.again == unsent && sent {
		return transport.Permanent(fmt.Errorf("%w: %w", platform.ErrAmbiguous, err))
	}
	if certificateFault(err) {
		return transport.Permanent(err)
	}
	return err
}

// unreadable decides about an answer that says yes and cannot be understood.
func (k call) unreadable(err error) error {
	if k.again == unsent {
		err = fmt.Errorf("%w: %w", platform.ErrAmbiguous, err)
	}
	return transport.Permanent(err)
}

// refused decides about an answer outside 2xx.
func (k call) refused(err *platform.Error, resp *http.Response) error {
	switch status := resp.StatusCode; {
	case status == http.StatusTooManyRequests:
		if resp.Header.Get("Retry-After") != "" && err.RetryAfter > 0 {
			return &transport.RetryAfterError{Err: err, After: err.RetryAfter}
		}
		return err
	case status/100 == 4:
		return transport.Permanent(err)
	case k.again == unsent:
		// Not 2xx and not 4xx says nothing about whether the platform acted.
		return transport.Permanent(fmt.Errorf("%w: %w", platform.ErrAmbiguous, err))
	case status/100 == 5:
		if err.RetryAfter > 0 {
			return &transport.RetryAfterError{Err: err, After: err.RetryAfter}
		}
		return err
	}
	return transport.Permanent(err)
}

// certificateFault reports faults of TLS that another attempt does not mend.
func certificateFault(err error) bool {
	var verify *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	return errors.As(err, &verify) || errors.As(err, &authority) || errors.As(err, &host) ||
		errors.As(err, &invalid) || errors.As(err, &record) || errors.As(err, &alert)
}

// answerError reads the body of an answer that is not 2xx, at most maxError bytes of it.
func answerError(op string, resp *http.Response, sent string) *platform.Error {
	e := &platform.Error{Op: op, Status: resp.StatusCode, RequestID: clean(resp.Header.Get("Request-Id"), 200)}
	if e.RequestID == "" {
		e.RequestID = sent
	}
	if after, ok := transport.ParseRetryAfter(resp.Header.Get("Retry-After"), time.Now()); ok {
		e.RetryAfter = after
	}
	if resp.StatusCode/100 == 3 {
		e.Message = fmt.Sprintf("HTTP status %d sends the request elsewhere, and redirects of the API are not followed", resp.StatusCode)
		return e
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxError))
	var body struct {
		ID      string `json:"id"`
		Message string `json:"message"`
	}
	if err != nil || json.Unmarshal(b, &body) != nil || body.ID == "" && body.Message == "" {
		e.Message = fmt.Sprintf("HTTP status %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
		return e
	}
	e.ID, e.Message = clean(body.ID, 100), clean(body.Message, 1000)
	return e
}

// clean makes a server's text fit for one line of a message: no control or direction
// characters, no signed addresses, no more than limit bytes.
func clean(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Bidi_Control, r):
			return -1
		case unicode.IsControl(r):
			return ' '
		}
		return r
	}, transport.StripURLs(s))
	s = strings.TrimSpace(s)
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return s
}

func (c *Client) warn(h http.Header) {
	if c.o.Warn == nil {
		return
	}
	for _, name := range []string{"X-Heroku-Warning", "Warning-Message"} {
		if text := clean(h.Get(name), 1000); text != "" {
			c.o.Warn(text)
		}
	}
}

// requestID is a random UUID (RFC 9562, version 4). It is for tracing only.
func requestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, by its documentation
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// list reads a list page by page. With field set, it is ordered by it, highest first.
func list[T any](ctx context.Context, c *Client, op, path, field string, limit int) ([]T, error) {
	page := 1000 // the largest that the platform gives
	if limit > 0 {
		page = min(page, limit)
	}
	ask := ""
	if field != "" {
		ask = field + " ..; max=" + strconv.Itoa(page) + ", order=desc"
	}
	all := []T{}
	for range maxPages {
		var items []T
		h, err := c.do(ctx, call{op: op, method: "GET", path: path, rangeHeader: ask, again: always, out: &items})
		if err != nil {
			return nil, err
		}
		all = append(all, items...)
		if limit > 0 && len(all) >= limit {
			return slices.Clip(all[:limit]), nil
		}
		next := h.Get("Next-Range")
		if next == "" {
			return all, nil
		}
		if next == ask {
			return nil, fmt.Errorf("%s: the platform sends the same page again", op)
		}
		ask = next
	}
	return nil, fmt.Errorf("%s: more than %d pages", op, maxPages)
}
