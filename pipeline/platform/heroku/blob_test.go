package heroku_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/platform/heroku"
	"github.com/slugfile/slugfile/pipeline/platform/platformtest"
	"github.com/slugfile/slugfile/pipeline/transport"
)

// stored fails unless the store holds a blob of this size.
func (w *world) stored(t *testing.T, size int64) {
	t.Helper()
	slug, err := w.c.Slug(t.Context(), "example", w.slug.ID)
	if err != nil {
		t.Fatal(err)
	}
	info, err := w.c.StatBlob(t.Context(), slug.Blob)
	if err != nil || info.Size != size {
		t.Errorf("the store has %d bytes, %v; want %d", info.Size, err, size)
	}
}

func TestPutBlob_startsOverAfterAReset(t *testing.T) {
	t.Parallel()
	body := bytes.Repeat([]byte("slug"), 1<<18)
	for _, at := range []int64{0, 1, 512, 64 << 10, int64(len(body)) / 2, int64(len(body)) - 1, int64(len(body))} {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.Fail(func(r platformtest.Request) platformtest.Fault {
				if r.Op == "PUT blob" && r.N <= 3 {
					return platformtest.Fault{Drop: true, ReadFirst: at}
				}
				return platformtest.Fault{}
			})
			var retries int
			c := heroku.New(heroku.Options{BaseURL: w.URL, Token: transport.Secret(w.Token), Backoff: quick,
				Retry: func(op string, _ int, _ time.Duration, err error) {
					retries++
					if strings.Contains(op+err.Error(), "X-Amz") {
						t.Errorf("%s: %v", op, err)
					}
				}})
			var seen []int64
			if err := c.PutBlob(t.Context(), w.slug.Blob, bytes.NewReader(body), int64(len(body)), func(n int64) { seen = append(seen, n) }); err != nil {
				t.Fatal(err)
			}
			w.stored(t, int64(len(body)))
			starts := 0
			for _, n := range seen {
				if n == 0 {
					starts++
				}
			}
			if retries != 2 || starts != 3 || seen[len(seen)-1] != int64(len(body)) {
				t.Errorf("%d retries, %d starts, ended at %d", retries, starts, seen[len(seen)-1])
			}
		})
	}
}

func TestPutBlob_sendsLengthAndNoContentType(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, size := range []int{0, 5, 200_000} {
		if err := w.c.PutBlob(t.Context(), w.slug.Blob, strings.NewReader(strings.Repeat("x", size)), int64(size), nil); err != nil {
			t.Fatal(err)
		}
		puts := w.Requests("PUT blob")
		r := puts[len(puts)-1]
		if _, typed := r.Header["Content-Type"]; r.Length != int64(size) || typed || len(r.Header["Transfer-Encoding"]) > 0 {
			t.Errorf("%d bytes: length %d, headers %v", size, r.Length, r.Header)
		}
		w.stored(t, int64(size))
	}
}

func TestPutBlob_retriesServerErrors(t *testing.T) {
	t.Parallel()
	for _, status := range []int{500, 502, 503, 504, 408, 429} {
		w := newWorld(t)
		w.Fail(func(r platformtest.Request) platformtest.Fault {
			if r.Op == "PUT blob" && r.N <= 3 {
				return platformtest.Fault{Status: status, Body: "<Error><Code>SlowDown</Code></Error>"}
			}
			return platformtest.Fault{}
		})
		if err := w.c.PutBlob(t.Context(), w.slug.Blob, strings.NewReader("again"), 5, nil); err != nil {
			t.Errorf("%d: %v", status, err)
		}
	}
}

