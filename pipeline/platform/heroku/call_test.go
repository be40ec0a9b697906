package heroku_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/platform/heroku"
	"github.com/slugfile/slugfile/pipeline/platform/platformtest"
	"github.com/slugfile/slugfile/pipeline/transport"
)

// world is a server with one app and one uploaded slug.
type world struct {
	*platformtest.Server
	c    *heroku.Client
	app  platform.App
	slug platform.Slug
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{Server: platformtest.NewServer(t)}
	w.c = client(w.Server)
	var err error
	if w.app, err = w.c.CreateApp(t.Context(), platform.AppCreate{Name: "example", Stack: "heroku-24"}); err != nil {
		t.Fatal(err)
	}
	if w.slug, err = w.c.CreateSlug(t.Context(), "example", platform.SlugCreate{ProcessTypes: map[string]string{"worker": "x"}}); err != nil {
		t.Fatal(err)
	}
	if err = w.c.PutBlob(t.Context(), w.slug.Blob, strings.NewReader("bytes"), 5, nil); err != nil {
		t.Fatal(err)
	}
	return w
}

// calls are the calls of the API, by the server's name for them.
func (w *world) calls() map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"GET app":         func(ctx context.Context) error { _, err := w.c.App(ctx, "example"); return err },
		"GET stacks":      func(ctx context.Context) error { _, err := w.c.Stacks(ctx, ""); return err },
		"GET releases":    func(ctx context.Context) error { _, err := w.c.Releases(ctx, "example", 0); return err },
		"GET config-vars": func(ctx context.Context) error { _, err := w.c.ConfigNames(ctx, "example"); return err },
		"GET slugs":       func(ctx context.Context) error { _, err := w.c.Slug(ctx, "example", w.slug.ID); return err },
		"POST app": func(ctx context.Context) error {
			_, err := w.c.CreateApp(ctx, platform.AppCreate{Name: "other"})
			return err
		},
		"POST slugs": func(ctx context.Context) error {
			_, err := w.c.CreateSlug(ctx, "example", platform.SlugCreate{ProcessTypes: map[string]string{}})
			return err
		},
		"POST releases": func(ctx context.Context) error {
			_, err := w.c.CreateRelease(ctx, "example", platform.ReleaseCreate{Slug: w.slug.ID})
			return err
		},
	}
}

// The rules of sending again, for each call and each fault that is over after two requests.
func TestClient_sendsAgainOnlyWhatDoesNoHarm(t *testing.T) {
	t.Parallel()
	faults := map[string]platformtest.Fault{
		"500": {Status: 500}, "502": {Status: 502, Body: "<html>bad gateway</html>"}, "503": {Status: 503}, "504": {Status: 504},
		"dropped":               {Drop: true},
		"acted, then dropped":   {Act: true, Drop: true},
		"acted, then 500":       {Act: true, Status: 500},
		"cut off in the answer": {ReadFirst: 1},
	}
	for name, fault := range faults {
		for op := range newWorld(t).calls() {
			t.Run(op+" "+name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				before := len(w.Requests(op))
				w.Fail(func(r platformtest.Request) platformtest.Fault {
					if r.Op == op && r.N <= before+2 {
						return fault
					}
					return platformtest.Fault{}
				})
				err := w.calls()[op](t.Context())
				sent := len(w.Requests(op)) - before
				if op == "POST releases" || op == "POST app" {
					if !errors.Is(err, platform.ErrAmbiguous) || sent != 1 {
						t.Errorf("sent %d times, error %v; want once and ErrAmbiguous", sent, err)
					}
					return
				}
				if err != nil || sent != 3 {
					t.Errorf("sent %d times, error %v; want 3 and none", sent, err)
				}
			})
		}
	}
}

func TestClient_givesUpAfterFiveAttempts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Fail(func(platformtest.Request) platformtest.Fault { return platformtest.Fault{Status: 503} })
	before := len(w.Requests("GET app"))
	_, err := w.c.App(t.Context(), "example")
	var e *platform.Error
	if !errors.As(err, &e) || e.Status != 503 || !strings.Contains(err.Error(), "5 attempts") {
		t.Errorf("the error is %v", err)
	}
	if n := len(w.Requests("GET app")) - before; n != 5 {
		t.Errorf("sent %d times, want 5", n)
	}
}

