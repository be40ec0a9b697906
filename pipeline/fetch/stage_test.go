package fetch_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/event"
	"github.com/slugfile/slugfile/pipeline/fetch"
	"github.com/slugfile/slugfile/pipeline/pipetest"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/store"
	"github.com/slugfile/slugfile/pipeline/transport"
)

const (
	host = "https://runtimes.example"
	path = "/dist/node.tar.gz"
)

// archiveOf is a runtime with a tool that says its name and padding that does not compress.
func archiveOf(t testing.TB, name string, padding int) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	w := tar.NewWriter(z)
	add := func(h *tar.Header, body []byte) {
		h.Size = int64(len(body))
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(body); err != nil {
			t.Fatal(err)
		}
	}
	noise := make([]byte, 0, padding+32)
	for d := digest.Of([]byte(name)); len(noise) < padding; d = digest.Of(d[:]) {
		noise = append(noise, d[:]...)
	}
	add(&tar.Header{Name: name + "/", Typeflag: tar.TypeDir, Mode: 0o755}, nil)
	add(&tar.Header{Name: name + "/bin/node", Typeflag: tar.TypeReg, Mode: 0o755}, []byte("#!/bin/sh\necho "+name+"\n"))
	add(&tar.Header{Name: name + "/share/noise", Typeflag: tar.TypeReg, Mode: 0o600}, noise[:padding])
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// recorder keeps what a stage says.
type recorder struct {
	mu     sync.Mutex
	events []event.Event
}

func (r *recorder) Emit(e event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *recorder) types() (list []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		list = append(list, e.Type())
	}
	return list
}

// bench is a store, a mirror and a stage.
type bench struct {
	store   *store.Store
	server  *pipetest.MirrorServer
	stage   *fetch.Stage
	events  *recorder
	archive []byte
}

func newBench(t *testing.T, padding int, options ...pipetest.MirrorOption) *bench {
	t.Helper()
	b := &bench{archive: archiveOf(t, "node", padding), events: &recorder{}}
	b.server = pipetest.Mirror(t, map[string][]byte{path: b.archive}, options...)
	var err error
	if b.store, err = store.Open(filepath.Join(t.TempDir(), "store")); err != nil {
		t.Fatal(err)
	}
	b.stage = &fetch.Stage{
		Store: b.store, Sink: b.events,
		Mirrors: []fetch.Mirror{mirror(t, host+"="+b.server.URL)},
		Options: quick(),
	}
	return b
}

// quick are the limits of production at a scale for tests.
func quick() fetch.Options {
	return fetch.Options{
		Backoff: transport.Backoff{Base: time.Millisecond, Max: 2 * time.Millisecond},
		Idle:    200 * time.Millisecond, MinRate: 1 << 10, RateSpan: 300 * time.Millisecond, ResponseTimeout: 2 * time.Second,
		Proxy: func(*http.Request) (*url.URL, error) { return nil, nil },
	}
}

