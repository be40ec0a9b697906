package local

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/slugfile/slugfile/pipeline/failpoint"
	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/platform/dyno"
)

// fleet runs the dynos of one app. One goroutine compares what runs with what the store wants
// and takes the next steps; it is woken by every change of either.
type fleet struct {
	p      *Platform
	app    string
	log    *logBook
	calls  *ring // of the API
	visits *ring // through the router
	server *http.Server
	proxy  http.Handler
	wake   chan struct{}
	ctx    context.Context // ends every dyno at once
	cancel context.CancelFunc
	ended  chan struct{} // closed when nothing runs any more

	mu      sync.Mutex
	dynos   []*instance
	phases  []releaseRecord // that wait for their turn
	turn    int             // of the router among the web dynos
	live    string          // the id of the release that the router sends requests to
	settled bool            // all web dynos of the current release are up, or have failed
	ending  bool
	changed chan struct{}
	running sync.WaitGroup
}

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

// listenApp binds an app's own port; 0 lets the kernel choose.
func (p *Platform) listenApp(port int) (net.Listener, error) {
	var lc net.ListenConfig
	return lc.Listen(p.run, "tcp", net.JoinHostPort(p.host, strconv.Itoa(port)))
}

func portOf(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }

// openFleet serves an app that the store already holds. Its port is its own for ever, unless
// another program has taken it: then it gets a new one.
func (p *Platform) openFleet(app appRecord) (*fleet, error) {
	listener, err := p.listenApp(app.Port)
	var moved string
	if err != nil {
		moved = fmt.Sprintf("Port %d is taken by another program (%v): the app has a new address", app.Port, err)
		if listener, err = p.listenApp(0); err != nil {
			return nil, err
		}
		app.Port = portOf(listener)
		if err := p.db.Update(func(tx *bolt.Tx) error { return putApp(tx, app) }); err != nil {
			_ = listener.Close()
			return nil, err
		}
	}
	f := p.newFleet(app, listener)
	if moved != "" {
		f.log.add("heroku", "router", moved)
	}
	return f, nil
}

// newFleet serves an app on its listener and boots what its current release wants.
func (p *Platform) newFleet(app appRecord, listener net.Listener) *fleet {
	f := &fleet{
		p: p, app: app.ID, log: newLogBook(app.Name, p.opts.Clock, p.opts.Log),
		calls: newRing(recentOfApp), visits: newRing(recentOfApp),
		wake: make(chan struct{}, 1), ended: make(chan struct{}), changed: make(chan struct{}),
	}
	f.ctx, f.cancel = context.WithCancel(p.run)
	f.proxy = f.newProxy()
	f.server = p.serve(listener, p.checkHost(http.HandlerFunc(f.route), true))
	p.mu.Lock()
	p.fleets[app.ID] = f
	p.mu.Unlock()
	f.running.Go(f.phaseLoop)
	p.servers.Go(f.loop)
	f.poke()
	return f
}

// poke lets the fleet look again.
func (f *fleet) poke() {
	f.p.moved()
	select {
	case f.wake <- struct{}{}:
	default: // it will look anyway
	}
}

func (p *Platform) poke(app string) {
	p.mu.Lock()
	f := p.fleets[app]
	p.mu.Unlock()
	if f != nil {
		f.poke()
	}
}

// removeFleet ends the dynos of an app that is gone. It waits for the listener only.
func (p *Platform) removeFleet(app string) {
	p.mu.Lock()
	f := p.fleets[app]
	delete(p.fleets, app)
	p.mu.Unlock()
	if f != nil {
		_ = f.server.Close()
		p.servers.Go(func() { f.close(context.WithoutCancel(p.run)) })
	}
}

// close stops every dyno: SIGTERM, the grace, SIGKILL, the last at once when ctx ends.
func (f *fleet) close(ctx context.Context) {
	f.mu.Lock()
	f.ending = true
	for _, d := range f.dynos {
		f.retire(d)
		f.stop(d)
	}
	f.touched()
	f.mu.Unlock()
	done := make(chan struct{})
	go func() {
		f.running.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		f.cancel()
		<-done
	}
	f.cancel()
	_ = f.server.Close()
	<-f.ended
}

