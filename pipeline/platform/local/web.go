package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/slugfile/slugfile/pipeline/platform"
)

// ErrNoWeb says that the current release has no web process type, or that it is scaled to 0.
var ErrNoWeb = errors.New("the app runs no web dyno")

// AwaitWeb waits until a web dyno of the current release answers a request. It fails with
// *BootError as soon as that dyno has crashed or has used up its boot time, and with ErrNoWeb
// when there is none to wait for.
func (p *Platform) AwaitWeb(ctx context.Context, ident string) error {
	app, f, err := p.fleetOf(ident)
	if err != nil {
		return platformError("wait for app "+ident, err)
	}
	for {
		wants, release, _, err := f.desired()
		if err != nil {
			return platformError("wait for app "+app.Name, err)
		}
		web := false
		for _, w := range wants {
			web = web || w.kind == "web"
		}
		if !web {
			return fmt.Errorf("app %s v%d: %w", app.Name, release.Version, ErrNoWeb)
		}
		f.mu.Lock()
		changed := f.changed
		var ready *instance
		var failure *BootError
		for _, d := range f.dynos {
			if d.kind != "web" || d.oneOff || d.obsolete || d.release.ID != release.ID {
				continue
			}
			switch {
			case d.state == up:
				ready = d
			case d.failure != nil:
				copied := *d.failure
				failure = &copied
			}
		}
		ending := f.ending
		f.mu.Unlock()
		switch {
		case ready != nil:
			if p.answers(ctx, ready) {
				return nil
			}
		case failure != nil:
			failure.App = app.Name
			return failure
		case ending:
			return fmt.Errorf("wait for app %s: the platform is closing", app.Name)
		}
		poll := time.NewTimer(time.Second) // for a dyno that listens and does not answer yet
		select {
		case <-ctx.Done():
			poll.Stop()
			return fmt.Errorf("wait for app %s: %w", app.Name, ctx.Err())
		case <-changed:
		case <-poll.C:
		}
		poll.Stop()
	}
}

// answers asks a web dyno for its first page; any status will do.
func (p *Platform) answers(ctx context.Context, d *instance) bool {
	ctx, cancel := context.WithTimeout(ctx, firstByte)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort("127.0.0.1", strconv.Itoa(d.port))+"/", nil)
	if err != nil {
		return false
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Do(req)
	if err != nil {
		return false
	}
	_ = res.Body.Close() // only the status line was wanted
	return true
}

// platformError gives an error of the API's own functions the type that callers know.
func platformError(op string, err error) error {
	var e *apiError
	if errors.As(err, &e) {
		return &platform.Error{Op: op, Status: e.status, ID: e.id, Message: e.message}
	}
	return fmt.Errorf("%s: %w", op, err)
}

// firstByte is how long a web dyno may take to begin its answer (H12):
// devcenter.heroku.com/articles/request-timeout.
const firstByte = 30 * time.Second

// target is what the router learnt about one request.
type target struct {
	dyno    *instance
	request string
	start   time.Time
	status  int
	bytes   int64
	code    string // Heroku's, when the dyno did not answer
}

type targetKey struct{}

// newProxy makes the way from the app's port to its web dynos.
func (f *fleet) newProxy() http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			t := pr.In.Context().Value(targetKey{}).(*target)
			pr.SetURL(&url.URL{Scheme: "http", Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(t.dyno.port))})
			pr.Out.Host = pr.In.Host
			// The router of the platform adds to what a client claims, and never drops it.
			pr.Out.Header["X-Forwarded-For"] = pr.In.Header["X-Forwarded-For"]
			pr.SetXForwarded()
			_, port, err := net.SplitHostPort(pr.In.Host)
			if err != nil {
				port = "80"
			}
			pr.Out.Header.Set("X-Forwarded-Port", port)
			pr.Out.Header.Set("X-Request-Id", t.request)
			pr.Out.Header.Set("X-Request-Start", strconv.FormatInt(t.start.UnixMilli(), 10))
			pr.Out.Header.Add("Via", "1.1 slugfile-router")
			f.p.withhold(pr.Out.Header)
		},
		Transport: &http.Transport{
			DisableCompression:    true, // bytes pass as the app wrote them
			ResponseHeaderTimeout: firstByte,
			MaxIdleConnsPerHost:   64,
			IdleConnTimeout:       30 * time.Second,
		},
		FlushInterval: -1, // every write of the app goes out at once
		ErrorLog:      discardLog,
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() != nil {
				return // the client has gone
			}
			code, text := "H13", "Connection closed without response"
			var wait net.Error
			switch {
			case errors.As(err, &wait) && wait.Timeout():
				code, text = "H12", "Request timeout"
			case isDial(err):
				code, text = "H21", "Backend connection refused"
			}
			f.refuse(w, r, code, text, "The app's web dyno did not answer: "+strings.ToLower(text)+".")
		},
	}
}