func TestPutBlob_tellsExpiredFromForbidden(t *testing.T) {
	t.Parallel()
	past := time.Now().Add(-2 * time.Hour).UTC()
	for name, c := range map[string]struct {
		query, contentType, body string
		expired                  bool
	}{
		"s3 expired":       {"", "application/xml", `<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Request has expired</Message><Expires>x</Expires></Error>`, true},
		"expired token":    {"", "application/xml", `<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>`, true},
		"plain text":       {"", "text/plain; charset=utf-8", "the address has expired\n", true},
		"url says so":      {"&X-Amz-Date=" + past.Format("20060102T150405Z") + "&X-Amz-Expires=3600", "text/html", "<html>no</html>", true},
		"old style url":    {"&Expires=" + strconv.FormatInt(past.Unix(), 10), "", "", true},
		"url still lives":  {"&X-Amz-Date=" + past.Format("20060102T150405Z") + "&X-Amz-Expires=36000", "", "", false},
		"bad signature":    {"", "application/xml", `<Error><Code>SignatureDoesNotMatch</Code><Message>No.</Message><StringToSign>canary</StringToSign></Error>`, false},
		"no word about it": {"", "", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := 0
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				n++
				w.Header().Set("Content-Type", c.contentType)
				w.WriteHeader(http.StatusForbidden)
				_, _ = io.WriteString(w, c.body)
			}))
			t.Cleanup(s.Close)
			cl := heroku.New(heroku.Options{BaseURL: s.URL, Backoff: quick})
			body := bytes.NewReader(make([]byte, 4<<20)) // more than the server reads before it answers
			err := cl.PutBlob(t.Context(), platform.Blob{Method: "PUT", URL: s.URL + "/b?X-Amz-Signature=canary" + c.query}, body, 4<<20, nil)
			if err == nil || errors.Is(err, platform.ErrBlobExpired) != c.expired {
				t.Errorf("%v; expired must be %t", err, c.expired)
			}
			if errors.Is(err, platform.ErrUnauthorized) {
				t.Errorf("%v: counts as missing credentials", err)
			}
			if n != 1 || strings.Contains(fmt.Sprint(err), "canary") {
				t.Errorf("%d requests, error %v", n, err)
			}
		})
	}
}

func TestPutBlob_refusesUnsafeAddresses(t *testing.T) {
	t.Parallel()
	c := heroku.New(heroku.Options{BaseURL: "http://127.0.0.1:1", Backoff: quick})
	for name, b := range map[string]platform.Blob{
		"plain http":  {Method: "PUT", URL: "http://store.example/x?canary"},
		"other way":   {Method: "GET", URL: "https://store.example/x?canary"},
		"no address":  {Method: "PUT"},
		"odd scheme":  {Method: "PUT", URL: "file:///canary"},
		"not a URL":   {Method: "PUT", URL: "https://h:canary/"},
		"private net": {Method: "PUT", URL: "http://10.1.2.3/canary"},
	} {
		if err := c.PutBlob(t.Context(), b, strings.NewReader("x"), 1, nil); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPutBlob_saysThatTheFileIsTooShort(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := len(w.Requests("PUT blob"))
	err := w.c.PutBlob(t.Context(), w.slug.Blob, strings.NewReader("short"), 500, nil)
	if err == nil || !strings.Contains(err.Error(), "it ends after 5 of 500 bytes") {
		t.Errorf("the error is %v", err)
	}
	if n := len(w.Requests("PUT blob")) - before; n > 1 {
		t.Errorf("tried %d times", n)
	}
}

func TestPutBlob_isCutWhenNothingMoves(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = r.Body.Read(make([]byte, 1))
		<-hold
	}))
	t.Cleanup(s.Close)
	t.Cleanup(func() { close(hold) })
	c := heroku.New(heroku.Options{BaseURL: s.URL, IdleTimeout: 100 * time.Millisecond, Backoff: transport.Backoff{Tries: 1}})
	size := int64(256 << 20) // far more than any socket takes in
	err := c.PutBlob(t.Context(), platform.Blob{Method: "PUT", URL: s.URL + "/?canary"}, zeros{}, size, nil)
	if !errors.Is(err, transport.ErrStalled) || strings.Contains(err.Error(), "canary") {
		t.Errorf("the error is %v", err)
	}
}

