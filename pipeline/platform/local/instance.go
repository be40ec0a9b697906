package local

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/slugfile/slugfile/pipeline/platform/dyno"
)

// instance is one dyno, from its birth to the end of its last process.
type instance struct {
	id        string
	name      string
	kind      string
	command   string
	size      string
	port      int
	release   releaseRecord
	oneOff    bool
	createdAt time.Time // by the platform's clock, which can be moved
	updatedAt time.Time
	born      time.Time // by the machine's clock
	cancel    context.CancelFunc
	tail      tail
	stopped   chan struct{} // closed to stop it
	finished  chan struct{} // closed when it has ended

	// Guarded by fleet.mu.
	state    string
	obsolete bool // a newer one takes its place, or nobody wants it
	stopping bool
	exited   bool
	code     int
	inflight int
	crashes  int
	restart  time.Time
	failure  *BootError
}

// tailLines is how much output goes into a BootError.
const tailLines = 20

// tail keeps the last lines of a dyno.
type tail struct {
	mu    sync.Mutex
	lines []string
}

func (t *tail) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) == tailLines {
		copy(t.lines, t.lines[1:])
		t.lines = t.lines[:tailLines-1]
	}
	t.lines = append(t.lines, line)
}

func (t *tail) list() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.lines)
}

func (f *fleet) setState(d *instance, state string) {
	if d.state == state {
		return
	}
	f.log.add("heroku", d.name, fmt.Sprintf("State changed from %s to %s", d.state, state))
	d.state, d.updatedAt = state, f.p.now()
	f.touched()
}

// retire marks a dyno for replacement; one-off dynos just end. The caller holds mu.
func (f *fleet) retire(d *instance) {
	d.obsolete = true
	if d.oneOff {
		f.stop(d)
	}
}

// stop begins the end of a dyno. The caller holds mu.
func (f *fleet) stop(d *instance) {
	if !d.stopping {
		d.stopping = true
		close(d.stopped)
	}
}

// start makes a dyno and runs it. The caller holds mu.
func (f *fleet) start(w wanted, r releaseRecord, slug slugRecord) *instance {
	d := f.newInstance(w, r)
	if w.kind == "web" {
		port, err := f.p.freePort()
		if err != nil {
			f.log.add("heroku", w.name, "Error: "+err.Error())
			return nil
		}
		d.port = port
	}
	f.launchInstance(d, slug, nil, f.appOutput(d))
	return d
}

func (f *fleet) newInstance(w wanted, r releaseRecord) *instance {
	now := f.p.now()
	return &instance{
		id: newID(), name: w.name, kind: w.kind, command: w.command, size: w.size, release: r, state: starting,
		createdAt: now, updatedAt: now, born: time.Now(), stopped: make(chan struct{}), finished: make(chan struct{}),
	}
}

// launchInstance runs a dyno in a goroutine of its own. The caller holds mu.
func (f *fleet) launchInstance(d *instance, slug slugRecord, env map[string]string, out func(string)) {
	ctx, cancel := context.WithCancel(f.ctx)
	d.cancel = cancel
	f.dynos = append(f.dynos, d)
	f.log.add("heroku", d.name, fmt.Sprintf("Starting process with command `%s`", d.command))
	f.running.Go(func() {
		defer cancel()
		f.runInstance(ctx, d, slug, env, out)
		f.p.releasePort(d.port)
		close(d.finished)
	})
	f.touched()
}

// appOutput writes a dyno's lines into the log, and keeps the last ones for a BootError.
func (f *fleet) appOutput(d *instance) func(string) {
	return func(line string) {
		d.tail.add(line)
		f.log.add("app", d.name, line)
	}
}

