//go:build linux

package main

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/failpoint"
	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/platform/local"
)

// rollbackArgs go back to the first deploy.
var rollbackArgs = []string{"rollback", "v3", "-y", "--json"}

// backRig is a rig with two deploys, which differ. When the slug of the first is gone from the
// platform, a rollback uploads it again.
func backRig(t *testing.T, gone bool, phase string) (r *rig, first, second applied) {
	t.Helper()
	r = newRig(t)
	replace(t, filepath.Join(r.dir, "slug.yaml"), "process_types:", "process_types:"+phase)
	first = r.apply(t, r.dir, applyArgs...)
	r.change(t, "two")
	second = r.apply(t, r.dir, applyArgs...)
	if gone {
		info := local.Info{API: r.platform.URL(), Token: r.platform.Token()}
		// Not of the last 20 releases, and older than 30 days.
		for range 20 {
			if status, text, err := callAt(t, "POST", info, "/apps/faulty/releases", fmt.Sprintf(`{"slug":%q}`, second.Slug.ID)); err != nil || status != http.StatusCreated {
				t.Fatalf("%d %s, %v", status, text, err)
			}
		}
		r.settledReleases(t)
		if status, text, err := callAt(t, "POST", info, "/_clock", `{"advance":"744h"}`); err != nil || status != http.StatusOK {
			t.Fatalf("%d %s, %v", status, text, err)
		}
		if _, err := r.client.Slug(t.Context(), "faulty", first.Slug.ID); err == nil {
			t.Fatal("the first slug is there still")
		}
	}
	r.base = len(r.releases(t))
	r.forget(nil)
	return r, first, second
}

