package local

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
)

// hcode is an error of Heroku's router: devcenter.heroku.com/articles/error-codes.
type hcode struct{ code, desc string }

var (
	appCrashed     = hcode{"H10", "App crashed"}
	slowAnswer     = hcode{"H12", "Request timeout"}
	noAnswer       = hcode{"H13", "Connection closed without response"}
	noWeb          = hcode{"H14", "No web processes running"}
	idleConnection = hcode{"H15", "Idle connection"}
	poorAnswer     = hcode{"H17", "Poorly formatted HTTP response"}
	serverCut      = hcode{"H18", "Server Request Interrupted"}
	slowConnect    = hcode{"H19", "Backend connection timeout"}
	bootTimeout    = hcode{"H20", "App boot timeout"}
	refused        = hcode{"H21", "Backend connection refused"}
	clientCut      = hcode{"H27", "Client Request Interrupted"}
	clientIdle     = hcode{"H28", "Client Connection Idle"}
	maintenance    = hcode{"H80", "Maintenance mode"}
)

// clientClosed is the status that Heroku logs when the client has gone before an answer.
const clientClosed = 499

// connectTimeout is how long a dyno may take to accept a connection:
// devcenter.heroku.com/articles/http-routing.
const connectTimeout = 5 * time.Second

// passage is one request on its way through the router. At its end it is a line of the log.
type passage struct {
	f     *fleet
	id    string
	fwd   string
	start time.Time
	body  *bodyReader
	// client is set with body.
	client *http.ResponseController
	stop   context.CancelFunc
	idle   *time.Timer

	dyno    *instance // nil until there is one
	held    bool      // dyno counts this request as in flight
	crashed bool      // it did while the request was on its way
	problem hcode

	// The proxy, the timer and the copies of a WebSocket are goroutines of their own.
	status  atomic.Int64
	bytes   atomic.Int64
	connect atomic.Int64 // milliseconds
	stuck   atomic.Pointer[hcode]
	started atomic.Bool // the answer has begun
	lost    atomic.Bool // the client takes no more of it
}

type passageKey struct{}

// requestID is what a client may choose: devcenter.heroku.com/articles/http-request-id.
var requestID = regexp.MustCompile(`^[A-Za-z0-9+/=-]{20,200}$`)

// route answers a request to the app's own port.
func (f *fleet) route(w http.ResponseWriter, r *http.Request) {
	inMaintenance, err := f.inMaintenance()
	if err != nil {
		http.Error(w, "There is no such app.", http.StatusNotFound)
		return
	}
	ctx, stop := context.WithCancel(r.Context())
	defer stop()
	t := &passage{f: f, start: time.Now(), stop: stop, id: r.Header.Get("X-Request-Id")}
	if !requestID.MatchString(t.id) {
		t.id = newID()
	}
	t.fwd = strings.Join(append(slices.Clone(r.Header["X-Forwarded-For"]), remoteIP(r)), ", ")
	if r.ContentLength != 0 {
		t.body = &bodyReader{ReadCloser: r.Body, t: t}
		t.client = http.NewResponseController(w)
		_ = t.client.EnableFullDuplex() // an answer may begin before the body ends; only HTTP/1 needs to be told
		defer t.shut()
	}
	whole := false
	// Deferred, because the proxy panics when an answer breaks off.
	defer func() { t.finish(r, whole) }()
	if inMaintenance {
		t.refuse(w, r, maintenance, "The app is in maintenance mode.")
		whole = true
		return
	}
	d, problem, why := f.await(r.Context(), nil)
	if d == nil {
		if problem == clientCut {
			return
		}
		t.refuse(w, r, problem, why)
		whole = true
		return
	}
	t.dyno, t.held = d, true
	t.idle = time.AfterFunc(f.p.opts.IdleTimeout, t.idled)
	defer t.idle.Stop()
	out := r.WithContext(context.WithValue(ctx, passageKey{}, t))
	if t.body != nil {
		out.Body = t.body
	}
	f.proxy.ServeHTTP(&countWriter{ResponseWriter: w, t: t}, out)
	whole = true
}

// leftBody is how long a client may take to send what its dyno does not want to read.
const leftBody = time.Second

