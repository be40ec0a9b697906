//go:build linux

package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/pipetest"
	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/platform/local"
)

// moment is a place in a deploy at which slugfile is stopped.
type moment struct {
	name string
	// hold makes the next run of slugfile stand still there, before it starts. It returns what is closed when it does.
	hold func(testing.TB, *rig, *running) <-chan struct{}
	// released is set where the platform has carried the release out.
	released bool
}

// slowStep holds its first run, in a way that a kill of the shell alone would not end, and
// is done at once in every other.
const slowStep = `if [ ! -e "$HOME/before" ]; then
  touch "$HOME/before"
  (setsid sleep 700 >/dev/null 2>&1 &)
  sleep 701 &
  echo the step is at work
  sleep 702
fi
` + packStep

// moments are those of a first deploy, in their order.
func moments() []moment {
	// holding holds a call to the platform; fault is what becomes of it when slugfile is gone.
	// A POST is then refused: one that is carried out later is a case of its own below.
	holding := func(name string, c call, fault *local.Fault) moment {
		return moment{name: name, hold: func(t testing.TB, r *rig, _ *running) <-chan struct{} {
			g := newGate(t, fault)
			r.hold(at(c, func(*http.Request) *local.Fault { return g.pass() }), g)
			return g.reached
		}}
	}
	// answered lets one call be carried out, drops its answer, and holds the next one.
	answered := func(name string, c, next call) moment {
		return moment{name: name, released: c.What == postReleases, hold: func(t testing.TB, r *rig, _ *running) <-chan struct{} {
			g := newGate(t, nil)
			r.hold(func(_ *http.Request, got call) *local.Fault {
				switch got {
				case c:
					return &local.Fault{DropAnswer: true}
				case next:
					return g.pass()
				}
				return nil
			}, g)
			return g.reached
		}}
	}
	refused := &local.Fault{Status: http.StatusServiceUnavailable}
	return []moment{
		holding("while it plans", call{"GET /apps/*", 1}, nil),
		{name: "during fetch", hold: func(t testing.TB, r *rig, p *running) <-chan struct{} {
			r.mirror.Fault(toolPath, pipetest.Stall(100_000))
			return p.eventually(func() bool { return r.ingested(100_000) })
		}},
		{name: "during a step", hold: func(_ testing.TB, _ *rig, p *running) <-chan struct{} {
			return p.out.shows(`"line":"the step is at work"`)
		}},
		{name: "during archive", hold: func(_ testing.TB, _ *rig, p *running) <-chan struct{} {
			return p.out.shows(`"stage_started","stage":"archive"`)
		}},
		holding("before POST app", call{"POST /apps", 1}, refused),
		answered("after POST app", call{"POST /apps", 1}, call{"GET /apps/*", 2}),
		holding("before POST slugs", call{postSlugs, 1}, refused),
		answered("after POST slugs", call{postSlugs, 1}, call{postSlugs, 2}),
		{name: "during PUT", hold: func(t testing.TB, r *rig, _ *running) <-chan struct{} {
			g := newGate(t, nil)
			r.hold(at(call{putBlob, 1}, func(req *http.Request) *local.Fault {
				req.Body = &gatedBody{ReadCloser: req.Body, left: 100_000, gate: g}
				return nil
			}), g)
			return g.reached
		}},
		answered("after PUT", call{putBlob, 1}, call{putBlob, 2}),
		holding("before it verifies", call{"GET /apps/*/slugs/*", 1}, nil),
		holding("before it asks for the blob", call{"GET blob", 1}, nil),
		holding("before it reads the releases again", call{getReleases, 2}, nil),
		holding("before POST releases", call{postReleases, 1}, refused),
		answered("after POST releases", call{postReleases, 1}, call{getReleases, 3}),
	}
}

// hold sets a hook and remembers its gate, so that free can open it.
func (r *rig) hold(meddle func(*http.Request, call) *local.Fault, g *gate) {
	r.forget(meddle)
	r.held = g
}

