package fetch_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/slugfile/slugfile/pipeline/fetch"
	"github.com/slugfile/slugfile/pipeline/pipetest"
)

// checkClean fails when a request carries anything that could be a credential, or tells
// where it came from.
func checkClean(t *testing.T, m *pipetest.MirrorServer) {
	t.Helper()
	allowed := map[string]bool{"User-Agent": true, "Accept": true, "Accept-Encoding": true, "Range": true, "If-Range": true}
	for _, r := range m.Requests() {
		for name := range r.Header {
			if !allowed[name] {
				t.Errorf("%s %s carries %s: %v", r.Method, r.Path, name, r.Header[name])
			}
		}
		if r.Header.Get("User-Agent") != "slugfile" || r.Header.Get("Accept-Encoding") != "identity" {
			t.Errorf("%s: User-Agent %q, Accept-Encoding %q", r.Path, r.Header.Get("User-Agent"), r.Header.Get("Accept-Encoding"))
		}
	}
}

// The first server sets cookies and answers from a signed address. Wherever a redirect
// leads, nothing of that goes along.
func TestRedirect_carriesNothingToAnyOtherPlace(t *testing.T) {
	t.Parallel()
	for _, code := range []int{301, 302, 303, 307, 308} {
		for place, options := range map[string][]pipetest.MirrorOption{
			"same": nil, "port": {}, "host": {pipetest.WithAddress("127.0.0.2")},
		} {
			t.Run(http.StatusText(code)+" to another "+place, func(t *testing.T) {
				t.Parallel()
				b := newBench(t, 1000)
				target := b.server
				if place != "same" {
					target = pipetest.Mirror(t, nil, options...)
					b.stage.Mirrors = append(b.stage.Mirrors, mirror(t, "https://other.example="+target.URL))
				}
				target.Put("/moved.tar.gz", b.archive)
				b.server.Fault(path, pipetest.Status(code, "Location", target.URL+"/moved.tar.gz?X-Amz-Signature=canary", "Set-Cookie", "session=canary; Path=/"))
				r := b.runtime()
				r.URL += "?X-Amz-Signature=canary"
				b.mustRun(t, r)
				checkClean(t, b.server)
				checkClean(t, target)
				if target.Count("/moved.tar.gz") != 1 {
					t.Error("the redirect was not followed")
				}
			})
		}
	}
}

func TestRedirect_isRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		to   func(b *bench, other *pipetest.MirrorServer) string
		want string
	}{
		"to an address that no mirror names": {func(_ *bench, other *pipetest.MirrorServer) string { return other.URL + "/x" }, "must be https"},
		"to a private https address": {func(_ *bench, other *pipetest.MirrorServer) string {
			return "https" + strings.TrimPrefix(other.URL, "http") + "/x"
		}, "loopback address"},
		"to a metadata address": {func(*bench, *pipetest.MirrorServer) string { return "https://169.254.169.254/latest/meta-data" }, "link-local address"},
		"to a file":             {func(*bench, *pipetest.MirrorServer) string { return "file:///etc/passwd" }, "the address"},
		"to nowhere":            {func(*bench, *pipetest.MirrorServer) string { return "" }, "without an address"},
		"to what is no address": {func(*bench, *pipetest.MirrorServer) string { return "https://[::1" }, "without an address"},
		"in a loop": {func(b *bench, _ *pipetest.MirrorServer) string {
			return b.server.URL + path + "?X-Amz-Signature=canary"
		}, "more than 5 redirects"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, 1000)
			other := pipetest.Mirror(t, map[string][]byte{"/x": b.archive})
			b.server.Fault(path, pipetest.Always(pipetest.Redirect(302, c.to(b, other))))
			_, err := b.run(t, b.runtime())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "canary") {
				t.Errorf("a query is in the message: %v", err)
			}
			if n := len(other.Requests()); n > 0 {
				t.Errorf("%d requests reached the other server", n)
			}
			if n := b.server.Count(path); n > 6 {
				t.Errorf("%d requests, want 6 at most", n)
			}
			b.nothingStored(t)
		})
	}
}

func TestRedirect_neverFromHTTPSToHTTP(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1000, pipetest.WithTLS())
	b.stage.Options.RootCAs = b.server.CertPool()
	plain := pipetest.Mirror(t, map[string][]byte{"/x": b.archive})
	// Even though the user named the plain server for something else.
	b.stage.Mirrors = append(b.stage.Mirrors, mirror(t, "https://other.example="+plain.URL))
	b.server.Fault(path, pipetest.Redirect(302, plain.URL+"/x"))
	_, err := b.run(t, b.runtime())
	if err == nil || !strings.Contains(err.Error(), `redirected from https to "http"`) {
		t.Errorf("got %v", err)
	}
	if n := len(plain.Requests()); n > 0 {
		t.Errorf("%d requests reached the plain server", n)
	}
}

