//go:build linux

package main

import (
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/platform/local"
)

// TestFaultRace_twoAppliesAtOnceMakeOneRelease starts two applies of one directory at once, in
// one world, over and over. One of them releases; the other waits for it, says so when it waits
// for long, and then finds nothing to do.
func TestFaultRace_twoAppliesAtOnceMakeOneRelease(t *testing.T) {
	t.Parallel()
	inTable(t, "C1", "two applies at once in one directory")
	r := newRig(t)
	r.step(t, packStep)
	rnd := random(t, 300)
	for n := range sized(6, 20, 500) {
		r.change(t, fmt.Sprint("change ", n))
		if rnd.IntN(2) == 0 {
			r.dropCache(t)
		}
		slow := n%4 == 1
		r.forget(at(call{postSlugs, 1}, func(*http.Request) *local.Fault {
			if !slow {
				return nil
			}
			return &local.Fault{Delay: 1500 * time.Millisecond}
		}))
		a, b := r.start(t, applyArgs...), r.start(t, applyArgs...)
		first, second := a.wait(t, timely), b.wait(t, timely)
		if slow && strings.Count(first.Out+second.Out, "waiting for it to end") != 1 {
			t.Errorf("the one that waits does not say so:\n%s\n%s", first.Out, second.Out)
		}
		r.oneWins(t, first, second)
		if t.Failed() {
			t.Fatalf("round %d", n)
		}
	}
}

// oneWins holds the results of two applies of the same slug to what may come of them.
func (r *rig) oneWins(t testing.TB, results ...result) {
	t.Helper()
	released := 0
	for _, got := range results {
		switch {
		case got.Code == exitDone && strings.Contains(got.Out, `"changed":true}`):
			released++
		case got.Code == exitDone:
		default:
			t.Errorf("exit code %d\n%s", got.Code, got.Err)
		}
	}
	if made := len(r.releases(t)) - r.base; made != 1 || released != 1 {
		t.Errorf("%d releases were made, and %d runs say so\n%s\n%s", made, released, results[0].Err, results[1].Err)
	}
	r.assertInvariants(t, results...)
}

// TestFaultRace_planBecomesStale holds one apply before each of its calls that change
// something, while another machine releases, which no lock of this one keeps from it. The first one must
// not win: its plan was made against a release that is no longer live.
func TestFaultRace_planBecomesStale(t *testing.T) {
	t.Parallel()
	inTable(t, "C2", "another machine releases before a call of this one")
	type held struct {
		at    call
		other bool // the other apply has another slug
	}
	var cases []held
	for _, c := range []call{{postSlugs, 1}, {putBlob, 1}, {"GET blob", 1}, {getReleases, 2}} {
		cases = append(cases, held{c, false}, held{c, true})
	}
	each(t, cases, func(c held) string {
		return strings.NewReplacer("/", ".", "*", "x").Replace(fmt.Sprintf("%s %d other=%t", c.at.What, c.at.N, c.other))
	}, func(t *testing.T, c held) {
		r := newRig(t)
		r.apply(t, r.dir, applyArgs...)
		r.base = 1
		r.change(t, "mine")
		g := newGate(t, nil)
		var once bool
		r.hold(func(_ *http.Request, got call) *local.Fault {
			if got == c.at && !once {
				once = true
				return g.pass()
			}
			return nil
		}, g)
		mine := r.start(t, applyArgs...)
		mine.until(t, "the gate", g.reached)

		theirs, dir := r.elsewhere(t)
		if c.other {
			write(t, filepath.Join(dir, "main.txt"), "theirs\n")
		}
		theirs.ok(t, dir, applyArgs...)
		g.release()
		got := mine.wait(t, 6*promptly)
		if got.Code != exitStale || !strings.Contains(got.Err, "v4") {
			t.Errorf("exit code %d, want %d\n%s", got.Code, exitStale, got.Err)
		}
		if n := len(r.releases(t)) - r.base; n != 1 {
			t.Errorf("%d releases were made", n)
		}
		if c.other {
			r.base++ // theirs; mine follows
			r.assertInvariants(t, result{Code: -1})
			return
		}
		r.assertInvariants(t, got)
	})
}

