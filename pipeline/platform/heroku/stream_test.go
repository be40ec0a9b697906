package heroku_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/platform/heroku"
	"github.com/slugfile/slugfile/pipeline/platform/platformtest"
	"github.com/slugfile/slugfile/pipeline/transport"
)

// large is more than a connection has to bring to count as progress.
var large = bytes.Repeat([]byte("a slug of some size. "), 60_000)

// uploaded is a world with a blob, and the address it is read from.
func uploaded(t *testing.T, body []byte) (*world, platform.Blob) {
	t.Helper()
	w := newWorld(t)
	if err := w.c.PutBlob(t.Context(), w.slug.Blob, bytes.NewReader(body), int64(len(body)), nil); err != nil {
		t.Fatal(err)
	}
	s, err := w.c.Slug(t.Context(), "example", w.slug.ID)
	if err != nil {
		t.Fatal(err)
	}
	return w, s.Blob
}

func read(ctx context.Context, c *heroku.Client, from platform.Blob) ([]byte, error) {
	r, err := c.OpenBlob(ctx, from)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(r, 64<<20))
	return b, errors.Join(err, r.Close())
}

func TestOpenBlob_goesOnWhereTheConnectionBroke(t *testing.T) {
	t.Parallel()
	for _, at := range []int64{1, 512, 64 << 10, int64(len(large)) / 2, int64(len(large)) - 1} {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			t.Parallel()
			w, from := uploaded(t, large)
			w.Fail(func(r platformtest.Request) platformtest.Fault {
				if r.Op == "GET blob" && r.N <= 2 {
					return platformtest.Fault{ReadFirst: at}
				}
				return platformtest.Fault{}
			})
			got, err := read(t.Context(), w.c, from)
			if err != nil || !bytes.Equal(got, large) {
				t.Fatalf("%d of %d bytes, %v", len(got), len(large), err)
			}
			var parts []string
			for _, r := range w.Requests("GET blob") {
				parts = append(parts, r.Header.Get("Range"))
				if r.Header.Get("Authorization") != "" {
					t.Error("the token was sent to the blob store")
				}
			}
			if parts[0] != "" || parts[1] != fmt.Sprintf("bytes=%d-", at) {
				t.Errorf("asked for %q", parts)
			}
		})
	}
}

// Seven connections that bring a part of the whole each are no reason to give up.
func TestOpenBlob_countsNoBreakThatFollowsProgress(t *testing.T) {
	t.Parallel()
	body := bytes.Repeat([]byte("0123456789abcdef"), 10<<16)
	w, from := uploaded(t, body)
	w.Fail(func(r platformtest.Request) platformtest.Fault {
		if r.Op == "GET blob" && r.N <= 7 {
			return platformtest.Fault{ReadFirst: 5 << 18}
		}
		return platformtest.Fault{}
	})
	if got, err := read(t.Context(), w.c, from); err != nil || !bytes.Equal(got, body) {
		t.Errorf("%d of %d bytes, %v", len(got), len(body), err)
	}
}

func TestOpenBlob_givesUpWithoutProgress(t *testing.T) {
	t.Parallel()
	w, from := uploaded(t, large)
	w.Fail(func(r platformtest.Request) platformtest.Fault {
		if r.Op == "GET blob" {
			return platformtest.Fault{ReadFirst: 1}
		}
		return platformtest.Fault{}
	})
	got, err := read(t.Context(), w.c, from)
	if err == nil || len(got) > 10 || !strings.Contains(err.Error(), "gave up") || strings.Contains(err.Error(), "X-Amz") {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if n := len(w.Requests("GET blob")); n > 10 {
		t.Errorf("%d requests", n)
	}
}

// A store may know no ranges, or hold something else by now.
func TestOpenBlob_neverMixesTwoBlobs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		header http.Header
		body   string
		want   bool
	}{
		"no ranges, same tag":  {200, http.Header{"Etag": {`"1"`}}, "0123456789", true},
		"no ranges, other tag": {200, http.Header{"Etag": {`"2"`}}, "0123456789", false},
		"other length":         {200, http.Header{"Etag": {`"1"`}}, "0123456789x", false},
		"the part":             {206, http.Header{"Etag": {`"1"`}, "Content-Range": {"bytes 4-9/10"}}, "456789", true},
		"another part":         {206, http.Header{"Etag": {`"1"`}, "Content-Range": {"bytes 3-9/10"}}, "3456789", false},
		"part of another":      {206, http.Header{"Etag": {`"1"`}, "Content-Range": {"bytes 4-10/11"}}, "456789x", false},
		"part, other tag":      {206, http.Header{"Etag": {`"2"`}, "Content-Range": {"bytes 4-9/10"}}, "456789", false},
		"part of nothing":      {206, http.Header{"Etag": {`"1"`}}, "456789", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := 0
			client := heroku.New(heroku.Options{Backoff: quick, Transport: answers(func(*http.Request) *http.Response {
				n++
				if n == 1 {
					return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Etag": {`"1"`}}, ContentLength: 10,
						Body: io.NopCloser(io.MultiReader(strings.NewReader("0123"), broken{}))}
				}
				return &http.Response{StatusCode: c.status, Header: c.header, ContentLength: int64(len(c.body)), Body: io.NopCloser(strings.NewReader(c.body))}
			})})
			got, err := read(t.Context(), client, platform.Blob{Method: "get", URL: "https://blobs.example/1?X-Amz-Signature=canary"})
			if whole := err == nil && string(got) == "0123456789"; whole != c.want || !c.want && err == nil {
				t.Errorf("%q, %v", got, err)
			}
			if err != nil && strings.Contains(err.Error(), "canary") {
				t.Errorf("the address is in %v", err)
			}
		})
	}
}

