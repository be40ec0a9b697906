package heroku

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/transport"
)

// maxHops is how many 307 answers a PUT follows: stores send a new bucket's clients to its region.
const maxHops = 5

// expectAbove is the size from which the store is asked before the body is sent, so that a refusal is
// read instead of a broken connection.
const expectAbove = 64 << 10

// uploadTotal limits the attempts of one upload as a whole; each may take long on a slow line.
const uploadTotal = time.Hour

// PutBlob sends size bytes of body to a signed address, without credentials. Every attempt
// begins at byte 0, since a signed PUT cannot be resumed.
func (c *Client) PutBlob(ctx context.Context, to platform.Blob, body io.ReaderAt, size int64, progress func(int64)) error {
	u, err := blobURL(to, http.MethodPut)
	if err != nil {
		return err
	}
	op := "upload slug to " + u.Host
	if progress == nil {
		progress = func(int64) {}
	}
	b := c.o.Backoff
	b.Total = max(b.Total, uploadTotal)
	expect := size > expectAbove
	return b.Retry(ctx, c.notify(op), func(int) error {
		at := u
		for range maxHops {
			resp, err := c.put(ctx, op, at, body, size, expect, progress)
			if err != nil {
				return err
			}
			switch {
			case resp.next != nil:
				at = resp.next
			case resp.unexpected:
				expect = false
				return fmt.Errorf("%s: the store takes no Expect header", op)
			default:
				return nil
			}
		}
		return transport.Permanent(fmt.Errorf("%s: more than %d redirects", op, maxHops))
	})
}

// putAnswer says how a PUT goes on; the zero value means that the store took the bytes.
type putAnswer struct {
	next       *url.URL // 307: the same there
	unexpected bool     // 417: the same without Expect
}

func (c *Client) put(ctx context.Context, op string, u *url.URL, from io.ReaderAt, size int64, expect bool, progress func(int64)) (putAnswer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	progress(0)
	s := &sending{r: io.NewSectionReader(from, 0, size), size: size, progress: progress, idle: c.o.IdleTimeout}
	s.watch = time.AfterFunc(s.idle, func() {
		cancel(fmt.Errorf("%w: nothing was sent for %s", transport.ErrStalled, s.idle))
	})
	defer s.stop()

	req, err := http.NewRequestWithContext(ctx, http.MethodPut, u.String(), nil)
	if err != nil {
		return putAnswer{}, transport.Permanent(transport.Error("PUT", hostOnly(u), err))
	}
	req.Header.Set("User-Agent", c.o.UserAgent)
	if expect {
		req.Header.Set("Expect", "100-continue")
	}
	req.ContentLength = size
	// net/http asks for the body again when an idle connection turns out to be closed.
	req.GetBody = func() (io.ReadCloser, error) { return s.rewind(), nil }
	req.Body = s
	if size == 0 {
		req.Body = http.NoBody
	}
	resp, err := c.blob.Do(req)
	if err != nil {
		if fault := s.fault(); fault != nil {
			return putAnswer{}, transport.Permanent(fmt.Errorf("%s: read slug: %w", op, fault))
		}
		if cause := context.Cause(ctx); errors.Is(cause, transport.ErrStalled) {
			err = cause
		}
		err = fmt.Errorf("%s: %w", op, transport.Error("PUT", u.String(), err))
		if certificateFault(err) {
			err = transport.Permanent(err)
		}
		return putAnswer{}, err
	}
	defer func() { _ = resp.Body.Close() }() // only a refusal's body is of use, and it is read below
	switch status := resp.StatusCode; {
	case status/100 == 2:
		return putAnswer{}, nil
	case status == http.StatusTemporaryRedirect:
		next, err := redirect(u, resp.Header.Get("Location"))
		if err != nil {
			return putAnswer{}, transport.Permanent(fmt.Errorf("%s: %w", op, err))
		}
		c.learn(next.String())
		return putAnswer{next: next}, nil
	case status == http.StatusExpectationFailed && expect:
		return putAnswer{unexpected: true}, nil
	}
	return putAnswer{}, retryable(blobError(op, u, resp), resp)
}

