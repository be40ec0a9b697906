//go:build linux

package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/pipetest"
	"github.com/slugfile/slugfile/pipeline/platform/local"
)

// places are where a transfer of size bytes is broken.
func places(size int) []int {
	return []int{0, 1, 512, 64 << 10, size / 2, size - 1}
}

// TestFaultNet_downloadsRecover breaks the download of the runtime at several bytes. What had
// come is not asked for again, as long as the server names the file by a strong tag.
func TestFaultNet_downloadsRecover(t *testing.T) {
	t.Parallel()
	inTable(t, "N1", "download cut, reset or stalled at a byte; 503, 429")
	size := len(newRig(t).archive)
	type broken struct {
		name     string
		at       int
		faults   []pipetest.Fault
		patience string
		options  []pipetest.MirrorOption
		whole    bool // nothing can be resumed
	}
	var cases []broken
	for _, n := range places(size) {
		cases = append(cases,
			broken{name: fmt.Sprint("cut at ", n), at: n, faults: []pipetest.Fault{pipetest.Cut(n)}},
			broken{name: fmt.Sprint("reset at ", n), at: n, faults: []pipetest.Fault{pipetest.Reset(n)}},
			broken{name: fmt.Sprint("stall at ", n), at: n, faults: []pipetest.Fault{pipetest.Stall(n)}, patience: "60s 30s 1s"},
		)
	}
	cases = append(cases,
		broken{name: "cut three times", at: 1000, faults: []pipetest.Fault{pipetest.Cut(1000), pipetest.Cut(1000), pipetest.Reset(70_000)}},
		broken{name: "503 twice", faults: []pipetest.Fault{pipetest.Status(503), pipetest.Status(503)}, whole: true},
		broken{name: "429 with Retry-After", faults: []pipetest.Fault{pipetest.Status(429, "Retry-After", "1")}, whole: true},
		broken{name: "cut without a tag", at: 1000, faults: []pipetest.Fault{pipetest.Cut(1000)}, options: []pipetest.MirrorOption{pipetest.WithoutETag()}, whole: true},
		broken{name: "cut with a weak tag", at: 1000, faults: []pipetest.Fault{pipetest.CutETag(1000, `W/"x"`)}, whole: true},
		broken{name: "cut without ranges", at: 1000, faults: []pipetest.Fault{pipetest.Cut(1000)}, options: []pipetest.MirrorOption{pipetest.WithoutRange()}},
	)
	each(t, cases, func(c broken) string { return c.name }, func(t *testing.T, c broken) {
		r := newRig(t, c.options...)
		r.mirror.Fault(toolPath, c.faults...)
		if c.patience != "" {
			r.Env[patienceVariable] = c.patience
		}
		got := r.run(t, r.dir, applyArgs...)
		if got.Code != exitDone {
			t.Errorf("exit code %d\n%s", got.Code, got.Err)
		}
		requests := r.mirror.Requests()
		if len(requests) != len(c.faults)+1 {
			t.Errorf("the runtime was asked for %d times, want %d", len(requests), len(c.faults)+1)
		}
		for _, q := range requests[1:] {
			resumed := q.Header.Get("Range")
			switch {
			case c.whole || c.at == 0:
				if resumed != "" {
					t.Errorf("nothing was there to be resumed, and it asked for %q", resumed)
				}
			case strings.HasPrefix(c.name, "cut"):
				if !strings.HasPrefix(resumed, fmt.Sprintf("bytes=%d-", c.at)) && len(c.faults) == 1 || resumed == "" {
					t.Errorf("after byte %d it asked for %q", c.at, resumed)
				}
			case resumed != "" && !strings.HasPrefix(q.Header.Get("If-Range"), `"`):
				t.Errorf("asked for %q with If-Range %q", resumed, q.Header.Get("If-Range"))
			}
		}
		r.assertInvariants(t, got)
	})
}