func mirror(t *testing.T, s string) fetch.Mirror {
	t.Helper()
	m, err := fetch.ParseMirror(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (b *bench) runtime() plan.Runtime {
	return plan.Runtime{
		Name: "node", URL: host + path, Digest: digest.Of(b.archive), Size: int64(len(b.archive)), Strip: 1, Into: "node",
	}
}

func (b *bench) run(t *testing.T, runtimes ...plan.Runtime) ([]artifact.Runtime, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return b.stage.Run(ctx, plan.Fetch{Runtimes: runtimes})
}

func (b *bench) mustRun(t *testing.T, runtimes ...plan.Runtime) []artifact.Runtime {
	t.Helper()
	out, err := b.run(t, runtimes...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// refused checks that the bytes were not accepted: a mismatch, and nothing in the store.
func (b *bench) refused(t *testing.T, err error) *digest.MismatchError {
	t.Helper()
	var mismatch *digest.MismatchError
	if !errors.As(err, &mismatch) {
		t.Fatalf("got %v, want a mismatch", err)
	}
	b.nothingStored(t)
	return mismatch
}

func (b *bench) nothingStored(t *testing.T) {
	t.Helper()
	if _, ok := b.store.Has(digest.Of(b.archive)); ok {
		t.Error("the archive is in the store")
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(filepath.Dir(filepath.Dir(b.store.Path(digest.Of(b.archive))))), "*", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	left = slices.DeleteFunc(left, func(p string) bool { return strings.Contains(p, "/refs/") })
	if len(left) > 0 {
		t.Errorf("left in the store: %v", left)
	}
}

// read returns the bytes of one file of a runtime, unpacked or packed.
func read(t *testing.T, r artifact.Runtime, path string) string {
	t.Helper()
	if (r.Dir == "") == (r.Pack == "") {
		t.Fatalf("neither unpacked nor packed, or both: %q, %q", r.Dir, r.Pack)
	}
	if r.Pack == "" {
		text, err := os.ReadFile(filepath.Join(r.Dir, path))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	pack, err := os.ReadFile(r.Pack)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range r.Tree {
		if e.Path == path {
			return string(pack[r.Offsets[i] : r.Offsets[i]+e.Size])
		}
	}
	t.Fatalf("there is no %s in %v", path, r.Tree)
	return ""
}

const program = "#!/bin/sh\necho node\n"

// eachForm runs a test for a runtime that a step sees and for one that none does.
func eachForm(t *testing.T, test func(t *testing.T, unpack bool)) {
	t.Helper()
	for name, unpack := range map[string]bool{"unpacked": true, "packed": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, unpack)
		})
	}
}

func TestRun_downloadsVerifiesAndUnpacks(t *testing.T) {
	t.Parallel()
	eachForm(t, downloadsVerifiesAndUnpacks)
}

func downloadsVerifiesAndUnpacks(t *testing.T, unpack bool) {
	b := newBench(t, 100_000)
	r := b.runtime()
	r.Only, r.BuildOnly, r.Unpack = []string{"bin/node"}, true, unpack
	got := b.mustRun(t, r)[0]
	text := read(t, got, "bin/node")
	if text != program || (got.Dir != "") != unpack {
		t.Errorf("bin/node: %q, in %q", text, got.Dir)
	}
	paths := []string{}
	for _, e := range got.Tree {
		paths = append(paths, e.Path)
	}
	if d := cmp.Diff([]string{"bin", "bin/node", "share", "share/noise"}, paths); d != "" {
		t.Errorf("tree (-want +got):\n%s", d)
	}
	if e, _ := got.Tree.Find("bin/node"); !e.Exec || e.Digest != digest.Of([]byte(text)) {
		t.Errorf("entry %+v", e)
	}
	if got.Name != "node" || got.Into != "node" || !got.BuildOnly || len(got.Only) != 1 || got.Size != int64(len(b.archive)) {
		t.Errorf("runtime %+v", got)
	}
	if types := b.events.types(); types[0] != "task_started" || types[len(types)-1] != "task_finished" {
		t.Errorf("events %v", types)
	}
}

func TestRun_reusesWhatIsInTheStore(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1000)
	first := b.mustRun(t, b.runtime())
	b.server.Fault(path, pipetest.Always(pipetest.Status(500)))
	b.events.events = nil
	second := b.mustRun(t, b.runtime())
	if d := cmp.Diff(first, second); d != "" {
		t.Errorf("second run (-first +second):\n%s", d)
	}
	want := event.TaskFinished{Stage: "fetch", Subject: "node", Reused: true, Why: "in the store", Bytes: int64(len(b.archive))}
	last := b.events.events[len(b.events.events)-1].(event.TaskFinished)
	last.Elapsed = 0
	if last != want {
		t.Errorf("got %+v, want %+v", last, want)
	}
	// Another strip is another tree of the same archive, which is not downloaded again. Nor is it
	// when a step has come to need the files.
	other := b.runtime()
	other.Strip = 0
	if got := b.mustRun(t, other)[0]; got.Pack == first[0].Pack {
		t.Error("strip does not matter")
	}
	seen := b.runtime()
	seen.Unpack = true
	if got := b.mustRun(t, seen)[0]; read(t, got, "bin/node") != program || got.Dir == "" {
		t.Errorf("a step could not use %+v", got)
	}
	if n := b.server.Count(path); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

func TestRun_fetchesOnceWhenTheAddressIsNewBesideAKnownDigest(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1000)
	b.mustRun(t, b.runtime())
	moved := b.runtime()
	moved.URL = host + "/dist/node-2.tar.gz"
	b.server.Put("/dist/node-2.tar.gz", archiveOf(t, "node2", 1000))
	_, err := b.run(t, moved)
	var mismatch *digest.MismatchError
	if !errors.As(err, &mismatch) {
		t.Fatalf("the old runtime was taken for the new address: %v", err)
	}
	b.server.Put("/dist/node-2.tar.gz", b.archive)
	for range 2 {
		b.mustRun(t, moved)
	}
	if n := b.server.Count("/dist/node-2.tar.gz"); n != 2 {
		t.Errorf("%d requests for the new address, want 2", n)
	}
}

func TestRun_healsTheStore(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1000)
	r := b.runtime()
	r.Unpack = true
	first := b.mustRun(t, r)[0]
	damage := func(file string) {
		if err := os.Chmod(file, 0o600); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text[len(text)/2] ^= 1
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	damage(filepath.Join(first.Dir, "bin", "node"))
	got := b.mustRun(t, r)[0]
	if text := read(t, got, "bin/node"); text != program {
		t.Errorf("the damaged tree was used: %q", text)
	}
	damage(filepath.Join(got.Dir, "bin", "node"))
	damage(b.store.Path(digest.Of(b.archive)))
	got = b.mustRun(t, r)[0]
	if text := read(t, got, "bin/node"); text != program {
		t.Errorf("the damaged archive was used: %q", text)
	}
	if n := b.server.Count(path); n != 2 {
		t.Errorf("%d downloads, want 2: the archive was damaged once", n)
	}
	if !slices.Contains(b.events.types(), "warning") {
		t.Error("no word about the damage")
	}
}

func TestRun_refusesOneChangedByteAtEverySource(t *testing.T) {
	t.Parallel()
	t.Run("mirror", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, 5000)
		b.server.Fault(path, pipetest.Always(pipetest.Flip(2000)))
		_, err := b.run(t, b.runtime())
		_ = b.refused(t, err)
		if n := b.server.Count(path); n != 1 {
			t.Errorf("%d requests for bytes that are wrong, want 1", n)
		}
		for _, want := range []string{"runtime node", b.server.URL + path, host + path, digest.Of(b.archive).String(), "application/octet-stream"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q is not in: %v", want, err)
			}
		}
	})
	t.Run("origin", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, 5000, pipetest.WithTLS())
		b.stage.Options.RootCAs = b.server.CertPool()
		b.stage.Mirrors = []fetch.Mirror{mirror(t, b.server.URL+"="+b.server.URL)}
		r := b.runtime()
		r.URL = b.server.URL + path
		b.server.Fault(path, pipetest.Flip(2000))
		_, err := b.run(t, r)
		_ = b.refused(t, err)
		b.mustRun(t, r)
	})
	t.Run("resumed", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, 5000)
		b.server.Fault(path, pipetest.Cut(3000), pipetest.FlipTail(), pipetest.Always(pipetest.FlipTail()))
		_, err := b.run(t, b.runtime())
		_ = b.refused(t, err)
	})
	t.Run("file", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, 5000)
		file := filepath.Join(t.TempDir(), "node.tar.gz")
		changed := bytes.Clone(b.archive)
		changed[2000] ^= 1
		if err := os.WriteFile(file, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		r := b.runtime()
		r.URL = "file://" + filepath.ToSlash(file)
		_, err := b.run(t, r)
		_ = b.refused(t, err)
	})
	t.Run("repository", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, 5000)
		file := filepath.Join(t.TempDir(), "node.tar.gz")
		changed := bytes.Clone(b.archive)
		changed[2000] ^= 1
		if err := os.WriteFile(file, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		r := b.runtime()
		r.URL, r.Path = "", file
		_, err := b.run(t, r)
		_ = b.refused(t, err)
		if err := os.WriteFile(file, b.archive, 0o600); err != nil {
			t.Fatal(err)
		}
		b.mustRun(t, r)
	})
	t.Run("tool", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, 0)
		file := filepath.Join(t.TempDir(), "go")
		if err := os.WriteFile(file, []byte("tool"), 0o700); err != nil {
			t.Fatal(err)
		}
		r := plan.Runtime{Name: "go", Tool: file, Digest: digest.Of([]byte("tool")), Size: 4}
		if got := b.mustRun(t, r)[0]; got.Tool != file || got.Size != 4 {
			t.Errorf("tool %+v", got)
		}
		if err := os.WriteFile(file, []byte("tooL"), 0o700); err != nil {
			t.Fatal(err)
		}
		_, err := b.run(t, r)
		var mismatch *digest.MismatchError
		if !errors.As(err, &mismatch) || !strings.Contains(err.Error(), file) {
			t.Errorf("a changed tool: %v", err)
		}
	})
}