// shut ends the reading of a body, because the goroutine that reads it can live longer than the
// request. A short rest is read, so that the client's connection can be used again.
func (t *passage) shut() {
	if t.body.ended.Load() {
		return
	}
	patience := leftBody
	if t.stuck.Load() != nil {
		patience = 0
	}
	// Faults of the connection show themselves to whoever uses it next.
	_ = t.client.SetReadDeadline(time.Now().Add(patience))
	_ = t.body.ReadCloser.Close()
	_ = t.client.SetReadDeadline(time.Time{})
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

// inMaintenance reads one field of the app: this is asked for every request.
func (f *fleet) inMaintenance() (bool, error) {
	var app struct {
		Maintenance bool `json:"maintenance"`
	}
	err := f.p.db.View(func(tx *bolt.Tx) error {
		text := tx.Bucket(bucketApps).Get([]byte(f.app))
		if text == nil {
			return notFound("app", "Couldn't find that app.")
		}
		return json.Unmarshal(text, &app)
	})
	return app.Maintenance, err
}

// await finds a web dyno for a request. One that arrives while the app boots waits for it, as
// on Heroku, which lets 75 s pass before H20: a boot and 15 s more. Dynos in tried are not
// taken again.
func (f *fleet) await(ctx context.Context, tried map[*instance]bool) (d *instance, problem hcode, why string) {
	var limit <-chan time.Time
	for {
		d, booting, changed, problem, why := f.pick(tried)
		if d != nil {
			return d, hcode{}, ""
		}
		// Between a release and the birth of its first dyno there is nothing to see yet.
		if !booting && (problem != noWeb || !f.expectsWeb()) {
			return nil, problem, why
		}
		if limit == nil {
			timer := time.NewTimer(f.p.opts.BootTimeout + 15*time.Second)
			defer timer.Stop()
			limit = timer.C
		}
		select {
		case <-changed:
		case <-limit:
			return nil, bootTimeout, "The app is starting: its web process does not listen on $PORT yet."
		case <-ctx.Done():
			return nil, clientCut, ""
		case <-f.ctx.Done():
			return nil, noWeb, "The platform is closing."
		}
	}
}

// pick takes the web dynos in turn, or says with Heroku's code why there is none. During a
// switch it keeps to the release that is live: no client sees the new one and then the old.
func (f *fleet) pick(tried map[*instance]bool) (d *instance, booting bool, changed <-chan struct{}, problem hcode, why string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var live, others []*instance
	var broken *instance
	for _, d := range f.dynos {
		switch {
		case d.kind != "web" || d.oneOff || tried[d]:
		case d.state == up && !d.stopping && d.release.ID == f.live && (!d.obsolete || !f.settled):
			live = append(live, d)
		case d.state == up && !d.stopping:
			others = append(others, d)
		case d.state == starting && !d.obsolete:
			booting = true
		case d.state == crashed && !d.obsolete:
			broken = d
		}
	}
	if len(live) == 0 {
		live = others
	}
	switch {
	case len(live) > 0:
		f.turn++
		d = live[f.turn%len(live)]
		d.inflight++
		return d, false, nil, hcode{}, ""
	case f.ending:
		return nil, false, nil, noWeb, "The platform is closing."
	case broken != nil:
		return nil, booting, f.changed, appCrashed, "The app crashed: " + broken.failure.Reason + ". Its log says more."
	case len(tried) > 0:
		return nil, booting, f.changed, refused, "The app's web dyno does not accept connections."
	}
	return nil, booting, f.changed, noWeb, "The app runs no web dyno: nothing was released yet, or web is scaled to 0."
}

// release ends what pick began.
func (f *fleet) release(d *instance) {
	f.mu.Lock()
	if d.inflight--; d.inflight == 0 && d.obsolete {
		f.touched()
	}
	f.mu.Unlock()
}

// newProxy makes the way from the app's port to its web dynos.
func (f *fleet) newProxy() http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			t := pr.In.Context().Value(passageKey{}).(*passage)
			// What ReverseProxy takes away passes on Heroku: query parameters that Go cannot read,
			// and what proxies before this one have said.
			pr.Out.URL.RawQuery = pr.In.URL.RawQuery
			for _, name := range []string{"Forwarded", "X-Forwarded-Host"} {
				if v := pr.In.Header[name]; v != nil {
					pr.Out.Header[name] = v
				}
			}
			pr.Out.URL.Scheme, pr.Out.Host = "http", pr.In.Host
			h := pr.Out.Header
			h.Set("X-Forwarded-For", t.fwd)
			h.Set("X-Forwarded-Proto", "http")
			h.Set("X-Forwarded-Port", portOfRequest(pr.In))
			h.Set("X-Request-Id", t.id)
			h.Set("X-Request-Start", strconv.FormatInt(t.start.UnixMilli(), 10))
			h.Add("Via", routerVia)
			f.p.withhold(h)
		},
		Transport:     newHop(f),
		FlushInterval: -1, // every write of the app goes out at once
		ErrorLog:      discardLog,
		ModifyResponse: func(res *http.Response) error {
			res.Header.Add("Via", routerVia)
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			t := r.Context().Value(passageKey{}).(*passage)
			problem := t.diagnose(r, err)
			if problem == clientCut || problem == clientIdle {
				t.problem = problem
				panic(http.ErrAbortHandler) // nobody reads an answer
			}
			if problem == refused && t.crashed {
				problem = appCrashed
			}
			t.refuse(w, r, problem, "The app's web dyno did not answer: "+strings.ToLower(problem.desc)+".")
		},
	}
}