func TestRun_sendsNoUserInformation(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1000)
	b.server.Fault(path, pipetest.Redirect(302, strings.Replace(b.server.URL, "http://", "http://user:canary@", 1)+"/moved"))
	b.server.Put("/moved", b.archive)
	b.mustRun(t, b.runtime())
	checkClean(t, b.server)

	b = newBench(t, 1000)
	r := b.runtime()
	r.URL = "https://user:canary@runtimes.example" + path
	_, err := b.run(t, r)
	if err == nil || !strings.Contains(err.Error(), "user or password") || strings.Contains(err.Error(), "canary") {
		t.Errorf("got %v", err)
	}
}

func TestRun_refusesPrivateServersThatNobodyNamed(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1000, pipetest.WithTLS())
	b.stage.Mirrors, b.stage.Options.RootCAs = nil, b.server.CertPool()
	r := b.runtime()
	for _, address := range []string{b.server.URL, strings.Replace(b.server.URL, "127.0.0.1", "localhost", 1), strings.Replace(b.server.URL, "127.0.0.1", "[::ffff:127.0.0.1]", 1)} {
		r.URL = address + path
		_, err := b.run(t, r)
		var refused *fetch.AddressError
		if !errors.As(err, &refused) || !strings.Contains(refused.Hint(), "--mirror") {
			t.Errorf("%s: got %v", address, err)
		}
	}
	// The same host under another port is another origin.
	other := pipetest.Mirror(t, nil)
	b.stage.Mirrors = []fetch.Mirror{mirror(t, "https://other.example="+other.URL)}
	if _, err := b.run(t, r); err == nil {
		t.Error("a mirror on another port opened this one")
	}
	if n := len(b.server.Requests()); n > 0 {
		t.Errorf("%d requests arrived", n)
	}
}

func TestRun_refusesPrivateAddressesBehindAProxy(t *testing.T) {
	t.Parallel()
	proxy := pipetest.Mirror(t, nil)
	at, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, 1000)
	b.stage.Mirrors = nil
	b.stage.Options.Proxy = func(*http.Request) (*url.URL, error) { return at, nil }
	for _, host := range []string{"127.0.0.1", "10.0.0.1", "[::1]", "localhost", "db.localhost", "2130706433", "0x7f.1", "169.254.169.254"} {
		r := b.runtime()
		r.URL = "https://" + host + path
		_, err := b.run(t, r)
		var refused *fetch.AddressError
		if !errors.As(err, &refused) {
			t.Errorf("%s: got %v", host, err)
		}
	}
	if n := len(proxy.Requests()); n > 0 {
		t.Errorf("%d requests reached the proxy", n)
	}
	// A public name goes to the proxy, although that has a private address itself.
	if _, err := b.run(t, b.runtime()); err == nil || len(proxy.Requests()) == 0 {
		t.Errorf("the proxy saw %d requests: %v", len(proxy.Requests()), err)
	}
}

func TestRun_refusesPlainHTTPWithoutAMirror(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1000)
	for _, address := range []string{"http://runtimes.example/x", "ftp://runtimes.example/x", "https:///x", "runtimes.example/x"} {
		r := b.runtime()
		r.URL = address
		if _, err := b.run(t, r); err == nil || !strings.Contains(err.Error(), "address") {
			t.Errorf("%s: got %v", address, err)
		}
	}
}

func TestRun_tlsFaultsFailAtOnce(t *testing.T) {
	t.Parallel()
	t.Run("unknown authority", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, 1000, pipetest.WithTLS())
		_, err := b.run(t, b.runtime())
		if err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("got %v", err)
		}
		noRetry(t, b)
	})
	t.Run("wrong host", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, 1000, pipetest.WithTLS())
		b.stage.Options.RootCAs = b.server.CertPool()
		b.stage.Mirrors = []fetch.Mirror{mirror(t, host+"="+strings.Replace(b.server.URL, "127.0.0.1", "localhost", 1))}
		_, err := b.run(t, b.runtime())
		if err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("got %v", err)
		}
		noRetry(t, b)
	})
	t.Run("no TLS there", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, 1000)
		b.stage.Mirrors = []fetch.Mirror{mirror(t, host+"=https"+strings.TrimPrefix(b.server.URL, "http"))}
		_, err := b.run(t, b.runtime())
		if err == nil {
			t.Error("plain bytes were taken for TLS")
		}
		noRetry(t, b)
	})
}

func noRetry(t *testing.T, b *bench) {
	t.Helper()
	for _, kind := range b.events.types() {
		if kind == "retry" {
			t.Error("it was tried again")
		}
	}
}
