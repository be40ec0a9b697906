//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/pipetest"
	"github.com/slugfile/slugfile/pipeline/platform/local"
)

// TestPlatform_faultsAreSurvivedOrTold lets every kind of fault that the README names happen to an
// apply: it recovers, with one release, or ends with the exit code that is documented.
func TestPlatform_faultsAreSurvivedOrTold(t *testing.T) {
	t.Parallel()
	pipetest.NeedTools(t, "go")
	w := newWorld(t)
	w.Env[patienceVariable] = window.String() + " 5s 5s"
	w.startPlatform(t, "--fault", "latency=1ms..5ms rate=50%", "--fault-seed", "5")
	info, running := local.Discover(filepath.Join(w.Env["XDG_DATA_HOME"], "slugfile", "platform"))
	if !running {
		t.Fatal("no platform runs")
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "greeter"), string(buildGreeter(t)))
	const head = `app: example
stack: heroku-24
files:
  - {from: greeter, into: "bin/"}
  - {from: main.txt, into: .}
process_types:
`
	for i, tt := range []struct {
		faults []string
		code   int
		says   string
	}{
		// First, because the first release is what scales web to 1.
		{faults: []string{`slow-boot=1s app=example type=web`}},
		{faults: []string{`crash-boot=9 type=web times=1`}, code: exitFailed, says: "status 9"},
		{faults: []string{`latency=10ms..100ms rate=50% on=api`}},
		{faults: []string{`status=500|502|503 rate=20%`}},
		{faults: []string{`status=429 retry-after=1s on="POST /apps/*/releases" times=1`}},
		{faults: []string{`reset=20 on="GET /apps/*/**" times=2`, `reset=1kB on="GET blob" times=1`}},
		{faults: []string{`reset-request=64KiB on="PUT blob" times=2`}},
		{faults: []string{`lost on="POST /apps/*/slugs" times=1`, `lost on="PUT blob" times=1`, `lost on="POST /apps/*/releases" times=1`}},
		{faults: []string{`late=300ms on="POST /apps/*/releases" times=1`}},
		{faults: []string{`expired on="PUT blob" times=1`}},
		{faults: []string{`fail-release-phase=4 times=1`}, code: exitFailed, says: "Injected fault: fail-release-phase=4"},
		{faults: []string{`status=429 retry-after=3600s on="POST /apps/*/slugs"`}, code: exitRateLimited, says: "rate_limit"},
		{faults: []string{`status=403 on="POST /apps/*/slugs"`}, code: exitUnauthorized, says: "forbidden"},
		{faults: []string{`expired on="PUT blob"`}, code: exitFailed, says: "expired"},
	} {
		// A web process takes its time, and only those are about it.
		types := "  worker: sh jobs\n"
		if strings.Contains(tt.faults[0], "boot") {
			types = "  web: chmod +x bin/greeter; bin/greeter\n"
		} else if strings.Contains(tt.faults[0], "phase") {
			types += "  release: echo migrated\n"
		}
		write(t, filepath.Join(dir, "slug.yaml"), head+types)
		name := strings.Join(tt.faults, "; ")
		write(t, filepath.Join(dir, "main.txt"), fmt.Sprintln(i))
		for _, f := range tt.faults {
			if status, text, err := callAt(t, "POST", info, "/_fault", f); err != nil || status != 200 {
				t.Fatalf("%s: %d %s, %v", f, status, text, err)
			}
		}
		before := releasesWithSlug(t, info)
		began := time.Now()
		got := w.run(t, dir, "apply", "--local", "--json")
		t.Logf("%s: exit code %d in %v", name, got.Code, time.Since(began).Round(time.Millisecond))
		state := faultState(t, info)
		if status, text, err := callAt(t, "DELETE", info, "/_fault", ""); err != nil || status != 200 {
			t.Fatalf("%d %s, %v", status, text, err)
		}
		made := releasesWithSlug(t, info) - before
		if got.Code != tt.code || !strings.Contains(got.Err, tt.says) {
			t.Errorf("%s: exit code %d, want %d and %q\n%s", name, got.Code, tt.code, tt.says, got.Err)
		}
		if tt.code == exitDone && made != 1 {
			t.Errorf("%s: %d releases", name, made)
		}
		for _, r := range state.Rules {
			if r.Hits == 0 && r.ID > 1 {
				t.Errorf("%s: nothing was hit: %+v", name, r)
			}
		}
	}
	// What was refused is released once the faults are gone.
	if got := w.apply(t, dir, "apply", "--local", "--json"); !got.Changed {
		t.Errorf("without faults: %+v", got)
	}
}