func TestRun_resumesAfterACut(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]pipetest.Fault{
		"cut": pipetest.Cut(70_000), "reset": pipetest.Reset(70_000), "stall": pipetest.Stall(70_000),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, 200_000)
			b.server.Fault(path, fault)
			b.mustRun(t, b.runtime())
			log := b.server.Requests()
			if len(log) != 2 {
				t.Fatalf("%d requests, want 2", len(log))
			}
			if first := log[0].Header; first.Get("Range") != "" || first.Get("If-Range") != "" {
				t.Errorf("the first request has %v", first)
			}
			second := log[1].Header
			if !strings.HasPrefix(second.Get("Range"), "bytes=") || second.Get("Range") == "bytes=0-" || second.Get("If-Range") == "" {
				t.Errorf("the second request has Range %q and If-Range %q", second.Get("Range"), second.Get("If-Range"))
			}
			if !slices.Contains(b.events.types(), "retry") {
				t.Errorf("no retry among %v", b.events.types())
			}
		})
	}
}

func TestRun_survivesAnyPlaceOfACut(t *testing.T) {
	t.Parallel()
	b := newBench(t, 100_000)
	size := len(b.archive)
	for _, kind := range []func(int) pipetest.Fault{pipetest.Cut, pipetest.Reset} {
		for _, at := range []int{0, 1, 512, 64 << 10, size / 2, size - 1, size} {
			b := newBench(t, 100_000)
			b.server.Fault(path, kind(at))
			b.mustRun(t, b.runtime())
		}
	}
}

