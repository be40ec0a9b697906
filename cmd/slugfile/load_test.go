//go:build linux

package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/platform/heroku"
	"github.com/slugfile/slugfile/pipeline/platform/local"
)

// loadSize is how many apps are released, by how many processes at once: SLUGFILE_LOAD=1 is the
// size of make load.
func loadSize() (apps, processes int) {
	if os.Getenv("SLUGFILE_LOAD") == "1" {
		return 200, 16
	}
	return 8, 4
}

// loadFaults are what every request may meet, those of the blob store too.
const loadFaults = "status=500|502|503 rate=3%"

// TestLoad_everyAppIsReleasedOnce is L1 of the fault matrix: many processes release apps on one
// platform that answers some requests with an error. It tells how long calls take meanwhile, and
// that the platform grows with its apps and not with its calls.
func TestLoad_everyAppIsReleasedOnce(t *testing.T) {
	t.Parallel()
	apps, processes := loadSize()
	full := apps >= 200
	w := newWorld(t)
	if !full {
		w.Env[patienceVariable] = "3s 60s 60s" // to settle: a release whose answer was an error may come yet
	}
	chances := seed() % 1_000_000
	w.startPlatform(t, "--progress", "none", "--rate-limit", "450000", "--fault", loadFaults, "--fault-seed", strconv.FormatUint(chances+1, 10))
	info, running := local.Discover(filepath.Join(w.Env["XDG_DATA_HOME"], "slugfile", "platform"))
	if !running {
		t.Fatal("no platform runs")
	}
	w.Env["SLUGFILE_API"], w.Env["HEROKU_API_KEY"] = info.API, info.Token.Reveal()

	p := newProber(t, info)
	memory := []usage{quiet(t, info.PID, full)}
	var took durations
	root := t.TempDir()
	app := func(i int) string { return filepath.Join(root, fmt.Sprintf("load-%03d", i)) }
	began := time.Now()
	const parts = 4
	for part := range parts {
		var next atomic.Int64
		next.Store(int64(apps * part / parts))
		var wait sync.WaitGroup
		for range processes {
			wait.Go(func() {
				for i := int(next.Add(1)) - 1; i < apps*(part+1)/parts; i = int(next.Add(1)) - 1 {
					dir := app(i)
					write(t, filepath.Join(dir, "slug.yaml"), "app: "+filepath.Base(dir)+"\nstack: heroku-24\nprocess_types: {worker: sh jobs}\n")
					write(t, filepath.Join(dir, "jobs"), fmt.Sprintf("#!/bin/sh\necho %d\n", i))
					start := time.Now()
					if got := w.run(t, dir, applyArgs...); got.Code != exitDone {
						t.Errorf("app %d: exit code %d\n%s", i, got.Code, got.Err)
					}
					took.add(time.Since(start))
				}
			})
		}
		wait.Wait()
		memory = append(memory, quiet(t, info.PID, full))
	}
	wall := time.Since(began)
	answers := p.stop()
	hits := clearFaults(t, info)
	if t.Failed() {
		return
	}
	client := heroku.New(heroku.Options{BaseURL: info.API, Token: info.Token})
	for i := range apps {
		assertReleasedOnce(t, client, filepath.Base(app(i)))
	}
	for i := range min(apps, 8) {
		if got := w.apply(t, app(i), applyArgs...); got.Changed {
			t.Errorf("app %d changes once more: %+v", i, got)
		}
	}
	var table strings.Builder
	fmt.Fprintf(&table, "%d apps by %d processes in %.1f s, %d of %d requests met a fault (--fault-seed %d)\n\n", apps, processes, wall.Seconds(), hits.Hits, hits.Matches, chances+1)
	fmt.Fprintf(&table, "| | n | p50 | p99 | longest |\n| --- | --- | --- | --- | --- |\n")
	fmt.Fprintf(&table, "| GET of an app, beside the load | %s |\n| a whole apply | %s |\n\n", answers, &took)
	fmt.Fprintf(&table, "| the platform, after | apps | resident | open files |\n| --- | --- | --- | --- |\n")
	for i, m := range memory {
		fmt.Fprintf(&table, "| part %d | %d | %.1f MiB | %d |\n", i, apps*i/parts, float64(m.resident)/(1<<20), m.files)
	}
	t.Log("\n" + table.String())
	if !full || raceDetector {
		return
	}
	// It is to be flat but for what an app that is served keeps: a listener, three goroutines, the
	// beginning of a log and its records, for which 17 KiB of heap and stacks were measured.
	const perApp = 24 << 10
	first := float64(memory[1].resident)
	for i, m := range memory[2:] {
		allowed := 1.1*first + float64(perApp*apps*(i+1)/parts)
		if have := float64(m.resident); have > allowed {
			t.Errorf("after part %d the platform has %.1f MiB, and it was to have at most %.1f", i+2, have/(1<<20), allowed/(1<<20))
		}
	}
}

