package local

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/slugfile/slugfile/pipeline/platform/local/status"
)

// The status page is at the root, which is no path of the API, and its stream beside /_fault.
const (
	pagePath   = "/"
	pageEvents = "/_status/events"
)

// How much the page shows, and how often it looks for changes.
const (
	pageRequests = 20
	pageReleases = 20
	pageLines    = 300
	pageLook     = 150 * time.Millisecond
	pageDraw     = 500 * time.Millisecond
	pageAlive    = 15 * time.Second
	// pageViewers bounds the work that open pages make.
	pageViewers = 32
	// linkGrace is how long a sign-in link works after its first use: browsers look ahead.
	linkGrace = time.Minute
)

// StatusURL is the address of the status page with a key that signs a browser in, once.
// Whoever has it can read the logs of all apps until then; it is empty before Start.
func (p *Platform) StatusURL() string {
	if p.apiURL == "" {
		return ""
	}
	return p.apiURL + pagePath + "?key=" + p.pageKey
}

// isPage tells what is for the status page. Clients of the API name their types.
func isPage(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	return r.URL.Path == pageEvents ||
		r.URL.Path == pagePath && !strings.Contains(r.Header.Get("Accept"), "json")
}

// servePage answers a reader. Nothing that is reached from here changes anything, so that a
// cookie, which browsers send along unasked, may open it. It never opens the API.
func (p *Platform) servePage(w http.ResponseWriter, r *http.Request) {
	for name, value := range map[string]string{
		"Cache-Control":                "no-store",
		"Content-Security-Policy":      status.Policy,
		"Cross-Origin-Opener-Policy":   "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin", // an app at another port is of the same site
		"Referrer-Policy":              "no-referrer",
		"Vary":                         "Accept, Authorization, Cookie",
		"X-Content-Type-Options":       "nosniff",
		"X-Frame-Options":              "DENY",
	} {
		w.Header().Set(name, value)
	}
	query := r.URL.Query()
	if key := query.Get("key"); key != "" && r.URL.Path == pagePath && r.Method == http.MethodGet && p.signIn(key) {
		http.SetCookie(w, &http.Cookie{
			Name: p.cookieName(), Value: p.cookieValue(), Path: "/", MaxAge: 30 * 24 * 3600,
			HttpOnly: true, SameSite: http.SameSiteStrictMode,
		})
		w.Header().Set("Location", pagePath)
		w.WriteHeader(http.StatusSeeOther)
		return
	}
	if !p.mayRead(r) {
		w.Header().Set("WWW-Authenticate", `Basic realm="slugfile platform: any user name, and the token as the password", charset="UTF-8"`)
		http.Error(w, signInHelp, http.StatusUnauthorized)
		return
	}
	if query.Has("key") { // an old link, of one who is signed in
		w.Header().Set("Location", pagePath)
		w.WriteHeader(http.StatusSeeOther)
		return
	}
	if r.URL.Path == pageEvents {
		p.servePageEvents(w, r)
		return
	}
	view, err := p.view(query.Get("app"))
	if err != nil {
		pageError(w, err)
		return
	}
	var text []byte
	kind := "text/plain; charset=utf-8"
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		kind = "text/html; charset=utf-8"
		text, err = view.HTML(pageEvents + "?" + url.Values{"app": query["app"]}.Encode())
	} else {
		text = []byte(view.Text())
	}
	if err != nil {
		pageError(w, err)
		return
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	_, _ = w.Write(text) // a reader who has gone is no fault of ours
}

const signInHelp = `The status page needs the platform's token.

In a browser: open the link that "slugfile platform" printed, which works once,
or enter any user name and the token as the password.
With curl:    curl -u :$HEROKU_API_KEY ADDRESS`

func pageError(w http.ResponseWriter, err error) {
	code, text := http.StatusInternalServerError, "The status page could not be made: "+err.Error()
	var refused *apiError
	if errors.As(err, &refused) {
		code, text = refused.status, refused.message
	}
	http.Error(w, text, code)
}