func TestRun_startsOverWhenItCannotResume(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		options []pipetest.MirrorOption
		faults  []pipetest.Fault
		ranges  []bool // whether each request has a Range
	}{
		"no ETag":                {[]pipetest.MirrorOption{pipetest.WithoutETag()}, []pipetest.Fault{pipetest.Cut(5000)}, []bool{false, false}},
		"weak ETag":              {nil, []pipetest.Fault{pipetest.CutETag(5000, `W/"a"`)}, []bool{false, false}},
		"Range ignored":          {[]pipetest.MirrorOption{pipetest.WithoutRange()}, []pipetest.Fault{pipetest.Cut(5000)}, []bool{false, true}},
		"ETag changes":           {nil, []pipetest.Fault{pipetest.CutETag(5000, `"old"`)}, []bool{false, true}},
		"ETag changes each time": {nil, []pipetest.Fault{pipetest.CutETag(5000, `"a"`), pipetest.CutETag(6000, `"b"`), pipetest.CutETag(7000, `"c"`)}, []bool{false, true, true, true}},
		"range refused":          {nil, []pipetest.Fault{pipetest.Cut(5000), pipetest.Status(416)}, []bool{false, true, false}},
		"tail of another file":   {nil, []pipetest.Fault{pipetest.Cut(5000), pipetest.FlipTail()}, []bool{false, true, false}},
		"another part":           {nil, []pipetest.Fault{pipetest.Cut(5000), pipetest.Status(206, "Content-Range", "bytes 7-9/10")}, []bool{false, true, false}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, 20_000, c.options...)
			b.server.Fault(path, c.faults...)
			b.mustRun(t, b.runtime())
			var ranges []bool
			for _, r := range b.server.Requests() {
				ranges = append(ranges, r.Header.Get("Range") != "")
			}
			if d := cmp.Diff(c.ranges, ranges); d != "" {
				t.Errorf("requests with a Range (-want +got):\n%s", d)
			}
		})
	}
}

