package local

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// keptLines is what Heroku keeps of an app's log: devcenter.heroku.com/articles/logging.
const keptLines = 1500

// logLine is `<time> source[process]: text`.
type logLine struct {
	number  int64
	at      time.Time
	source  string
	process string
	text    string
}

func (l logLine) String() string {
	return l.at.UTC().Format("2006-01-02T15:04:05.000000+00:00") + " " + l.source + "[" + l.process + "]: " + l.text
}

// logBook holds the last lines of an app, in memory only.
type logBook struct {
	app   string
	clock func() time.Time
	sink  func(app, line string)

	mu      sync.Mutex
	lines   []logLine
	next    int64
	changed chan struct{}
}

func newLogBook(app string, clock func() time.Time, sink func(app, line string)) *logBook {
	return &logBook{app: app, clock: clock, sink: sink, changed: make(chan struct{})}
}

func (b *logBook) add(source, process, text string) {
	line := logLine{at: b.clock(), source: source, process: process, text: text}
	b.mu.Lock()
	b.next++
	line.number = b.next
	if len(b.lines) >= 2*keptLines {
		b.lines = append(b.lines[:0], b.lines[len(b.lines)-keptLines+1:]...)
	}
	b.lines = append(b.lines, line)
	close(b.changed)
	b.changed = make(chan struct{})
	b.mu.Unlock()
	b.sink(b.app, line.String())
}

// after gives the kept lines behind a number, and a channel that closes with the next line.
func (b *logBook) after(number int64) ([]logLine, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	kept := b.lines[max(0, len(b.lines)-keptLines):]
	i := slices.IndexFunc(kept, func(l logLine) bool { return l.number > number })
	if i < 0 {
		return nil, b.changed
	}
	return slices.Clone(kept[i:]), b.changed
}

// Logs are the last lines of an app, at most 1,500, in Heroku's format.
func (p *Platform) Logs(app string) []string {
	_, f, err := p.fleetOf(app)
	if err != nil {
		return nil
	}
	lines, _ := f.log.after(0)
	list := make([]string, len(lines))
	for i, l := range lines {
		list[i] = l.String()
	}
	return list
}

// Follow hands every further line of an app to fn, until the context ends.
func (p *Platform) Follow(ctx context.Context, app string, fn func(line string)) error {
	_, f, err := p.fleetOf(app)
	if err != nil {
		return err
	}
	lines, changed := f.log.after(0)
	var seen int64
	if len(lines) > 0 {
		seen = lines[len(lines)-1].number
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
		lines, changed = f.log.after(seen)
		for _, l := range lines {
			seen = l.number
			fn(l.String())
		}
	}
}

// logSession is a URL under which somebody may read a log.
type logSession struct {
	app     string
	lines   int
	tail    bool
	source  string
	process string
	until   time.Time
}

func (s logSession) matches(l logLine) bool {
	return (s.source == "" || s.source == l.source) &&
		(s.process == "" || s.process == l.process || strings.HasPrefix(l.process, s.process+"."))
}

func (p *Platform) createLogSession(c *call) (answer, error) {
	var in struct {
		Lines    *int   `json:"lines"`
		Tail     bool   `json:"tail"`
		Source   string `json:"source"`
		Dyno     string `json:"dyno"`
		DynoName string `json:"dyno_name"`
		Type     string `json:"type"`
	}
	if err := c.decode(&in, "lines", "tail", "source", "dyno", "dyno_name", "type"); err != nil {
		return answer{}, err
	}
	app, _, err := p.fleetOf(c.PathValue("app"))
	if err != nil {
		return answer{}, err
	}
	s := logSession{app: app.ID, lines: 100, tail: in.Tail, source: in.Source, process: in.Type, until: p.opts.Clock().Add(5 * time.Minute)}
	if in.Lines != nil {
		s.lines = min(max(*in.Lines, 0), keptLines)
	}
	if in.Dyno != "" {
		s.process = in.Dyno
	}
	if in.DynoName != "" {
		s.process = in.DynoName
	}
	key := randomHex(20)
	p.mu.Lock()
	for k, old := range p.logs {
		if p.opts.Clock().After(old.until) {
			delete(p.logs, k)
		}
	}
	p.logs[key] = s
	p.mu.Unlock()
	now := p.now()
	return created(struct {
		CreatedAt  time.Time `json:"created_at"`
		ID         string    `json:"id"`
		LogplexURL string    `json:"logplex_url"`
		UpdatedAt  time.Time `json:"updated_at"`
	}{now, newID(), p.apiURL + "/logs/" + key, now})
}

// serveLogs streams a log session. Its address is the credential.
func (p *Platform) serveLogs(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	s, found := p.logs[strings.TrimPrefix(r.URL.Path, "/logs/")]
	f := p.fleets[s.app]
	p.mu.Unlock()
	if !found || f == nil || p.opts.Clock().After(s.until) {
		writeError(w, notFound("log-session", "Couldn't find that log session."))
		return
	}
	events := strings.Contains(r.Header.Get("Accept"), "text/event-stream")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if events {
		w.Header().Set("Content-Type", "text/event-stream")
	}
	w.WriteHeader(http.StatusOK)
	flusher := http.NewResponseController(w)
	lines, changed := f.log.after(0)
	seen := int64(0)
	if len(lines) > 0 {
		seen = lines[len(lines)-1].number
	}
	if from, err := strconv.ParseInt(r.Header.Get("Last-Event-ID"), 10, 64); err == nil {
		lines, changed = f.log.after(from)
	}
	lines = slices.DeleteFunc(lines, func(l logLine) bool { return !s.matches(l) })
	lines = lines[max(0, len(lines)-s.lines):]
	for {
		for _, l := range lines {
			text := l.String() + "\n"
			if events {
				text = fmt.Sprintf("id: %d\ndata: %s\n\n", l.number, l)
			}
			if _, err := w.Write([]byte(text)); err != nil {
				return // the reader has gone
			}
		}
		if flusher.Flush() != nil || !s.tail {
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		case <-p.run.Done():
			return
		case <-f.ended:
			return
		}
		lines, changed = f.log.after(seen)
		if len(lines) > 0 {
			seen = lines[len(lines)-1].number
		}
		lines = slices.DeleteFunc(lines, func(l logLine) bool { return !s.matches(l) })
	}
}

// states of a dyno, as the API names them.
const (
	starting = "starting"
	up       = "up"
	crashed  = "crashed"
	down     = "down"
)

// BootError says why the web process of a release did not come up.
type BootError struct {
	App     string
	Release int
	Dyno    string
	// Code is Heroku's: R10 for a boot timeout, H10 for a crash, empty otherwise.
	Code string
	// Exit is the exit code of a crashed process, -1 when it did not exit by itself.
	Exit   int
	Reason string
	// Lines are the dyno's last lines of output.
	Lines []string
}

func (e *BootError) Error() string {
	s := fmt.Sprintf("boot %s of app %s v%d: %s", e.Dyno, e.App, e.Release, e.Reason)
	if e.Code != "" {
		s += " (" + e.Code + ")"
	}
	return s
}