// touched tells those who wait for a change. The caller holds mu.
func (f *fleet) touched() {
	close(f.changed)
	f.changed = make(chan struct{})
	f.poke()
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

// expectsWeb says that web dynos of this app are to run here.
func (f *fleet) expectsWeb() bool {
	wants, _, _, err := f.desired()
	if boots := f.p.opts.Boots; err != nil || boots != nil && !boots(f.app, f.log.app) {
		return false
	}
	return slices.ContainsFunc(wants, func(w wanted) bool { return w.kind == "web" })
}

// wanted is one dyno that the store asks for.
type wanted struct {
	name, kind, command, size string
}

// desired reads what should run.
func (f *fleet) desired() (list []wanted, r releaseRecord, slug slugRecord, err error) {
	err = f.p.db.View(func(tx *bolt.Tx) error {
		app, err := appIn(tx, f.app)
		if err != nil {
			return err
		}
		if r, err = currentIn(tx, app); err != nil || r.Slug == "" {
			return err
		}
		if slug, err = slugIn(tx, r.Slug); err != nil {
			return err
		}
		for kind, command := range slug.ProcessTypes {
			if kind == "release" {
				continue // it runs before a release goes live, not after
			}
			for n := range app.Formation[kind].Quantity {
				list = append(list, wanted{kind + "." + strconv.Itoa(n+1), kind, command, app.Formation[kind].Size})
			}
		}
		return nil
	})
	return list, r, slug, err
}

// loop runs until the fleet is closed.
func (f *fleet) loop() {
	defer close(f.ended)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-f.ctx.Done():
			f.running.Wait()
			return
		case <-f.wake:
		case <-timer.C:
		}
		timer.Reset(f.reconcile())
	}
}

// retryDelay is the wait before a dyno that could not be made is tried again.
const retryDelay = 5 * time.Second