func TestClient_sendsAReleaseAgainWhenItCannotHaveArrived(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	// The first two connections are refused before anything is sent.
	var dials, told atomic.Int32
	tr := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		if dials.Add(1) <= 2 {
			return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New("connection refused")}
		}
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	c := heroku.New(heroku.Options{BaseURL: w.URL, Token: transport.Secret(w.Token), Backoff: quick, Transport: tr,
		Retry: func(string, int, time.Duration, error) { told.Add(1) }})
	r, err := c.CreateRelease(t.Context(), "example", platform.ReleaseCreate{Slug: w.slug.ID})
	if err != nil || r.Version != 3 {
		t.Errorf("v%d, %v; want v3", r.Version, err)
	}
	if n := len(w.Requests("POST releases")); n != 1 || told.Load() != 2 {
		t.Errorf("%d requests arrived and %d retries were told, want 1 and 2", n, told.Load())
	}
}

func TestClient_takesARefusalAsAnAnswer(t *testing.T) {
	t.Parallel()
	for status, is := range map[int]error{401: platform.ErrUnauthorized, 403: platform.ErrUnauthorized, 404: platform.ErrNotFound, 409: nil, 422: nil} {
		for _, op := range []string{"GET app", "POST slugs", "POST releases", "POST app"} {
			t.Run(fmt.Sprint(op, status), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				before := len(w.Requests(op))
				w.Fail(func(platformtest.Request) platformtest.Fault {
					return platformtest.Fault{Status: status, Header: http.Header{"Request-Id": {"rid-1"}}, Body: `{"id":"some_id","message":"No,\u001b[2J see https://x.example/?sig=secret"}`}
				})
				err := w.calls()[op](t.Context())
				var e *platform.Error
				if !errors.As(err, &e) || e.Status != status || e.ID != "some_id" || e.RequestID != "rid-1" || e.Message != "No, [2J see https://x.example/" {
					t.Errorf("the error is %+v", err)
				}
				if errors.Is(err, platform.ErrAmbiguous) || is != nil && !errors.Is(err, is) {
					t.Errorf("%v: of the wrong kind", err)
				}
				if n := len(w.Requests(op)) - before; n != 1 {
					t.Errorf("sent %d times, want 1", n)
				}
			})
		}
	}
}

func TestClient_honoursTheRateLimit(t *testing.T) {
	t.Parallel()
	const body = `{"id":"rate_limit","message":"Your account reached the API rate limit"}`
	for name, c := range map[string]struct {
		after string
		sent  int // 2: waits and goes on; 1: gives up at once; 5: grows its own wait
		wait  time.Duration
	}{
		"one second":  {after: "1", sent: 2, wait: time.Second},
		"a date":      {after: "date", sent: 2, wait: 0},
		"no header":   {after: "", sent: 2},
		"junk":        {after: "1e9", sent: 2},
		"31 years":    {after: "1000000000", sent: 1},
		"121 seconds": {after: "121", sent: 1},
	} {
		for _, op := range []string{"GET app", "POST releases"} {
			t.Run(name+" "+op, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				before, start := len(w.Requests(op)), time.Now()
				h := http.Header{}
				if c.after == "date" {
					h.Set("Retry-After", time.Now().Add(time.Second).UTC().Format(http.TimeFormat))
				} else if c.after != "" {
					h.Set("Retry-After", c.after)
				}
				w.Fail(func(r platformtest.Request) platformtest.Fault {
					if r.N <= before+1 {
						return platformtest.Fault{Status: 429, Header: h, Body: body}
					}
					return platformtest.Fault{}
				})
				err := w.calls()[op](t.Context())
				sent := len(w.Requests(op)) - before
				if sent != c.sent || time.Since(start) < c.wait {
					t.Errorf("sent %d times in %s, want %d in %s or more", sent, time.Since(start), c.sent, c.wait)
				}
				if c.sent == 2 && err != nil {
					t.Error(err)
				}
				var e *platform.Error
				if c.sent == 1 && (!errors.Is(err, platform.ErrRateLimited) || errors.Is(err, platform.ErrAmbiguous) || !errors.As(err, &e) || e.RetryAfter < 120*time.Second) {
					t.Errorf("the error is %v", err)
				}
			})
		}
	}
}

