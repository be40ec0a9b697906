package platformtest

import (
	"crypto/md5"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/platform"
)

// Server is a small Platform API with its blob store, in memory, on two host names, so that a token
// that leaks from one to the other is seen. It runs nothing: a release phase's output is read off the
// command's "echo" and "exit" words.
type Server struct {
	// URL is the base of the API, Token what it asks for.
	URL, Token string
	// BlobHost is the host and port of the blob store.
	BlobHost string

	mu    sync.Mutex
	fault func(Request) Fault
	log   []Request
	seen  map[string]int
	apps  []*app
	blobs map[string]*blobs
	page  int
}

// Request is one request that arrived.
type Request struct {
	// Op is the method and the kind of resource: "POST releases", "PUT blob", "GET output".
	Op string
	// N counts the requests of this Op from 1.
	N int
	// Host is what the client called the server; Header is as it came.
	Host   string
	Header http.Header
	// Length is -1 for a chunked body.
	Length int64
	Query  url.Values
	Path   string
}

// Fault is what happens to a request instead of, or after, what it asks for. The zero value is none.
type Fault struct {
	// Status answers with this status, Header and Body.
	Status int
	Header http.Header
	Body   string
	// Act carries the request out before the fault.
	Act bool
	// Drop cuts the connection without an answer; ReadFirst bytes of the body are read before.
	Drop      bool
	ReadFirst int64
	// Stall holds the answer back until the client gives up.
	Stall bool
}

type app struct {
	platform.App
	slugs    map[string]*platform.Slug
	releases []*platform.Release // by version, from 1
	phases   map[string]*phaseRun
	config   map[string]string
	configs  map[string]map[string]string // by the ids of releases
	log      []string
	sessions map[string]platform.LogSessionCreate
}

type blobs struct {
	slug   *platform.Slug
	put    string // signatures
	get    string
	data   []byte
	stored bool
	expire bool
}

type phaseRun struct {
	output string
	failed bool
	asked  int
	looks  int
}

// NewServer starts a Server that is closed with the test.
func NewServer(t *testing.T) *Server {
	t.Helper()
	s := &Server{Token: "canary-token-" + uuid(), seen: map[string]int{}, blobs: map[string]*blobs{}, page: 200}
	api := httptest.NewServer(http.HandlerFunc(s.api))
	t.Cleanup(api.Close)
	s.URL = api.URL
	store := httptest.NewUnstartedServer(http.HandlerFunc(s.store))
	// A second loopback address is there on Linux; elsewhere the name must do.
	if l, err := net.Listen("tcp", "127.0.0.2:0"); err == nil {
		_ = store.Listener.Close() // the one that is replaced
		store.Listener = l
	}
	store.Start()
	t.Cleanup(store.Close)
	s.BlobHost = strings.Replace(strings.TrimPrefix(store.URL, "http://"), "127.0.0.1", "localhost", 1)
	return s
}

// Fail makes every request go through choose first.
func (s *Server) Fail(choose func(Request) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = choose
}

// Page sets how many items a list gives at a time.
func (s *Server) Page(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.page = n
}

// Requests returns what arrived so far; with an op, that alone.
func (s *Server) Requests(op string) []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Request
	for _, r := range s.log {
		if op == "" || r.Op == op {
			list = append(list, r)
		}
	}
	return list
}

// ReleaseElsewhere makes a release by somebody else, as may happen between two requests. Without a slug
// it is a config change, which keeps the slug that runs.
func (s *Server) ReleaseElsewhere(name, slug string) platform.Release {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.find(name)
	r := a.release(slug, "Set CONFIG config vars", "ops@example.com")
	if slug == "" && len(a.releases) > 1 {
		r.Slug = a.releases[len(a.releases)-2].Slug
	}
	a.promote(r)
	return *r
}

// Configure sets config vars, without the release that a platform makes of it.
func (s *Server) Configure(name string, vars map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.find(name).config = vars
}

var kinds = regexp.MustCompile(`^/apps/[^/]+/(slugs|releases|available-stacks|config-vars|log-sessions)`)

