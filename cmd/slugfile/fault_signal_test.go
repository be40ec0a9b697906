//go:build linux

package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
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

var signals = map[syscall.Signal]int{syscall.SIGINT: exitInterrupted, syscall.SIGTERM: exitTerminated, syscall.SIGHUP: exitHangup}

// stages are the moments at which a signal comes. The platform does not answer there, so that
// slugfile has to give up by itself.
func stages() []moment {
	hung := func(name string, c call) moment {
		return moment{name: name, hold: func(t testing.TB, r *rig, _ *running) <-chan struct{} {
			// The call fails once the gate is opened: it must not be carried out late.
			g := newGate(t, &local.Fault{Status: http.StatusServiceUnavailable})
			r.hold(at(c, func(*http.Request) *local.Fault { return g.pass() }), g)
			return g.reached
		}}
	}
	all := moments()
	pick := func(name string) moment {
		return all[slices.IndexFunc(all, func(m moment) bool { return m.name == name })]
	}
	return []moment{
		hung("plan", call{"GET /apps/*", 1}),
		pick("during fetch"),
		{name: "fetch waits", hold: func(_ testing.TB, r *rig, p *running) <-chan struct{} {
			r.mirror.Fault(toolPath, pipetest.Always(pipetest.Status(503, "Retry-After", "100")))
			return p.out.shows(`"type":"retry"`)
		}},
		pick("during a step"),
		pick("during archive"),
		hung("upload, POST slugs", call{postSlugs, 1}),
		pick("during PUT"),
		{name: "upload waits", hold: func(_ testing.TB, r *rig, p *running) <-chan struct{} {
			r.forget(at(call{postSlugs, 1}, func(*http.Request) *local.Fault {
				return &local.Fault{Status: 429, RetryAfter: 100 * time.Second}
			}))
			return p.out.shows(`"type":"retry"`)
		}},
		hung("verify", call{"GET blob", 1}),
		hung("release, before", call{getReleases, 2}),
		hung("release, POST", call{postReleases, 1}),
		{name: "an earlier release is looked for", hold: func(t testing.TB, r *rig, p *running) <-chan struct{} {
			r.stop(t, pick("before POST releases"), syscall.SIGKILL)
			r.forget(nil)
			return p.out.shows("looking for its release")
		}},
		{name: "release is looked for", hold: func(_ testing.TB, r *rig, p *running) <-chan struct{} {
			r.forget(at(call{postReleases, 1}, func(*http.Request) *local.Fault { return &local.Fault{Status: 503} }))
			return p.out.shows("looking for the release")
		}},
	}
}

// TestFaultSignal_endsEveryStage interrupts each stage with each signal: slugfile ends within
// five seconds with the code of the signal, nothing of it stays, and the next apply finishes.
func TestFaultSignal_endsEveryStage(t *testing.T) {
	t.Parallel()
	inTable(t, "K6", "INT, TERM, HUP in each stage, the platform silent")
	each(t, stages(), func(m moment) string { return m.name }, func(t *testing.T, m moment) {
		r := newRig(t)
		r.step(t, slowStep)
		if m.name != "during a step" {
			r.skipSlowStep(t)
		}
		if m.name == "during archive" {
			r.bigSource(t)
		}
		var stopped []result
		for s, code := range signals {
			r.change(t, s.String())
			if m.name == "during a step" {
				replaceStep(t, r, s)
			}
			if strings.Contains(m.name, "fetch") {
				r.dropCache(t)
			}
			got := r.stop(t, m, s)
			if got.Code != code {
				t.Errorf("%s: exit code %d, want %d\n%s", s, got.Code, code, got.Err)
			}
			r.leavesNoProcess(t)
			if strings.Contains(got.Err, "context canceled") {
				t.Errorf("%s: the error speaks of contexts:\n%s", s, got.Err)
			}
			if want := remains(m); want != "" && !strings.Contains(got.Err, "remaining: "+want+"\n") {
				t.Errorf("%s: the error does not say that %s remains:\n%s", s, want, got.Err)
			}
			stopped = append(stopped, got)
			if n := len(r.releases(t)); n > 0 {
				t.Fatalf("%s: %d releases were made", s, n)
			}
		}
		r.assertInvariants(t, stopped...)
	})
}