func isDial(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// route answers a request to the app's own port.
func (f *fleet) route(w http.ResponseWriter, r *http.Request) {
	app, err := f.p.findApp(f.app)
	if err != nil {
		http.Error(w, "There is no such app.", http.StatusNotFound)
		return
	}
	if app.Maintenance {
		f.refuse(w, r, "H80", "Maintenance mode", "The app is in maintenance mode.")
		return
	}
	d, code, text, why := f.pick()
	if d == nil {
		f.refuse(w, r, code, text, why)
		return
	}
	t := &target{dyno: d, request: newID(), start: time.Now(), status: http.StatusOK}
	// Deferred, because the proxy panics when an answer breaks off.
	defer func() {
		f.visited(r, t.start, t.status, d.name, t.code, t.request)
		f.mu.Lock()
		if d.inflight--; d.inflight == 0 && d.obsolete {
			f.touched()
		}
		f.mu.Unlock()
		f.log.add("heroku", "router", fmt.Sprintf("at=info method=%s path=%q host=%s request_id=%s fwd=%q dyno=%s connect=0ms service=%dms status=%d bytes=%d protocol=http",
			r.Method, r.URL.RequestURI(), r.Host, t.request, remoteIP(r), d.name, time.Since(t.start).Milliseconds(), t.status, t.bytes))
	}()
	f.proxy.ServeHTTP(&countWriter{ResponseWriter: w, t: t}, r.WithContext(context.WithValue(r.Context(), targetKey{}, t)))
}

func remoteIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// pick takes the web dynos in turn, or says with Heroku's code why there is none.
func (f *fleet) pick() (d *instance, code, text, why string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ready []*instance
	booting, broken := false, (*instance)(nil)
	for _, d := range f.dynos {
		switch {
		case d.kind != "web" || d.oneOff:
		case d.state == up && !d.stopping:
			ready = append(ready, d)
		case d.state == starting:
			booting = true
		case d.state == crashed && !d.obsolete:
			broken = d
		}
	}
	switch {
	case len(ready) > 0:
		f.turn++
		d = ready[f.turn%len(ready)]
		d.inflight++
		return d, "", "", ""
	case broken != nil:
		return nil, "H10", "App crashed", "The app crashed: " + broken.failure.Reason + ". Its log says more."
	case booting:
		return nil, "H20", "App boot timeout", "The app is starting: its web process does not listen on $PORT yet."
	}
	return nil, "H14", "No web processes running", "The app runs no web dyno: nothing was released yet, or web is scaled to 0."
}

// refuse answers 503 with a page for people, and a line with the code in the log.
func (f *fleet) refuse(w http.ResponseWriter, r *http.Request, code, text, why string) {
	id := newID()
	if t, routed := r.Context().Value(targetKey{}).(*target); routed {
		t.code, id = code, t.request // route tells the status page
	} else {
		f.visited(r, time.Now(), http.StatusServiceUnavailable, "", code, id)
	}
	f.log.add("heroku", "router", fmt.Sprintf("at=error code=%s desc=%q method=%s path=%q host=%s request_id=%s fwd=%q dyno= connect= service= status=503 bytes= protocol=http",
		code, text, r.Method, r.URL.RequestURI(), r.Host, id, remoteIP(r)))
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache, no-store")
	w.Header().Set("X-Heroku-Error", code)
	w.WriteHeader(http.StatusServiceUnavailable)
	fmt.Fprintf(w, "%s (%s)\n%s\n", text, code, why)
}

// routeByName answers a request to <app>.localhost on the API's own port.
func (p *Platform) routeByName(w http.ResponseWriter, r *http.Request, name string) {
	_, f, err := p.fleetOf(name)
	if err != nil {
		http.Error(w, fmt.Sprintf("There is no app named %q here.", name), http.StatusNotFound)
		return
	}
	f.route(w, r)
}

// countWriter notes what went out, for the log.
type countWriter struct {
	http.ResponseWriter
	t *target
}

func (c *countWriter) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		c.t.status = status
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *countWriter) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b)
	c.t.bytes += int64(n)
	return n, err
}

// Unwrap lets the proxy flush, and take the connection over for a WebSocket.
func (c *countWriter) Unwrap() http.ResponseWriter { return c.ResponseWriter }