// zeros is an endless file.
type zeros struct{}

func (zeros) ReadAt(p []byte, _ int64) (int, error) { clear(p); return len(p), nil }

func TestStatBlob_readsTheSizeHoweverItIsTold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		header http.Header
		body   string
		want   platform.BlobInfo
		err    error
	}{
		"range":         {206, http.Header{"Content-Range": {"bytes 0-0/12345"}, "Etag": {`"abc"`}}, "x", platform.BlobInfo{Size: 12345, ETag: `"abc"`}, nil},
		"unknown total": {206, http.Header{"Content-Range": {"bytes 0-0/*"}}, "x", platform.BlobInfo{Size: -1}, nil},
		"no range":      {206, nil, "x", platform.BlobInfo{Size: -1}, nil},
		"range ignored": {200, http.Header{"Content-Length": {"99999999"}}, "x", platform.BlobInfo{Size: 99999999}, nil},
		"empty":         {416, http.Header{"Content-Range": {"bytes */0"}}, "", platform.BlobInfo{}, nil},
		"encrypted":     {206, http.Header{"Content-Range": {"bytes 0-0/1"}, "Etag": {`"0123456789abcdef0123456789abcdef"`}, "X-Amz-Server-Side-Encryption": {"aws:kms"}}, "x", platform.BlobInfo{Size: 1}, nil},
		"absent":        {404, nil, "", platform.BlobInfo{}, platform.ErrNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet || r.Header.Get("Range") != "bytes=0-0" {
					w.WriteHeader(http.StatusInternalServerError)
					return
				}
				for k, v := range c.header {
					w.Header()[k] = v
				}
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			}))
			t.Cleanup(s.Close)
			got, err := heroku.New(heroku.Options{BaseURL: s.URL, Backoff: quick}).StatBlob(t.Context(), platform.Blob{Method: "get", URL: s.URL})
			if got != c.want || !errors.Is(err, c.err) {
				t.Errorf("%+v, %v; want %+v, %v", got, err, c.want, c.err)
			}
		})
	}
}

func TestReleaseOutput_isCutWhenNothingMoves(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "one\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(s.Close)
	c := heroku.New(heroku.Options{BaseURL: s.URL, IdleTimeout: 500 * time.Millisecond})
	out, err := c.ReleaseOutput(t.Context(), platform.Release{Version: 3, OutputStreamURL: new(s.URL + "/canary")})
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(out)
	if string(b) != "one\n" || !errors.Is(err, transport.ErrStalled) || strings.Contains(err.Error(), "canary") {
		t.Errorf("%q, %v", b, err)
	}
	if err := out.Close(); err != nil {
		t.Error(err)
	}
}

// Whatever goes wrong, no error of any method shows a signature, a stream's path or the token.
func TestClient_showsNoAddressInItsErrors(t *testing.T) {
	t.Parallel()
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	faults := map[string]string{"refused": dead.URL, "no host": "http://nowhere.localhost:1", "broken": "http://127.0.0.1:99999"}
	for name, base := range faults {
		c := heroku.New(heroku.Options{BaseURL: "http://127.0.0.1:1", Token: "canary-token", Backoff: transport.Backoff{Tries: 1}})
		blob := platform.Blob{URL: base + "/slugs/1?X-Amz-Signature=canary-sig"}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		_, statErr := c.StatBlob(ctx, blob)
		_, outErr := c.ReleaseOutput(ctx, platform.Release{OutputStreamURL: new(base + "/canary-path?canary")})
		_, apiErr := c.App(ctx, "a")
		for _, err := range []error{c.PutBlob(ctx, blob, strings.NewReader("x"), 1, nil), statErr, outErr, apiErr} {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d"} {
				if got := fmt.Sprintf(verb, err); err == nil || strings.Contains(got, "canary") {
					t.Errorf("%s: %s shows %s", name, verb, got)
				}
			}
		}
		cancel()
	}
}
