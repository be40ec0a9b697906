package local

import (
	"net/http"
	"strings"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
)

// How many requests the status page can look back on, of one app and of the whole platform.
const (
	recentOfApp      = 50
	recentOfPlatform = 200
)

// longestSeen is how much of a path is kept: a client chooses its length.
const longestSeen = 300

// seen is a request that was answered at a time. Its path is without the query, which may hold a signature.
type seen struct {
	at     time.Time
	app    string // the app's id; empty for calls that name no app
	name   string // its name at that time
	method string
	path   string
	// status is 0 when the connection was cut before there was one.
	status int
	took   time.Duration
	// dyno is the one that answered, code Heroku's where none could: of the router only.
	dyno, code string
	id         string
}

// ring holds the last requests.
type ring struct {
	size int

	mu   sync.Mutex
	list []seen
	next int
}

func newRing(size int) *ring { return &ring{size: size} }

func (r *ring) add(s seen) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.list) < r.size {
		r.list = append(r.list, s)
		return
	}
	r.list[r.next] = s
	r.next = (r.next + 1) % r.size
}

// latest lists at most n requests, the newest first.
func (r *ring) latest(n int) []seen {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]seen, 0, min(n, len(r.list)))
	for i := range min(n, len(r.list)) {
		list = append(list, r.list[(r.next+len(r.list)-1-i)%len(r.list)])
	}
	return list
}

// moved tells the viewers of the status page that something changed. It costs an addition.
func (p *Platform) moved() { p.moves.Add(1) }

// seenPath is a path as it is shown: the unguessable names in it are credentials.
func seenPath(path string) string {
	for _, secret := range []string{"/streams/", "/logs/"} {
		if strings.HasPrefix(path, secret) {
			return secret + "…"
		}
	}
	if len(path) > longestSeen {
		path = strings.ToValidUTF8(path[:longestSeen], "") + "…"
	}
	return strings.Clone(path) // the rest of the request is not kept alive
}

// seenMethod is a method as it is shown; a client chooses it too.
func seenMethod(method string) string { return strings.Clone(method[:min(len(method), 16)]) }

// record notes every call of the API for the status page.
func (p *Platform) record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := &noteWriter{ResponseWriter: w}
		start := time.Now()
		s := seen{at: p.opts.Clock(), method: seenMethod(r.Method), path: seenPath(r.URL.Path)}
		// Before the call, which may remove the app or change its name.
		s.app, s.name = p.appOfPath(r.URL.Path)
		// Deferred, because a fault that cuts the connection panics.
		defer func() {
			s.status, s.took, s.id = n.status, time.Since(start), w.Header().Get("Request-Id")
			p.calls.add(s)
			p.mu.Lock()
			f := p.fleets[s.app]
			p.mu.Unlock()
			if f != nil {
				f.calls.add(s)
			}
			p.moved()
		}()
		next.ServeHTTP(n, r)
	})
}

// appOfPath is the app that a path of the API names, if there is one.
func (p *Platform) appOfPath(path string) (id, name string) {
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	if len(parts) > 2 && parts[0] == "teams" {
		parts = parts[1:]
	}
	if len(parts) < 2 || parts[0] != "apps" && "/"+parts[0]+"/" != awaitPath {
		return "", ""
	}
	var app appRecord
	// A platform that is closing has no store to ask any more, and no page to show it.
	_ = p.db.View(func(tx *bolt.Tx) (err error) {
		app, err = appIn(tx, parts[1])
		return err
	})
	return app.ID, app.Name
}

// visited notes a request that the router answered, for the status page.
func (f *fleet) visited(r *http.Request, start time.Time, status int, dyno, code, id string) {
	took := time.Since(start)
	s := seen{
		at: f.p.opts.Clock().Add(-took), app: f.app, name: f.log.app, method: seenMethod(r.Method), path: seenPath(r.URL.Path), status: status,
		took: took, dyno: dyno, code: code, id: id,
	}
	f.visits.add(s)
	f.p.visits.add(s)
	f.p.moved()
}

// noteWriter notes the status of an answer.
type noteWriter struct {
	http.ResponseWriter
	status int
}

func (n *noteWriter) WriteHeader(status int) {
	if n.status == 0 && status >= 200 {
		n.status = status
	}
	n.ResponseWriter.WriteHeader(status)
}

func (n *noteWriter) Write(b []byte) (int, error) {
	if n.status == 0 {
		n.status = http.StatusOK
	}
	return n.ResponseWriter.Write(b)
}

// Unwrap lets streams be flushed.
func (n *noteWriter) Unwrap() http.ResponseWriter { return n.ResponseWriter }
