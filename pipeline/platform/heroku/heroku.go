// Package heroku is the client of Heroku's Platform API, version 3, as far as slugs and
// releases need it. It implements platform.Platform, for the stages and for observe.
//
// It sends the token to the configured origin only and follows no redirect there; blob
// stores and output streams are asked without credentials. A request is sent again only
// where a second one does no harm: POST /releases is never sent twice by this package once
// the first may have arrived. It prints no token, no query of an address, and reads no environment.
package heroku

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/transport"
)

// DefaultURL is the API of the real platform.
const DefaultURL = "https://api.heroku.com"

// Options are what New needs. The zero value speaks to the real platform without a token.
type Options struct {
	// BaseURL is https://host[:port]; plain http is allowed for a loopback host only. Default: DefaultURL.
	BaseURL string
	Token   transport.Secret
	// UserAgent names the program and its version. Default: slugfile.
	UserAgent string
	// Transport carries the requests. Default: one for the API and one for blobs, from
	// transport.NewTransport.
	Transport http.RoundTripper
	// Retry is told of every attempt that failed and is followed by another one.
	Retry func(op string, attempt int, wait time.Duration, err error)
	// Warn is told what the platform wants the user to know.
	Warn func(text string)
	// Learn is told secret values that the platform handed out, such as the signature of an
	// upload address, so that a redactor can look for them.
	Learn func(secrets ...string)
	// Backoff is for calls of the API; its zero value is 5 attempts in 5 minutes.
	Backoff transport.Backoff
	// AnswerTimeout is for one whole answer of the API. Default: 30 s.
	AnswerTimeout time.Duration
	// IdleTimeout cuts an upload or an output stream in which nothing moves. Default: 30 s.
	IdleTimeout time.Duration
}

// Client is a client of the Platform API. It is safe for use by several goroutines.
type Client struct {
	base      *url.URL
	baseErr   error
	authorize func(*http.Request)
	api, blob *http.Client
	o         Options
}

var (
	_ platform.Platform = (*Client)(nil)
	_ platform.Logs     = (*Client)(nil)
	_ platform.Configs  = (*Client)(nil)
)

// New returns a client. A base URL that must not be used makes every call fail with the reason.
func New(o Options) *Client {
	if o.BaseURL == "" {
		o.BaseURL = DefaultURL
	}
	if o.UserAgent == "" {
		o.UserAgent = "slugfile"
	}
	if o.AnswerTimeout <= 0 {
		o.AnswerTimeout = 30 * time.Second
	}
	if o.IdleTimeout <= 0 {
		o.IdleTimeout = 30 * time.Second
	}
	c := &Client{}
	c.base, c.baseErr = parseBase(o.BaseURL)
	// The token lives in a closure and nowhere else: fmt would show a field of this struct.
	token := o.Token
	o.Token = ""
	c.o = o
	c.authorize = func(r *http.Request) {
		if token != "" && sameOrigin(r.URL, c.base) {
			r.Header.Set("Authorization", "Bearer "+token.Reveal())
		}
	}
	apiTransport, blobTransport := o.Transport, o.Transport
	if o.Transport == nil {
		apiTransport = transport.NewTransport(transport.Options{ResponseTimeout: o.AnswerTimeout})
		// Once the last byte is handed to the kernel, a slow line may still need a while to
		// carry it to the blob store.
		blobTransport = transport.NewTransport(transport.Options{ResponseTimeout: 2 * time.Minute, DisableCompression: true})
	}
	c.api = &http.Client{Transport: apiTransport, CheckRedirect: stay}
	c.blob = &http.Client{Transport: blobTransport, CheckRedirect: stay}
	return c
}

// stay hands redirects to the caller, who refuses them or follows them by rules of its own.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// String names the origin, never the token.
func (c *Client) String() string {
	if c.base == nil {
		return "the Platform API"
	}
	return "the Platform API at " + c.base.Host
}

func parseBase(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("address of the API: cannot be read as a URL; it must be https://HOST, or http://127.0.0.1:PORT on this machine")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("address of the API: must hold no user name, query or fragment")
	}
	if err := allowed(u); err != nil {
		return nil, fmt.Errorf("address of the API: %w", err)
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	return u, nil
}