// remains are the stages that are left when one is interrupted. There are none yet while it plans.
func remains(m moment) string {
	all := []string{"fetch", "compile", "archive", "upload", "release"}
	first := map[string]string{"during a step": "compile", "during PUT": "upload", "verify": "upload", "release is looked for": "release"}[m.name]
	for _, stage := range all {
		if strings.Contains(m.name, stage) && !strings.HasPrefix(m.name, "an earlier") {
			first = cmp.Or(first, stage)
		}
	}
	if first == "" {
		return ""
	}
	return strings.Join(all[slices.Index(all, first):], ", ")
}

// TestFaultSignal_releaseOnItsWayIsFinished: the platform takes a while to answer POST /releases, and
// a signal comes meanwhile. slugfile waits for the answer, says what was released, and ends.
func TestFaultSignal_releaseOnItsWayIsFinished(t *testing.T) {
	t.Parallel()
	inTable(t, "K6", "INT, TERM, HUP while POST /releases is in flight, answered soon")
	each(t, slices.Collect(maps.Keys(signals)), syscall.Signal.String, func(t *testing.T, s syscall.Signal) {
		r := newRig(t)
		got := r.stop(t, moment{name: "POST releases", hold: func(testing.TB, *rig, *running) <-chan struct{} {
			reached := make(chan struct{})
			r.forget(at(call{postReleases, 1}, func(*http.Request) *local.Fault {
				close(reached)
				return &local.Fault{Delay: 700 * time.Millisecond}
			}))
			return reached
		}}, s)
		if got.Code != signals[s] || !strings.Contains(got.Err, "v3") || strings.Contains(got.Err, "not released") {
			t.Errorf("exit code %d, want %d, and a word of v3\n%s", got.Code, signals[s], got.Err)
		}
		if n := len(r.releases(t)); n != 1 {
			t.Errorf("%d releases were made", n)
		}
		r.assertInvariants(t, got)
	})
}

// replaceStep makes the slow step slow again.
func replaceStep(t testing.TB, r *rig, s syscall.Signal) {
	t.Helper()
	name := strings.ReplaceAll(s.String(), " ", "-")
	text := readFile(t, filepath.Join(r.dir, "slug.yaml"))
	i, j := strings.Index(text, `"$HOME/`), strings.Index(text, `" ]; then`)
	old := text[i+len(`"$HOME/`) : j]
	write(t, filepath.Join(r.dir, "slug.yaml"), strings.ReplaceAll(text, "$HOME/"+old, "$HOME/"+name))
}

// TestFaultSignal_duringTheReleasePhase: the release is made and its phase runs. The message says so, and
// when the phase has ended well there is nothing left to do.
func TestFaultSignal_duringTheReleasePhase(t *testing.T) {
	t.Parallel()
	inTable(t, "K6", "INT, TERM, HUP during the release phase")
	each(t, slices.Collect(maps.Keys(signals)), syscall.Signal.String, func(t *testing.T, s syscall.Signal) {
		r := newRig(t)
		end := r.releasePhase(t)
		got := r.stop(t, moment{name: "release phase", hold: func(_ testing.TB, _ *rig, p *running) <-chan struct{} {
			return p.out.shows(`"line":"the phase is at work"`)
		}}, s)
		if got.Code != signals[s] || !strings.Contains(got.Err, "v3 was released") {
			t.Errorf("exit code %d, want %d\n%s", got.Code, signals[s], got.Err)
		}
		if list := r.releases(t); len(list) != 1 || list[0].Status != platform.Pending {
			t.Fatalf("releases: %+v", list)
		}
		end()
		r.settled(t)
		r.assertInvariants(t, got)
	})
}