// TestFaultNet_wrongBytesAreRefused serves other bytes than the pinned ones. Nothing of them
// stays, nothing is released, and with the right bytes all is well.
func TestFaultNet_wrongBytesAreRefused(t *testing.T) {
	t.Parallel()
	inTable(t, "N5", "download of other bytes")
	type wrong struct {
		name   string
		faults []pipetest.Fault
	}
	other := pipetest.TarGz(t, map[string]string{"tool-1/bin/tool*": "#!/bin/sh\nexit 1\n"})
	each(t, []wrong{
		{"first byte", []pipetest.Fault{pipetest.Flip(0)}},
		{"byte in the middle", []pipetest.Fault{pipetest.Flip(100_000)}},
		{"last byte", []pipetest.Fault{pipetest.FlipTail()}},
		{"cut short without a word", []pipetest.Fault{pipetest.Truncated(1000)}},
		{"nothing", []pipetest.Fault{pipetest.Truncated(0)}},
		{"web page", []pipetest.Fault{pipetest.HTML()}},
		{"compressed on the way", []pipetest.Fault{pipetest.Gzip()}},
		{"another archive", nil},
		{"two files under one tag", []pipetest.Fault{pipetest.Cut(1000), pipetest.Always(pipetest.FlipTail())}},
	}, func(c wrong) string { return c.name }, func(t *testing.T, c wrong) {
		r := newRig(t)
		r.mirror.Fault(toolPath, c.faults...)
		if c.faults == nil {
			r.mirror.Put(toolPath, other)
		}
		got := r.run(t, r.dir, applyArgs...)
		if got.Code != exitMismatch {
			t.Errorf("exit code %d, want %d\n%s", got.Code, exitMismatch, got.Err)
		}
		if n := len(r.releases(t)); n != 0 {
			t.Errorf("%d releases were made", n)
		}
		for _, dir := range []string{"sha256", "trees", "refs", "ingest"} {
			if left, err := filepath.Glob(filepath.Join(r.Env["XDG_CACHE_HOME"], name, dir, "*")); err != nil || len(left) > 0 {
				t.Errorf("stored: %q, %v", left, err)
			}
		}
		r.mirror.Heal(toolPath)
		r.mirror.Put(toolPath, r.archive)
		r.assertInvariants(t, got)
	})
}

// TestFaultNet_uploadsRecover breaks the PUT of the slug, and its answer.
func TestFaultNet_uploadsRecover(t *testing.T) {
	t.Parallel()
	inTable(t, "N1", "upload reset at a byte, answer lost")
	clean := newRig(t)
	size := int(clean.apply(t, clean.dir, applyArgs...).Slug.Size)
	type broken struct {
		name  string
		times int
		fault local.Fault
	}
	var cases []broken
	for _, n := range append(places(size), size) {
		cases = append(cases, broken{fmt.Sprint("reset at ", n), 1, local.Fault{ResetRequest: new(int64(n))}})
	}
	cases = append(cases,
		broken{"reset twice", 2, local.Fault{ResetRequest: new(int64(size / 2))}},
		broken{"answer lost", 1, local.Fault{DropAnswer: true}},
		broken{"answer cut", 1, local.Fault{ResetResponse: new(int64(0))}},
		broken{"500", 1, local.Fault{Status: 500}},
		broken{"503 twice", 2, local.Fault{Status: 503}},
	)
	each(t, cases, func(c broken) string { return c.name }, func(t *testing.T, c broken) {
		r := newRig(t)
		r.forget(func(_ *http.Request, got call) *local.Fault {
			if got.What == putBlob && got.N <= c.times {
				return &c.fault
			}
			return nil
		})
		got := r.run(t, r.dir, applyArgs...)
		if got.Code != exitDone {
			t.Errorf("exit code %d\n%s", got.Code, got.Err)
		}
		if puts, slugs := r.count(putBlob), r.count(postSlugs); puts != c.times+1 || slugs != 1 {
			t.Errorf("%d PUTs for %d slugs, want %d for one", puts, slugs, c.times+1)
		}
		r.assertInvariants(t, got)
	})
}

