package local

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
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