// TestFaultSignal_afterALostAnswerSaysWhatWasReleased: the answer is lost, and while slugfile looks for the
// release a signal comes. It takes one more look before it ends.
func TestFaultSignal_afterALostAnswerSaysWhatWasReleased(t *testing.T) {
	t.Parallel()
	inTable(t, "K6", "INT while a lost release is looked for")
	r := newRig(t)
	got := r.stop(t, moment{name: "search", hold: func(_ testing.TB, r *rig, p *running) <-chan struct{} {
		r.forget(at(call{postReleases, 1}, func(*http.Request) *local.Fault {
			return &local.Fault{DropAnswer: true, Late: 700 * time.Millisecond}
		}))
		return p.eventually(func() bool { return len(r.releases(t)) == 1 })
	}}, syscall.SIGINT)
	// It may have found the release in the very moment before.
	if got.Code != exitInterrupted && got.Code != exitDone {
		t.Errorf("exit code %d\n%s", got.Code, got.Err)
	}
	if got.Code == exitInterrupted && !strings.Contains(got.Err, "v3") {
		t.Errorf("it does not say that v3 was released:\n%s", got.Err)
	}
	r.assertInvariants(t, got)
}

// oneOfEach is one moment in each of the six stages.
func oneOfEach() []moment {
	names := []string{"plan", "during fetch", "during a step", "during archive", "during PUT", "release, POST"}
	return slices.DeleteFunc(stages(), func(m moment) bool { return !slices.Contains(names, m.name) })
}

// prepareFor readies a world for a moment. step is what the moment during a step is held by.
func (r *rig) prepareFor(t testing.TB, m moment, step string) {
	t.Helper()
	switch m.name {
	case "during a step":
		r.step(t, step)
	case "during archive":
		r.bigSource(t)
	case "during fetch":
		r.Env[patienceVariable] = window.String() + " 30s 1s" // the rest of a stalled download is asked for soon
	}
}

// TestFaultSignal_secondOneEndsAtOnce: a user presses Ctrl-C twice, and the step that runs ignores
// every signal.
func TestFaultSignal_secondOneEndsAtOnce(t *testing.T) {
	t.Parallel()
	inTable(t, "K6", "INT twice in each stage, and a step that ignores signals")
	each(t, oneOfEach(), func(m moment) string { return m.name }, func(t *testing.T, m moment) {
		r := newRig(t)
		r.prepareFor(t, m, "trap '' INT TERM HUP\n"+slowStep)
		p := r.prepareStart(t, applyArgs...)
		reached := m.hold(t, r, p)
		p.begin(t)
		p.until(t, m.name, reached)
		p.signal(t, syscall.SIGINT)
		time.Sleep(100 * time.Millisecond) // two at once would be one
		p.signal(t, syscall.SIGINT)
		start := time.Now()
		got := p.wait(t, 3*promptly)
		if took := time.Since(start); got.Code != exitInterrupted || took > atOnce {
			t.Errorf("I5: exit code %d, %s after the second signal", got.Code, took)
		}
		r.free()
		r.leavesNoProcess(t)
		if n := len(r.releases(t)); n != 0 {
			t.Errorf("%d releases were made", n)
		}
		// It may have ended before it could say why: that is what the second one is for.
		r.assertInvariants(t, result{Out: got.Out, Err: got.Err, Code: -1})
	})
}

// atOnce is how long a process takes to end that does nothing more, on a busy machine.
const atOnce = 2 * time.Second