// TestFaultNet_expiredUploadAddressesGiveNewSlugs: a signed address that is too old is of no
// use, however often it is tried.
func TestFaultNet_expiredUploadAddressesGiveNewSlugs(t *testing.T) {
	t.Parallel()
	inTable(t, "N6", "upload address expired")
	each(t, []int{1, 2, 3}, func(n int) string { return fmt.Sprint(n, " times") }, func(t *testing.T, n int) {
		r := newRig(t)
		r.forget(func(_ *http.Request, got call) *local.Fault {
			if got.What == putBlob && got.N <= n {
				return &local.Fault{Expired: true}
			}
			return nil
		})
		got := r.run(t, r.dir, applyArgs...)
		want := exitDone
		if n == 3 {
			want = exitFailed // the first slug and two more are enough
			if !strings.Contains(got.Err, "expired") {
				t.Errorf("the error does not say what is wrong:\n%s", got.Err)
			}
		}
		if got.Code != want || r.count(postSlugs) != min(n+1, 3) {
			t.Errorf("exit code %d after %d slugs, want %d\n%s", got.Code, r.count(postSlugs), want, got.Err)
		}
		r.assertInvariants(t, got)
	})
}

// deployCalls are all calls of one deploy of an app that is not there yet (first) and of one
// that is, as the program makes them today.
func deployCalls(t *testing.T, first bool) []call {
	t.Helper()
	r := newRig(t)
	if !first {
		r.apply(t, r.dir, applyArgs...)
		r.change(t, "two")
	}
	r.forget(nil)
	r.apply(t, r.dir, applyArgs...)
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []call
	for i, what := range r.calls {
		n := 1
		for _, before := range r.calls[:i] {
			if before == what {
				n++
			}
		}
		list = append(list, call{what, n})
	}
	// Some are made at once, in any order.
	slices.SortFunc(list, func(a, b call) int {
		return strings.Compare(fmt.Sprint(a.What, a.N), fmt.Sprint(b.What, b.N))
	})
	return list
}

// TestFaultNet_everyCallMayFail lets each call of a deploy fail in each of several ways. GET, PUT and
// POST /slugs are tried again; for the others the platform is asked what it did.
func TestFaultNet_everyCallMayFail(t *testing.T) {
	t.Parallel()
	inTable(t, "N2", "each call of a deploy fails")
	type failing struct {
		first bool
		call  call
		name  string
		times int
		fault local.Fault
	}
	ways := []failing{
		{name: "503", times: 1, fault: local.Fault{Status: 503}},
		{name: "500 twice", times: 2, fault: local.Fault{Status: 500}},
		{name: "429", times: 1, fault: local.Fault{Status: 429, RetryAfter: time.Second}},
		{name: "no answer", times: 1, fault: local.Fault{DropAnswer: true}},
		{name: "answer cut", times: 1, fault: local.Fault{ResetResponse: new(int64(20))}},
		{name: "not delivered", times: 1, fault: local.Fault{ResetRequest: new(int64(0))}},
	}
	if long {
		for _, status := range []int{500, 502, 503, 504} {
			for _, times := range []int{1, 2, 3, 4} {
				ways = append(ways, failing{name: fmt.Sprintf("%d, %d times", status, times), times: times, fault: local.Fault{Status: status}})
			}
		}
	}
	// In short: each call fails in the two ways that a server has, in one deploy or the other;
	// the ways of a network are for the calls that change something.
	take := func(first bool, c call, way string) bool {
		changes := !strings.HasPrefix(c.What, "GET ")
		switch way {
		case "500 twice":
			return first
		case "503":
			return !first
		case "answer cut":
			return !first || changes
		}
		return first && changes || way == "429" && c.N == 1 && !first
	}
	var cases []failing
	for _, first := range []bool{true, false} {
		for _, c := range deployCalls(t, first) {
			for _, way := range ways {
				way.first, way.call = first, c
				if long || take(first, c, way.name) {
					cases = append(cases, way)
				}
			}
		}
	}
	t.Logf("%d cases", len(cases))
	each(t, cases, func(c failing) string {
		return fmt.Sprintf("%s first=%t %s %d", c.name, c.first, strings.NewReplacer("/", ".", "*", "x").Replace(c.call.What), c.call.N)
	}, func(t *testing.T, c failing) {
		r := newRig(t)
		// The platform acts at once or never here, so there is no need to wait for it.
		r.Env[patienceVariable] = "200ms 30s 30s"
		if !c.first {
			r.base = 1
			r.apply(t, r.dir, applyArgs...)
			r.change(t, "two")
		}
		r.forget(func(_ *http.Request, got call) *local.Fault {
			if got.What == c.call.What && got.N >= c.call.N && got.N < c.call.N+c.times {
				return &c.fault
			}
			return nil
		})
		got := r.run(t, r.dir, applyArgs...)
		refused := c.fault.Status >= 500 || c.fault.ResetRequest != nil
		switch {
		case c.times > 2:
			// Three tries and more in a row end in success or in a clear error.
		case got.Code != exitDone:
			t.Errorf("exit code %d\n%s", got.Code, got.Err)
		}
		if n := r.count(postReleases); c.call.What != postReleases && n > 1 {
			t.Errorf("%d times POST releases", n)
		}
		if c.call.What == postReleases && !refused && c.fault.Status == 0 && r.count(postReleases) != 1 {
			t.Errorf("%d times POST releases, and the first was acted upon", r.count(postReleases))
		}
		r.assertInvariants(t, got)
	})
}

