//go:build linux

package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/slugfile/slugfile/pipeline/failpoint"
)

// deploy is what an apply is about when it is ended.
type deploy struct {
	name string
	// prepare brings the world to where the apply begins.
	prepare func(testing.TB, *rig)
	// actions are the ways to end it that are tried, and points what the names of the points
	// begin with.
	actions []string
	points  string
}

// deploys come by every point between them.
func deploys() []deploy {
	withStep := func(t testing.TB, r *rig) { r.step(t, packStep) }
	second := func(t testing.TB, r *rig) {
		withStep(t, r)
		r.apply(t, r.dir, applyArgs...)
		r.base = 1
		r.change(t, "two")
	}
	// interrupted is an apply after one that was killed where it released.
	interrupted := func(where string) func(testing.TB, *rig) {
		return func(t testing.TB, r *rig) {
			second(t, r)
			all := moments()
			r.stop(t, all[slices.IndexFunc(all, func(m moment) bool { return m.name == where })], syscall.SIGKILL)
		}
	}
	every := []string{"kill", "exit", "panic"}
	return []deploy{
		{"first deploy", withStep, every, ""},
		{"second deploy", second, every, ""},
		{"after a release that nobody heard of", interrupted("after POST releases"), []string{"kill"}, ""},
		{"after a release that was not made", interrupted("before POST releases"), []string{"kill"}, ""},
		{"first deploy without a step", func(testing.TB, *rig) {}, every, "fetch."},
	}
}

// TestFaultPoint_nextApplyFinishesTheWork ends the program at every durable step and on both
// sides of every call that changes the platform, in each way that a program can end.
func TestFaultPoint_nextApplyFinishesTheWork(t *testing.T) {
	t.Parallel()
	if !failpoint.Enabled {
		t.Skip("this program has no failpoints; they come with: go test -tags failpoint")
	}
	row := inTable(t, "K1", "exit, SIGKILL and panic at every failpoint")
	type ending struct {
		point  string
		action string
		hit    int
		deploy deploy
	}
	var cases []ending
	// The embedded platform has a test of its own for those in it.
	points := slices.DeleteFunc(slices.Clone(failpoint.Names), func(p string) bool { return strings.HasPrefix(p, "local.") })
	for i, point := range points {
		for j, d := range deploys() {
			if !strings.HasPrefix(point, d.points) {
				continue
			}
			actions, hits := d.actions, []int{1, 2, 4}
			switch {
			case faultSize == "short":
				// One way to end each deploy, and of the recoveries every other point.
				if len(actions) == 1 && i%2 != j%2 {
					continue
				}
				actions, hits = actions[(i+j)%len(actions):][:1], hits[:1]
			case j > 0 && !long:
				hits = hits[:1]
			}
			for _, action := range actions {
				for _, hit := range hits {
					cases = append(cases, ending{point, action, hit, d})
				}
			}
		}
	}
	var mu sync.Mutex
	reached, ran := map[string]bool{}, 0
	each(t, cases, func(c ending) string { return fmt.Sprintf("%s=%d*%s %s", c.point, c.hit, c.action, c.deploy.name) }, func(t *testing.T, c ending) {
		r := newRig(t)
		replace(t, filepath.Join(r.dir, "slug.yaml"), "process_types:", "process_types:\n  release: echo the phase")
		c.deploy.prepare(t, r)
		r.forget(nil)
		r.Env["SLUGFILE_FAILPOINTS"] = fmt.Sprintf("%s=%d*%s", c.point, c.hit, c.action)
		got := r.start(t, applyArgs...).wait(t, timely)
		delete(r.Env, "SLUGFILE_FAILPOINTS")
		r.leavesNoProcess(t)
		r.hides(t, "I4: a run", got.Out+got.Err)
		landed := got.Code == -1
		switch c.action {
		case "exit":
			landed = got.Code == failpoint.ExitCode
		case "panic":
			// Where it is not the first goroutine that panics, that one may end the program first.
			landed = got.Code == 2 && strings.Contains(got.Err, "panic: failpoint "+c.point) || got.Code == exitFailed
		}
		mu.Lock()
		ran++
		reached[c.point] = reached[c.point] || landed
		mu.Unlock()
		switch {
		case landed:
			row.kill(result{Code: -1})
			r.assertInvariants(t, result{Code: -1})
		case got.Code == exitDone:
			// This deploy does not come by that point, or not so often.
		default:
			t.Errorf("exit code %d\n%s%s", got.Code, got.Out, got.Err)
		}
	})
	if ran < len(cases) {
		return // -run has chosen some
	}
	for _, point := range points {
		if !reached[point] {
			t.Errorf("no deploy comes by %s", point)
		}
	}
}