// allowed refuses addresses over which neither a token nor a slug may go.
func allowed(u *url.URL) error {
	switch {
	case u.Host == "" || u.Hostname() == "":
		return errors.New("names no host; it must be https://HOST, or http://127.0.0.1:PORT on this machine")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && loopback(u.Hostname()):
		return nil
	case u.Scheme == "http":
		return fmt.Errorf("http://%s: plain http is allowed for this machine only, use https", u.Host)
	}
	return fmt.Errorf("%s://%s: must be https, or http on this machine", u.Scheme, u.Host)
}

// loopback reports whether a host name means this machine by its spelling.
func loopback(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

func sameOrigin(a, b *url.URL) bool {
	return a != nil && b != nil && a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	if u.Scheme == "https" {
		return "443"
	}
	return "80"
}

// segment escapes one name in a path.
func segment(kind, name string) (string, error) {
	if name == "" || name == "." || name == ".." {
		return "", fmt.Errorf("%s %q: not a name", kind, name)
	}
	return url.PathEscape(name), nil
}

// App reads an app by id or name.
func (c *Client) App(ctx context.Context, app string) (platform.App, error) {
	var out platform.App
	a, err := segment("app", app)
	if err != nil {
		return out, err
	}
	_, err = c.do(ctx, call{op: "read app " + app, method: "GET", path: "/apps/" + a, again: always, out: &out})
	return out, err
}

// CreateApp makes an app. It is sent again only when the first request cannot have arrived;
// else it fails with platform.ErrAmbiguous.
func (c *Client) CreateApp(ctx context.Context, in platform.AppCreate) (platform.App, error) {
	var out platform.App
	op := "create app " + in.Name
	_, err := c.do(ctx, call{op: strings.TrimSpace(op), method: "POST", path: "/apps", again: unsent, in: in, out: &out, check: hasID(&out.ID)})
	return out, err
}

// Stacks lists the stacks of an app, or all of them.
func (c *Client) Stacks(ctx context.Context, app string) ([]platform.Stack, error) {
	if app == "" {
		return list[platform.Stack](ctx, c, "list stacks", "/stacks", "", 0)
	}
	a, err := segment("app", app)
	if err != nil {
		return nil, err
	}
	return list[platform.Stack](ctx, c, "list stacks of app "+app, "/apps/"+a+"/available-stacks", "", 0)
}

// CreateSlug allocates a slug. A second slug does no harm, so it is sent again like a GET.
func (c *Client) CreateSlug(ctx context.Context, app string, in platform.SlugCreate) (platform.Slug, error) {
	var out platform.Slug
	a, err := segment("app", app)
	if err != nil {
		return out, err
	}
	_, err = c.do(ctx, call{op: "create slug for app " + app, method: "POST", path: "/apps/" + a + "/slugs", again: always, in: in, out: &out, check: hasID(&out.ID)})
	c.learn(out.Blob.URL)
	return out, err
}

// Slug reads a slug; its blob is then for download.
func (c *Client) Slug(ctx context.Context, app, id string) (platform.Slug, error) {
	var out platform.Slug
	a, err := segment("app", app)
	if err != nil {
		return out, err
	}
	i, err := segment("slug", id)
	if err != nil {
		return out, err
	}
	_, err = c.do(ctx, call{op: "read slug " + id + " of app " + app, method: "GET", path: "/apps/" + a + "/slugs/" + i, again: always, out: &out})
	c.learn(out.Blob.URL)
	return out, err
}

// learn hands the secret part of a signed address on.
func (c *Client) learn(raw string) {
	if c.o.Learn == nil || raw == "" {
		return
	}
	u, err := url.Parse(raw)
	if err != nil {
		c.o.Learn(raw)
		return
	}
	for name, values := range u.Query() {
		for _, v := range values {
			// Dates, algorithms and key names are no secrets, and hiding them would garble text.
			if n := strings.ToLower(name); len(v) >= 16 && (strings.Contains(n, "sig") || strings.Contains(n, "token") || strings.Contains(n, "key")) && !strings.Contains(n, "signedheaders") {
				c.o.Learn(v)
			}
		}
	}
	if u.RawQuery != "" {
		c.o.Learn(u.RawQuery)
	}
	if p, ok := u.User.Password(); ok {
		c.o.Learn(p)
	}
}

// Release reads a release by id, version number or vN.
func (c *Client) Release(ctx context.Context, app, release string) (platform.Release, error) {
	var out platform.Release
	a, err := segment("app", app)
	if err != nil {
		return out, err
	}
	if n, ok := strings.CutPrefix(release, "v"); ok && n != "" && strings.Trim(n, "0123456789") == "" {
		release = n
	}
	r, err := segment("release", release)
	if err != nil {
		return out, err
	}
	_, err = c.do(ctx, call{op: "read release " + release + " of app " + app, method: "GET", path: "/apps/" + a + "/releases/" + r, again: always, out: &out})
	c.learnStream(out)
	return out, err
}

// Releases lists an app's releases, newest first.
func (c *Client) Releases(ctx context.Context, app string, limit int) ([]platform.Release, error) {
	a, err := segment("app", app)
	if err != nil {
		return nil, err
	}
	all, err := list[platform.Release](ctx, c, "list releases of app "+app, "/apps/"+a+"/releases", "version", limit)
	for _, r := range all {
		c.learnStream(r)
	}
	return all, err
}

// ConfigNames lists the names of an app's config vars.
func (c *Client) ConfigNames(ctx context.Context, app string) ([]string, error) {
	a, err := segment("app", app)
	if err != nil {
		return nil, err
	}
	return c.names(ctx, "list config vars of app "+app, "/apps/"+a+"/config-vars")
}

// ReleaseConfigNames lists the names of the config vars of a release.
func (c *Client) ReleaseConfigNames(ctx context.Context, app, release string) ([]string, error) {
	a, err := segment("app", app)
	if err != nil {
		return nil, err
	}
	r, err := segment("release", release)
	if err != nil {
		return nil, err
	}
	return c.names(ctx, "list config vars of release "+release+" of app "+app, "/apps/"+a+"/releases/"+r+"/config-vars")
}

func (c *Client) names(ctx context.Context, op, path string) ([]string, error) {
	vars := map[string]dropped{}
	if _, err := c.do(ctx, call{op: op, method: "GET", path: path, again: always, out: &vars}); err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(vars)), nil
}