// free lets go on what hold holds, when slugfile is gone.
func (r *rig) free() {
	if r.held != nil {
		r.held.release()
		r.held = nil
	}
	r.mirror.Heal(toolPath)
}

// ingested reports whether a file of that size is on its way into the store.
func (r *rig) ingested(size int64) bool {
	found := false
	_ = filepath.WalkDir(filepath.Join(r.Env["XDG_CACHE_HOME"], name, "ingest"), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			info, err := d.Info()
			found = found || err == nil && info.Size() >= size
		}
		return nil // what has gone meanwhile is not what we look for
	})
	return found
}

// eventually is closed once happened says so, or slugfile has ended.
func (p *running) eventually(happened func() bool) <-chan struct{} {
	yes := make(chan struct{})
	go func() {
		for !happened() {
			select {
			case <-p.done:
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
		close(yes)
	}()
	return yes
}

// promptly is how long slugfile may take to end after a signal.
const promptly = 5 * time.Second

// stop runs slugfile until a moment and sends it a signal there. args are those of an apply, if
// there are none.
func (r *rig) stop(t testing.TB, m moment, s syscall.Signal, args ...string) result {
	t.Helper()
	r.forget(nil)
	if len(args) == 0 {
		args = applyArgs
	}
	p := r.prepareStart(t, args...)
	reached := m.hold(t, r, p)
	p.begin(t)
	p.until(t, m.name, reached)
	p.signal(t, s)
	start := time.Now()
	got := p.wait(t, 3*promptly)
	if took := time.Since(start); took > promptly {
		t.Errorf("after %s it took %s to end", s, took)
	}
	r.free()
	if s == syscall.SIGKILL {
		r.row.kill(got)
	}
	return got
}

// TestFaultKill_nextApplyFinishesTheWork kills slugfile at named moments of a first deploy. The
// next apply ends with exactly one new release, whatever was done before.
func TestFaultKill_nextApplyFinishesTheWork(t *testing.T) {
	t.Parallel()
	inTable(t, "K1", "SIGKILL at a named moment of a first deploy")
	each(t, moments(), func(m moment) string { return m.name }, func(t *testing.T, m moment) {
		r := newRig(t)
		r.step(t, slowStep)
		if m.name != "during a step" {
			r.skipSlowStep(t)
		}
		if m.name == "during archive" {
			r.bigSource(t)
		}
		got := r.stop(t, m, syscall.SIGKILL)
		if got.Code != -1 {
			t.Fatalf("it was not killed: exit code %d\n%s", got.Code, got.Err)
		}
		r.leavesNoProcess(t)
		if n := len(r.releases(t)); n > 1 || (n == 1) != m.released {
			t.Errorf("%d releases were made before it was killed", n)
		}
		r.assertInvariants(t, got)
	})
}

// skipSlowStep lets slowStep be done at once: it looks for a file in its home, which is kept.
func (r *rig) skipSlowStep(t testing.TB) {
	t.Helper()
	replace(t, filepath.Join(r.dir, "slug.yaml"), `if [ ! -e "$HOME/before" ]; then`, `if false; then`)
}

// bigSource makes archive work for a while.
func (r *rig) bigSource(t testing.TB) {
	t.Helper()
	noise := make([]byte, 8<<20)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(noise) // never fails
	write(t, filepath.Join(r.dir, "big.bin"), string(noise))
}

// TestFaultKill_recoveryMayBeKilledToo kills one run after the other, each at a later moment,
// in one world: nothing that a killed run leaves behind stands in the way of the next.
func TestFaultKill_recoveryMayBeKilledToo(t *testing.T) {
	t.Parallel()
	inTable(t, "K4", "SIGKILL at all named moments, one run after the other")
	r := newRig(t)
	r.step(t, slowStep)
	var killed []result
	for _, m := range moments() {
		if m.name == "during archive" {
			r.bigSource(t)
		}
		if strings.HasPrefix(m.name, "before POST slugs") {
			// Another slug: the one that is stored would be taken.
			r.change(t, "two")
		}
		if strings.HasSuffix(m.name, "POST app") && len(r.apps(t)) > 0 {
			t.Fatalf("the app is there before %s", m.name)
		}
		killed = append(killed, r.stop(t, m, syscall.SIGKILL))
	}
	r.leavesNoProcess(t)
	r.assertInvariants(t, killed...)
}

func (r *rig) apps(t testing.TB) []string {
	t.Helper()
	if _, err := r.client.App(t.Context(), "faulty"); err != nil {
		return nil
	}
	return []string{"faulty"}
}

// TestFaultKill_releaseThatIsCarriedOutAnywayIsFound: the request has left and slugfile is
// killed. The platform acts before the next apply looks, or only while it looks.
func TestFaultKill_releaseThatIsCarriedOutAnywayIsFound(t *testing.T) {
	t.Parallel()
	inTable(t, "K2", "SIGKILL while POST /releases is in flight, carried out at once or late")
	each(t, []time.Duration{0, window / 4, window * 3 / 4}, time.Duration.String, func(t *testing.T, late time.Duration) {
		r := newRig(t)
		g := newGate(t, &local.Fault{DropAnswer: true, Late: late})
		got := r.stop(t, moment{name: "POST releases", hold: func(testing.TB, *rig, *running) <-chan struct{} {
			r.hold(at(call{postReleases, 1}, func(*http.Request) *local.Fault { return g.pass() }), g)
			return g.reached
		}}, syscall.SIGKILL)
		r.assertInvariants(t, got)
	})
}

// TestFaultKill_anotherChangeComesAfterTheKill: the release of one change is on its way when slugfile is
// killed, and the next apply is about another. The first is looked for in any case, since it may come after the
// second and take its place.
func TestFaultKill_anotherChangeComesAfterTheKill(t *testing.T) {
	t.Parallel()
	inTable(t, "K2", "SIGKILL while POST /releases is in flight, and then another change")
	type fate struct {
		name     string
		fault    *local.Fault
		released int
	}
	each(t, []fate{
		{"carried out at once", nil, 1},
		{"carried out late", &local.Fault{DropAnswer: true, Late: window * 3 / 4}, 1},
		{"never carried out", &local.Fault{Status: http.StatusServiceUnavailable}, 0},
	}, func(f fate) string { return f.name }, func(t *testing.T, f fate) {
		r := newRig(t)
		g := newGate(t, f.fault)
		got := r.stop(t, moment{name: "POST releases", hold: func(testing.TB, *rig, *running) <-chan struct{} {
			r.hold(at(call{postReleases, 1}, func(*http.Request) *local.Fault { return g.pass() }), g)
			return g.reached
		}}, syscall.SIGKILL)
		r.change(t, "another")
		again := r.start(t, applyArgs...).wait(t, timely)
		r.accounts(t, again)
		r.base = f.released
		done := r.assertInvariants(t, got, again)
		list := r.releases(t)
		if len(list) != f.released+1 || !list[0].Current || list[0].Version != done.Release.Version {
			t.Errorf("I1: there are %d releases: %+v", len(list), list)
		}
		if len(list) == 2 && (list[0].Description == list[1].Description || list[0].Slug.ID == list[1].Slug.ID) {
			t.Errorf("I1: two changes were released under one mark: %+v", list)
		}
	})
}

// TestFaultKill_savedPlanIsCarriedOutOnce kills the apply of a saved plan. The plan holds as long
// as nothing but this apply has happened, so it is simply applied again.
func TestFaultKill_savedPlanIsCarriedOutOnce(t *testing.T) {
	t.Parallel()
	inTable(t, "K2", "SIGKILL of the apply of a saved plan, which is applied again")
	// The app is there, its runtime in the store, and it has no steps.
	reached := slices.DeleteFunc(moments(), func(m moment) bool {
		return m.name == "during a step" || m.name == "during fetch" || strings.HasSuffix(m.name, "POST app")
	})
	each(t, reached, func(m moment) string { return m.name }, func(t *testing.T, m moment) {
		r := newRig(t)
		r.apply(t, r.dir, applyArgs...)
		r.base = 1
		if m.name == "during archive" {
			r.bigSource(t)
		}
		r.change(t, "two")
		saved := filepath.Join(t.TempDir(), "plan.json")
		r.ok(t, r.dir, "plan", "--out", saved)
		got := r.stop(t, m, syscall.SIGKILL, "apply", saved, "--json")
		if n := len(r.releases(t)) - r.base; n > 1 || (n == 1) != m.released {
			t.Errorf("%d releases were made before it was killed", n)
		}
		again := r.start(t, "apply", saved, "--json").wait(t, timely)
		if again.Code != exitDone || len(r.releases(t)) != r.base+1 {
			t.Errorf("I1: exit code %d, and there are %d new releases\n%s", again.Code, len(r.releases(t))-r.base, again.Err)
		}
		r.assertInvariants(t, got, again)
	})
}

// TestFaultKill_duringTheReleasePhase: the release is made, its phase runs, and slugfile is
// killed. The platform goes on; the next apply, after it, has nothing to do.
func TestFaultKill_duringTheReleasePhase(t *testing.T) {
	t.Parallel()
	inTable(t, "K1", "SIGKILL during the release phase")
	r := newRig(t)
	end := r.releasePhase(t)
	got := r.stop(t, moment{name: "release phase", hold: func(_ testing.TB, _ *rig, p *running) <-chan struct{} {
		return p.out.shows(`"line":"the phase is at work"`)
	}}, syscall.SIGKILL)
	if list := r.releases(t); len(list) != 1 || list[0].Status != platform.Pending {
		t.Fatalf("releases: %+v", list)
	}
	end()
	r.settled(t)
	r.assertInvariants(t, got)
}

// releasePhase adds a release phase to the app that works until end is called.
func (r *rig) releasePhase(t testing.TB) (end func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	end = func() { _ = l.Close() } // a second time does no harm
	t.Cleanup(end)
	// The phase waits for its connections to be refused.
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close() // only that it was accepted counts
		}
	}()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	replace(t, filepath.Join(r.dir, "slug.yaml"), "process_types:",
		"process_types:\n  release: 'echo the phase is at work; while (exec 3<>/dev/tcp/127.0.0.1/"+port+") 2>/dev/null; do sleep 0.05; done'")
	return end
}

