package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Fault is what goes wrong with one request. The fields combine: a fault may wait, act, and
// then cut the connection.
type Fault struct {
	// Delay comes before everything else.
	Delay time.Duration
	// Status is answered instead of acting; 0 acts.
	Status int
	// RetryAfter goes with Status, in the header of that name; 0 sends none.
	RetryAfter time.Duration
	// Expired answers what a blob store says to an address that is too old.
	Expired bool
	// ResetRequest cuts the connection after that many bytes of the request's body.
	ResetRequest *int64
	// ResetResponse cuts it after that many bytes of the answer's body.
	ResetResponse *int64
	// DropAnswer acts and then cuts the connection without a byte of answer.
	DropAnswer bool
	// Late, with DropAnswer, acts only that long after the connection was cut.
	Late time.Duration
}

// The names of the listeners in rules.
const (
	listenerAPI  = "api"
	listenerBlob = "blob"
)

// maxFaultRules is how many rules there can be at once.
const maxFaultRules = 200

// faults holds the rules and the hook of the options.
type faults struct {
	hook func(*http.Request) *Fault
	seed uint64

	mu     sync.Mutex
	rules  []*activeRule
	lastID int
	// same counts the rules with the same text, so that two of them do not hit as one.
	same map[string]int
}

// activeRule is a rule at work.
type activeRule struct {
	FaultRule
	id   int
	text string
	// source and the number of a match give its chance, whatever else goes on.
	source        uint64
	matches, hits int
}

// faultHit is one hit, for the log.
type faultHit struct {
	rule, match int
	// what is the fault with the values that were drawn.
	what string
}

func newFaults(o Options) (*faults, error) {
	f := &faults{hook: o.Fault, seed: o.FaultSeed, same: map[string]int{}}
	for f.seed == 0 {
		f.seed = uint64(rand.Uint32()) // short enough to be typed again
	}
	return f, f.add(o.Faults)
}

// add puts rules behind those that are there. Rules that have no hits left make room.
func (f *faults) add(rules []FaultRule) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.rules)+len(rules) > maxFaultRules {
		f.rules = slices.DeleteFunc(f.rules, func(r *activeRule) bool { return r.times > 0 && r.hits >= r.times })
	}
	if n := len(f.rules) + len(rules); n > maxFaultRules {
		return invalid("That would be %d fault rules, and there can be %d: DELETE /_fault removes them.", n, maxFaultRules)
	}
	for _, r := range rules {
		text := r.String()
		f.lastID++
		f.same[text]++
		h := fnv.New64a()
		fmt.Fprintf(h, "%d %s", f.same[text], text)
		f.rules = append(f.rules, &activeRule{FaultRule: r, id: f.lastID, text: text, source: h.Sum64()})
	}
	return nil
}

// remove drops the rule with that id, or all for 0. It says whether there was one. The
// sequences begin anew when all are gone.
func (f *faults) remove(id int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if id == 0 {
		f.rules = nil
		clear(f.same)
		return true
	}
	n := len(f.rules)
	f.rules = slices.DeleteFunc(f.rules, func(r *activeRule) bool { return r.id == id })
	return len(f.rules) < n
}

// FaultState is what the faults of a platform are and what they did: the JSON of /_fault.
type FaultState struct {
	// Seed repeats the chances of the rules.
	Seed  uint64       `json:"seed"`
	Rules []FaultCount `json:"rules"`
}

// FaultCount is one rule and how often it was met.
type FaultCount struct {
	ID   int    `json:"id"`
	Spec string `json:"spec"`
	// Matches are the requests or dynos that the rule is about, Hits those that it befell.
	Matches int `json:"matches"`
	Hits    int `json:"hits"`
	// Left is how many hits are to come; nil is no limit.
	Left *int `json:"left"`
}

// Faults are the rules that were given, with those that have no hits left.
func (p *Platform) Faults() FaultState {
	f := p.faults
	f.mu.Lock()
	defer f.mu.Unlock()
	s := FaultState{Seed: f.seed, Rules: []FaultCount{}}
	for _, r := range f.rules {
		c := FaultCount{ID: r.id, Spec: r.text, Matches: r.matches, Hits: r.hits}
		if r.times > 0 {
			c.Left = new(r.times - r.hits)
		}
		s.Rules = append(s.Rules, c)
	}
	return s
}

// InjectFault adds rules as the /_fault endpoint does.
func (p *Platform) InjectFault(specs ...string) error {
	rules := make([]FaultRule, len(specs))
	for i, s := range specs {
		var err error
		if rules[i], err = ParseFault(s); err != nil {
			return err
		}
	}
	return p.faults.add(rules)
}

