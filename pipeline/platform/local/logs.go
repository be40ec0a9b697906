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
	"unicode/utf8"
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
	lines   []logLine // a ring: line n stands at n % keptLines
	next    int64     // the number of the next line
	first   int64     // that of the first line of all
	changed chan struct{}
}

func newLogBook(app string, clock func() time.Time, sink func(app, line string)) *logBook {
	// Numbers go on rising when the platform starts again, so that a reader who resumes with one
	// from before gets what is new.
	first := max(clock().UnixMicro(), 1)
	return &logBook{app: app, clock: clock, sink: sink, next: first, first: first}
}

// add writes a line. It never waits for readers: one that is slow misses lines.
func (b *logBook) add(source, process, text string) {
	line := logLine{at: b.clock(), source: source, process: process, text: printable(text)}
	b.mu.Lock()
	line.number = b.next
	if len(b.lines) < keptLines {
		b.lines = append(b.lines, line)
	} else {
		b.lines[(line.number-b.first)%keptLines] = line
	}
	b.next++
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
	b.mu.Unlock()
	b.sink(b.app, line.String())
}

// printable keeps control characters from breaking the form of a log: the end of a line and, in
// an event stream, that of a field. Tabs stay, and escapes, which colour what many apps write.
func printable(text string) string {
	if !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, "\uFFFD")
	}
	bad := func(c rune) bool {
		return c < ' ' && c != '\t' && c != 0x1b || c >= 0x7f && c < 0xa0 || c == '\u2028' || c == '\u2029'
	}
	if strings.IndexFunc(text, bad) < 0 {
		return text
	}
	return strings.Map(func(c rune) rune {
		switch {
		case !bad(c):
			return c
		case c < ' ':
			return 0x2400 + c // the picture of that character
		case c == 0x7f:
			return 0x2421
		}
		return utf8.RuneError
	}, text)
}

// after gives the kept lines behind a number, and a channel that closes with the next line.
func (b *logBook) after(number int64) ([]logLine, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changed == nil {
		b.changed = make(chan struct{})
	}
	from := max(number+1, b.next-int64(len(b.lines)))
	if from >= b.next {
		return nil, b.changed
	}
	list := make([]logLine, 0, b.next-from)
	for n := from; n < b.next; n++ {
		list = append(list, b.lines[(n-b.first)%keptLines])
	}
	return list, b.changed
}

// last is the number of the newest line.
func (b *logBook) last() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.next - 1
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
	seen := f.log.last()
	lines, changed := f.log.after(seen)
	for {
		for _, l := range lines {
			seen = l.number
			fn(l.String())
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
		lines, changed = f.log.after(seen)
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
	send := func(l logLine) error {
		var err error
		if events {
			_, err = fmt.Fprintf(w, "id: %d\ndata: %s\n\n", l.number, l)
		} else {
			_, err = fmt.Fprintf(w, "%s\n", l)
		}
		return err
	}
	from, most := int64(0), s.lines
	if n, err := strconv.ParseInt(r.Header.Get("Last-Event-ID"), 10, 64); err == nil {
		from, most = n, keptLines // what came since, however much
	}
	seen := f.log.last()
	lines, changed := f.log.after(from)
	for first := true; ; first = false {
		missed := int64(0)
		if len(lines) > 0 {
			if !first {
				missed = lines[0].number - seen - 1
			}
			seen = lines[len(lines)-1].number
		}
		lines = slices.DeleteFunc(lines, func(l logLine) bool { return !s.matches(l) })
		if first {
			lines = lines[max(0, len(lines)-most):]
		}
		if missed > 0 {
			// Not a line of the log: only this reader was too slow.
			text := fmt.Sprintf("Error L11 (Tail buffer overflow) -> This tail missed %d lines because it does not read fast enough", missed)
			if send(logLine{number: seen, at: p.opts.Clock(), source: "heroku", process: "logplex", text: text}) != nil {
				return
			}
		}
		for _, l := range lines {
			if send(l) != nil {
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
