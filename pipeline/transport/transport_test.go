package transport_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/pipeline/transport"
)

const canary = "canary-5e1f"

// verbs are all that fmt knows but %p, which asks no methods.
var verbs = []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%c", "%U", "%e", "%b", "%o"}

func TestSecret_printsNothingOfItself(t *testing.T) {
	t.Parallel()
	s := transport.Secret(canary)
	holder := struct {
		Token transport.Secret
		In    []transport.Secret
		By    map[string]transport.Secret
	}{s, []transport.Secret{s}, map[string]transport.Secret{"k": s}}
	for _, v := range []any{s, &s, holder, &holder, fmt.Errorf("with %v", s)} {
		for _, verb := range verbs {
			if got := fmt.Sprintf(verb, v); leaks(got) {
				t.Errorf("%s of %T shows the secret: %s", verb, v, got)
			}
		}
	}
	b, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"Token":"***","In":["***"],"By":{"k":"***"}}`; string(b) != want {
		t.Errorf("JSON is %s, want %s", b, want)
	}
	if s.Reveal() != canary {
		t.Error("Reveal does not return the value")
	}
}

// leaks also knows the canary in hex, which %x would print.
func leaks(s string) bool {
	low := strings.ToLower(s)
	return strings.Contains(low, canary) || strings.Contains(low, fmt.Sprintf("%x", canary))
}

func TestDescribe_leavesQueryAndUserInformationOut(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"https://host/path?X-Amz-Signature=" + canary:         "GET https://host/path",
		"https://user:" + canary + "@host:8443/a/b#" + canary: "GET https://host:8443/a/b",
		"https://" + canary + "@host":                         "GET https://host",
		"https://host/a%20b":                                  "GET https://host/a%20b",
		"https://host/%zz?" + canary:                          "GET (an address that cannot be read)",
		"mailto:" + canary:                                    "GET (an address that cannot be read)",
		"://" + canary:                                        "GET (an address that cannot be read)",
	} {
		if got := transport.Describe("GET", raw); got != want {
			t.Errorf("Describe(%q) = %q, want %q", raw, got, want)
		}
	}
}

func TestError_neverPrintsAQuery(t *testing.T) {
	t.Parallel()
	signed := "https://user:" + canary + "@store.example/slugs/1?X-Amz-Signature=" + canary + "&X-Amz-Credential=a/b"
	refused := &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443}, Err: errors.New("connection refused")}
	parseFault := func() error {
		raw := strings.Join([]string{"https://user:", "@host:port/x?", ""}, canary)
		_, err := url.Parse(raw)
		return err
	}()
	for name, cause := range map[string]error{
		"url.Error":            &url.Error{Op: "Put", URL: signed, Err: refused},
		"url.Error of another": &url.Error{Op: "Put", URL: signed, Err: &url.Error{Op: "Get", URL: signed, Err: refused}},
		"wrapped":              fmt.Errorf("try 2: %w", &url.Error{Op: "Put", URL: signed, Err: refused}),
		"wrapped in url.Error": &url.Error{Op: "Put", URL: signed, Err: fmt.Errorf("proxy said %w", &url.Error{Op: "Get", URL: signed, Err: refused})},
		"joined":               errors.Join(errors.New("first"), &url.Error{Op: "Put", URL: signed, Err: refused}),
		"address in text":      fmt.Errorf("failed to parse Location header %q: %w", signed, refused),
		"flattened":            errors.New((&url.Error{Op: "Put", URL: signed, Err: refused}).Error()),
		"parse":                parseFault,
		"no cause":             &url.Error{Op: "Put", URL: signed},
	} {
		err := transport.Error("PUT", signed, cause)
		for _, outer := range []error{err, fmt.Errorf("upload slug: %w", err), transport.Permanent(err), errors.Join(err, err)} {
			for _, verb := range verbs {
				if got := fmt.Sprintf(verb, outer); leaks(got) {
					t.Errorf("%s: %s of %T shows the signature: %s", name, verb, outer, got)
				}
			}
			for e := outer; e != nil; e = errors.Unwrap(e) {
				if leaks(e.Error()) {
					t.Errorf("%s: unwrapping to %T shows the signature", name, e)
				}
			}
			b, jsonErr := json.Marshal(map[string]any{"error": outer})
			if jsonErr != nil || leaks(string(b)) {
				t.Errorf("%s: JSON is %s, %v", name, b, jsonErr)
			}
			var u *url.Error
			if errors.As(outer, &u) {
				t.Errorf("%s: errors.As reaches the *url.Error", name)
			}
			var n net.Error
			if errors.As(outer, &n) && leaks(n.Error()) {
				t.Errorf("%s: errors.As to net.Error reaches the *url.Error", name)
			}
		}
		if !strings.HasPrefix(err.Error(), "PUT https://store.example/slugs/1: ") {
			t.Errorf("%s: the text is %q", name, err)
		}
	}
}

func TestError_keepsTheCauseForCallers(t *testing.T) {
	t.Parallel()
	op := &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("refused")}
	err := fmt.Errorf("outer: %w", transport.Error("GET", "https://h/", &url.Error{Op: "Get", URL: "https://h/?q", Err: fmt.Errorf("x: %w", op)}))
	var got *net.OpError
	if !errors.As(err, &got) || got != op {
		t.Errorf("errors.As does not reach the *net.OpError")
	}
	for _, cause := range []error{context.Canceled, context.DeadlineExceeded, io.ErrUnexpectedEOF, transport.ErrStalled} {
		err := transport.Error("GET", "https://h/", &url.Error{Op: "Get", URL: "https://h/?q", Err: cause})
		if !errors.Is(err, cause) {
			t.Errorf("errors.Is does not reach %v", cause)
		}
		if errors.Is(err, io.EOF) {
			t.Errorf("%v is taken for io.EOF", cause)
		}
	}
	var timeout net.Error
	if err := transport.Error("GET", "https://h/", &url.Error{Op: "Get", Err: context.DeadlineExceeded}); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Error("a deadline does not count as a timeout")
	}
	if transport.Error("GET", "https://h/", nil) != nil {
		t.Error("no error became one")
	}
}

func TestParseRetryAfter_readsSecondsAndDates(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)
	for h, want := range map[string]struct {
		d  time.Duration
		ok bool
	}{
		"0":                             {0, true},
		" 7 ":                           {7 * time.Second, true},
		"1000000000":                    {1e9 * time.Second, true},
		"99999999999999999999999":       {1<<63 - 1, true},
		"Sun, 22 Nov 2026 18:01:30 GMT": {90 * time.Second, true},
		"Sun, 22 Nov 2026 17:00:00 GMT": {0, true},
		"":                              {}, "-5": {}, "+5": {}, "1e9": {}, "1.5": {}, "soon": {}, "5 s": {}, "０": {},
	} {
		if d, ok := transport.ParseRetryAfter(h, now); d != want.d || ok != want.ok {
			t.Errorf("ParseRetryAfter(%q) = %s, %t; want %s, %t", h, d, ok, want.d, want.ok)
		}
	}
}

func FuzzParseRetryAfter(f *testing.F) {
	for _, s := range []string{"1", "-1", "1e9", "Sun, 22 Nov 2026 18:01:30 GMT", "999999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, h string) {
		if d, ok := transport.ParseRetryAfter(h, time.Unix(1.8e9, 0)); d < 0 || !ok && d != 0 {
			t.Errorf("ParseRetryAfter(%q) = %s, %t", h, d, ok)
		}
	})
}

func TestBackoff_doublesTheWaitUpToItsLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var waits []time.Duration
		fault := errors.New("boom")
		start := time.Now()
		err := transport.Backoff{Base: time.Second, Max: 4 * time.Second, Tries: 6}.Retry(t.Context(),
			func(_ int, wait time.Duration, _ error) { waits = append(waits, wait) },
			func(int) error { return fault })
		if !errors.Is(err, fault) || !strings.Contains(err.Error(), "6 attempts") {
			t.Errorf("the error is %v", err)
		}
		var sum time.Duration
		for i, full := range []time.Duration{1, 2, 4, 4, 4} {
			full *= time.Second
			if i >= len(waits) || waits[i] < full/2 || waits[i] > full {
				t.Fatalf("waits are %v; number %d must be between %s and %s", waits, i+1, full/2, full)
			}
			sum += waits[i]
		}
		if took := time.Since(start); took != sum {
			t.Errorf("it took %s, want %s", took, sum)
		}
	})
}

func TestBackoff_stopsAsItsErrorsSay(t *testing.T) {
	t.Parallel()
	fault := errors.New("boom")
	for name, c := range map[string]struct {
		b     transport.Backoff
		err   error
		calls int
		took  time.Duration // at least; the wait has jitter
	}{
		"permanent":              {err: transport.Permanent(fault), calls: 1},
		"permanent, wrapped":     {err: fmt.Errorf("x: %w", transport.Permanent(fault)), calls: 1},
		"defaults":               {err: fault, calls: 5, took: 3 * time.Second},
		"one try":                {b: transport.Backoff{Tries: 1}, err: fault, calls: 1},
		"asked to wait":          {b: transport.Backoff{Tries: 2}, err: &transport.RetryAfterError{Err: fault, After: 100 * time.Second}, calls: 2, took: 100 * time.Second},
		"asked to wait long":     {err: &transport.RetryAfterError{Err: fault, After: 121 * time.Second}, calls: 1},
		"asked to wait for ever": {err: &transport.RetryAfterError{Err: fault, After: 1<<63 - 1}, calls: 1},
		"time is up":             {b: transport.Backoff{Base: time.Minute, Max: time.Minute, Tries: -1, Total: 3 * time.Minute}, err: fault, calls: 4, took: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				calls, start := 0, time.Now()
				err := c.b.Retry(t.Context(), nil, func(int) error { calls++; return c.err })
				if !errors.Is(err, fault) {
					t.Errorf("the error is %v", err)
				}
				if name == "time is up" {
					if calls < c.calls || time.Since(start) > 3*time.Minute {
						t.Errorf("%d calls in %s", calls, time.Since(start))
					}
				} else if calls != c.calls || time.Since(start) < c.took {
					t.Errorf("%d calls in %s, want %d in %s or more", calls, time.Since(start), c.calls, c.took)
				}
			})
		})
	}
}

func TestBackoff_endsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		fault, start := errors.New("boom"), time.Now()
		err := transport.Backoff{Base: time.Hour, Max: time.Hour, Total: 9 * time.Hour}.Retry(ctx, nil, func(int) error { return fault })
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, fault) {
			t.Errorf("the error is %v; want the deadline and the fault", err)
		}
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("it took %s, want 10s", took)
		}
		calls := 0
		if err := (transport.Backoff{}).Retry(ctx, nil, func(int) error { calls++; return nil }); err == nil || calls != 0 {
			t.Errorf("with an ended context: %d calls, error %v", calls, err)
		}
	})
}

// pipeBody is a body whose Close ends a read that is under way.
func pipeBody() (io.ReadCloser, *io.PipeWriter) {
	r, w := io.Pipe()
	return r, w
}

func TestIdleReader_cutsAStall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, w := pipeBody()
		go func() { _, _ = w.Write([]byte("hello")) }()
		start := time.Now()
		b, err := io.ReadAll(transport.IdleReader(r, 30*time.Second, 0, 0))
		if string(b) != "hello" || !errors.Is(err, transport.ErrStalled) || time.Since(start) != 30*time.Second {
			t.Errorf("read %q, %v after %s", b, err, time.Since(start))
		}
	})
}

func TestIdleReader_cutsATrickle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, w := pipeBody()
		go func() {
			for {
				time.Sleep(time.Second)
				if _, err := w.Write([]byte("x")); err != nil {
					return
				}
			}
		}()
		start := time.Now()
		idle := transport.IdleReader(r, 30*time.Second, 1024, time.Minute)
		_, err := io.Copy(io.Discard, idle)
		if took := time.Since(start); !errors.Is(err, transport.ErrStalled) || took != time.Minute {
			t.Errorf("%v after %s; want a stall after 1m", err, took)
		}
		if err := idle.Close(); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Second) // lets the writer see that nobody reads
	})
}

func TestIdleReader_leavesASlowConsumerAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, w := pipeBody()
		go func() {
			for range 3 {
				_, _ = w.Write(make([]byte, 10))
			}
			_ = w.Close()
		}()
		idle := transport.IdleReader(r, 30*time.Second, 1024, time.Minute)
		total := 0
		for {
			n, err := idle.Read(make([]byte, 10))
			total += n
			if err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Minute)
		}
		if total != 30 {
			t.Errorf("read %d bytes, want 30", total)
		}
	})
}

func TestNewTransport_asksBeforeItDials(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(s.Close)
	no := errors.New("not there")
	var asked string
	tr := transport.NewTransport(transport.Options{DialControl: func(_, address string) error { asked = address; return no }})
	t.Cleanup(tr.CloseIdleConnections)
	resp, err := (&http.Client{Transport: tr}).Get(s.URL + "/?" + canary)
	if err == nil {
		_ = resp.Body.Close()
	}
	if !errors.Is(err, no) || asked != strings.TrimPrefix(s.URL, "http://") {
		t.Errorf("asked about %q, error %v", asked, err)
	}
	if err = transport.Error("GET", s.URL, err); !errors.Is(err, no) || leaks(err.Error()) {
		t.Errorf("the error is %v", err)
	}
}

func TestStripURLs_keepsTheRestOfTheText(t *testing.T) {
	t.Parallel()
	in := `see https://u:p@h.example/a?b=c#d, "http://x/?y" and what? a@b user@host`
	want := `see https://h.example/a "http://x/" and what? a@b user@host`
	if diff := cmp.Diff(want, transport.StripURLs(in)); diff != "" {
		t.Error(diff)
	}
}