type answers func(*http.Request) *http.Response

func (f answers) RoundTrip(r *http.Request) (*http.Response, error) { return f(r), nil }

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("reset by peer") }

func TestOpenBlob_saysWhatTheStoreSaid(t *testing.T) {
	t.Parallel()
	w, from := uploaded(t, []byte("bytes"))
	for _, c := range []struct {
		fault platformtest.Fault
		is    error
	}{
		{platformtest.Fault{Status: 403, Body: "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"}, platform.ErrBlobExpired},
		{platformtest.Fault{Status: 404, Body: "<Error><Code>NoSuchKey</Code></Error>"}, platform.ErrNotFound},
	} {
		w.Fail(func(platformtest.Request) platformtest.Fault { return c.fault })
		if _, err := w.c.OpenBlob(t.Context(), from); !errors.Is(err, c.is) {
			t.Errorf("status %d: %v", c.fault.Status, err)
		}
	}
	if _, err := w.c.OpenBlob(t.Context(), platform.Blob{Method: "put", URL: from.URL}); err == nil {
		t.Error("an address for upload was read from")
	}
}

func TestOpenBlob_endsWithItsContextAndOnAStall(t *testing.T) {
	t.Parallel()
	w, from := uploaded(t, large)
	ctx, cancel := context.WithCancel(t.Context())
	r, err := w.c.OpenBlob(ctx, from)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.Copy(io.Discard, r); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of the context: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}

	stalled := heroku.New(heroku.Options{IdleTimeout: 20 * time.Millisecond, Backoff: quick, Transport: answers(func(r *http.Request) *http.Response {
		out, in := io.Pipe()
		context.AfterFunc(r.Context(), func() { _ = in.Close() })
		return &http.Response{StatusCode: http.StatusOK, ContentLength: 10, Body: out}
	})})
	if _, err := read(t.Context(), stalled, platform.Blob{URL: "https://blobs.example/1"}); !errors.Is(err, transport.ErrStalled) {
		t.Errorf("a store that sends nothing: %v", err)
	}
}

func TestConfigNames_quotesNoValue(t *testing.T) {
	t.Parallel()
	for body, ok := range map[string]bool{
		`{"A":"canary","B":null}`:   true,
		`{"A":{"x":["canary"]}}`:    true,
		`["canary"]`:                false,
		`"canary"`:                  false,
		`{"A":"canary"`:             false,
		`{"A":"canary", canary: 1}`: false,
	} {
		w := newWorld(t)
		w.Fail(func(platformtest.Request) platformtest.Fault { return platformtest.Fault{Status: 200, Body: body} })
		names, err := w.c.ConfigNames(t.Context(), "example")
		if (err == nil) != ok || strings.Contains(fmt.Sprint(names, err), "canary") {
			t.Errorf("%s: %q, %v", body, names, err)
		}
	}
	w := newWorld(t)
	w.Fail(func(platformtest.Request) platformtest.Fault {
		return platformtest.Fault{Status: 403, Body: `{"id":"forbidden","message":"You do not have access."}`}
	})
	if _, err := w.c.ConfigNames(t.Context(), "example"); !errors.Is(err, platform.ErrUnauthorized) {
		t.Errorf("%v", err)
	}
}