// settledReleases waits for the end of release phases.
func (r *rig) settledReleases(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(timely); slices.ContainsFunc(r.releases(t), func(rel platform.Release) bool { return rel.Status == platform.Pending }); {
		if time.Now().After(deadline) {
			t.Fatal("a release phase does not end")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// goesOn looks at what comes after a rollback that was ended. The next rollback finds it done, or
// does it: there is one new release. The next apply undoes it, if it was done, and else does nothing.
func (r *rig) goesOn(t *testing.T, byApply bool, first, second applied) {
	t.Helper()
	r.leavesNoProcess(t)
	r.forget(nil)
	made := len(r.releases(t)) - r.base
	args, want, live := rollbackArgs, 1, first
	if byApply {
		args, want, live = applyArgs, 2*made, second
	}
	if made < 0 || made > 1 {
		t.Errorf("the rollback that was ended made %d releases", made)
	}
	for _, again := range []string{"the next run", "one more"} {
		got := r.start(t, args...).wait(t, timely)
		r.accounts(t, got)
		if got.Code != exitDone {
			t.Fatalf("%s: exit code %d\n%s%s", again, got.Code, got.Out, got.Err)
		}
		list := r.releases(t)
		if n := len(list) - r.base; n != want {
			t.Errorf("after %s there are %d new releases, not %d: %+v", again, n, want, list)
		}
		i := slices.IndexFunc(list, func(rel platform.Release) bool { return rel.Current })
		slug, err := r.client.Slug(t.Context(), "faulty", list[max(i, 0)].Slug.ID)
		if err != nil {
			t.Fatal(err)
		}
		if i != 0 || slug.Checksum == nil || *slug.Checksum != live.Slug.Checksum {
			t.Errorf("after %s v%d is live with %v; want the newest, with %s", again, list[max(i, 0)].Version, slug.Checksum, live.Slug.Checksum)
		}
	}
	r.sound(t)
	r.keepsSecrets(t)
	r.row.holds("I1", "I2", "I4", "I5")
	r.row.add(func(f *faultRow) {
		f.runs++
		f.changes += want
		f.releases += want
	})
}

// TestFaultRollback_killedOneIsFinishedByTheNext kills a rollback at its calls to the platform.
func TestFaultRollback_killedOneIsFinishedByTheNext(t *testing.T) {
	t.Parallel()
	inTable(t, "K1", "SIGKILL at a named moment of a rollback")
	type ending struct {
		moment        string
		gone, byApply bool
	}
	cases := []ending{
		{"while it plans", false, true},
		{"before POST releases", false, false},
		{"after POST releases", false, false},
		{"after POST releases", false, true},
		{"before POST slugs", true, true},
		{"after PUT", true, false},
		{"after POST releases", true, false},
	}
	each(t, cases, func(c ending) string {
		return fmt.Sprintf("%s gone=%t apply=%t", c.moment, c.gone, c.byApply)
	}, func(t *testing.T, c ending) {
		r, first, second := backRig(t, c.gone, "")
		all := moments()
		m := all[slices.IndexFunc(all, func(m moment) bool { return m.name == c.moment })]
		if got := r.stop(t, m, syscall.SIGKILL, rollbackArgs...); got.Code != -1 {
			t.Fatalf("it was not killed: exit code %d\n%s", got.Code, got.Err)
		}
		if made := len(r.releases(t)) - r.base; (made == 1) != m.released {
			t.Errorf("%d releases were made before it was killed", made)
		}
		r.settledReleases(t)
		r.goesOn(t, c.byApply, first, second)
	})
}

// TestFaultRollback_nextRunMakesOneRelease ends a rollback at every point that it comes by.
func TestFaultRollback_nextRunMakesOneRelease(t *testing.T) {
	t.Parallel()
	if !failpoint.Enabled {
		t.Skip("this program has no failpoints; they come with: go test -tags failpoint")
	}
	row := inTable(t, "K1", "exit, SIGKILL and panic at every failpoint of a rollback")
	type ending struct {
		point, action string
		hit           int
		gone, byApply bool
	}
	// It fetches, compiles and archives nothing, and makes no app. A lost answer is what
	// TestFaultRollback_killedOneIsFinishedByTheNext is about.
	points := slices.DeleteFunc(slices.Clone(failpoint.Names), func(p string) bool {
		room, _, _ := strings.Cut(p, ".")
		return !slices.Contains([]string{"journal", "release", "upload"}, room) && !strings.HasPrefix(p, "store.document.") ||
			strings.HasPrefix(p, "upload.app.") || p == "release.look.before"
	})
	hits := []int{1, 2, 4}[:sized(1, 2, 3)]
	var cases []ending
	for i, point := range points {
		for _, gone := range []bool{false, true} {
			if strings.HasPrefix(point, "upload.") && !gone {
				continue
			}
			for j, hit := range hits {
				cases = append(cases, ending{point, []string{"kill", "exit", "panic"}[(i+j)%3], hit, gone, (i+j)%2 == 1 != gone})
			}
		}
	}
	var mu sync.Mutex
	reached, ran := map[string]bool{}, 0
	each(t, cases, func(c ending) string {
		return fmt.Sprintf("%s=%d*%s gone=%t apply=%t", c.point, c.hit, c.action, c.gone, c.byApply)
	}, func(t *testing.T, c ending) {
		r, first, second := backRig(t, c.gone, "\n  release: echo the phase")
		r.Env["SLUGFILE_FAILPOINTS"] = fmt.Sprintf("%s=%d*%s", c.point, c.hit, c.action)
		got := r.start(t, rollbackArgs...).wait(t, timely)
		delete(r.Env, "SLUGFILE_FAILPOINTS")
		landed := got.Code == -1 || got.Code == failpoint.ExitCode || strings.Contains(got.Err, "panic: failpoint "+c.point)
		mu.Lock()
		ran++
		reached[c.point] = reached[c.point] || landed
		mu.Unlock()
		if !landed && got.Code != exitDone {
			t.Fatalf("exit code %d\n%s%s", got.Code, got.Out, got.Err)
		}
		if landed {
			row.kill(result{Code: -1})
		}
		r.settledReleases(t)
		r.goesOn(t, c.byApply, first, second)
	})
	if ran < len(cases) {
		return // -run has chosen some
	}
	for _, point := range points {
		if !reached[point] {
			t.Errorf("no rollback comes by %s", point)
		}
	}
}