func TestRun_triesAgainOnlyWhereThatMayHelp(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault    pipetest.Fault
		requests int
		want     string
	}{
		"500":                {pipetest.Status(500), 5, "answered 500"},
		"502":                {pipetest.Status(502), 5, "answered 502"},
		"503":                {pipetest.Status(503, "Retry-After", "0"), 5, "answered 503"},
		"429":                {pipetest.Status(429), 5, "answered 429"},
		"429 for long":       {pipetest.Status(429, "Retry-After", "3600"), 1, "asked to wait 1h"},
		"404":                {pipetest.Status(404), 1, "answered 404 Not Found"},
		"403":                {pipetest.Status(403), 1, "answered 403"},
		"410":                {pipetest.Status(410), 1, "answered 410"},
		"204":                {pipetest.Status(204), 1, "answered 204"},
		"cut always":         {pipetest.Cut(100), 5, "unexpected EOF"},
		"reset":              {pipetest.Reset(0), 5, "gave up after 5 attempts"},
		"stall":              {pipetest.Stall(0), 5, "nothing came for"},
		"one byte at a time": {pipetest.Slow(20 * time.Millisecond), 5, "stalled"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, 3000, pipetest.WithoutETag())
			b.server.Fault(path, pipetest.Always(c.fault))
			_, err := b.run(t, b.runtime())
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "runtime node") {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if n := b.server.Count(path); n != c.requests {
				t.Errorf("%d requests, want %d", n, c.requests)
			}
			b.nothingStored(t)
			if types := b.events.types(); types[len(types)-1] != "task_failed" {
				t.Errorf("events %v", types)
			}
		})
	}
	t.Run("recovers", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, 3000)
		b.server.Fault(path, pipetest.Status(500), pipetest.Status(429, "Retry-After", "0"), pipetest.Reset(0), pipetest.Stall(10))
		b.mustRun(t, b.runtime())
	})
}

func TestRun_saysWhatItGotInsteadOfAnArchive(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault pipetest.Fault
		size  int64 // -1: not pinned
		want  string
		hint  string
	}{
		"html":                 {pipetest.HTML(), 0, `served as "text/html; charset=utf-8"`, "web page"},
		"html, size not known": {pipetest.HTML(), -1, `served as "text/html; charset=utf-8"`, "web page"},
		"gzip encoding":        {pipetest.Gzip(), -1, `with the encoding "gzip"`, "slugfile lock --update"},
		"shorter":              {pipetest.Truncated(100), 0, "got 100", "slugfile lock --update"},
		"shorter, no size":     {pipetest.Truncated(100), -1, "expected sha256", "slugfile lock --update"},
		"too long a length":    {pipetest.Length(1 << 50), 0, "got 1125899906842624", "slugfile lock --update"},
		"cut":                  {pipetest.Cut(100), 0, "unexpected EOF", "cut short"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, 3000, pipetest.WithoutETag())
			b.server.Fault(path, pipetest.Always(c.fault))
			r := b.runtime()
			r.Size += c.size
			if c.size < 0 {
				r.Size = -1
			}
			_, err := b.run(t, r)
			_ = b.refused(t, err)
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			var hinter interface{ Hint() string }
			if !errors.As(err, &hinter) || !strings.Contains(hinter.Hint(), c.hint) {
				t.Errorf("hint of %v: want %q", err, c.hint)
			}
		})
	}
}

func TestRun_limitsWhatAServerMaySend(t *testing.T) {
	t.Parallel()
	t.Run("length over the limit", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, 3000)
		b.stage.Options.MaxSize = 1000
		r := b.runtime()
		r.Size = -1
		_, err := b.run(t, r)
		if err == nil || !strings.Contains(err.Error(), "more than the limit of 1000") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("endless, without a length", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, 3000)
		b.stage.Options.MaxSize = 1000
		b.server.Fault(path, pipetest.NoLength())
		r := b.runtime()
		r.Size = -1
		_, err := b.run(t, r)
		if err == nil || !strings.Contains(err.Error(), "more than 1000 bytes") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("more than is pinned", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, 3000)
		b.server.Fault(path, pipetest.NoLength())
		r := b.runtime()
		r.Size = 1000
		_, err := b.run(t, r)
		_ = b.refused(t, err)
	})
	t.Run("no length", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, 3000)
		b.server.Fault(path, pipetest.NoLength())
		b.mustRun(t, b.runtime())
	})
}