func op(r *http.Request) string {
	kind := "app"
	switch m := kinds.FindStringSubmatch(r.URL.Path); {
	case m != nil:
		kind = m[1]
	case strings.HasPrefix(r.URL.Path, "/blob/"):
		kind = "blob"
	case strings.HasPrefix(r.URL.Path, "/output/"):
		kind = "output"
	case strings.HasPrefix(r.URL.Path, "/log/"):
		kind = "log"
	case r.URL.Path == "/stacks":
		kind = "stacks"
	}
	return r.Method + " " + kind
}

// admit logs the request, and carries out its fault or what it asks for.
func (s *Server) admit(w http.ResponseWriter, r *http.Request, act func(http.ResponseWriter)) {
	s.mu.Lock()
	name := op(r)
	s.seen[name]++
	req := Request{Op: name, N: s.seen[name], Host: r.Host, Header: r.Header.Clone(), Length: r.ContentLength, Query: r.URL.Query(), Path: r.URL.Path}
	s.log = append(s.log, req)
	choose := s.fault
	s.mu.Unlock()
	var f Fault
	if choose != nil {
		f = choose(req)
	}
	if f.Act {
		act(httptest.NewRecorder())
	}
	switch {
	case f.Stall:
		_, _ = io.Copy(io.Discard, r.Body) // so that the server notices when the client leaves
		<-r.Context().Done()
	case f.Drop:
		_, _ = io.CopyN(io.Discard, r.Body, f.ReadFirst)
		cut(w)
	case f.Status != 0:
		for k, v := range f.Header {
			w.Header()[k] = v
		}
		w.WriteHeader(f.Status)
		_, _ = io.WriteString(w, f.Body)
	case f.ReadFirst > 0:
		act(&cutter{ResponseWriter: w, left: f.ReadFirst})
	default:
		act(w)
	}
}

// cutter cuts the connection after some bytes of the answer.
type cutter struct {
	http.ResponseWriter
	left int64
}

func (c *cutter) Write(p []byte) (int, error) {
	if int64(len(p)) < c.left {
		c.left -= int64(len(p))
		return c.ResponseWriter.Write(p)
	}
	_, _ = c.ResponseWriter.Write(p[:c.left])
	_ = http.NewResponseController(c.ResponseWriter).Flush()
	panic(http.ErrAbortHandler)
}