// TestFaultNet_refusalsEndTheRun: an answer that says no is not asked for again, and has its
// own exit code.
func TestFaultNet_refusalsEndTheRun(t *testing.T) {
	t.Parallel()
	inTable(t, "N3", "the platform says no")
	type refusal struct {
		name  string
		call  string
		fault local.Fault
		code  int
	}
	each(t, []refusal{
		{"unauthorized", "GET /apps/*", local.Fault{Status: 401}, exitUnauthorized},
		{"forbidden app", "POST /apps", local.Fault{Status: 403}, exitUnauthorized},
		{"forbidden slug", postSlugs, local.Fault{Status: 403}, exitUnauthorized},
		{"forbidden release", postReleases, local.Fault{Status: 403}, exitUnauthorized},
		{"unacceptable slug", postSlugs, local.Fault{Status: 422}, exitFailed},
		{"unacceptable release", postReleases, local.Fault{Status: 422}, exitFailed},
		{"conflict", postReleases, local.Fault{Status: 409}, exitFailed},
		{"slug that is gone", "GET /apps/*/slugs/*", local.Fault{Status: 404}, exitMismatch},
		{"blob that is refused", putBlob, local.Fault{Status: 400}, exitFailed},
		{"blob that is not there", "GET blob", local.Fault{Status: 404}, exitMismatch},
		{"a long wait", "GET /apps/*", local.Fault{Status: 429, RetryAfter: 1e9 * time.Second}, exitRateLimited},
		{"a long wait for a slug", postSlugs, local.Fault{Status: 429, RetryAfter: time.Hour}, exitRateLimited},
		{"a long wait for a release", postReleases, local.Fault{Status: 429, RetryAfter: time.Hour}, exitRateLimited},
	}, func(c refusal) string { return c.name }, func(t *testing.T, c refusal) {
		r := newRig(t)
		r.forget(at(call{c.call, 1}, func(*http.Request) *local.Fault { return &c.fault }))
		start := time.Now()
		got := r.run(t, r.dir, applyArgs...)
		if got.Code != c.code {
			t.Errorf("exit code %d, want %d\n%s", got.Code, c.code, got.Err)
		}
		if n := r.count(c.call); n != 1 {
			t.Errorf("asked %d times", n)
		}
		if n := len(r.releases(t)); n != 0 {
			t.Errorf("%d releases were made", n)
		}
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("it took %s to say no", took)
		}
		r.assertInvariants(t, got)
	})
}