func TestRun_fetchesSeveralAtOnceInTheirOrder(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1000)
	var runtimes []plan.Runtime
	for i := range 12 {
		name := fmt.Sprintf("r%02d", i)
		body := archiveOf(t, name, 500+i)
		b.server.Put("/"+name, body)
		runtimes = append(runtimes, plan.Runtime{Name: name, URL: host + "/" + name, Digest: digest.Of(body), Size: int64(len(body)), Into: name})
	}
	twin := runtimes[0] // the same archive under another name
	twin.Name = "twin"
	runtimes = append(runtimes, twin)
	got := b.mustRun(t, runtimes...)
	for i, r := range got {
		if r.Name != runtimes[i].Name || r.Digest != runtimes[i].Digest {
			t.Errorf("place %d has %s", i, r.Name)
		}
	}
	if got[0].Pack != got[12].Pack {
		t.Error("one archive was unpacked twice")
	}
}

func TestRun_oneFailureStopsTheOthers(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1000)
	b.stage.Options.Idle = time.Minute
	b.server.Fault(path, pipetest.Always(pipetest.Stall(10)))
	bad := plan.Runtime{Name: "bad", URL: host + "/absent", Digest: digest.Of([]byte("x")), Size: -1}
	_, err := b.run(t, b.runtime(), bad)
	if err == nil || !strings.Contains(err.Error(), "runtime bad") {
		t.Fatalf("got %v", err)
	}
	var node event.TaskFailed
	for _, e := range b.events.events {
		if f, ok := e.(event.TaskFailed); ok && f.Subject == "node" {
			node = f
		}
	}
	if !strings.Contains(node.Error, "another runtime") {
		t.Errorf("the other one ended with %+v", node)
	}
}

func TestRun_endsWithItsContext(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1000)
	b.stage.Options.Idle = time.Minute
	b.server.Fault(path, pipetest.Stall(10))
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	_, err := b.stage.Run(ctx, plan.Fetch{Runtimes: []plan.Runtime{b.runtime()}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	b.nothingStored(t)
}

func TestRun_unpackErrorNamesRuntimeAndEntry(t *testing.T) {
	t.Parallel()
	b := newBench(t, 0)
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := errors.Join(w.WriteHeader(&tar.Header{Name: "../evil", Typeflag: tar.TypeReg, Mode: 0o644}), w.Close()); err != nil {
		t.Fatal(err)
	}
	b.server.Put("/evil.tar", buf.Bytes())
	r := plan.Runtime{Name: "evil", URL: host + "/evil.tar", Digest: digest.Of(buf.Bytes()), Size: -1}
	_, err := b.run(t, r)
	if err == nil || !strings.Contains(err.Error(), `unpack evil: entry "../evil"`) {
		t.Errorf("got %v", err)
	}
}

// A file of the repository is exchanged again and again while it is fetched: the result is
// exactly the pinned bytes, or an error.
func TestRun_swappedFileGivesThePinnedBytesOrAnError(t *testing.T) {
	t.Parallel()
	b := newBench(t, 20_000)
	dir := t.TempDir()
	file, good, bad := filepath.Join(dir, "a.tgz"), filepath.Join(dir, "good"), filepath.Join(dir, "bad")
	stop := make(chan struct{})
	var swapper sync.WaitGroup
	evil := archiveOf(t, "evil", 20_000)
	if err := os.WriteFile(file, b.archive, 0o600); err != nil {
		t.Fatal(err)
	}
	swapper.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			next, text := good, b.archive
			if i%2 == 0 {
				next, text = bad, evil
			}
			if err := os.WriteFile(next, text, 0o600); err != nil {
				t.Error(err)
				return
			}
			if err := os.Rename(next, file); err != nil {
				t.Error(err)
				return
			}
		}
	})
	rounds := 200
	if testing.Short() {
		rounds = 40
	}
	fine := 0
	for i := range rounds {
		r := b.runtime()
		r.URL, r.Path, r.Strip, r.Unpack = "", file, i%2, i%4 < 2
		out, err := b.run(t, r)
		if err != nil {
			continue
		}
		fine++
		name := "bin/node"
		if r.Strip == 0 {
			name = "node/bin/node"
		}
		if text := read(t, out[0], name); text != program {
			t.Fatalf("round %d: %q", i, text)
		}
		if err := b.store.Remove(r.Digest); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	swapper.Wait()
	if fine == 0 {
		t.Skip("every round met the other file")
	}
}