// redirect checks where a 307 sends the body: as far as the address it came from may go, and never from
// https to http.
func redirect(from *url.URL, location string) (*url.URL, error) {
	next, err := from.Parse(location)
	if err != nil || location == "" {
		return nil, errors.New("the store redirects to an address that cannot be read")
	}
	if next.User != nil {
		return nil, fmt.Errorf("the store redirects to %s with credentials in the address", next.Host)
	}
	if err := allowed(next); err != nil {
		return nil, fmt.Errorf("the store redirects: %w", err)
	}
	if from.Scheme == "https" && next.Scheme != "https" {
		return nil, fmt.Errorf("the store redirects from https to %s", hostOnly(next))
	}
	return next, nil
}

// retryable marks what another attempt does not mend.
func retryable(err error, resp *http.Response) error {
	switch status := resp.StatusCode; {
	case status == http.StatusRequestTimeout, status == http.StatusTooManyRequests, status/100 == 5:
		if after, ok := transport.ParseRetryAfter(resp.Header.Get("Retry-After"), time.Now()); ok && after > 0 {
			return &transport.RetryAfterError{Err: err, After: after}
		}
		return err
	}
	return transport.Permanent(err)
}

// blobURL parses the address of a blob without ever printing more than its host.
func blobURL(b platform.Blob, method string) (*url.URL, error) {
	if m := strings.ToUpper(b.Method); m != method && m != "" {
		return nil, fmt.Errorf("the platform names the method %q for the blob, not %s", clean(m, 20), method)
	}
	u, err := url.Parse(b.URL)
	if err != nil || b.URL == "" {
		return nil, errors.New("the platform gave no address for the blob that can be read")
	}
	if err := allowed(u); err != nil {
		return nil, fmt.Errorf("address of the blob: %w", err)
	}
	// The address is the credential; net/http would turn user information into a header.
	u.User = nil
	return u, nil
}

// blobError reads a refusal of the store: S3's XML, or a line of text.
func blobError(op string, u *url.URL, resp *http.Response) *platform.BlobError {
	e := &platform.BlobError{Op: op, Status: resp.StatusCode, RequestID: clean(resp.Header.Get("X-Amz-Request-Id"), 200)}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxError))
	if err != nil {
		b = nil // the status alone must do
	}
	var x struct {
		Code    string `xml:"Code"`
		Message string `xml:"Message"`
	}
	if xml.Unmarshal(b, &x) == nil {
		e.Code, e.Message = clean(x.Code, 100), clean(x.Message, 500)
	} else if t := resp.Header.Get("Content-Type"); strings.HasPrefix(t, "text/plain") || strings.HasPrefix(t, "application/json") {
		e.Message = clean(string(b), 500)
	}
	e.Expired = resp.StatusCode == http.StatusForbidden && (expiredText(e.Code+" "+e.Message) || expiredURL(u, time.Now()))
	return e
}

// expiredText knows "Request has expired" of S3 and its likes, and "ExpiredToken".
func expiredText(s string) bool { return strings.Contains(strings.ToLower(s), "expired") }

// expiredURL reads the end of life that a signed address names itself.
func expiredURL(u *url.URL, now time.Time) bool {
	q := u.Query()
	if at, err := time.Parse("20060102T150405Z", q.Get("X-Amz-Date")); err == nil {
		secs, err := strconv.ParseInt(q.Get("X-Amz-Expires"), 10, 32)
		return err == nil && now.After(at.Add(time.Duration(secs)*time.Second))
	}
	if secs, err := strconv.ParseInt(q.Get("Expires"), 10, 64); err == nil {
		return now.After(time.Unix(secs, 0))
	}
	return false
}