// routerVia is what the router adds to Via, both ways.
const routerVia = "1.1 slugfile-router"

// diagnose says why there is no answer.
func (t *passage) diagnose(r *http.Request, err error) hcode {
	var wait net.Error
	timeout := errors.As(err, &wait) && wait.Timeout()
	switch {
	case t.stuck.Load() != nil:
		return *t.stuck.Load()
	case r.Context().Err() != nil:
		return clientCut
	case isDial(err) && timeout:
		return slowConnect
	case isDial(err):
		return refused
	case timeout:
		return slowAnswer
	case strings.Contains(err.Error(), "malformed"): // net/http has no type for it
		return poorAnswer
	case t.body != nil && !t.body.ended.Load():
		return serverCut
	}
	return noAnswer
}

func isDial(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// hop carries requests to dynos.
type hop struct {
	f *fleet
	// kept reuses connections, fresh does not: a dyno may close an idle connection at any time,
	// and only a request that changes nothing may be sent again then.
	kept, fresh *http.Transport
}

func newHop(f *fleet) *hop {
	base := &http.Transport{
		DialContext:           dialDyno,
		DisableCompression:    true, // bytes pass as the app wrote them
		ResponseHeaderTimeout: f.p.opts.RequestTimeout,
		ExpectContinueTimeout: time.Second,
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       30 * time.Second,
	}
	fresh := base.Clone()
	fresh.DisableKeepAlives = true
	return &hop{f: f, kept: base, fresh: fresh}
}

var dynoDialer = net.Dialer{Timeout: connectTimeout}

func dialDyno(ctx context.Context, network, address string) (net.Conn, error) {
	begun := time.Now()
	conn, err := dynoDialer.DialContext(ctx, network, address)
	if t, ok := ctx.Value(passageKey{}).(*passage); ok {
		// The transport may dial for a request that got another connection meanwhile; what it
		// notes then is as good.
		t.connect.Store(time.Since(begun).Milliseconds())
	}
	return conn, err
}

// RoundTrip asks the dyno that was picked. One that refuses the connection has seen nothing of
// the request, so another one may be asked.
func (h *hop) RoundTrip(r *http.Request) (*http.Response, error) {
	t := r.Context().Value(passageKey{}).(*passage)
	transport := h.fresh
	if r.Body == nil && (r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions) {
		transport = h.kept
	}
	tried := map[*instance]bool{}
	for {
		out := r.WithContext(r.Context())
		at := *r.URL
		at.Host = net.JoinHostPort("127.0.0.1", strconv.Itoa(t.dyno.port))
		out.URL = &at
		if t.body != nil && r.Body != nil {
			out.Body = t.body // the one of ReverseProxy cannot be read again after a refusal
		}
		res, err := transport.RoundTrip(out)
		if err == nil {
			t.started.Store(true)
			t.touch()
			return res, nil
		}
		if !isDial(err) || t.body != nil && t.body.begun.Load() || r.Context().Err() != nil {
			return nil, err
		}
		tried[t.dyno] = true
		next, problem, _ := h.f.await(r.Context(), tried)
		if next == nil {
			t.crashed = problem == appCrashed
			return nil, err
		}
		h.f.release(t.dyno)
		t.dyno = next
	}
}

// touch says that something moved.
func (t *passage) touch() { t.idle.Reset(t.f.p.opts.IdleTimeout) }

// idled ends a request on whose connections nothing moved for too long. While the dyno thinks,
// the limit of the first byte counts instead.
func (t *passage) idled() {
	switch {
	case t.started.Load():
		t.stuck.Store(&idleConnection)
		t.stop()
	case t.body != nil && !t.body.ended.Load():
		t.stuck.Store(&clientIdle)
		t.stop()
		// The transport waits for the end of a read that it has begun.
		_ = t.client.SetReadDeadline(time.Now())
	default:
		t.touch()
	}
}

// letGo lets the dyno stop without waiting for this request.
func (t *passage) letGo() {
	if t.held {
		t.held = false
		t.f.release(t.dyno)
	}
}

// finish writes the line of the log. A request that is not whole broke off on the way.
func (t *passage) finish(r *http.Request, whole bool) {
	t.letGo()
	status := int(t.status.Load())
	switch stuck := t.stuck.Load(); {
	case stuck != nil:
		t.problem = *stuck
	case t.problem != hcode{} || whole:
	case r.Context().Err() != nil || t.lost.Load() || !t.started.Load():
		t.problem = clientCut
	default:
		t.problem = serverCut
	}
	at := "at=info"
	switch t.problem {
	case hcode{}:
	case clientCut:
		at, status = fmt.Sprintf("at=info code=%s desc=%q", t.problem.code, t.problem.desc), clientClosed
	case clientIdle:
		status = clientClosed
		fallthrough
	default:
		at = fmt.Sprintf("at=error code=%s desc=%q", t.problem.code, t.problem.desc)
	}
	name, connect, service, bytes := "", "", "", ""
	if t.dyno != nil {
		name, bytes = t.dyno.name, strconv.FormatInt(t.bytes.Load(), 10)
		connect, service = fmt.Sprintf("%dms", t.connect.Load()), fmt.Sprintf("%dms", time.Since(t.start).Milliseconds())
	}
	t.f.visited(r, t.start, status, name, t.problem.code, t.id)
	t.f.log.add("heroku", "router", fmt.Sprintf("%s method=%s path=%q host=%s request_id=%s fwd=%q dyno=%s connect=%s service=%s status=%d bytes=%s protocol=http",
		at, r.Method, r.URL.RequestURI(), r.Host, t.id, t.fwd, name, connect, service, status, bytes))
}

// refuse answers 503 with a page for people; the code is in a header and in the log.
func (t *passage) refuse(w http.ResponseWriter, r *http.Request, problem hcode, why string) {
	t.problem = problem
	t.status.Store(http.StatusServiceUnavailable)
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-cache, no-store")
	h.Set("X-Heroku-Error", problem.code)
	w.WriteHeader(http.StatusServiceUnavailable)
	if r.Method != http.MethodHead {
		fmt.Fprintf(w, "%s (%s)\n%s\n", problem.desc, problem.code, why)
	}
}

func remoteIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// portOfRequest is the port that the client speaks to.
func portOfRequest(r *http.Request) string {
	if _, port, err := net.SplitHostPort(r.Host); err == nil {
		return port
	}
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok {
		return strconv.Itoa(a.Port)
	}
	return "80"
}

// bodyReader is the body of a request. Closing it is left to route.
type bodyReader struct {
	io.ReadCloser
	t            *passage
	begun, ended atomic.Bool
}

func (b *bodyReader) Read(p []byte) (int, error) {
	b.begun.Store(true)
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.t.touch()
	}
	if errors.Is(err, io.EOF) {
		b.ended.Store(true)
	}
	return n, err
}

func (b *bodyReader) Close() error { return nil }

// countWriter notes what goes out.
type countWriter struct {
	http.ResponseWriter
	t *passage
}

func (c *countWriter) WriteHeader(status int) {
	if status >= 200 {
		c.t.status.Store(int64(status))
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *countWriter) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b)
	c.t.moved(n, err)
	return n, err
}

func (t *passage) moved(n int, err error) {
	t.bytes.Add(int64(n))
	t.touch()
	if err != nil {
		t.lost.Store(true)
	}
}

// Hijack gives the connection to a WebSocket. It has no end to wait for, so it does not hold up
// the stop of its dyno: on Heroku it ends with the dyno too, and the client connects again.
func (c *countWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(c.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	c.t.status.Store(http.StatusSwitchingProtocols)
	c.t.letGo()
	return &countConn{conn, c.t}, rw, nil
}

// Unwrap lets the proxy flush.
func (c *countWriter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// countConn is the client's side of a WebSocket.
type countConn struct {
	net.Conn
	t *passage
}

func (c *countConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.t.touch()
	}
	return n, err
}

func (c *countConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.t.bytes.Add(int64(n))
	c.t.touch()
	return n, err
}