func TestClient_isCutOffFromAServerThatStalls(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.c = heroku.New(heroku.Options{BaseURL: w.URL, Token: transport.Secret(w.Token), AnswerTimeout: 50 * time.Millisecond,
		Backoff: transport.Backoff{Base: time.Millisecond, Tries: 2}})
	w.Fail(func(platformtest.Request) platformtest.Fault { return platformtest.Fault{Stall: true} })
	for op, call := range w.calls() {
		err := call(t.Context())
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v; want a deadline", op, err)
		}
		if post := op == "POST releases" || op == "POST app"; errors.Is(err, platform.ErrAmbiguous) != post {
			t.Errorf("%s: %v; ambiguous is wrong", op, err)
		}
	}
}

func TestClient_endsWithItsContext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Fail(func(platformtest.Request) platformtest.Fault { return platformtest.Fault{Stall: true} })
	for op, call := range w.calls() {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(20*time.Millisecond, cancel)
		if err := call(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v; want context.Canceled", op, err)
		}
	}
}

func TestClient_readsNoMoreThanItsCaps(t *testing.T) {
	t.Parallel()
	endless := func(w http.ResponseWriter, status int, first string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(first))
		chunk := bytes.Repeat([]byte(" "), 64<<10)
		for range 10_000 {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/large") {
			endless(w, 200, "{")
			return
		}
		endless(w, 422, `{"id":"x"`)
	}))
	t.Cleanup(s.Close)
	c := heroku.New(heroku.Options{BaseURL: s.URL})
	if _, err := c.App(t.Context(), "large"); err == nil || !strings.Contains(err.Error(), "larger than 8 MiB") {
		t.Errorf("large answer: %v", err)
	}
	if _, err := c.App(t.Context(), "refused"); err == nil || !strings.Contains(err.Error(), "422") {
		t.Errorf("large refusal: %v", err)
	}
}

func TestClient_refusesAnAnswerThatIsNotJSON(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ contentType, body, want string }{
		"html":     {"text/html; charset=utf-8", "<html>login</html>", "text/html, not JSON"},
		"empty":    {"application/json", "", "not the JSON"},
		"no id":    {"application/json", "{}", "it has no id"},
		"bad type": {"application/json", `{"id":7}`, "not the JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", c.contentType)
				w.WriteHeader(http.StatusCreated)
				_, _ = w.Write([]byte(c.body))
			}))
			t.Cleanup(s.Close)
			_, err := heroku.New(heroku.Options{BaseURL: s.URL}).CreateRelease(t.Context(), "a", platform.ReleaseCreate{Slug: "s"})
			if !errors.Is(err, platform.ErrAmbiguous) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v; want ErrAmbiguous with %q", err, c.want)
			}
		})
	}
}

func TestClient_sendsWhatThePlatformAsksFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ids := map[string]bool{}
	for op, call := range w.calls() {
		if err := call(t.Context()); err != nil {
			t.Errorf("%s: %v", op, err)
		}
	}
	uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	for _, r := range w.Requests("") {
		if strings.HasSuffix(r.Op, " blob") {
			continue
		}
		h := r.Header
		if h.Get("Accept") != "application/vnd.heroku+json; version=3" || !strings.HasPrefix(h.Get("User-Agent"), "slugfile") || h.Get("Authorization") != "Bearer "+w.Token {
			t.Errorf("%s: headers %v", r.Op, h)
		}
		if id := h.Get("Request-Id"); !uuid.MatchString(id) || ids[id] {
			t.Errorf("%s: Request-Id %q is no UUID or was used before", r.Op, id)
		} else {
			ids[id] = true
		}
		if post := strings.HasPrefix(r.Op, "POST"); post != (h.Get("Content-Type") == "application/json") || h.Get("Idempotency-Key") != "" {
			t.Errorf("%s: headers %v", r.Op, h)
		}
	}
}