// runInstance boots a dyno and stays with it until it has ended.
func (f *fleet) runInstance(ctx context.Context, d *instance, slug slugRecord, env map[string]string, out func(string)) {
	process, err := f.boot(ctx, d, slug, env, out)
	if err != nil {
		f.exited(d, -1, &BootError{Exit: -1, Reason: strings.TrimPrefix(err.Error(), "boot dyno "+d.name+": ")})
		return
	}
	// Stop runs beside the wait below, so that a dyno can be stopped while it boots.
	go func() {
		select {
		case <-d.stopped:
			f.drain(ctx, d)
			select {
			case <-process.Done():
				return // by itself
			default:
			}
			f.log.add("heroku", d.name, "Stopping all processes with SIGTERM")
			process.StopTelling(ctx, f.p.opts.StopGrace, func() {
				f.log.add("heroku", d.name, "Error R12 (Exit timeout) -> At least one process failed to exit within "+inSeconds(f.p.opts.StopGrace)+" of SIGTERM")
				f.log.add("heroku", d.name, "Stopping remaining processes with SIGKILL")
			})
		case <-process.Done():
		}
	}()
	var failure *BootError
	if d.port != 0 {
		failure = f.awaitPort(ctx, d, process)
	} else {
		f.mu.Lock()
		f.setState(d, up)
		f.mu.Unlock()
	}
	code, _ := process.Exit() // a fault of the wait is a code of -1
	f.exited(d, code, failure)
}

// boot unpacks and starts.
func (f *fleet) boot(ctx context.Context, d *instance, slug slugRecord, env map[string]string, out func(string)) (*dyno.Dyno, error) {
	archive, slug, err := f.p.openBlob(slug)
	if err != nil {
		return nil, fmt.Errorf("open slug %s: %w", slug.ID, err)
	}
	defer archive.Close()
	released, err := f.p.releasedConfig(f.app, d.release.Version)
	if err != nil {
		return nil, err
	}
	f.p.warnPlain(f)
	config := f.metadata(d, slug)
	maps.Copy(config, released)
	maps.Copy(config, env)
	return dyno.Boot(ctx, dyno.Spec{
		Slug: archive, Scratch: filepath.Join(f.p.dir, "dynos"), Name: d.name, Command: f.bootCommand(d), Port: d.port,
		Config: config, Out: out, Plain: f.p.opts.Plain, MaxBytes: f.p.opts.UnpackLimit, Abandon: d.stopped,
	})
}

// metadata tells a dyno about itself, when the app asked for it.
func (f *fleet) metadata(d *instance, slug slugRecord) map[string]string {
	app, err := f.p.findApp(f.app)
	if err != nil || !app.Features[dynoMetadata] {
		return map[string]string{}
	}
	commit := ""
	if slug.Commit != nil {
		commit = *slug.Commit
	}
	return map[string]string{
		"HEROKU_APP_ID":                  app.ID,
		"HEROKU_APP_NAME":                app.Name,
		"HEROKU_APP_DEFAULT_DOMAIN_NAME": f.p.domainName(app),
		"HEROKU_DYNO_ID":                 d.id,
		"HEROKU_RELEASE_CREATED_AT":      d.release.CreatedAt.UTC().Format(time.RFC3339),
		"HEROKU_RELEASE_VERSION":         "v" + strconv.Itoa(d.release.Version),
		"HEROKU_SLUG_COMMIT":             commit,
		"HEROKU_SLUG_DESCRIPTION":        d.release.Description,
	}
}

// warnPlain says once that dynos are not at /app here.
func (p *Platform) warnPlain(f *fleet) {
	reason := dyno.Plain()
	if p.opts.Plain {
		reason = errors.New("it was asked for")
	}
	if reason != nil {
		p.plainWarning.Do(func() {
			f.log.add("heroku", "platform", fmt.Sprintf("Warning: dynos run without namespaces (%v): paths that begin with /app will not work", reason))
		})
	}
}