// settled waits until the newest release is no longer pending.
func (r *rig) settled(t testing.TB) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); r.releases(t)[0].Status == platform.Pending; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the release phase does not end")
		}
	}
}

// TestFaultKill_filesAppearWholeOrNotAtAll kills build -o and lock where they write what the
// user asked for.
func TestFaultKill_filesAppearWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	inTable(t, "K2", "SIGKILL of build -o and lock")
	r := newRig(t)
	r.bigSource(t)
	// In the app's directory: what a kill leaves beside it must not become part of the app.
	slug := filepath.Join(r.dir, "slug.tgz")
	r.ok(t, r.dir, "build", "-o", slug)
	want, err := os.ReadFile(slug)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	r.ok(t, r.dir, "build", "-o", slug)
	whole := time.Since(start)
	rnd := random(t, 99)
	for range 5 {
		if err := os.Remove(slug); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		p := r.start(t, "build", "-o", slug)
		time.Sleep(time.Duration(rnd.Int64N(int64(whole))))
		p.signal(t, syscall.SIGKILL)
		p.wait(t, 10*time.Second)
		got, err := os.ReadFile(slug)
		if err == nil && !bytes.Equal(got, want) || err != nil && !os.IsNotExist(err) {
			t.Errorf("the kill left %d of %d bytes, %v", len(got), len(want), err)
		}
	}
	r.ok(t, r.dir, "build", "-o", slug)
	if got, err := os.ReadFile(slug); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the next build wrote %d bytes, %v", len(got), err)
	}
	if err := os.Remove(slug); err != nil {
		t.Fatal(err)
	}

	replace(t, filepath.Join(r.dir, "slug.yaml"), fmt.Sprintf("    sha256: %x\n", hash(r.archive)), "")
	lock := filepath.Join(r.dir, lockName)
	r.mirror.Fault(toolPath, pipetest.Stall(1000))
	r.dropCache(t)
	p := r.start(t, "lock")
	p.until(t, "download", p.eventually(func() bool { return r.ingested(1000) }))
	p.signal(t, syscall.SIGKILL)
	p.wait(t, 10*time.Second)
	if _, err := os.Stat(lock); !os.IsNotExist(err) {
		t.Errorf("the killed lock left a %s: %v", lockName, err)
	}
	r.mirror.Heal(toolPath)
	r.ok(t, r.dir, "lock")
	r.assertInvariants(t)
}