// cut resets the connection.
func cut(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

func (s *Server) api(w http.ResponseWriter, r *http.Request) {
	s.admit(w, r, func(w http.ResponseWriter) {
		s.mu.Lock()
		defer s.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Request-Id", "served-"+r.Header.Get("Request-Id"))
		if strings.HasPrefix(r.URL.Path, "/output/") {
			s.output(w, r)
			return
		}
		if strings.HasPrefix(r.URL.Path, "/log/") {
			s.readLog(w, r)
			return
		}
		if r.Header.Get("Authorization") != "Bearer "+s.Token {
			refuse(w, 401, "unauthorized", "Invalid credentials provided.")
			return
		}
		s.route(w, r)
	})
}

func (s *Server) route(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if r.URL.Path == "/stacks" {
		answer(w, 200, stackList())
		return
	}
	if len(parts) == 1 && parts[0] == "apps" && r.Method == http.MethodPost {
		s.createApp(w, r)
		return
	}
	if len(parts) < 2 || parts[0] != "apps" {
		refuse(w, 404, "not_found", "The requested API endpoint was not found.")
		return
	}
	a := s.find(parts[1])
	if a == nil {
		refuse(w, 404, "not_found", "Couldn't find that app.")
		return
	}
	what := strings.Join(parts[2:min(3, len(parts))], "")
	switch key := r.Method + " " + what; {
	case key == "GET ":
		answer(w, 200, a.App)
	case key == "GET available-stacks":
		answer(w, 200, stackList())
	case key == "GET config-vars":
		answer(w, 200, a.config)
	case key == "POST slugs":
		s.createSlug(w, r, a)
	case key == "GET slugs" && len(parts) == 4:
		slug := a.slugs[parts[3]]
		if slug == nil {
			refuse(w, 404, "not_found", "Couldn't find that slug.")
			return
		}
		b := s.blobs[slug.ID]
		out := *slug
		out.Blob = platform.Blob{Method: "get", URL: "http://" + s.BlobHost + "/blob/" + slug.ID + "?X-Amz-Signature=" + b.get}
		answer(w, 200, out)
	case key == "GET releases" && len(parts) == 3:
		s.listReleases(w, r, a)
	case key == "GET releases" && len(parts) == 5 && parts[4] == "config-vars":
		for _, rel := range a.releases {
			if rel.ID == parts[3] || strconv.Itoa(rel.Version) == parts[3] {
				answer(w, 200, a.configs[rel.ID])
				return
			}
		}
		refuse(w, 404, "not_found", "Couldn't find that release.")
	case key == "POST log-sessions":
		var in platform.LogSessionCreate
		if json.NewDecoder(r.Body).Decode(&in) != nil {
			refuse(w, 400, "bad_request", "Unable to parse the JSON request.")
			return
		}
		id := uuid()
		a.sessions[id] = in
		answer(w, 201, platform.LogSession{LogplexURL: s.URL + "/log/" + id})
	case key == "GET releases":
		for _, rel := range a.releases {
			if rel.ID == parts[3] || strconv.Itoa(rel.Version) == parts[3] {
				a.look(rel)
				answer(w, 200, *rel)
				return
			}
		}
		refuse(w, 404, "not_found", "Couldn't find that release.")
	case key == "POST releases":
		s.createRelease(w, r, a)
	default:
		refuse(w, 404, "not_found", "The requested API endpoint was not found.")
	}
}

func stackList() []platform.Stack {
	now := time.Now().UTC()
	return []platform.Stack{
		{ID: "1", Name: "heroku-24", State: "public", Default: true, CreatedAt: now, UpdatedAt: now},
		{ID: "2", Name: "heroku-22", State: "deprecated", CreatedAt: now, UpdatedAt: now},
	}
}

func (s *Server) find(name string) *app {
	for _, a := range s.apps {
		if a.ID == name || a.Name == name {
			return a
		}
	}
	return nil
}

func (s *Server) createApp(w http.ResponseWriter, r *http.Request) {
	var in platform.AppCreate
	if json.NewDecoder(r.Body).Decode(&in) != nil || in.Name == "" {
		refuse(w, 422, "invalid_params", "Name is required here.")
		return
	}
	if s.find(in.Name) != nil {
		refuse(w, 422, "invalid_params", "Name "+in.Name+" is already taken")
		return
	}
	a := &app{slugs: map[string]*platform.Slug{}, phases: map[string]*phaseRun{}, config: map[string]string{}, configs: map[string]map[string]string{}, sessions: map[string]platform.LogSessionCreate{}}
	a.App = platform.App{ID: uuid(), Name: in.Name, Stack: platform.Ref{Name: in.Stack}, Generation: platform.Ref{Name: "cedar"}, WebURL: new("http://127.0.0.1:1/")}
	a.release("", "Initial release", "you@example.com")
	a.promote(a.release("", "Enable Logplex", "you@example.com"))
	s.apps = append(s.apps, a)
	answer(w, 201, a.App)
}

func (s *Server) createSlug(w http.ResponseWriter, r *http.Request, a *app) {
	var in platform.SlugCreate
	if json.NewDecoder(r.Body).Decode(&in) != nil || in.ProcessTypes == nil {
		refuse(w, 422, "invalid_params", "process_types is required")
		return
	}
	slug := &platform.Slug{
		ID: uuid(), ProcessTypes: in.ProcessTypes, Checksum: in.Checksum, Commit: in.Commit,
		CommitDescription: in.CommitDescription, Stack: platform.Ref{Name: in.Stack}, CreatedAt: time.Now().UTC(), UpdatedAt: time.Now().UTC(),
	}
	b := &blobs{slug: slug, put: uuid(), get: uuid()}
	s.blobs[slug.ID], a.slugs[slug.ID] = b, slug
	out := *slug
	out.Blob = platform.Blob{Method: "put", URL: "http://" + s.BlobHost + "/blob/" + slug.ID + "?X-Amz-Signature=" + b.put}
	answer(w, 201, out)
}

// ExpireUploads makes the upload addresses handed out so far too old.
func (s *Server) ExpireUploads() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.blobs {
		b.expire = true
	}
}

