package local

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// discardLog keeps net/http from writing to the standard error of the program.
var discardLog = log.New(io.Discard, "", 0)

// maxBody limits the bodies of API calls; the largest real one is a set of config vars.
const maxBody = 1 << 20

// apiError is an answer that refuses a call.
type apiError struct {
	status   int
	id       string
	message  string
	resource string
	after    time.Duration
}

func (e *apiError) Error() string { return e.id + ": " + e.message }

func notFound(resource, message string) error {
	return &apiError{status: http.StatusNotFound, id: "not_found", message: message, resource: resource}
}

func isNotFound(err error) bool {
	var e *apiError
	return errors.As(err, &e) && e.status == http.StatusNotFound
}

func invalid(format string, args ...any) error {
	return &apiError{status: http.StatusUnprocessableEntity, id: "invalid_params", message: fmt.Sprintf(format, args...)}
}

// call is one request to the API.
type call struct {
	*http.Request
	w http.ResponseWriter
	// limit is how long the body may take.
	limit time.Duration
}

// answer is what a call returns: a status and a value for JSON.
type answer struct {
	status int
	body   any
}

func ok(body any) (answer, error)       { return answer{http.StatusOK, body}, nil }
func created(body any) (answer, error)  { return answer{http.StatusCreated, body}, nil }
func accepted(body any) (answer, error) { return answer{http.StatusAccepted, body}, nil }

// empty is the body of answers that say nothing: heroku-go decodes every body.
type empty struct{}

// handle turns an API function into a handler.
func (p *Platform) handle(fn func(*call) (answer, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, err := fn(&call{Request: r, w: w, limit: p.opts.HeaderTimeout})
		if err != nil {
			writeError(w, err)
			return
		}
		writeJSON(w, r, a)
	})
}

func writeJSON(w http.ResponseWriter, r *http.Request, a answer) {
	text, err := json.Marshal(a.body)
	if err != nil {
		writeError(w, err)
		return
	}
	text = append(text, '\n')
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		sum := sha256.Sum256(text)
		tag := `"` + hex.EncodeToString(sum[:16]) + `"`
		w.Header().Set("ETag", tag)
		if a.status/100 == 2 && unchanged(r.Header, tag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	w.Header().Set("Content-Type", "application/json;charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(a.status)
	_, _ = w.Write(text) // a client that has gone is no fault of ours
}

func writeError(w http.ResponseWriter, err error) {
	e := &apiError{}
	if !errors.As(err, &e) {
		e = &apiError{status: http.StatusInternalServerError, id: "internal_server_error", message: "The embedded platform failed: " + err.Error()}
	}
	body := map[string]string{"id": e.id, "message": e.message}
	if e.resource != "" {
		body["resource"] = e.resource
	}
	if e.status == http.StatusTooManyRequests {
		body["url"] = "https://devcenter.heroku.com/articles/platform-api-reference#rate-limits"
	}
	if e.after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(e.after.Round(time.Second)/time.Second)))
	}
	text, _ := json.Marshal(body) // a map of strings always encodes
	w.Header().Set("Content-Type", "application/json;charset=utf-8")
	w.WriteHeader(e.status)
	_, _ = w.Write(append(text, '\n')) // as in writeJSON
}

// decode reads a body into a struct. Fields outside allowed are refused: the real platform's
// schema is strict, and a misspelt field must not pass here and fail there. No body is {}.
func (c *call) decode(into any, allowed ...string) error {
	fields, err := c.object()
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if !slices.Contains(allowed, name) {
			return invalid("Unknown field %q: expected one of %s.", name, strings.Join(allowed, ", "))
		}
	}
	text, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return invalid("%s has the wrong type: got %s.", wrong.Field, wrong.Value)
		}
		return invalid("%s", err)
	}
	return nil
}

// object reads a body that is a JSON object. Whoever sends it a byte at a time is not waited for.
func (c *call) object() (map[string]json.RawMessage, error) {
	control := http.NewResponseController(c.w)
	// Where no limit can be set, as for a call that a fault repeats later, the body is there already.
	_ = control.SetReadDeadline(time.Now().Add(c.limit))
	text, err := io.ReadAll(http.MaxBytesReader(c.w, c.Body, maxBody))
	if err != nil {
		return nil, &apiError{status: http.StatusBadRequest, id: "bad_request", message: "The request body could not be read: " + err.Error()}
	}
	_ = control.SetReadDeadline(time.Time{}) // after an error it stays: the server reads on before it answers
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, nil
	}
	if err := checkContentType(c.Header); err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, &apiError{status: http.StatusBadRequest, id: "bad_request", message: "Unable to parse the JSON request body: " + err.Error()}
	}
	return fields, nil
}

// ident is an id or a name. Clients send it bare, or in an object that has one of both.
type ident string

// UnmarshalJSON takes "x", {"id": "x"} and {"name": "x"}.
func (i *ident) UnmarshalJSON(text []byte) error {
	if bytes.HasPrefix(text, []byte("{")) {
		var ref struct{ ID, Name string }
		err := json.Unmarshal(text, &ref)
		*i = ident(cmp.Or(ref.ID, ref.Name))
		return err
	}
	return json.Unmarshal(text, (*string)(i))
}