// assertReleasedOnce holds one app to I1 and I3: one release, and its blob is what was promised.
func assertReleasedOnce(t *testing.T, client *heroku.Client, app string) {
	t.Helper()
	releases, err := client.Releases(t.Context(), app, 0)
	if err != nil {
		t.Fatal(err)
	}
	slug := ""
	for _, r := range releases {
		if r.Slug == nil {
			continue
		}
		if slug != "" || !r.Current || r.Status != platform.Succeeded {
			t.Errorf("%s: releases %+v", app, releases)
		}
		slug = r.Slug.ID
	}
	if slug == "" {
		t.Errorf("%s was not released", app)
		return
	}
	s, err := client.Slug(t.Context(), app, slug)
	if err != nil {
		t.Fatal(err)
	}
	sum := hash([]byte(get(t, s.Blob.URL)))
	if s.Checksum == nil || *s.Checksum != "SHA256:"+hex.EncodeToString(sum[:]) {
		t.Errorf("%s: the blob has sha256 %x, promised was %v", app, sum, s.Checksum)
	}
}

// clearFaults ends the faults and says what they did.
func clearFaults(t *testing.T, info local.Info) local.FaultCount {
	t.Helper()
	state := faultState(t, info)
	if status, text, err := callAt(t, http.MethodDelete, info, "/_fault", ""); err != nil || status != http.StatusOK {
		t.Fatalf("DELETE /_fault: %d %s, %v", status, text, err)
	}
	if len(state.Rules) != 1 {
		t.Fatalf("the platform has the faults %+v", state)
	}
	return state.Rules[0]
}

// faultState asks what the faults of a platform did.
func faultState(t *testing.T, info local.Info) (state local.FaultState) {
	t.Helper()
	status, text, err := callAt(t, http.MethodGet, info, "/_fault", "")
	if err != nil || status != http.StatusOK {
		t.Fatalf("GET /_fault: %d %s, %v", status, text, err)
	}
	if err := json.Unmarshal(text, &state); err != nil {
		t.Fatal(err)
	}
	return state
}

// releasesWithSlug counts the releases of the app example that have a slug. There are none while
// there is no app.
func releasesWithSlug(t *testing.T, info local.Info) (n int) {
	t.Helper()
	client := heroku.New(heroku.Options{BaseURL: info.API, Token: info.Token})
	releases, err := client.Releases(t.Context(), "example", 0)
	if errors.Is(err, platform.ErrNotFound) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range releases {
		if r.Slug != nil {
			n++
		}
	}
	return n
}

// usage is what the platform's process has in hand.
type usage struct {
	resident int64
	files    int
}

// quiet waits until the collector of an idle process has given back what it can, where the figure
// matters, and reads its usage.
func quiet(t *testing.T, pid int, wait bool) usage {
	t.Helper()
	least := usage{resident: 1 << 62}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(500 * time.Millisecond) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if err != nil {
			t.Fatal(err)
		}
		pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			t.Fatal(err)
		}
		least = usage{min(least.resident, pages*int64(os.Getpagesize())), len(files)}
		if !wait || time.Now().After(deadline) {
			return least
		}
	}
}

// durations are told by their ranks.
type durations struct {
	mu   sync.Mutex
	list []time.Duration
}

func (d *durations) add(took time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.list = append(d.list, took)
}

func (d *durations) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.list) == 0 {
		return "0 | | | "
	}
	slices.Sort(d.list)
	at := func(percent int) string {
		return fmt.Sprintf("%.1f ms", float64(d.list[min(len(d.list)-1, len(d.list)*percent/100)].Microseconds())/1000)
	}
	return fmt.Sprintf("%d | %s | %s | %s", len(d.list), at(50), at(99), at(100))
}

// prober asks for one app again and again, as somebody who looks on.
type prober struct {
	cancel context.CancelFunc
	done   chan struct{}
	took   durations
}

func newProber(t *testing.T, info local.Info) *prober {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	p := &prober{cancel: cancel, done: make(chan struct{})}
	c := &http.Client{Transport: &http.Transport{}, Timeout: time.Minute}
	ask := func(method, path, body string) int {
		req, err := http.NewRequestWithContext(ctx, method, info.API+path, strings.NewReader(body))
		if err != nil {
			return 0
		}
		req.Header.Set("Authorization", "Bearer "+info.Token.Reveal())
		res, err := c.Do(req)
		if err != nil {
			return 0
		}
		defer res.Body.Close()
		_, _ = io.Copy(io.Discard, res.Body) // the status is what counts
		return res.StatusCode
	}
	for ask(http.MethodPost, "/apps", `{"name":"probed"}`) >= 500 {
	}
	go func() {
		defer close(p.done)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			start := time.Now()
			if ask(http.MethodGet, "/apps/probed", "") != 0 {
				p.took.add(time.Since(start))
			}
		}
	}()
	t.Cleanup(cancel)
	return p
}

func (p *prober) stop() *durations {
	p.cancel()
	<-p.done
	return &p.took
}

// callAt is one call of the platform.
func callAt(t *testing.T, method string, info local.Info, path, body string) (int, []byte, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, info.API+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+info.Token.Reveal())
	c := http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := c.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, text, err
}