// TestFaultNet_deadPlatformIsNamed: nobody listens where the API should be.
func TestFaultNet_deadPlatformIsNamed(t *testing.T) {
	t.Parallel()
	inTable(t, "N7", "nobody listens at the address")
	const dead = "127.0.0.1:1" // a port that was free a moment ago may be another test's by now
	r := newRig(t)
	api := r.Env["SLUGFILE_API"]
	r.Env["SLUGFILE_API"] = "http://" + dead
	got := r.run(t, r.dir, applyArgs...)
	if got.Code != exitFailed || !strings.Contains(got.Err, dead) || !strings.Contains(got.Err, "connection refused") {
		t.Errorf("exit code %d\n%s", got.Code, got.Err)
	}
	r.Env["SLUGFILE_API"] = api
	r.assertInvariants(t, got)
}

// TestFaultNet_silentPlatformIsGivenUp: an answer that never comes is no answer, for a GET and
// for the one POST that must not be repeated.
func TestFaultNet_silentPlatformIsGivenUp(t *testing.T) {
	t.Parallel()
	inTable(t, "N4", "a call is never answered")
	each(t, []string{"GET /apps/*", postSlugs, postReleases}, func(what string) string { return strings.NewReplacer("/", ".", "*", "x").Replace(what) }, func(t *testing.T, what string) {
		r := newRig(t)
		r.Env[patienceVariable] = "300ms 1500ms 30s"
		r.forget(at(call{what, 1}, func(*http.Request) *local.Fault { return &local.Fault{Delay: time.Minute} }))
		got := r.run(t, r.dir, applyArgs...)
		if got.Code != exitDone {
			t.Errorf("exit code %d\n%s", got.Code, got.Err)
		}
		r.assertInvariants(t, got)
	})
}

// TestFaultNet_localPlatformRecoversToo runs the same faults through --local, where a web
// process has to come up in the end.
func TestFaultNet_localPlatformRecoversToo(t *testing.T) {
	t.Parallel()
	inTable(t, "N2", "faults of apply --local")
	r := newRig(t)
	dir := filepath.Join(r.Env["XDG_DATA_HOME"], name, "platform")
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		t.Fatal(err)
	}
	delete(r.Env, "SLUGFILE_API")
	delete(r.Env, "HEROKU_API_KEY")
	p, err := local.Open(dir, local.Options{Listen: "127.0.0.1:0", Fault: r.fault, StopGrace: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	r.addGreeter(t)
	write(t, filepath.Join(r.dir, "Procfile"), "web: ./web\n")
	replace(t, filepath.Join(r.dir, "slug.yaml"), "process_types:\n  worker: tool/bin/tool work\n", "")
	r.mirror.Fault(toolPath, pipetest.Cut(5000))
	r.forget(func(_ *http.Request, got call) *local.Fault {
		switch got {
		case call{putBlob, 1}:
			return &local.Fault{ResetRequest: new(int64(1000))}
		case call{postReleases, 1}:
			return &local.Fault{DropAnswer: true}
		}
		return nil
	})
	a := r.apply(t, r.dir, "apply", "--local", "--json")
	if body := get(t, a.WebURL); body != "hello, world\n" || !a.Changed || a.Release.Version != 3 {
		t.Errorf("v%d, changed %v, answers %q", a.Release.Version, a.Changed, body)
	}
	if n := r.count(postReleases); n != 1 {
		t.Errorf("%d times POST releases", n)
	}
	r.row.local(1)
	if again := r.apply(t, r.dir, "apply", "--local", "--json"); again.Changed || again.Release.Version != 3 {
		t.Errorf("the second apply made v%d", again.Release.Version)
	}
}