// signIn takes the key of the link. From a minute after its first use it opens nothing.
func (p *Platform) signIn(key string) bool {
	a, b := sha256.Sum256([]byte(key)), sha256.Sum256([]byte(p.pageKey))
	if subtle.ConstantTimeCompare(a[:], b[:]) != 1 {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pageKeyUsed.IsZero() {
		p.pageKeyUsed = p.opts.Clock()
	}
	return p.opts.Clock().Sub(p.pageKeyUsed) < linkGrace
}

// mayRead accepts the token, and the cookie of a browser that signed in.
func (p *Platform) mayRead(r *http.Request) bool {
	if p.authorize(r) == nil {
		return true
	}
	want := p.cookieValue()
	for _, c := range r.CookiesNamed(p.cookieName()) {
		if hmac.Equal([]byte(c.Value), []byte(want)) {
			return true
		}
	}
	return false
}

func (p *Platform) cookieName() string {
	_, port, _ := strings.Cut(strings.TrimPrefix(p.apiURL, "http://"), ":")
	return pageCookie + port[strings.LastIndexByte(port, ':')+1:]
}

// cookieValue is made from the token, and does not tell it.
func (p *Platform) cookieValue() string {
	mac := hmac.New(sha256.New, []byte(p.token.Reveal()))
	_, _ = mac.Write([]byte("the cookie of the status page")) // a hash takes everything
	return hex.EncodeToString(mac.Sum(nil))
}

// view gathers what is to be seen: of one app, or of all when its name is empty.
func (p *Platform) view(ident string) (*status.View, error) {
	v := &status.View{Base: p.apiURL, Now: p.opts.Clock()}
	if ident != "" {
		return v, p.viewApp(v, ident)
	}
	v.Visits, v.Calls = pageList(p.visits), pageList(p.calls)
	err := p.db.View(func(tx *bolt.Tx) error {
		return each(tx, bucketApps, nil, func(app appRecord) error {
			a, err := p.appLine(tx, app)
			v.Apps = append(v.Apps, a)
			return err
		})
	})
	slices.SortFunc(v.Apps, func(a, b status.App) int { return cmp.Compare(a.Name, b.Name) })
	return v, err
}

// appLine is what the list of apps says of one.
func (p *Platform) appLine(tx *bolt.Tx, app appRecord) (status.App, error) {
	current, err := currentIn(tx, app)
	if err != nil {
		return status.App{}, err
	}
	a := status.App{
		Name: app.Name, URL: p.webURL(app), Stack: app.Stack, Release: version(current.Version), Released: current.CreatedAt,
		Created: app.CreatedAt, Maintenance: app.Maintenance,
	}
	if app.Version > app.Current {
		var newest releaseRecord
		found, err := get(tx, bucketReleases, releaseKey(app.ID, app.Version), &newest)
		if err != nil {
			return a, err
		}
		if found {
			a.Next = version(newest.Version) + " " + newest.Status
		}
	}
	counts := map[string]int{}
	if f := p.fleet(app.ID); f != nil {
		for _, d := range f.dynosOf(app) {
			counts[d.State]++
		}
	}
	a.State, a.Dynos = summary(app, counts)
	return a, nil
}

// summary puts the dynos of an app into a word, and into a few.
func summary(app appRecord, counts map[string]int) (word, few string) {
	var list []string
	for _, state := range []string{up, starting, crashed, down} {
		if counts[state] > 0 {
			list = append(list, strconv.Itoa(counts[state])+" "+state)
		}
	}
	few = cmp.Or(strings.Join(list, ", "), "none")
	switch {
	case app.Maintenance:
		return "maintenance", few
	case counts[crashed] > 0:
		return crashed, few
	case counts[starting] > 0:
		return starting, few
	case counts[up] > 0:
		return up, few
	}
	return "idle", few
}

func version(n int) string { return "v" + strconv.Itoa(n) }

func (p *Platform) fleet(app string) *fleet {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fleets[app]
}

// viewApp gathers one app.
func (p *Platform) viewApp(v *status.View, ident string) error {
	app, f, err := p.fleetOf(ident)
	if err != nil {
		return err
	}
	d := &status.Detail{}
	v.Detail, v.Visits, v.Calls = d, pageList(f.visits), pageList(f.calls)
	err = p.db.View(func(tx *bolt.Tx) error {
		if app, err = appIn(tx, app.ID); err != nil { // it may have changed since
			return err
		}
		if d.App, err = p.appLine(tx, app); err != nil {
			return err
		}
		slug, err := currentSlug(tx, app)
		if err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(slug.ProcessTypes)) {
			form := app.Formation[name]
			d.Types = append(d.Types, status.Type{Name: name, Size: form.Size, Command: slug.ProcessTypes[name], Quantity: form.Quantity})
		}
		releases, err := releasesOf(tx, app.ID)
		if err != nil {
			return err
		}
		slices.Reverse(releases)
		d.Older = max(0, len(releases)-pageReleases)
		for _, r := range releases[:min(len(releases), pageReleases)] {
			d.Releases = append(d.Releases, status.Release{
				Version: version(r.Version), Status: r.Status, Description: r.Description, Created: r.CreatedAt, Current: r.Version == app.Current,
			})
		}
		return nil
	})
	if err != nil {
		return err
	}
	d.Config = slices.Sorted(maps.Keys(app.Config))
	for _, one := range f.dynosOf(app) {
		shown := status.Dyno{Name: one.Name, State: one.State, Release: version(one.Release.Version), Since: one.UpdatedAt}
		if !slices.ContainsFunc(d.Types, func(t status.Type) bool { return t.Name == one.Type && t.Command == one.Command }) {
			shown.Command = one.Command
		}
		d.Running = append(d.Running, shown)
	}
	lines, _ := f.log.after(0)
	d.Lines = pageLog(lines[max(0, len(lines)-pageLines):])
	d.After = p.logMark(lines, 0)
	return nil
}