// awaitPort waits until a web dyno listens. A crash is noticed at once.
func (f *fleet) awaitPort(ctx context.Context, d *instance, process *dyno.Dyno) *BootError {
	limit, cancel := context.WithTimeout(ctx, f.p.opts.BootTimeout)
	defer cancel()
	err := process.AwaitPort(limit)
	var exit *dyno.ExitError
	switch {
	case err == nil:
		if dyno.LoopbackOnly(d.port) {
			f.log.add("heroku", d.name, fmt.Sprintf("Warning: the process listens on 127.0.0.1:%d only, where the router of Heroku cannot reach it: let it listen on 0.0.0.0", d.port))
		}
		f.mu.Lock()
		f.setState(d, up)
		f.mu.Unlock()
		return nil
	case errors.As(err, &exit):
		return &BootError{Code: "H10", Exit: exit.Code, Reason: fmt.Sprintf("the process exited with status %d before it listened on $PORT", exit.Code)}
	case ctx.Err() != nil:
		return nil // the platform is closing
	}
	text := "Web process failed to bind to $PORT within " + inSeconds(f.p.opts.BootTimeout) + " of launch"
	f.log.add("heroku", d.name, "Error R10 (Boot timeout) -> "+text)
	if list := dyno.Listeners(d.port); len(list) > 0 {
		// Programs that listen on "localhost" may mean ::1, which nobody here asks.
		f.log.add("heroku", d.name, fmt.Sprintf("It listens on %v only: let it listen on all interfaces, 0.0.0.0 or ::", list))
	}
	f.log.add("heroku", d.name, "Stopping process with SIGKILL")
	process.Stop(canceled(), 0)
	return &BootError{Code: "R10", Exit: -1, Reason: text}
}

// canceled is a context that has ended, for a stop without grace.
func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// drain lets a web dyno finish its requests before SIGTERM, after which most programs end at
// once or close their port. The router sends it no new ones any more, and a newer dyno answers
// those, so waiting costs nobody anything.
//
// Heroku sends SIGTERM at once and leaves the finishing to the program, or with preboot sends
// it minutes after the switch. DrainTime is in between: the first byte of every answer that the
// router would wait for (H12) can come in it. What takes longer has StopGrace after SIGTERM,
// as on Heroku, if the program goes on with it.
func (f *fleet) drain(ctx context.Context, d *instance) {
	limit := time.NewTimer(f.p.opts.DrainTime)
	defer limit.Stop()
	for {
		f.mu.Lock()
		busy, changed := d.inflight > 0 && !d.exited && !f.ending, f.changed
		f.mu.Unlock()
		if !busy {
			return
		}
		select {
		case <-changed:
		case <-limit.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// inSeconds is a time limit as Heroku's log has it.
func inSeconds(d time.Duration) string {
	if d%time.Second != 0 {
		return d.String()
	}
	return fmt.Sprintf("%d seconds", d/time.Second)
}

// ranWell times the delay before a first restart is a life after which a crash counts as a
// first one again: 1 minute.
const ranWell = 30

// exited records the end of a dyno.
func (f *fleet) exited(d *instance, code int, failure *BootError) {
	if code >= 0 {
		f.log.add("heroku", d.name, fmt.Sprintf("Process exited with status %d", code))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	d.exited, d.code = true, code
	if failure == nil {
		failure = &BootError{Code: "H10", Exit: code, Reason: fmt.Sprintf("the process exited with status %d", code)}
	} else if code < 0 && !d.stopping {
		f.log.add("heroku", d.name, "Error: "+failure.Reason)
	}
	failure.Release, failure.Dyno, failure.Lines = d.release.Version, d.name, d.tail.list()
	d.failure = failure
	state := crashed
	if d.stopping || d.oneOff {
		state = down
	} else {
		// A dyno that ran well starts again soon; one that crashes in a row waits longer. Heroku
		// restarts at once after a first crash, and then cools off for 20 minutes and more:
		// too long for somebody who sits before this machine and mends the fault.
		if time.Since(d.born) > ranWell*f.p.opts.RestartDelay {
			d.crashes = 0
		}
		d.restart = time.Now().Add(min(f.p.opts.RestartDelay<<min(d.crashes, 20), 5*time.Minute))
		d.crashes++
	}
	f.setState(d, state)
	f.touched()
}