// Spoil changes the stored bytes of every blob.
func (s *Server) Spoil(change func([]byte) []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.blobs {
		b.data = change(slices.Clone(b.data))
	}
}

func (s *Server) store(w http.ResponseWriter, r *http.Request) {
	s.admit(w, r, func(w http.ResponseWriter) {
		s.mu.Lock()
		b := s.blobs[strings.TrimPrefix(r.URL.Path, "/blob/")]
		s.mu.Unlock()
		sig := r.URL.Query().Get("X-Amz-Signature")
		xml := func(status int, code, message string) {
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(status)
			_, _ = fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>%s</Message><HostId>x</HostId></Error>`, code, message)
		}
		switch {
		case b == nil:
			xml(404, "NoSuchKey", "The specified key does not exist.")
		case r.Method == http.MethodPut && sig != b.put, r.Method == http.MethodGet && sig != b.get:
			xml(403, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided.")
		case r.Method == http.MethodPut && b.expire:
			xml(403, "AccessDenied", "Request has expired")
		case r.Method == http.MethodPut && r.ContentLength < 0:
			xml(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
		case r.Method == http.MethodPut && r.Header.Get("Content-Type") != "":
			xml(403, "SignatureDoesNotMatch", "A Content-Type was sent that was not signed.")
		case r.Method == http.MethodPut:
			data, err := io.ReadAll(r.Body)
			if err != nil {
				return // the client is gone
			}
			s.mu.Lock()
			b.data, b.stored = data, true
			s.mu.Unlock()
			w.Header().Set("ETag", etag(data))
		default:
			s.mu.Lock()
			data, stored := b.data, b.stored
			s.mu.Unlock()
			if !stored {
				xml(404, "NoSuchKey", "The specified key does not exist.")
				return
			}
			w.Header().Set("ETag", etag(data))
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(data)))
		}
	})
}

func etag(b []byte) string { return fmt.Sprintf(`"%x"`, md5.Sum(b)) }

func (s *Server) createRelease(w http.ResponseWriter, r *http.Request, a *app) {
	var in platform.ReleaseCreate
	bad := json.NewDecoder(r.Body).Decode(&in) != nil
	for _, old := range a.releases {
		if !bad && old.ID == in.Release && old.Slug != nil && in.Slug == "" {
			in.Slug, in.Description = old.Slug.ID, "Rollback to v"+strconv.Itoa(old.Version)
			a.config = maps.Clone(a.configs[old.ID])
		}
	}
	if bad || a.slugs[in.Slug] == nil {
		refuse(w, 422, "invalid_params", "Couldn't find that slug.")
		return
	}
	b := s.blobs[in.Slug]
	switch {
	case !b.stored:
		refuse(w, 422, "invalid_params", "The slug was never uploaded.")
		return
	case b.slug.Checksum != nil && *b.slug.Checksum != digest.Of(b.data).Checksum():
		refuse(w, 422, "invalid_params", "Could not verify slug checksum")
		return
	}
	rel := a.release(in.Slug, in.Description, "you@example.com")
	if cmd := b.slug.ProcessTypes["release"]; cmd != "" {
		rel.Status = platform.Pending
		rel.OutputStreamURL = new(s.URL + "/output/" + rel.ID)
		a.phases[rel.ID] = pretend(cmd)
	} else {
		a.promote(rel)
	}
	answer(w, 201, *rel)
}

// release appends a release that has succeeded but is not yet current.
func (a *app) release(slug, description, user string) *platform.Release {
	now := time.Now().UTC()
	r := &platform.Release{
		ID: uuid(), Version: len(a.releases) + 1, Description: description, Status: platform.Succeeded,
		App: platform.Ref{ID: a.ID, Name: a.Name}, User: platform.Owner{Email: user}, CreatedAt: now, UpdatedAt: now,
	}
	if slug != "" {
		r.Slug = &platform.SlugRef{ID: slug}
	}
	a.releases = append(a.releases, r)
	a.configs[r.ID] = maps.Clone(a.config)
	a.note("app[api]: Release v" + strconv.Itoa(r.Version) + " created by user " + user)
	return r
}

// Log adds a line to the log of an app, as the platform or one of its dynos would.
func (s *Server) Log(name, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.find(name).note(text)
}

func (a *app) note(text string) {
	at := time.Now().UTC().Format("2006-01-02T15:04:05.000000+00:00")
	a.log = append(a.log, at+" "+text)
}

// ForgetSessions ends every log session, as the platform does after some minutes.
func (s *Server) ForgetSessions() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.apps {
		clear(a.sessions)
	}
}

// readLog sends the lines that are there, and ends: whoever follows a log has to come again.
func (s *Server) readLog(w http.ResponseWriter, r *http.Request) {
	for _, a := range s.apps {
		in, found := a.sessions[strings.TrimPrefix(r.URL.Path, "/log/")]
		if !found {
			continue
		}
		from := max(0, len(a.log)-in.Lines)
		if n, err := strconv.Atoi(r.Header.Get("Last-Event-ID")); err == nil {
			from = n
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for i, line := range a.log[min(from, len(a.log)):] {
			_, _ = fmt.Fprintf(w, "id: %d\ndata: %s\n\n", from+i+1, line)
		}
		return
	}
	http.NotFound(w, r)
}

func (a *app) promote(r *platform.Release) {
	for _, other := range a.releases {
		other.Current = other == r
	}
}

// pretend reads what a command of echo and exit words would do.
func pretend(cmd string) *phaseRun {
	p := &phaseRun{}
	for part := range strings.SplitSeq(cmd, ";") {
		part = strings.TrimSpace(part)
		if text, ok := strings.CutPrefix(part, "echo "); ok {
			p.output += text + "\n"
		}
		if code, ok := strings.CutPrefix(part, "exit "); ok {
			p.failed = code != "0"
			break
		}
	}
	return p
}

// look ends a release phase whose output was read, or that was asked about a few times.
func (a *app) look(r *platform.Release) {
	p := a.phases[r.ID]
	if p == nil || r.Status != platform.Pending {
		return
	}
	if p.looks++; p.asked < 2 && p.looks < 4 {
		return
	}
	if p.failed {
		r.Status = platform.Failed
		return
	}
	r.Status = platform.Succeeded
	a.promote(r)
}

// output answers 404 to the first who asks, as the platform does while the dyno starts.
func (s *Server) output(w http.ResponseWriter, r *http.Request) {
	for _, a := range s.apps {
		if p := a.phases[strings.TrimPrefix(r.URL.Path, "/output/")]; p != nil {
			if p.asked++; p.asked == 1 {
				break
			}
			w.Header().Set("Content-Type", "text/plain")
			_, _ = io.WriteString(w, p.output)
			return
		}
	}
	http.NotFound(w, r)
}

func (s *Server) listReleases(w http.ResponseWriter, r *http.Request, a *app) {
	below, most := len(a.releases)+1, s.page
	for part := range strings.FieldsFuncSeq(r.Header.Get("Range"), func(c rune) bool { return c == ' ' || c == ';' || c == ',' }) {
		if v, ok := strings.CutPrefix(part, "max="); ok {
			if n, err := strconv.Atoi(v); err == nil {
				most = min(most, n)
			}
		}
		if v, ok := strings.CutPrefix(part, "]"); ok {
			if n, err := strconv.Atoi(strings.TrimSuffix(v, "..")); err == nil {
				below = n
			}
		}
	}
	list := []platform.Release{}
	for _, rel := range slices.Backward(a.releases) {
		if rel.Version < below && len(list) < most {
			list = append(list, *rel)
		}
	}
	status := 200
	if n := len(list); n > 0 && list[n-1].Version > 1 {
		w.Header().Set("Next-Range", fmt.Sprintf("version ]%d..; max=%d, order=desc", list[n-1].Version, most))
		status = 206
	}
	answer(w, status, list)
}

func answer(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // a wire type that cannot be encoded is a mistake in this kit
	}
	w.WriteHeader(status)
	_, _ = w.Write(b)
}

func refuse(w http.ResponseWriter, status int, id, message string) {
	answer(w, status, map[string]string{"id": id, "message": message})
}

func uuid() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