// TestFaultRace_machinesShareNoLock starts two applies from two homes at nearly the same time,
// of one slug or of two. Nothing but the platform tells one of the other. Each makes one release
// or none; one that was planned before the other released is refused, unless both asked in the
// very same moment, and then the second one says so.
func TestFaultRace_machinesShareNoLock(t *testing.T) {
	t.Parallel()
	inTable(t, "C2", "two applies from two homes at once")
	rounds := sized(4, 40, 1000)
	worlds := make([]int, min(8, rounds))
	for n := range worlds {
		worlds[n] = n
	}
	each(t, worlds, func(n int) string { return fmt.Sprint("world ", n) }, func(t *testing.T, world int) {
		rnd := random(t, 2000+world)
		r := newRig(t)
		r.apply(t, r.dir, applyArgs...)
		r.base = 1
		theirs, dir := r.elsewhere(t)
		for n := world; n < rounds; n += len(worlds) {
			same := n%2 == 0
			r.change(t, fmt.Sprint("mine ", n))
			text := fmt.Sprint("mine ", n)
			if !same {
				text = fmt.Sprint("theirs ", n)
			}
			write(t, filepath.Join(dir, "main.txt"), text+"\n")
			r.forget(func(*http.Request, call) *local.Fault { return &local.Fault{Delay: 5 * time.Millisecond} })
			before := len(r.releases(t))
			mine := r.start(t, applyArgs...)
			time.Sleep(time.Duration(rnd.Int64N(int64(200 * time.Millisecond))))
			other := (&rig{world: theirs, dir: dir}).start(t, applyArgs...)
			list := []result{mine.wait(t, timely), other.wait(t, timely)}
			r.row.add(func(f *faultRow) { f.runs++ })

			released := 0
			for _, got := range list {
				r.accounts(t, got)
				switch {
				case got.Code == exitDone && strings.Contains(got.Out, `"changed":true}`):
					released++
				case got.Code == exitDone && same, got.Code == exitStale:
				default:
					t.Errorf("exit code %d\n%s%s", got.Code, got.Out, got.Err)
				}
			}
			made := r.releases(t)
			made = made[:len(made)-before]
			if len(made) != released || released == 0 {
				t.Errorf("I1: %d releases, and %d runs say so", len(made), released)
			}
			if len(made) == 2 && made[0].Description == made[1].Description {
				t.Errorf("I1: two releases carry one mark: %s", made[0].Description)
			}
			if len(made) == 2 {
				planned, named := fmt.Sprintf(`"version":%d,`, made[1].Version), fmt.Sprintf("v%d", made[1].Version)
				if !slices.ContainsFunc(list, func(got result) bool {
					return strings.Contains(line(got.Out, `"type":"planned"`), planned) || reports(got, named)
				}) {
					t.Errorf("the second release neither was planned on the first nor names it\n%s\n%s", list[0].Out, list[1].Out)
				}
			}
			// What is live is mine or theirs; the next apply of mine makes it mine.
			r.base = len(r.releases(t))
			if r.run(t, r.dir, "plan", "--detailed-exitcode").Code == exitDone {
				r.base--
			}
			r.assertInvariants(t, result{Code: -1})
			if t.Failed() {
				t.Fatalf("round %d, of one slug: %t", n, same)
			}
		}
	})
}

// TestFaultRace_bothAskInTheSameMoment: two machines have looked for the last time, and both ask
// for their release. A platform without conditions on POST makes both; the one that came second
// says so.
func TestFaultRace_bothAskInTheSameMoment(t *testing.T) {
	t.Parallel()
	inTable(t, "C2", "two applies from two homes past their last look")
	r := newRig(t)
	r.apply(t, r.dir, applyArgs...)
	theirs, dir := r.elsewhere(t)
	r.change(t, "mine")
	write(t, filepath.Join(dir, "main.txt"), "theirs\n")
	var asking sync.WaitGroup
	asking.Add(2)
	r.forget(func(_ *http.Request, c call) *local.Fault {
		if c.What == postReleases {
			asking.Done()
			asking.Wait()
		}
		return nil
	})
	mine, other := r.start(t, applyArgs...), (&rig{world: theirs, dir: dir}).start(t, applyArgs...)
	list := []result{mine.wait(t, timely), other.wait(t, timely)}
	told := 0
	for _, got := range list {
		r.accounts(t, got)
		if got.Code != exitDone || !strings.Contains(got.Out, `"changed":true}`) {
			t.Errorf("exit code %d\n%s%s", got.Code, got.Out, got.Err)
		}
		if reports(got, "v4") {
			told++
		}
	}
	if n := len(r.releases(t)); n != 3 || told != 1 {
		t.Errorf("there are %d releases, and %d applies tell of the other's\n%s\n%s", n, told, list[0].Out, list[1].Out)
	}
	r.base = len(r.releases(t))
	if r.run(t, r.dir, "plan", "--detailed-exitcode").Code == exitDone {
		r.base--
	}
	r.assertInvariants(t, list...)
}

// line is the first line of a text that holds another.
func line(text, part string) string {
	for l := range strings.Lines(text) {
		if strings.Contains(l, part) {
			return l
		}
	}
	return ""
}

// elsewhere is another machine with a copy of the app.
func (r *rig) elsewhere(t testing.TB) (w *world, dir string) {
	t.Helper()
	w, dir = &world{Env: maps.Clone(r.Env)}, r.copied(t)
	home := t.TempDir()
	for _, name := range []string{"CACHE", "STATE", "DATA"} {
		w.Env["XDG_"+name+"_HOME"] = filepath.Join(home, strings.ToLower(name))
	}
	return w, dir
}

// copied is another directory with the same app.
func (r *rig) copied(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, e := range entries(t, r.dir) {
		write(t, filepath.Join(dir, e), readFile(t, filepath.Join(r.dir, e)))
	}
	return dir
}