// meet counts a match, and says whether the rule hits it. The chances of the n-th match depend
// on the seed, the rule and n alone: other rules, and the order in which requests that the rule
// is not about arrive, change nothing. The caller holds mu.
func (f *faults) meet(r *activeRule) (*rand.Rand, bool) {
	r.matches++
	if r.matches <= r.skip || r.times > 0 && r.hits >= r.times {
		return nil, false
	}
	chances := rand.New(rand.NewPCG(f.seed^r.source, uint64(r.matches)))
	return chances, chances.Float64()*100 < r.rate
}

// draw chooses a value by chance.
func (v faultValue) draw(chances *rand.Rand) int64 {
	if len(v.choice) > 0 {
		return v.choice[chances.IntN(len(v.choice))]
	}
	return v.from + chances.Int64N(v.to-v.from+1)
}

// pick finds what goes wrong with a request: every rule that is about it has its chance, waits
// add up, and of several ends the first counts. The hook is asked when no rule hits.
func (f *faults) pick(listener string, r *http.Request) (*Fault, []faultHit) {
	fault, hits, ended := &Fault{}, []faultHit(nil), false
	// The platform's own calls and its page are no part of what is tested.
	if own := listener == listenerAPI && (r.URL.Path == "/" || strings.HasPrefix(r.URL.Path, "/_")); !own {
		f.mu.Lock()
		for _, rule := range f.rules {
			if rule.ofDyno() || !rule.where.matches(listener, r) {
				continue
			}
			chances, hit := f.meet(rule)
			if end := rule.end() != ""; !hit || end && ended {
				continue
			} else if end {
				ended = true
			}
			rule.hits++
			hits = append(hits, faultHit{rule.id, rule.matches, rule.befall(fault, chances)})
		}
		f.mu.Unlock()
	}
	if len(hits) > 0 {
		return fault, hits
	}
	if f.hook != nil {
		return f.hook(r), nil
	}
	return nil, nil
}

// end is how the rule ends a request, or empty when it only makes it wait.
func (r FaultRule) end() string {
	for _, name := range requestEnds {
		if _, here := r.kinds[name]; here {
			return name
		}
	}
	return ""
}

// befall adds what the rule does to a fault, and says it with the values that were drawn.
func (r FaultRule) befall(fault *Fault, chances *rand.Rand) string {
	var words []string
	if v, here := r.kinds[wordLatency]; here {
		wait := time.Duration(v.draw(chances)).Round(time.Microsecond)
		fault.Delay += wait
		words = append(words, "latency="+wait.String())
	}
	name := r.end()
	if name == "" {
		return words[0]
	}
	n := r.kinds[name].draw(chances)
	words = append(words, name+"="+strconv.FormatInt(n, 10))
	last := &words[len(words)-1]
	switch name {
	case wordStatus:
		fault.Status, fault.RetryAfter = int(n), r.retryAfter
	case wordReset:
		fault.ResetResponse = &n
	case wordResetRequest:
		fault.ResetRequest = &n
	case wordLost:
		fault.DropAnswer, *last = true, name
	case wordLate:
		fault.DropAnswer, fault.Late = true, time.Duration(n)
		*last = name + "=" + time.Duration(n).String()
	case wordExpired:
		fault.Expired, *last = true, name
	}
	return strings.Join(words, " ")
}

// tellRequest writes the hits of a request into the log of its app.
func (p *Platform) tellRequest(listener string, r *http.Request, hits []faultHit) {
	if len(hits) == 0 {
		return
	}
	path, app := seenPath(r.URL.Path), ""
	if listener == listenerBlob {
		path = "/slugs/…" // the rest of it is a credential
		if slug, err := p.slugByKey(strings.TrimPrefix(r.URL.Path, "/slugs/")); err == nil {
			app = slug.App
		}
	} else {
		app, _ = p.appOfPath(r.URL.Path)
	}
	for _, h := range hits {
		p.tellFault(app, fmt.Sprintf("rule=%d match=%d fault=%q method=%s path=%q", h.rule, h.match, h.what, r.Method, path))
	}
}

// tellFault writes a line into the log of an app, and of what belongs to none to the platform's
// output alone.
func (p *Platform) tellFault(app, text string) {
	p.mu.Lock()
	f := p.fleets[app]
	p.mu.Unlock()
	if f == nil {
		p.opts.Log("platform", logLine{at: p.opts.Clock(), source: "heroku", process: "fault", text: text}.String())
		return
	}
	f.log.add("heroku", "fault", text)
}