// StatBlob asks for the first byte of a blob, which tells the size of the whole. A store that
// ignores Range tells it by Content-Length; its body is not read.
func (c *Client) StatBlob(ctx context.Context, from platform.Blob) (platform.BlobInfo, error) {
	u, err := blobURL(from, http.MethodGet)
	if err != nil {
		return platform.BlobInfo{}, err
	}
	op := "check slug at " + u.Host
	var info platform.BlobInfo
	err = c.o.Backoff.Retry(ctx, c.notify(op), func(int) error {
		ctx, cancel := context.WithTimeoutCause(ctx, c.o.AnswerTimeout, c.late())
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
		if err != nil {
			return transport.Permanent(transport.Error("GET", hostOnly(u), err))
		}
		req.Header.Set("User-Agent", c.o.UserAgent)
		req.Header.Set("Accept-Encoding", "identity")
		req.Header.Set("Range", "bytes=0-0")
		resp, err := c.blob.Do(req)
		if err != nil {
			err = fmt.Errorf("%s: %w", op, transport.Error("GET", u.String(), err))
			if certificateFault(err) {
				err = transport.Permanent(err)
			}
			return err
		}
		defer func() { _ = resp.Body.Close() }() // nothing of it is needed
		info = platform.BlobInfo{Size: -1, ETag: etag(resp.Header)}
		switch resp.StatusCode {
		case http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable:
			// 416 with "bytes */0" is how an empty blob answers.
			_, total, _ := strings.Cut(resp.Header.Get("Content-Range"), "/")
			if n, err := strconv.ParseInt(total, 10, 64); err == nil && n >= 0 {
				info.Size = n
			}
			return nil
		case http.StatusOK:
			info.Size = resp.ContentLength
			return nil
		}
		return retryable(blobError(op, u, resp), resp)
	})
	if err != nil {
		return platform.BlobInfo{}, err
	}
	return info, nil
}

// etag leaves out what is known to be no MD5 of the bytes: with a customer's or a managed key S3
// makes tags that only look like one.
func etag(h http.Header) string {
	if strings.HasPrefix(h.Get("X-Amz-Server-Side-Encryption"), "aws:kms") || h.Get("X-Amz-Server-Side-Encryption-Customer-Algorithm") != "" {
		return ""
	}
	return h.Get("ETag")
}

// ReleaseOutput opens the output of a release phase once, without credentials: the address
// is secret as a whole. Waiting and opening again are for the caller.
func (c *Client) ReleaseOutput(ctx context.Context, r platform.Release) (io.ReadCloser, error) {
	op := fmt.Sprintf("read output of release v%d", r.Version)
	if r.OutputStreamURL == nil || *r.OutputStreamURL == "" {
		return nil, fmt.Errorf("%s: %w: the release has no output", op, platform.ErrNotFound)
	}
	u, err := url.Parse(*r.OutputStreamURL)
	if err != nil {
		return nil, fmt.Errorf("%s: the address cannot be read", op)
	}
	if err := allowed(u); err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	u.User = nil
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, transport.Error("GET", hostOnly(u), err))
	}
	req.Header.Set("User-Agent", c.o.UserAgent)
	req.Header.Set("Accept", "text/plain, */*;q=0.5")
	resp, err := c.blob.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, transport.Error("GET", hostOnly(u), err))
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close() // the status says it all
		return nil, &platform.Error{Op: op, Status: resp.StatusCode}
	}
	return &stream{
		ReadCloser: transport.IdleReader(resp.Body, c.o.IdleTimeout, 0, 0),
		describe:   func(err error) error { return fmt.Errorf("%s: %w", op, transport.Error("GET", hostOnly(u), err)) },
	}, nil
}

// stream describes the errors of a body.
type stream struct {
	io.ReadCloser
	describe func(error) error
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = s.describe(err)
	}
	return n, err
}

// sending is the body of one PUT. After stop it reads nothing any more: net/http may go on
// reading a body for a moment after the request has ended.
type sending struct {
	mu       sync.Mutex
	r        *io.SectionReader
	size, n  int64
	err      error
	stopped  bool
	progress func(int64)
	idle     time.Duration
	watch    *time.Timer
}

var errStopped = errors.New("the attempt has ended")

func (s *sending) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return 0, errStopped
	}
	s.watch.Reset(s.idle)
	n, err := s.r.Read(p)
	s.n += int64(n)
	if n > 0 {
		s.progress(s.n)
	}
	switch {
	case err == io.EOF && s.n < s.size:
		s.err = fmt.Errorf("it ends after %d of %d bytes", s.n, s.size)
		return n, s.err
	case err != nil && err != io.EOF:
		s.err = err
	}
	if s.n >= s.size {
		// From here on the transport's own limit for the answer counts.
		s.watch.Stop()
	}
	return n, err
}

// Close is the end of reading; net/http calls it.
func (s *sending) Close() error { return nil }

func (s *sending) rewind() io.ReadCloser {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = s.r.Seek(0, io.SeekStart) // cannot fail: offset 0 is valid
	s.n = 0
	return s
}

func (s *sending) fault() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *sending) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	s.watch.Stop()
}
