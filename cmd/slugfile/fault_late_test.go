//go:build linux

package main

import (
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/platform/local"
)

// minute is what the minute for which a lost release is looked for is scaled down to. The
// longer it is, the nearer to its end a platform can act without the machine's own delays
// deciding what becomes of it.
func minute() time.Duration {
	switch {
	case long:
		return time.Minute
	case faultSize == "gate":
		return 30 * time.Second
	}
	return 3 * time.Second
}

// seconds are of that minute.
func seconds(n int) time.Duration { return minute() * time.Duration(n) / 60 }

// lose has the platform carry out the first POST /releases so much later, and nobody hears of it.
func (r *rig) lose(late time.Duration) {
	r.Env[patienceVariable] = minute().String() + " 30s 30s"
	r.forget(at(call{postReleases, 1}, func(*http.Request) *local.Fault {
		return &local.Fault{DropAnswer: true, Late: late}
	}))
}

// TestFaultLate_releasesAreMadeOnce: the platform carries POST /releases out, and nobody hears
// of it, at once or after a while. As long as it acts within the time that a lost release is
// looked for, there is one release, and one POST.
func TestFaultLate_releasesAreMadeOnce(t *testing.T) {
	t.Parallel()
	inTable(t, "N10", "the platform acts within the window, and nobody hears of it")
	cases := []int{0, 1, 5, 20, 45}
	if minute() > 10*time.Second {
		cases = append(cases, 59)
	}
	each(t, cases, func(n int) string { return fmt.Sprintf("%d s of a minute", n) }, func(t *testing.T, n int) {
		r := newRig(t)
		r.lose(seconds(n))
		got := r.start(t, applyArgs...).wait(t, timely+minute())
		if n := r.count(postReleases); got.Code != exitDone || n != 1 {
			t.Errorf("exit code %d after %d POSTs\n%s", got.Code, n, got.Err)
		}
		r.assertInvariants(t, got)
	})
}

// TestFaultLate_beyondTheWindowIsOneReleaseTwice is the limit of the promise, stated: a platform
// without idempotency keys that acts later than anybody looks for releases the same slug
// twice, under one mark, and slugfile says so, once. It is never a third one, and never another
// slug.
func TestFaultLate_beyondTheWindowIsOneReleaseTwice(t *testing.T) {
	t.Parallel()
	row := inTable(t, "N10", "the platform acts after the window: the duplicate is reported")
	// lateness is when the platform acts on the first request.
	type lateness struct {
		name string
		// seconds of a minute after it was lost; 0 is when the second request was answered.
		seconds int
		// killed ends the apply that lost the answer; the next one sends the release again.
		killed bool
	}
	each(t, []lateness{
		{"61 s of a minute", 61, false},
		{"90 s of a minute", 90, false},
		{"after the second request", 0, false},
		{"after the second request of another apply", 0, true},
	}, func(c lateness) string { return c.name }, func(t *testing.T, c lateness) {
		r := newRig(t)
		g := newGate(t, &local.Fault{DropAnswer: true})
		if c.seconds > 0 {
			r.lose(seconds(c.seconds))
			close(g.reached)
		} else {
			r.Env[patienceVariable] = "1s 3s 30s"
			r.hold(at(call{postReleases, 1}, func(*http.Request) *local.Fault { return g.pass() }), g)
		}
		run := r.start(t, applyArgs...)
		if c.killed {
			run.until(t, "POST releases", g.reached)
			run.signal(t, syscall.SIGKILL)
			run.wait(t, promptly)
			run = r.start(t, applyArgs...)
		}
		got := run.wait(t, timely+minute())
		if got.Code != exitDone {
			t.Fatalf("exit code %d\n%s", got.Code, got.Err)
		}
		r.accounts(t, got)
		r.free()
		r.awaitQuiet()
		patience := 20 * time.Second
		if c.seconds > 0 {
			patience = 2 * time.Second // there may be one only
		}
		for end := time.Now().Add(patience); len(r.releases(t)) < 2 && time.Now().Before(end); {
			time.Sleep(10 * time.Millisecond)
		}
		list := r.releases(t)
		row.add(func(f *faultRow) {
			f.runs++
			f.changes++
			f.releases += len(list)
		})
		// On a machine that is busy enough, the last look comes after the minute and a half.
		twice := len(list) == 2 && list[0].Description == list[1].Description && list[0].Slug.ID == list[1].Slug.ID
		if !twice && (c.seconds == 0 || len(list) != 1) {
			t.Fatalf("there are %d releases: %+v", len(list), list)
		}
		// Where it acts in the very moment of the second request, the apply itself sees it.
		reported := 0
		if reports(got, "v3", "v4") {
			reported++
		}
		for range 2 {
			r.forget(nil)
			next := r.start(t, applyArgs...).wait(t, timely)
			r.accounts(t, next)
			if next.Code != exitDone || !strings.Contains(next.Out, `"changed":false}`) || r.count(postReleases) != 0 {
				t.Errorf("an apply after it: exit code %d, %d POSTs\n%s%s", next.Code, r.count(postReleases), next.Out, next.Err)
			}
			if reports(next, "v3", "v4") {
				reported++
			}
		}
		if twice && reported != 1 || !twice && reported != 0 {
			t.Errorf("of %d releases, it is reported %d times that they are one\n%s", len(list), reported, got.Out)
		}
		r.sound(t)
		r.keepsSecrets(t)
		r.leavesNoProcess(t)
	})
}

// reports says whether a warning of a run names all of these.
func reports(got result, names ...string) bool {
	for line := range strings.Lines(got.Out) {
		if !strings.Contains(line, `"type":"warning"`) {
			continue
		}
		all := true
		for _, n := range names {
			all = all && strings.Contains(line, n)
		}
		if all {
			return true
		}
	}
	return false
}