// bootCommand is the command that a dyno really runs: its own, unless a fault befalls it. What
// an injected fault does is done by a process of the dyno, so that time limits, signals and exit
// codes are what they are for an app that does the same.
func (f *fleet) bootCommand(d *instance) string {
	command := d.command
	faults := f.p.faults
	var hits []faultHit
	faults.mu.Lock()
	crash := ""
	for _, rule := range faults.rules {
		if !rule.ofDyno() || !rule.befalls(f, d) {
			continue
		}
		chances, hit := faults.meet(rule)
		_, slow := rule.kinds[wordSlowBoot]
		if !hit || !slow && crash != "" {
			continue
		}
		rule.hits++
		what := ""
		for name, v := range rule.kinds { // there is one
			n := v.draw(chances)
			what = name + "=" + strconv.FormatInt(n, 10)
			if slow {
				what = name + "=" + time.Duration(n).String()
				command = fmt.Sprintf("sleep %.3f; exec bash -c %s", time.Duration(n).Seconds(), quoteShell(command))
				continue
			}
			crash = fmt.Sprintf("echo 'Injected fault: %s' >&2; exit %d", what, n)
		}
		hits = append(hits, faultHit{rule.id, rule.matches, what})
	}
	faults.mu.Unlock()
	for _, h := range hits {
		f.log.add("heroku", "fault", fmt.Sprintf("rule=%d match=%d fault=%q dyno=%s", h.rule, h.match, h.what, d.name))
	}
	if crash != "" {
		return crash
	}
	return command
}

// befalls says whether a dyno is one that the rule is about. Release phases and commands beside
// the formation are meant only by those who name their type.
func (r FaultRule) befalls(f *fleet, d *instance) bool {
	if r.app != "" && r.app != f.log.app {
		return false
	}
	if _, phase := r.kinds[wordFailRelease]; phase {
		return d.kind == "release" && d.oneOff
	}
	return r.kind == d.kind || r.kind == "" && !d.oneOff
}

func quoteShell(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// faultPath is the endpoint of the rules.
const faultPath = "/_fault"

// serveFaults is the /_fault endpoint: POST adds rules, as lines or as JSON, GET tells what they
// did, DELETE removes all or, with an id behind the path, one.
func (p *Platform) serveFaults(w http.ResponseWriter, r *http.Request) {
	id := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, faultPath), "/")
	missing := notFound("fault", "Couldn't find that fault rule.")
	switch {
	case r.Method == http.MethodPost && id == "":
		text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			writeError(w, err)
			return
		}
		specs, err := faultSpecs(text)
		if err == nil {
			err = p.InjectFault(specs...)
		}
		if wrong := (*FaultError)(nil); errors.As(err, &wrong) {
			err = invalid("%s", wrong)
		}
		if err != nil {
			writeError(w, err)
			return
		}
	case r.Method == http.MethodDelete:
		n, err := strconv.Atoi(id)
		if id != "" && (err != nil || n < 1) || !p.faults.remove(n) {
			writeError(w, missing)
			return
		}
	case r.Method == http.MethodGet && id == "":
	default:
		writeError(w, notFound("", "The requested API endpoint was not found."))
		return
	}
	writeJSON(w, r, answer{http.StatusOK, p.Faults()})
}

// faultSpecs finds the rules in the body of a POST: one a line, or JSON: an object whose keys are
// the words of a rule, a string that is one, or a list of these.
func faultSpecs(body []byte) ([]string, error) {
	var list []json.RawMessage
	body = bytes.TrimSpace(body)
	switch {
	case bytes.HasPrefix(body, []byte("{")):
		list = []json.RawMessage{body}
	case bytes.HasPrefix(body, []byte("[")):
		if err := json.Unmarshal(body, &list); err != nil {
			return nil, invalid("Unable to parse the JSON of the fault rules: %s", err)
		}
	default:
		var specs []string
		for line := range strings.Lines(string(body)) {
			if line = strings.TrimSpace(line); line != "" {
				specs = append(specs, line)
			}
		}
		if len(specs) == 0 {
			return nil, invalid("There is no fault rule in the body: write one a line, such as status=503 rate=3%%.")
		}
		return specs, nil
	}
	specs := make([]string, len(list))
	for i, one := range list {
		if json.Unmarshal(one, &specs[i]) == nil {
			continue
		}
		var words map[string]any
		d := json.NewDecoder(bytes.NewReader(one))
		d.UseNumber()
		if err := d.Decode(&words); err != nil {
			return nil, invalid("A fault rule is a string or an object, such as {\"status\": 503, \"rate\": \"3%%\"}: %s", err)
		}
		for _, name := range slices.Sorted(maps.Keys(words)) {
			switch v := words[name].(type) {
			case bool:
				if !v {
					continue
				}
				specs[i] += " " + quoteFault(name)
			case string, json.Number:
				specs[i] += " " + quoteFault(fmt.Sprintf("%s=%s", name, v))
			default:
				return nil, invalid("The word %q of a fault rule must be a string, a number or true.", name)
			}
		}
		specs[i] = strings.TrimSpace(specs[i])
	}
	return specs, nil
}