// dropped is a value that is read past: config vars hold passwords, and no error of the decoder
// may quote one.
type dropped struct{}

// UnmarshalJSON keeps nothing.
func (dropped) UnmarshalJSON([]byte) error { return nil }

// CreateRelease releases a slug, or rolls back. It is sent again only while no request can have arrived, or
// after an answer that refuses it for the moment (429). Any doubt is platform.ErrAmbiguous.
func (c *Client) CreateRelease(ctx context.Context, app string, in platform.ReleaseCreate) (platform.Release, error) {
	var out platform.Release
	a, err := segment("app", app)
	if err != nil {
		return out, err
	}
	_, err = c.do(ctx, call{op: "create release for app " + app, method: "POST", path: "/apps/" + a + "/releases", again: unsent, in: in, out: &out, check: hasID(&out.ID)})
	c.learnStream(out)
	return out, err
}

// learnStream: the address of an output stream is secret as a whole, since it is asked for
// without credentials.
func (c *Client) learnStream(r platform.Release) {
	if r.OutputStreamURL != nil {
		c.learnAddress(*r.OutputStreamURL)
	}
}

// learnAddress is for addresses that are secret as a whole.
func (c *Client) learnAddress(raw string) {
	if c.o.Learn == nil {
		return
	}
	if u, err := url.Parse(raw); err == nil && len(u.RequestURI()) >= 16 {
		c.o.Learn(u.RequestURI())
	}
	c.learn(raw)
}

// hostOnly is the part of a secret address that may be shown.
func hostOnly(u *url.URL) string {
	h := u.Hostname()
	if p := u.Port(); p != "" {
		h = net.JoinHostPort(h, p)
	}
	return u.Scheme + "://" + h
}