func TestClient_takesAnAppWithoutOptionalFields(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{"id":"1"}`, `{"id":"1","generation":null,"stack":null,"owner":null,"released_at":null,"web_url":null,"future_field":[1]}`} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }))
		app, err := heroku.New(heroku.Options{BaseURL: s.URL}).App(t.Context(), "a")
		s.Close()
		if err != nil || app.ID != "1" || app.Generation.Name != "" {
			t.Errorf("%s: %+v, %v", body, app, err)
		}
	}
}

func TestClient_allowsPlainHTTPForThisMachineOnly(t *testing.T) {
	t.Parallel()
	for base, want := range map[string]string{
		"http://example.com":        "plain http",
		"http://127.0.0.1.evil.com": "plain http",
		"http://10.0.0.1":           "plain http",
		"http://0.0.0.0:80":         "plain http",
		"ftp://example.com":         "must be https",
		"example.com":               "names no host",
		"https://":                  "names no host",
		"https://user:canary@h":     "no user name",
		"https://h/?canary=1":       "no user name, query",
		"https://h:canary/":         "cannot be read",
	} {
		c := heroku.New(heroku.Options{BaseURL: base, Token: "canary"})
		_, err := c.App(t.Context(), "a")
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v; want %q", base, err, want)
		}
	}
}

func TestClient_refusesNamesThatChangeThePath(t *testing.T) {
	t.Parallel()
	s := platformtest.NewServer(t)
	c := client(s)
	for _, app := range []string{"", ".", ".."} {
		if _, err := c.App(t.Context(), app); err == nil || errors.Is(err, platform.ErrNotFound) {
			t.Errorf("App(%q): %v", app, err)
		}
	}
	if n := len(s.Requests("")); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
	if _, err := c.App(t.Context(), "a/releases?x"); !errors.Is(err, platform.ErrNotFound) {
		t.Errorf("%v; want ErrNotFound", err)
	}
}

func TestClient_readsAllPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Page(4)
	for range 9 {
		w.ReleaseElsewhere("example", w.slug.ID)
	}
	all, err := w.c.Releases(t.Context(), "example", 0)
	if err != nil || len(all) != 11 {
		t.Fatalf("%d releases, %v; want 11", len(all), err)
	}
	for i, r := range all {
		if r.Version != 11-i {
			t.Errorf("release %d is v%d", i, r.Version)
		}
	}
	var asked []string
	for _, r := range w.Requests("GET releases") {
		asked = append(asked, r.Header.Get("Range"))
	}
	want := []string{"version ..; max=1000, order=desc", "version ]8..; max=4, order=desc", "version ]4..; max=4, order=desc"}
	if fmt.Sprint(asked) != fmt.Sprint(want) {
		t.Errorf("asked for %q, want %q", asked, want)
	}
}

func TestClient_endsAListThatNeverEnds(t *testing.T) {
	t.Parallel()
	n := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Next-Range", "version ]5..")
		w.WriteHeader(http.StatusPartialContent)
		n++
		_, _ = w.Write([]byte(`[{"id":"` + strconv.Itoa(n) + `"}]`))
	}))
	t.Cleanup(s.Close)
	if _, err := heroku.New(heroku.Options{BaseURL: s.URL}).Releases(t.Context(), "a", 0); err == nil || n > 3 {
		t.Errorf("%d pages, %v", n, err)
	}
}

func TestClient_handsWarningsOn(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Heroku-Warning", "This stack is\tdeprecated.")
		_, _ = w.Write([]byte(`{"id":"1"}`))
	}))
	t.Cleanup(s.Close)
	var got []string
	c := heroku.New(heroku.Options{BaseURL: s.URL, Warn: func(text string) { got = append(got, text) }})
	if _, err := c.App(t.Context(), "a"); err != nil || len(got) != 1 || got[0] != "This stack is deprecated." {
		t.Errorf("%q, %v", got, err)
	}
}

func TestClient_showsNoTokenWhenItIsPrinted(t *testing.T) {
	t.Parallel()
	c := heroku.New(heroku.Options{BaseURL: "http://127.0.0.1:1", Token: "canary-token"})
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d"} {
		if got := fmt.Sprintf(verb, c) + fmt.Sprintf(verb, *c); strings.Contains(got, "canary") {
			t.Errorf("%s shows the token: %s", verb, got)
		}
	}
	if b, err := json.Marshal(map[string]any{"client": c}); err != nil || strings.Contains(string(b), "canary") {
		t.Errorf("JSON is %s, %v", b, err)
	}
}
