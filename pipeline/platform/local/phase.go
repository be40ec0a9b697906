package local

import (
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/slugfile/slugfile/pipeline/failpoint"
	"github.com/slugfile/slugfile/pipeline/platform"
)

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