// TestFaultRace_lockWaitsAndGivesUp: whoever waits is told for whom, and --lock-timeout ends it. A
// holder that is killed leaves nothing that has to be removed by hand.
func TestFaultRace_lockWaitsAndGivesUp(t *testing.T) {
	t.Parallel()
	inTable(t, "C1", "--lock-timeout, and a holder that is killed")
	r := newRig(t)
	g := newGate(t, &local.Fault{Status: http.StatusServiceUnavailable})
	r.hold(at(call{postSlugs, 1}, func(*http.Request) *local.Fault { return g.pass() }), g)
	first := r.start(t, applyArgs...)
	first.until(t, "the gate", g.reached)
	late := r.run(t, r.dir, append(slices.Clone(applyArgs), "--lock-timeout", "1200ms")...)
	r.accounts(t, late)
	holder := fmt.Sprint("process ", first.cmd.Process.Pid)
	if late.Code != exitFailed || !strings.Contains(late.Err, holder) || !strings.Contains(late.Out, `"type":"warning"`) {
		t.Errorf("exit code %d\n%s%s", late.Code, late.Out, late.Err)
	}
	if n := r.count("GET /apps/*"); n > 2 {
		t.Errorf("it planned before it had the lock: %d times GET app", n)
	}
	first.signal(t, syscall.SIGKILL)
	killed := first.wait(t, promptly)
	r.free()
	r.assertInvariants(t, killed)
}

// TestFaultRace_differentChangesAreReleasedInTurn starts two applies of two different slugs of one app
// at once on one machine: each is released, one after the other.
func TestFaultRace_differentChangesAreReleasedInTurn(t *testing.T) {
	t.Parallel()
	inTable(t, "C1", "two applies of two slugs on one machine")
	r := newRig(t)
	r.apply(t, r.dir, applyArgs...)
	other := r.copied(t)
	write(t, filepath.Join(other, "main.txt"), "theirs\n")
	r.change(t, "mine")
	args := append(slices.Clone(applyArgs), "-C", other)
	a, b := r.start(t, applyArgs...), r.start(t, args...)
	for _, got := range []result{a.wait(t, 6*promptly), b.wait(t, 6*promptly)} {
		r.accounts(t, got)
		if got.Code != exitDone || !strings.Contains(got.Out, `"changed":true}`) {
			t.Errorf("exit code %d\n%s%s", got.Code, got.Out, got.Err)
		}
	}
	if n := len(r.releases(t)); n != 3 {
		t.Errorf("there are %d releases, want 3", n)
	}
	r.sound(t)
}

// TestFaultRace_manyFillOneStore starts builds of several apps at once that share a cache, a
// runtime and a step: none of them is disturbed.
func TestFaultRace_manyFillOneStore(t *testing.T) {
	t.Parallel()
	inTable(t, "C3", "builds that share one store")
	builders := sized(6, 12, 32)
	r := newRig(t)
	r.step(t, "sleep 0.1\n"+packStep)
	var all []*running
	for n := range builders {
		dir := r.dir
		if n%2 == 1 { // every other one in a directory of its own
			dir = r.copied(t)
		}
		all = append(all, r.start(t, "build", "--json", "-C", dir))
	}
	var sums []string
	for _, p := range all {
		got := p.wait(t, 12*promptly)
		if got.Code != exitDone {
			t.Errorf("exit code %d\n%s", got.Code, got.Err)
			continue
		}
		_, sum, _ := strings.Cut(got.Out, `"checksum":"`)
		sum, _, _ = strings.Cut(sum, `"`)
		sums = append(sums, sum)
	}
	slices.Sort(sums)
	if sums = slices.Compact(sums); len(sums) != 1 || !strings.HasPrefix(sums[0], "SHA256:") {
		t.Errorf("the builds made %q", sums)
	}
	r.assertInvariants(t)
}

// TestFaultRace_localAppliesWaitForEachOther: without a platform that runs, each apply --local
// starts one in itself, and the directory is for one of them at a time.
func TestFaultRace_localAppliesWaitForEachOther(t *testing.T) {
	t.Parallel()
	inTable(t, "C1", "two applies and a plan with --local")
	r := newRig(t)
	r.local()
	args := []string{"apply", "--local", "--json"}
	for n := range sized(3, 6, 30) {
		r.change(t, fmt.Sprint("change ", n))
		runs := []*running{r.start(t, args...), r.start(t, args...), r.start(t, "plan", "--local", "--json")}
		changed := 0
		for i, p := range runs {
			got := p.wait(t, 6*promptly)
			r.accounts(t, result{got.Out, got.Err, max(0, got.Code)})
			if got.Code != exitDone {
				t.Errorf("run %d: exit code %d\n%s", i, got.Code, got.Err)
			}
			if strings.Contains(got.Out, `"changed":true}`) {
				changed++
			}
		}
		r.row.local(len(runs))
		if a := r.apply(t, r.dir, args...); changed != 1 || a.Changed || a.Release.Version != 3+n {
			t.Fatalf("round %d: %d runs released; then v%d, changed %v", n, changed, a.Release.Version, a.Changed)
		}
	}
}