// connKey finds the connection of a request.
type connKey struct{}

// cut ends the connection of a request with a reset, as a failing network does. It does not
// return.
func cut(r *http.Request) {
	if c, ok := r.Context().Value(connKey{}).(net.Conn); ok {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // without it the close would be an orderly one
		}
		_ = c.Close()
	}
	panic(http.ErrAbortHandler)
}

// faulty lets requests meet their faults on the way to next.
func (p *Platform) faulty(listener string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fault, hits := p.faults.pick(listener, r)
		p.tellRequest(listener, r, hits)
		if fault == nil {
			next.ServeHTTP(w, r)
			return
		}
		if fault.Delay > 0 {
			select {
			case <-time.After(fault.Delay):
			case <-r.Context().Done():
				panic(http.ErrAbortHandler)
			}
		}
		if fault.ResetRequest != nil {
			r.Body = &cutReader{body: r.Body, left: *fault.ResetRequest, r: r}
		}
		switch {
		case fault.Expired:
			blobError(w, http.StatusForbidden, "AccessDenied", "Request has expired")
		case fault.Status != 0:
			answerFault(w, listener, fault)
		case fault.DropAnswer && fault.Late > 0:
			actLate(next, r, fault.Late)
		case fault.DropAnswer:
			next.ServeHTTP(&nowhere{header: http.Header{}}, r)
			cut(r)
		case fault.ResetResponse != nil:
			next.ServeHTTP(&cutWriter{ResponseWriter: w, left: *fault.ResetResponse, r: r}, r)
			cut(r)
		default:
			next.ServeHTTP(w, r)
		}
		if fault.ResetRequest != nil {
			cut(r) // the body ended, or was not read, before the byte was reached
		}
	})
}

func answerFault(w http.ResponseWriter, listener string, fault *Fault) {
	if listener == listenerBlob {
		if fault.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(fault.RetryAfter/time.Second)))
		}
		code := map[int]string{
			http.StatusForbidden: "AccessDenied", http.StatusNotFound: "NoSuchKey", http.StatusTooManyRequests: "SlowDown", http.StatusServiceUnavailable: "SlowDown",
		}[fault.Status]
		if code == "" {
			code = "InternalError"
		}
		blobError(w, fault.Status, code, "An injected fault.")
		return
	}
	id := map[int]string{
		http.StatusUnauthorized: "unauthorized", http.StatusForbidden: "forbidden", http.StatusNotFound: "not_found",
		http.StatusConflict: "conflict", http.StatusUnprocessableEntity: "invalid_params", http.StatusTooManyRequests: "rate_limit",
	}[fault.Status]
	if id == "" {
		id = "internal_server_error"
	}
	writeError(w, &apiError{status: fault.Status, id: id, message: "An injected fault.", after: fault.RetryAfter})
}

// actLate cuts the connection now and acts on the request later.
func actLate(next http.Handler, r *http.Request, after time.Duration) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err == nil {
		late := r.Clone(context.WithoutCancel(r.Context()))
		late.Body = io.NopCloser(bytes.NewReader(body))
		time.AfterFunc(after, func() {
			// A handler that cuts its own connection has nothing left to cut.
			defer func() {
				v := recover()
				if err, isErr := v.(error); v != nil && (!isErr || !errors.Is(err, http.ErrAbortHandler)) {
					panic(v)
				}
			}()
			next.ServeHTTP(&nowhere{header: http.Header{}}, late)
		})
	}
	cut(r)
}

// nowhere is an answer that nobody reads.
type nowhere struct{ header http.Header }

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (n *nowhere) WriteHeader(int)             {}

type cutReader struct {
	body io.ReadCloser
	left int64
	r    *http.Request
}

func (c *cutReader) Read(b []byte) (int, error) {
	if c.left <= 0 {
		cut(c.r)
	}
	n, err := c.body.Read(b[:min(int64(len(b)), c.left)])
	c.left -= int64(n)
	return n, err
}

func (c *cutReader) Close() error { return c.body.Close() }

type cutWriter struct {
	http.ResponseWriter
	left int64
	r    *http.Request
}

func (c *cutWriter) Write(b []byte) (int, error) {
	n := min(int64(len(b)), c.left)
	if _, err := c.ResponseWriter.Write(b[:n]); err != nil {
		return 0, err
	}
	c.left -= n
	if c.left <= 0 {
		_ = http.NewResponseController(c.ResponseWriter).Flush() // what cannot be flushed is cut too
		cut(c.r)
	}
	return int(n), nil
}

// Unwrap lets streams be flushed.
func (c *cutWriter) Unwrap() http.ResponseWriter { return c.ResponseWriter }