// apiEntry is what every request to the API's listener meets: the apps' own host names, then
// faults, ids, and for all but the signed paths the token and the rate limit.
func (p *Platform) apiEntry() http.Handler {
	guarded := p.faulty(listenerAPI, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Request-Id", newID())
		if r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/streams/") {
			p.serveStream(w, r)
			return
		}
		if r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/logs/") {
			p.serveLogs(w, r)
			return
		}
		p.serveAPI(w, r)
	}))
	recorded := p.record(guarded)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch name, isApp := strings.CutSuffix(hostName(r.Host), ".localhost"); {
		case isApp:
			p.routeByName(w, r, name)
		case isPage(r):
			p.servePage(w, r)
		case r.URL.Path == faultPath || strings.HasPrefix(r.URL.Path, faultPath+"/"):
			// Never subject to a fault itself, or it could not be taken away again.
			w.Header().Set("Request-Id", newID())
			if err := p.authorize(r); err != nil {
				writeError(w, err)
				return
			}
			p.serveFaults(w, r)
		case r.URL.Path == clockPath:
			w.Header().Set("Request-Id", newID())
			if err := p.authorize(r); err != nil {
				writeError(w, err)
				return
			}
			p.handle(p.serveClock).ServeHTTP(w, r)
		default:
			recorded.ServeHTTP(w, r)
		}
	})
}

func (p *Platform) serveAPI(w http.ResponseWriter, r *http.Request) {
	if err := p.authorize(r); err != nil {
		w.Header().Set("RateLimit-Remaining", strconv.Itoa(p.bucket.remaining()))
		writeError(w, err)
		return
	}
	// heroku.md: asking for the limit costs nothing.
	if r.URL.Path != "/account/rate-limits" {
		if wait, ok := p.bucket.take(); !ok {
			w.Header().Set("RateLimit-Remaining", "0")
			writeError(w, &apiError{status: http.StatusTooManyRequests, id: "rate_limit", message: "Your account reached the API rate limit", after: wait})
			return
		}
	}
	w.Header().Set("RateLimit-Remaining", strconv.Itoa(p.bucket.remaining()))
	p.router.ServeHTTP(w, r)
}

// authorize accepts the token as Bearer, or as the password of Basic with any user name.
func (p *Platform) authorize(r *http.Request) error {
	_, given, isBasic := r.BasicAuth()
	if !isBasic {
		scheme, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if strings.EqualFold(scheme, "Bearer") {
			given = strings.TrimSpace(value)
		}
	}
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(p.token.Reveal()))
	if given == "" || subtle.ConstantTimeCompare(a[:], b[:]) != 1 {
		return &apiError{status: http.StatusUnauthorized, id: "unauthorized", message: "Invalid credentials provided."}
	}
	return nil
}

// checkHost refuses names that are not this machine's own, so that a web page whose name was
// pointed at 127.0.0.1 cannot speak to the platform through its reader's browser.
func (p *Platform) checkHost(next http.Handler, apps bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := hostName(r.Host)
		ip := net.ParseIP(name)
		allowed := isLoopbackHost(name) || name == p.blobHost || strings.EqualFold(name, p.host) ||
			apps && strings.HasSuffix(name, ".localhost") ||
			// A rebound name is a name: an address in Host was typed as an address.
			ip != nil && p.opts.AllowNonLoopback
		if !allowed {
			writeError(w, &apiError{status: http.StatusForbidden, id: "forbidden", message: fmt.Sprintf("Host %q is not a name of this platform.", r.Host)})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// hostName is the host without its port, in lower case and without brackets.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}

// isLoopbackHost is for listen addresses and Host headers.
func isLoopbackHost(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// tokenBucket is the account's rate limit: full at first, 75 tokens back in a minute.
type tokenBucket struct {
	size  float64
	clock func() time.Time

	mu   sync.Mutex
	left float64
	last time.Time
}

func newTokenBucket(size int, clock func() time.Time) *tokenBucket {
	return &tokenBucket{size: float64(size), left: float64(size), clock: clock, last: clock()}
}

const tokensPerSecond = 75.0 / 60

func (b *tokenBucket) fill() {
	now := b.clock()
	if gone := now.Sub(b.last).Seconds(); gone > 0 {
		b.left = min(b.size, b.left+gone*tokensPerSecond)
	}
	b.last = now
}

// take spends one token, or says how long to wait for it.
func (b *tokenBucket) take() (time.Duration, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill()
	if b.size < 0 {
		return 0, true
	}
	if b.left < 1 {
		return max(time.Second, time.Duration((1-b.left)/tokensPerSecond*float64(time.Second))), false
	}
	b.left--
	return 0, true
}

func (b *tokenBucket) remaining() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill()
	if b.size < 0 {
		return 4500
	}
	return int(b.left)
}