// reconcile takes the steps that are due, and says when to look again at the latest.
func (f *fleet) reconcile() time.Duration {
	wants, release, slug, err := f.desired()
	if err != nil {
		wants = nil // the app is gone
	}
	if boots := f.p.opts.Boots; boots != nil && !boots(f.app, f.log.app) {
		wants = nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ending {
		return time.Hour
	}
	f.dropExited()
	fresh := map[string]*instance{}
	for _, d := range f.dynos {
		if !d.oneOff && !d.obsolete && d.release.ID == release.ID {
			fresh[d.name] = d
		}
	}
	next, webWanted, webSettled := time.Hour, 0, 0
	keep := map[*instance]bool{}
	for _, w := range wants {
		if w.kind == "web" {
			webWanted++
		}
		d := fresh[w.name]
		if d != nil && d.exited {
			if wait := time.Until(d.restart); wait > 0 {
				next = min(next, wait)
			} else {
				d.obsolete = true // replaced right now
				crashes := d.crashes
				if d = f.start(w, release, slug); d != nil {
					d.crashes = crashes
				}
			}
		} else if d == nil && (w.kind == "web" || !f.occupied(w.name)) {
			d = f.start(w, release, slug)
		}
		if d == nil {
			next = min(next, retryDelay) // unless an older one must end first, whose end wakes this up
			continue
		}
		keep[d] = true
		if w.kind == "web" && (d.state == up || d.crashes > 0) {
			webSettled++
		}
	}
	f.settled = webSettled == webWanted
	if f.settled && f.live != release.ID {
		f.live = release.ID
		f.touched()
	}
	for _, d := range f.dynos {
		if keep[d] || d.oneOff {
			continue
		}
		d.obsolete = true
		if d.exited {
			continue
		}
		// The old web dynos answer until all new ones do, or have failed to. One that does not
		// answer yet is of no use any more.
		if d.kind != "web" || f.settled || d.state == starting {
			f.stop(d)
		}
	}
	f.dropExited()
	return next
}

// dropExited forgets dynos that have ended and were replaced. The caller holds mu.
func (f *fleet) dropExited() {
	kept := f.dynos[:0]
	for _, d := range f.dynos {
		if !d.exited || !d.obsolete && !d.oneOff {
			kept = append(kept, d)
		}
	}
	clear(f.dynos[len(kept):])
	f.dynos = kept
}

// occupied says whether an older dyno of that name still runs. The caller holds mu.
func (f *fleet) occupied(name string) bool {
	for _, d := range f.dynos {
		if d.name == name && !d.exited {
			return true
		}
	}
	return false
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

// startOneOff runs a command beside the formation.
func (f *fleet) startOneOff(kind, command, size string, r releaseRecord, slug slugRecord, env map[string]string) *instance {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.newInstance(wanted{f.oneOffName(kind), kind, command, size}, r)
	d.oneOff = true
	if f.ending {
		d.state = down
		return d
	}
	f.launchInstance(d, slug, env, f.appOutput(d))
	return d
}

// oneOffName is a type and a number that no dyno has now. The caller holds mu.
func (f *fleet) oneOffName(kind string) string {
	for {
		name := kind + "." + strconv.Itoa(1000+rand.IntN(9000))
		if !f.occupied(name) {
			return name
		}
	}
}

// queuePhase runs a release phase after those that came before it.
func (f *fleet) queuePhase(r releaseRecord) {
	f.p.openStream(r.Stream)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.phases = append(f.phases, r)
	f.touched()
}

// phaseLoop runs release phases one after the other, in the order of their versions.
func (f *fleet) phaseLoop() {
	for {
		f.mu.Lock()
		ending, changed := f.ending, f.changed
		var next *releaseRecord
		if len(f.phases) > 0 {
			next, f.phases = &f.phases[0], f.phases[1:]
		}
		f.mu.Unlock()
		switch {
		case ending:
			return
		case next != nil:
			f.runPhase(*next)
			continue
		}
		select {
		case <-changed:
		case <-f.ctx.Done():
			return
		}
	}
}

// runPhase runs the release process type in a one-off dyno; its exit code decides.
func (f *fleet) runPhase(r releaseRecord) {
	out := f.p.openStream(r.Stream)
	code := -1
	var slug slugRecord
	err := f.p.db.View(func(tx *bolt.Tx) (err error) {
		slug, err = slugIn(tx, r.Slug)
		return err
	})
	if err == nil {
		f.mu.Lock()
		if f.ending {
			f.mu.Unlock()
			return // it is settled as failed at the next start
		}
		d := f.newInstance(wanted{f.oneOffName("release"), "release", slug.ProcessTypes["release"], dynoSizes[0].Name}, r)
		d.oneOff = true
		logLine := f.appOutput(d)
		f.launchInstance(d, slug, nil, func(line string) {
			out.write(line)
			logLine(line)
		})
		f.mu.Unlock()
		var fault string
		if code, fault = f.awaitPhase(d); fault != "" {
			out.write("Error: " + fault)
		}
	}
	if err := f.settlePhase(r, slug, code == 0); err != nil {
		f.log.add("heroku", "release", "Error: "+err.Error())
	}
	f.p.endStream(r.Stream)
}

// awaitPhase waits for the end of a release phase, but not for ever. fault says why there is
// no exit code of the process itself.
func (f *fleet) awaitPhase(d *instance) (code int, fault string) {
	timer := time.NewTimer(f.p.opts.PhaseTimeout)
	defer timer.Stop()
	select {
	case <-d.finished:
	case <-timer.C:
		fault = fmt.Sprintf("the release phase took longer than %v", f.p.opts.PhaseTimeout)
		f.log.add("heroku", d.name, "Error: "+fault)
		f.mu.Lock()
		f.stop(d)
		f.mu.Unlock()
		<-d.finished
		return -1, fault
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case d.stopping:
		return -1, "the release phase was stopped"
	case d.code < 0 && d.failure != nil:
		return -1, d.failure.Reason
	}
	return d.code, ""
}

// settlePhase makes the release live, or failed: then the one before stays.
func (f *fleet) settlePhase(r releaseRecord, slug slugRecord, passed bool) error {
	failpoint.Hit("local.phase.ended")
	err := f.p.db.Update(func(tx *bolt.Tx) error {
		app, err := appIn(tx, f.app)
		if err != nil {
			return err
		}
		r.Status, r.UpdatedAt = platform.Failed, f.p.now()
		if passed {
			r.Status = platform.Succeeded
			if r.Version > app.Current {
				f.p.makeCurrent(&app, r, &slug)
			}
		}
		if err := put(tx, bucketReleases, releaseKey(app.ID, r.Version), r); err != nil {
			return err
		}
		return putApp(tx, app)
	})
	failpoint.Hit("local.phase.settled")
	f.poke()
	return err
}

// freePort finds a port for a web dyno below the range that kernels hand out by themselves,
// so that no outgoing connection takes it before the dyno binds it.
func (p *Platform) freePort() (int, error) {
	var last error
	for range 200 {
		port := 10_000 + rand.IntN(20_000)
		p.mu.Lock()
		taken := p.ports[port]
		p.ports[port] = true
		p.mu.Unlock()
		if taken {
			continue
		}
		l, err := net.Listen("tcp", ":"+strconv.Itoa(port))
		if err == nil {
			_ = l.Close()
			return port, nil
		}
		last = err
		p.releasePort(port)
	}
	return 0, fmt.Errorf("no free port for a web dyno: %w", last)
}

func (p *Platform) releasePort(port int) {
	p.mu.Lock()
	delete(p.ports, port)
	p.mu.Unlock()
}
