package heroku_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/platform/heroku"
	"github.com/slugfile/slugfile/pipeline/platform/platformtest"
	"github.com/slugfile/slugfile/pipeline/transport"
)

// No answer of the API, wherever it points, makes the client send the token elsewhere.
func TestClient_followsNoRedirectOfTheAPI(t *testing.T) {
	t.Parallel()
	targets := map[string]string{
		"same origin": "http://api.localhost:80/other",
		"port":        "http://api.localhost:8080/",
		"subdomain":   "http://sub.api.localhost:80/",
		"sibling":     "http://blob.localhost:80/",
		"address":     "http://127.0.0.1:80/",
		"https":       "https://api.localhost/",
	}
	for name, location := range targets {
		for _, status := range []int{301, 302, 303, 307, 308} {
			t.Run(fmt.Sprint(name, status), func(t *testing.T) {
				t.Parallel()
				// Every host leads to this server, so that whatever is sent anywhere is seen.
				var mu sync.Mutex
				var hosts []string
				s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					mu.Lock()
					hosts = append(hosts, r.Host+r.URL.Path)
					mu.Unlock()
					w.Header().Set("Location", location+"?canary=1")
					w.WriteHeader(status)
				}))
				t.Cleanup(s.Close)
				tr := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
					return (&net.Dialer{}).DialContext(ctx, network, strings.TrimPrefix(s.URL, "http://"))
				}}
				t.Cleanup(tr.CloseIdleConnections)
				c := heroku.New(heroku.Options{BaseURL: "http://api.localhost:80", Token: "canary-token", Transport: tr, Backoff: quick})
				_, getErr := c.App(t.Context(), "a")
				_, postErr := c.CreateSlug(t.Context(), "a", platform.SlugCreate{})
				for _, err := range []error{getErr, postErr} {
					if err == nil || !strings.Contains(err.Error(), "redirects of the API are not followed") || strings.Contains(err.Error(), "canary") {
						t.Errorf("the error is %v", err)
					}
				}
				if want := "[api.localhost:80/apps/a api.localhost:80/apps/a/slugs]"; fmt.Sprint(hosts) != want {
					t.Errorf("requests went to %v, want %s", hosts, want)
				}
			})
		}
	}
}

func TestPutBlob_repeatsTheBodyWhereA307Points(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	body := bytes.Repeat([]byte("0123456789"), 50_000)
	first := true
	w.Fail(func(r platformtest.Request) platformtest.Fault {
		if r.Op != "PUT blob" || !first {
			return platformtest.Fault{}
		}
		first = false
		return platformtest.Fault{Status: 307, Header: http.Header{"Location": {"http://" + w.BlobHost + r.Path + "?region=eu&" + r.Query.Encode()}}}
	})
	if err := w.c.PutBlob(t.Context(), w.slug.Blob, bytes.NewReader(body), int64(len(body)), nil); err != nil {
		t.Fatal(err)
	}
	w.stored(t, int64(len(body)))
	for _, r := range w.Requests("PUT blob") {
		if r.Header.Get("Authorization") != "" || r.Header.Get("Referer") != "" || r.Header.Get("Cookie") != "" {
			t.Errorf("headers %v", r.Header)
		}
	}
}

func TestPutBlob_refusesOtherRedirects(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status   int
		location string
	}{
		"301": {301, "/x"}, "302": {302, "/x"}, "303": {303, "/x"}, "308": {308, "/x"},
		"to plain http": {307, "http://store.example/x?canary"},
		"to nowhere":    {307, ""},
		"credentials":   {307, "https://canary:x@store.example/x"},
		"for ever":      {307, "/x?canary"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := 0
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				n++
				w.Header()["Location"] = []string{c.location}
				w.WriteHeader(c.status)
			}))
			t.Cleanup(s.Close)
			cl := heroku.New(heroku.Options{BaseURL: s.URL, Token: "canary-token", Backoff: quick})
			err := cl.PutBlob(t.Context(), platform.Blob{Method: "put", URL: s.URL + "/blob?canary"}, strings.NewReader("x"), 1, nil)
			if err == nil || strings.Contains(err.Error(), "canary") || n > 5 {
				t.Errorf("%d requests, error %v", n, err)
			}
		})
	}
}

// The blob store and the output stream see no header of the API.
func TestClient_sendsTheTokenToTheAPIAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	slug, err := w.c.Slug(t.Context(), "example", w.slug.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.c.StatBlob(t.Context(), slug.Blob); err != nil {
		t.Fatal(err)
	}
	out, err := w.c.ReleaseOutput(t.Context(), platform.Release{OutputStreamURL: new(w.URL + "/output/none")})
	if err == nil {
		_ = out.Close()
	}
	seen := map[string]bool{}
	for _, r := range w.Requests("") {
		seen[r.Op] = true
		blob := strings.HasSuffix(r.Op, " blob") || strings.HasSuffix(r.Op, " output")
		if !blob {
			continue
		}
		for name, values := range r.Header {
			for _, v := range values {
				if strings.Contains(v, w.Token) || strings.Contains(v, "heroku+json") || name == "Request-Id" || name == "Authorization" || name == "Referer" {
					t.Errorf("%s got the header %s: %s", r.Op, name, v)
				}
			}
		}
		if strings.HasSuffix(r.Op, " blob") && r.Host != w.BlobHost {
			t.Errorf("%s went to %s", r.Op, r.Host)
		}
	}
	if !seen["PUT blob"] || !seen["GET blob"] || !seen["GET output"] {
		t.Errorf("not all kinds of requests were seen: %v", seen)
	}
	u, err := url.Parse(w.URL)
	if err != nil || u.Host == w.BlobHost {
		t.Errorf("API and blobs share the host %s", w.BlobHost)
	}
}

func TestClient_makesSecretsKnownToARedactor(t *testing.T) {
	t.Parallel()
	s := platformtest.NewServer(t)
	red := transport.NewRedactor()
	c := heroku.New(heroku.Options{BaseURL: s.URL, Token: transport.Secret(s.Token), Learn: red.Add})
	if _, err := c.CreateApp(t.Context(), platform.AppCreate{Name: "example"}); err != nil {
		t.Fatal(err)
	}
	slug, err := c.CreateSlug(t.Context(), "example", platform.SlugCreate{ProcessTypes: map[string]string{}})
	if err != nil {
		t.Fatal(err)
	}
	_, sig, _ := strings.Cut(slug.Blob.URL, "X-Amz-Signature=")
	if got := red.String("PUT " + slug.Blob.URL + " " + sig); strings.Contains(got, sig) || !strings.Contains(got, "/blob/") {
		t.Errorf("redacted to %q", got)
	}
}