// local makes the rig use the embedded platform in slugfile itself.
func (r *rig) local() {
	delete(r.Env, "SLUGFILE_API")
	delete(r.Env, "HEROKU_API_KEY")
}

// TestFaultKill_takesTheEmbeddedPlatformAlong kills apply --local with the platform and the dynos in
// it, at random times. Each change is one release in the end, and what was released comes back.
func TestFaultKill_takesTheEmbeddedPlatformAlong(t *testing.T) {
	t.Parallel()
	inTable(t, "K2", "SIGKILL of apply --local at a random time")
	r := newRig(t)
	r.local()
	args := []string{"apply", "--local", "--json"}
	r.apply(t, r.dir, args...)
	r.change(t, "measured")
	start := time.Now()
	before := r.apply(t, r.dir, args...)
	whole := time.Since(start)
	rnd := random(t, 500)
	for n := range sized(6, 20, 60) {
		r.change(t, fmt.Sprint("change ", n))
		start := time.Now()
		p := r.start(t, args...)
		select {
		case <-time.After(time.Duration(rnd.Int64N(int64(whole)))):
			p.signal(t, syscall.SIGKILL)
		case <-p.done:
		}
		killed := p.wait(t, promptly)
		after := time.Since(start)
		r.accounts(t, killed)
		r.leavesNoProcess(t)
		a := r.apply(t, r.dir, args...)
		b := r.apply(t, r.dir, args...)
		if b.Changed || b.Release != a.Release || a.Release.Version != before.Release.Version+1 || a.WebURL != before.WebURL {
			t.Fatalf("kill %d after %s: before v%d at %s, then v%d at %s, then v%d, changed %v\n%s", n, after, before.Release.Version, before.WebURL, a.Release.Version, a.WebURL, b.Release.Version, b.Changed, killed.Out)
		}
		r.row.kill(killed)
		r.row.local(1)
		before = a
	}
	r.sound(t)
	r.keepsSecrets(t)
}

// TestFaultKill_endsTheDynosToo kills an apply --local that stays up, and boots again.
func TestFaultKill_endsTheDynosToo(t *testing.T) {
	t.Parallel()
	inTable(t, "K2", "SIGKILL of apply --local --stay")
	r := newRig(t)
	r.local()
	r.addGreeter(t)
	replace(t, filepath.Join(r.dir, "slug.yaml"), "worker: tool/bin/tool work", "web: ./web")
	p := r.prepareStart(t, "apply", "--local", "--stay", "--json")
	applied := p.out.shows(`"type":"applied"`)
	p.begin(t)
	p.until(t, "the release", applied)
	p.signal(t, syscall.SIGKILL)
	r.row.kill(p.wait(t, promptly))
	r.row.local(1)
	r.leavesNoProcess(t)
	if a := r.apply(t, r.dir, "apply", "--local", "--json"); a.Changed || a.Release.Version != 3 {
		t.Errorf("v%d, changed %v", a.Release.Version, a.Changed)
	}
}