// TestFaultSignal_localPlatformStopsItsDynos interrupts apply --local while it waits for a web
// process that never listens and ignores SIGTERM, and while it stays up.
func TestFaultSignal_localPlatformStopsItsDynos(t *testing.T) {
	t.Parallel()
	inTable(t, "K6", "INT, TERM, HUP of apply --local")
	type ending struct {
		stay   bool
		signal syscall.Signal
	}
	var cases []ending
	for s := range signals {
		cases = append(cases, ending{false, s}, ending{true, s})
	}
	each(t, cases, func(c ending) string { return fmt.Sprintf("stay=%t %s", c.stay, c.signal) }, func(t *testing.T, c ending) {
		r := newRig(t)
		r.local()
		web := "trap '' TERM; echo web is at work; sleep 703"
		if c.stay {
			r.addGreeter(t)
			web = "./web"
		}
		replace(t, filepath.Join(r.dir, "slug.yaml"), "worker: tool/bin/tool work", "web: "+fmt.Sprintf("%q", web))
		p := r.prepareStart(t, "apply", "--local", "--stay", "--json")
		sign := p.out.shows(`"stage_finished","stage":"release"`)
		if c.stay {
			sign = p.out.shows(`"type":"applied"`)
		}
		p.begin(t)
		p.until(t, "the release", sign)
		if !c.stay {
			time.Sleep(100 * time.Millisecond) // into the wait for the web process
		}
		p.signal(t, c.signal)
		start := time.Now()
		got := p.wait(t, 3*promptly)
		want := signals[c.signal]
		if c.stay {
			want = exitDone // being interrupted is how this ends
		}
		if took := time.Since(start); got.Code != want || took > promptly {
			t.Errorf("I5: exit code %d after %s, want %d\n%s", got.Code, took, want, got.Err)
		}
		r.row.local(1)
		r.leavesNoProcess(t)
	})
}

// TestFaultSignal_readerThatLeaves: standard output is a pipe, and whoever reads it goes away.
// Whatever becomes of slugfile then, the next apply finishes.
func TestFaultSignal_readerThatLeaves(t *testing.T) {
	t.Parallel()
	inTable(t, "K6", "the reader of standard output leaves in each stage")
	each(t, oneOfEach(), func(m moment) string { return m.name }, func(t *testing.T, m moment) {
		r := newRig(t)
		r.prepareFor(t, m, briefStep)
		p := r.prepareStart(t, applyArgs...)
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		p.cmd.Stdout = write
		reached := m.hold(t, r, p)
		// What it says is passed on until it is to be lost.
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			_, _ = io.Copy(&p.out, read) // until it is closed here
		}()
		p.begin(t)
		if err := write.Close(); err != nil {
			t.Fatal(err)
		}
		p.until(t, m.name, reached)
		if err := read.Close(); err != nil {
			t.Fatal(err)
		}
		<-gone // a read that is under way keeps the pipe open
		r.free()
		got := p.wait(t, timely)
		if got.Code == exitDone {
			t.Error("it says that all went well, and nobody could hear the result")
		}
		r.leavesNoProcess(t)
		got.Code = -1 // nothing can be asked of what it said
		r.assertInvariants(t, got)
	})
}

// briefStep is held for long enough that something can be done meanwhile.
const briefStep = "echo the step is at work\nsleep 1\n" + packStep

// stopped waits until the whole process stands still: a signal is noticed thread by thread.
func (p *running) stopped(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(promptly); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		running := len(threads) == 0
		for _, name := range threads {
			text, err := os.ReadFile(name)
			// pid (name) state …
			_, state, ok := strings.Cut(string(text), ") ")
			running = running || err != nil || !ok || !strings.HasPrefix(state, "T")
		}
		if !running {
			return
		}
	}
	t.Fatal("it does not stop")
}

// TestFaultSignal_stoppedAndContinued: a laptop is closed, and opened again.
func TestFaultSignal_stoppedAndContinued(t *testing.T) {
	t.Parallel()
	inTable(t, "K6", "TSTP, then CONT, in each stage")
	each(t, oneOfEach(), func(m moment) string { return m.name }, func(t *testing.T, m moment) {
		r := newRig(t)
		r.prepareFor(t, m, briefStep)
		p := r.prepareStart(t, applyArgs...)
		// A process whose group has no parent in its session, as under a runner without a terminal, is
		// not stopped by SIGTSTP.
		p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		reached := m.hold(t, r, p)
		p.begin(t)
		p.until(t, m.name, reached)
		p.signal(t, syscall.SIGTSTP)
		p.stopped(t)
		r.free()
		time.Sleep(300 * time.Millisecond)
		select {
		case <-p.done:
			t.Error("it ended while it was stopped")
		default:
		}
		p.signal(t, syscall.SIGCONT)
		got := p.wait(t, timely)
		if got.Code != exitDone {
			t.Errorf("exit code %d\n%s", got.Code, got.Err)
		}
		r.assertInvariants(t, got)
	})
}
