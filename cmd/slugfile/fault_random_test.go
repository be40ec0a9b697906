//go:build linux

package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/platform/local"
)

// slowness is how long the platform thinks about each call, so that there is a time to be
// killed at. It is what makes a deploy of these tests take as long as it does.
const slowness = 10 * time.Millisecond

// pace is what an undisturbed deploy was like, just before one is killed.
type pace struct {
	took  time.Duration
	calls int
}

// measure deploys one change, undisturbed but slowly.
func (r *rig) measure(t testing.TB, change string, cold bool) pace {
	t.Helper()
	r.change(t, change)
	if cold {
		r.dropCache(t)
	}
	calls := 0
	r.forget(func(*http.Request, call) *local.Fault {
		r.mu.Lock()
		defer r.mu.Unlock()
		calls++
		return &local.Fault{Delay: slowness}
	})
	start := time.Now()
	r.apply(t, r.dir, applyArgs...)
	p := pace{took: time.Since(start)}
	r.forget(nil)
	p.calls = calls
	r.base++
	return p
}

// killAnywhere applies, and kills it at a random moment: at a time, in or after a call, or
// while the release is on its way. A release that is on its way is made at once, within the
// window, or never. It returns what it did, for the message of a failure.
func (r *rig) killAnywhere(t testing.TB, rnd *rand.Rand, p pace) (got result, how string) {
	t.Helper()
	var (
		reached = make(chan struct{})
		once    sync.Once
		here    = func() { once.Do(func() { close(reached) }) }
		gone    = make(chan struct{})
		after   time.Duration
		seen    int
	)
	slow := &local.Fault{Delay: slowness}
	switch kind := rnd.IntN(20); {
	case kind < 8:
		moment := time.Duration(rnd.Int64N(int64(p.took)))
		how = fmt.Sprintf("%s of %s after its start", moment, p.took)
		time.AfterFunc(moment, here)
		// The machine may be faster than it was: the last call but one is when it comes at the latest.
		r.forget(func(*http.Request, call) *local.Fault {
			r.mu.Lock()
			defer r.mu.Unlock()
			if seen++; seen == max(1, p.calls-1) {
				here()
			}
			return slow
		})
	case kind < 16:
		at := 1 + rnd.IntN(p.calls)
		after = time.Duration(rnd.Int64N(int64(slowness * 3 / 4)))
		how = fmt.Sprintf("%s after call %d of %d", after, at, p.calls)
		r.forget(func(*http.Request, call) *local.Fault {
			r.mu.Lock()
			defer r.mu.Unlock()
			if seen++; seen == at {
				here()
			}
			return slow
		})
	default:
		late := time.Duration(rnd.Int64N(int64(window * 3 / 4)))
		fates := []struct {
			name  string
			fault *local.Fault
		}{
			{"at once", nil},
			{"after " + late.String(), &local.Fault{DropAnswer: true, Late: late}},
			{"never", &local.Fault{Status: http.StatusServiceUnavailable}},
		}
		fate := fates[rnd.IntN(len(fates))]
		how = "while the release was on its way, which was made " + fate.name
		r.forget(func(_ *http.Request, c call) *local.Fault {
			if c.What != postReleases {
				return slow
			}
			here()
			<-gone
			return fate.fault
		})
	}
	run := r.start(t, applyArgs...)
	select {
	case <-reached:
		select {
		case <-time.After(after):
			run.signal(t, syscall.SIGKILL)
		case <-run.done:
		}
	case <-run.done:
	case <-time.After(timely):
		t.Errorf("no moment came to kill it %s", how)
		run.signal(t, syscall.SIGKILL)
	}
	got = run.wait(t, timely)
	close(gone)
	r.row.kill(got)
	return got, how
}

// TestFaultKill_atRandomTimes kills deploys of one change after the other, half of them with an
// empty cache. There is one release for each.
func TestFaultKill_atRandomTimes(t *testing.T) {
	t.Parallel()
	row := inTable(t, "K2", "SIGKILL at a random moment")
	kills := sized(20, 200, 5000)
	worlds := make([]int, min(8, kills/5))
	for n := range worlds {
		worlds[n] = n
	}
	each(t, worlds, func(n int) string { return fmt.Sprint("world ", n) }, func(t *testing.T, world int) {
		rnd := random(t, world)
		r := newRig(t)
		r.step(t, "sleep 0.05\n"+packStep)
		for n := world; n < kills; n += len(worlds) {
			cold := rnd.IntN(2) == 0
			p := r.measure(t, fmt.Sprint("measured ", n), cold)
			r.change(t, fmt.Sprint("change ", n))
			if cold {
				r.dropCache(t)
			}
			got, how := r.killAnywhere(t, rnd, p)
			r.assertInvariants(t, got)
			if t.Failed() {
				t.Fatalf("kill %d, %s\n%s%s", n, how, got.Out, got.Err)
			}
		}
	})
	want := 95 // in a hundred; of a few kills, one or two may come too late
	if kills < 100 {
		want = 80
	}
	if !t.Failed() && row.landed*100 < row.kills*want {
		t.Errorf("only %d of %d kills came before the end: the test has lost its point", row.landed, row.kills)
	}
}

// TestFaultKill_chainsOfRecoveries kills the apply, then the one that finishes its work, and the
// one after that.
func TestFaultKill_chainsOfRecoveries(t *testing.T) {
	t.Parallel()
	const depth = 3
	inTable(t, "K4", "SIGKILL of an apply and of two recoveries after it, at random moments")
	chains := sized(4, 30, 500)
	worlds := make([]int, min(6, chains))
	for n := range worlds {
		worlds[n] = n
	}
	each(t, worlds, func(n int) string { return fmt.Sprint("world ", n) }, func(t *testing.T, world int) {
		rnd := random(t, 1000+world)
		r := newRig(t)
		r.step(t, packStep)
		for n := world; n < chains; n += len(worlds) {
			p := r.measure(t, fmt.Sprint("measured ", n), false)
			r.change(t, fmt.Sprint("change ", n))
			var killed []result
			story := ""
			for range depth {
				got, how := r.killAnywhere(t, rnd, p)
				p = pace{p.took / 2, (p.calls + 1) / 2} // there is less to do for the next one
				killed = append(killed, got)
				story += how + ":\n" + got.Out + got.Err
			}
			r.assertInvariants(t, killed...)
			if t.Failed() {
				t.Fatalf("chain %d, killed\n%s", n, story)
			}
		}
	})
}