// A platform that was killed may have its lock until the kernel has cleared up after it.
func TestPlatform_waitsForADirectoryThatIsInUseStill(t *testing.T) {
	t.Parallel()
	r := &rig{world: newWorld(t)}
	before, err := local.Open(filepath.Join(r.Env["XDG_DATA_HOME"], "slugfile", "platform"), local.Options{Private: true})
	if err != nil {
		t.Fatal(err)
	}
	end := sync.OnceFunc(func() {
		if err := before.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(end)
	waiting := fmt.Sprintf("process %d has the embedded platform for itself; waiting for it to end", os.Getpid())
	if got := r.run(t, t.TempDir(), "platform", "--listen", "127.0.0.1:0"); got.Code != exitFailed ||
		strings.Count(got.Err, waiting) != 1 || !strings.Contains(got.Err, "process "+strconv.Itoa(os.Getpid())+" uses it; stop it, or give another directory") {
		t.Errorf("a directory that stays in use: exit code %d\n%s", got.Code, got.Err)
	}
	p := r.prepareStart(t, "platform", "--listen", "127.0.0.1:0")
	waits, serves := p.errs.shows(waiting), p.out.shows("SLUGFILE_API")
	p.begin(t)
	p.until(t, "word that it waits", waits)
	end()
	p.until(t, "platform", serves)
}

func TestPlatform_saysAtOnceThatAnotherOneRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.startPlatform(t)
	got := w.run(t, t.TempDir(), "platform", "--listen", "127.0.0.1:0")
	if got.Code != exitFailed || strings.Contains(got.Err, "waiting") || !strings.Contains(got.Err, " uses it; stop it, or give another directory") {
		t.Errorf("exit code %d\n%s", got.Code, got.Err)
	}
}

func TestPlatform_refusesAFaultThatItCannotRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, tt := range []struct {
		args []string
		env  string
		want string
	}{
		{args: []string{"--fault", "status=503 rte=3%"}, want: `slugfile: --fault "status=503 rte=3%", column 12: unknown word "rte": expected one of latency, `},
		{args: []string{"--fault", "latency=200"}, want: `column 1: latency: "200" is not a time with a unit`},
		{env: "lost times=1; lost lost", want: `--fault "lost lost", column 6: lost stands twice`},
		{args: []string{"--rate-limit=-1"}, want: "--rate-limit -1: give the number of calls, or 0 for no limit"},
		{args: []string{"--fault-seed", "x"}, want: "--fault-seed"},
	} {
		w.Env["SLUGFILE_PLATFORM_FAULTS"] = tt.env
		got := w.run(t, t.TempDir(), append([]string{"platform", "--listen", "127.0.0.1:0"}, tt.args...)...)
		if got.Code != exitUsage || !strings.Contains(got.Err, tt.want) {
			t.Errorf("%v %s: exit code %d\n%s", tt.args, tt.env, got.Code, got.Err)
		}
	}
}

func TestPlatform_printsTheSeedOfItsFaults(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Env["SLUGFILE_PLATFORM_FAULTS"] = `status=503 rate=3%; lost on="POST /apps/*/releases" times=1;`
	w.Env["SLUGFILE_PLATFORM_FAULT_SEED"] = "77"
	r := &rig{world: w}
	p := r.prepareStart(t, "platform", "--listen", "127.0.0.1:0")
	shown := p.out.shows("times=1\n")
	p.begin(t)
	p.until(t, "list of faults", shown)
	if want := "Injected faults (--fault-seed 77 repeats their chances):\n\n    1 status=503 rate=3%\n    2 lost on=\"POST /apps/*/releases\" times=1\n"; !strings.Contains(p.out.String(), want) {
		t.Errorf("it prints\n%s", p.out.String())
	}
}