func pageList(r *ring) []status.Request {
	list := r.latest(pageRequests)
	out := make([]status.Request, len(list))
	for i, s := range list {
		out[i] = status.Request{
			At: s.at, App: s.name, Method: s.method, Path: s.path, Dyno: cmp.Or(s.code, s.dyno), ID: s.id, Status: s.status, Duration: s.took,
		}
	}
	return out
}

func pageLog(lines []logLine) []status.Line {
	out := make([]status.Line, len(lines))
	for i, l := range lines {
		out[i] = status.Line{Time: l.at, Source: l.source, Process: l.process, Text: l.text}
	}
	return out
}

// logMark names the last of some lines, for a reader who comes back. Lines are counted anew
// when the platform starts, so the mark names its life too.
func (p *Platform) logMark(lines []logLine, last int64) string {
	if len(lines) > 0 {
		last = lines[len(lines)-1].number
	}
	return p.life + "." + strconv.FormatInt(last, 10)
}

// readMark is the number in a mark; 0 when it was made in another life.
func (p *Platform) readMark(mark string) int64 {
	number, found := strings.CutPrefix(mark, p.life+".")
	n, err := strconv.ParseInt(number, 10, 64)
	if !found || err != nil {
		return 0
	}
	return n
}

// servePageEvents tells an open page what changes. It looks by itself, a few times a second, so
// that what happens on the platform costs nothing more when pages are open, and nothing at all
// when none is.
func (p *Platform) servePageEvents(w http.ResponseWriter, r *http.Request) {
	if p.viewers.Add(1) > pageViewers {
		p.viewers.Add(-1)
		http.Error(w, "Too many status pages are open.", http.StatusServiceUnavailable)
		return
	}
	defer p.viewers.Add(-1)
	ident := r.URL.Query().Get("app")
	var f *fleet
	if ident != "" {
		var err error
		if _, f, err = p.fleetOf(ident); err != nil {
			pageError(w, err)
			return
		}
		ident = f.app // its name may change while the page is open
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return
	}
	s := pageStream{p: p, w: w, f: f, ident: ident, tags: map[string]string{}}
	s.seen = p.readMark(cmp.Or(r.Header.Get("Last-Event-ID"), r.URL.Query().Get("after")))
	tick := time.NewTicker(pageLook)
	defer tick.Stop()
	for {
		if !s.look() {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		case <-p.run.Done():
			return
		}
	}
}

// pageStream is one open page.
type pageStream struct {
	p     *Platform
	w     http.ResponseWriter
	f     *fleet // nil for the page of all apps
	ident string
	seen  int64             // the last line of the log that was sent
	tags  map[string]string // of the parts that were sent
	moves uint64            // of the platform, when it was last drawn
	drawn time.Time
	wrote time.Time
}

// look sends what is new, and says whether to go on.
func (s *pageStream) look() bool {
	var out strings.Builder
	now, moves := time.Now(), s.p.moves.Load()
	// Ages change by the minute, with nothing else.
	if since := now.Sub(s.drawn); moves != s.moves && since >= pageDraw || since >= 20*time.Second {
		s.moves, s.drawn = moves, now
		view, err := s.p.view(s.ident)
		if err != nil {
			_ = s.send("event: gone\ndata: {}\n\n") // the stream ends either way
			return false
		}
		parts, err := view.Parts()
		if err != nil {
			return false
		}
		for _, part := range parts {
			if s.tags[part.ID] != part.Tag {
				s.tags[part.ID] = part.Tag
				writeEvent(&out, "part", part)
			}
		}
	}
	if s.f != nil {
		s.lines(&out)
	}
	if out.Len() == 0 {
		if now.Sub(s.wrote) < pageAlive {
			return true
		}
		out.WriteString(": alive\n\n")
	}
	s.wrote = now
	return s.send(out.String()) == nil
}

// lines sends the lines that were written since the last look.
func (s *pageStream) lines(out *strings.Builder) {
	lines, _ := s.f.log.after(s.seen)
	if len(lines) == 0 {
		return
	}
	// Of an earlier life of the platform, or so old that lines between were forgotten.
	anew := s.seen == 0 || lines[0].number != s.seen+1
	if anew {
		lines = lines[max(0, len(lines)-pageLines):]
	}
	s.seen = lines[len(lines)-1].number
	html, err := status.Lines(pageLog(lines))
	if err != nil {
		return
	}
	fmt.Fprintf(out, "id: %s\n", s.p.logMark(lines, 0))
	writeEvent(out, "lines", map[string]any{"html": html, "anew": anew})
}

func writeEvent(out *strings.Builder, name string, v any) {
	text, _ := json.Marshal(v) // strings and booleans always encode, and on one line
	fmt.Fprintf(out, "event: %s\ndata: %s\n\n", name, text)
}

// send writes to a reader who must take it soon.
func (s *pageStream) send(text string) error {
	c := http.NewResponseController(s.w)
	_ = c.SetWriteDeadline(time.Now().Add(10 * time.Second)) // without one the next write waits longer
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return c.Flush()
}
