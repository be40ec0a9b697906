//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/pipetest"
	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/platform/heroku"
	"github.com/slugfile/slugfile/pipeline/platform/local"
)

// faultSize is how many of the cases are tried: short (every named one, and a tenth of the random
// ones), gate, or long. SLUGFILE_FAULTS sets it.
var faultSize = func() string {
	set := os.Getenv("SLUGFILE_FAULTS")
	switch {
	case set == "long" || os.Getenv("SLUGFILE_LONG") == "1":
		return "long"
	case set == "gate" || set == "short":
		return set
	case set != "":
		panic("SLUGFILE_FAULTS is " + set + ": it must be short, gate or long")
	}
	return "short"
}()

// long asks for many more cases than a change needs.
var long = faultSize == "long"

// sized chooses a number of cases. The race detector makes each several times slower.
func sized(short, gate, most int) int {
	switch {
	case long:
		return most
	case faultSize == "gate":
		return gate
	case raceDetector:
		return (short + 1) / 2
	}
	return short
}

// seed is that of every random choice of a run. SLUGFILE_SEED takes one back.
var seed = sync.OnceValue(func() uint64 {
	if text := os.Getenv("SLUGFILE_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			panic("SLUGFILE_SEED: " + err.Error())
		}
		return n
	}
	return rand.Uint64()
})

// random is a source of its own for one case, so that cases do not depend on their order.
func random(t testing.TB, n int) *rand.Rand {
	t.Helper()
	again := fmt.Sprintf("SLUGFILE_SEED=%d", seed())
	t.Log(again)
	faultTable.Lock()
	faultTable.seed = again
	faultTable.Unlock()
	return rand.New(rand.NewPCG(seed(), uint64(n)))
}

// rig is one user with one app, and all that a deploy of it touches: a mirror that gives the
// runtime, and a platform in this process that can be told to misbehave, call by call.
type rig struct {
	*world
	// dir is where slug.yaml is.
	dir    string
	mirror *pipetest.MirrorServer
	// archive is the runtime's, as the mirror serves it at toolPath.
	archive  []byte
	platform *local.Platform
	client   *heroku.Client
	// secrets must turn up nowhere.
	secrets map[string]string
	// base is how many releases with a slug there were before the apply that is looked at.
	base int
	// row is where the test counts what it does.
	row *faultRow

	mu     sync.Mutex
	calls  []string
	meddle func(*http.Request, call) *local.Fault
	// quiet is when the platform has acted on the last request that it acts upon late.
	quiet time.Time
	// held is what keeps a call waiting, if anything does.
	held *gate
}

// call is one request to the platform, by what it asks for and how often that was asked.
type call struct {
	// What is "POST /apps/*/releases", or "PUT blob".
	What string
	// N counts the same What from 1, since the last forget.
	N int
}

const (
	postSlugs    = "POST /apps/*/slugs"
	postReleases = "POST /apps/*/releases"
	getReleases  = "GET /apps/*/releases"
	putBlob      = "PUT blob"
)

// toolPath is where the mirror has the runtime.
const toolPath = "/tool.tgz"

// toolArchive is a runtime that resists compression, so that there is something to cut.
var toolArchive = sync.OnceValue(func() map[string]string {
	noise := make([]byte, 300<<10)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(noise) // never fails
	return map[string]string{
		"tool-1/bin/tool*": "#!/bin/sh\necho \"tool 1: $*\"\n",
		"tool-1/noise.bin": string(noise),
	}
})

// newRig makes a world whose app has a runtime and a worker, which is not booted. The app does
// not exist on the platform yet.
func newRig(t testing.TB, mirror ...pipetest.MirrorOption) *rig {
	t.Helper()
	r := &rig{world: newWorld(t), dir: t.TempDir(), archive: pipetest.TarGz(t, toolArchive()), secrets: map[string]string{}, row: rowOf(t)}
	r.Env["TMPDIR"] = t.TempDir()
	r.Env[patienceVariable] = window.String() + " 30s 30s"
	r.mirror = pipetest.Mirror(t, map[string][]byte{toolPath: r.archive}, mirror...)
	r.Env["SLUGFILE_MIRRORS"] = "https://dist.example.com/=" + r.mirror.URL + "/"
	p, err := local.Open(t.TempDir(), local.Options{Listen: "127.0.0.1:0", Fault: r.fault, StopGrace: time.Second, RateLimit: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.forget(nil)
		if err := p.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	r.platform = p
	r.client = heroku.New(heroku.Options{BaseURL: p.URL(), Token: p.Token(), UserAgent: inspector})
	r.Env["SLUGFILE_API"], r.Env["HEROKU_API_KEY"] = p.URL(), p.Token().Reveal()
	r.secrets["token"] = p.Token().Reveal()
	r.secrets["query"] = "canary-query-" + p.Token().Reveal()[:12]
	r.Env["BUILD_TOKEN"] = r.canary("passed value")
	app := map[string]string{
		"slug.yaml": `app: faulty
stack: heroku-24
runtimes:
  tool:
    url: https://dist.example.com` + toolPath + `?key=` + r.secrets["query"] + `
    sha256: ` + fmt.Sprintf("%x", hash(r.archive)) + `
    strip: 1
process_types:
  worker: tool/bin/tool work
`,
		"main.txt": "one\n",
	}
	for name, text := range app {
		write(t, filepath.Join(r.dir, name), text)
	}
	return r
}

// window is the minute that a release is looked for, scaled down: the platform of these tests
// acts within it, unless a test is about one that does not.
const window = 2 * time.Second

// inspector is the User-Agent of the test's own look at the platform, which is neither
// counted nor meddled with.
const inspector = "inspector"

// fault is the platform's hook.
func (r *rig) fault(req *http.Request) *local.Fault {
	if strings.HasPrefix(req.UserAgent(), inspector) {
		return nil
	}
	what := req.Method + " blob"
	if parts := strings.Split(req.URL.Path, "/"); parts[1] != "slugs" {
		for i := 2; i < len(parts); i += 2 {
			parts[i] = "*"
		}
		what = req.Method + " " + strings.Join(parts, "/")
	}
	r.mu.Lock()
	c := call{what, 1}
	for _, before := range r.calls {
		if before == what {
			c.N++
		}
	}
	r.calls = append(r.calls, what)
	meddle := r.meddle
	r.mu.Unlock()
	if meddle == nil {
		return nil
	}
	fault := meddle(req, c)
	if fault != nil && fault.Late > 0 {
		r.mu.Lock()
		r.quiet = latest(r.quiet, time.Now().Add(fault.Late))
		r.mu.Unlock()
	}
	return fault
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// awaitQuiet waits until the platform has acted upon everything that it was asked for.
func (r *rig) awaitQuiet() {
	r.mu.Lock()
	quiet := r.quiet
	r.mu.Unlock()
	if !quiet.IsZero() {
		time.Sleep(time.Until(quiet.Add(500 * time.Millisecond))) // its clock is that of a busy machine
	}
}

// forget begins a new count of calls, with another hook.
func (r *rig) forget(meddle func(*http.Request, call) *local.Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls, r.meddle = nil, meddle
}

// count says how often something was asked for since the last forget.
func (r *rig) count(what string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, c := range r.calls {
		if c == what {
			n++
		}
	}
	return n
}

// applyArgs make and release the slug without a question.
var applyArgs = []string{"apply", "--create", "-y", "--json"}

// running is slugfile at work.
type running struct {
	cmd  *exec.Cmd
	out  watched
	errs watched
	done chan struct{}
}

// start starts slugfile in the app's directory. It is ended with the test at the latest.
func (r *rig) start(t testing.TB, args ...string) *running {
	t.Helper()
	p := r.prepareStart(t, args...)
	p.begin(t)
	return p
}

// prepareStart is start without the start, so that its output can be watched from the first byte.
func (r *rig) prepareStart(t testing.TB, args ...string) *running {
	t.Helper()
	p := &running{cmd: r.command(r.dir, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.errs
	return p
}

func (p *running) begin(t testing.TB) {
	t.Helper()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // the state says how it ended
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it has ended, unless the test has failed
		<-p.done
	})
}

// wait returns what a run left. A run that does not end fails the test.
func (p *running) wait(t testing.TB, limit time.Duration) result {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(limit):
		t.Fatalf("slugfile did not end within %s:\n%s%s", limit, p.out.String(), p.errs.String())
	}
	return result{p.out.String(), p.errs.String(), p.cmd.ProcessState.ExitCode()}
}

// until waits for something that happens while slugfile runs.
func (p *running) until(t testing.TB, what string, happened <-chan struct{}) {
	t.Helper()
	select {
	case <-happened:
	case <-p.done:
		select {
		case <-happened:
			return
		default:
		}
		t.Fatalf("slugfile ended before %s:\n%s%s", what, p.out.String(), p.errs.String())
	case <-time.After(30 * time.Second):
		t.Fatalf("there was no %s within 30 s:\n%s%s", what, p.out.String(), p.errs.String())
	}
}

// watched is an output that can be waited upon.
type watched struct {
	mu   sync.Mutex
	b    bytes.Buffer
	want map[string]chan struct{}
}

func (w *watched) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.b.Write(b)
	for text, seen := range w.want {
		if bytes.Contains(w.b.Bytes(), []byte(text)) {
			close(seen)
			delete(w.want, text)
		}
	}
	return len(b), nil
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// shows is closed once text was written.
func (w *watched) shows(text string) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := make(chan struct{})
	if bytes.Contains(w.b.Bytes(), []byte(text)) {
		close(seen)
		return seen
	}
	if w.want == nil {
		w.want = map[string]chan struct{}{}
	}
	w.want[text] = seen
	return seen
}

// gate holds one call until the test has done what it wants to do meanwhile.
type gate struct {
	reached chan struct{}
	once    sync.Once
	open    chan struct{}
	// fault is what becomes of the call then.
	fault *local.Fault
}

func newGate(t testing.TB, fault *local.Fault) *gate {
	g := &gate{reached: make(chan struct{}), open: make(chan struct{}), fault: fault}
	t.Cleanup(g.release)
	return g
}

func (g *gate) pass() *local.Fault {
	close(g.reached)
	<-g.open
	return g.fault
}

func (g *gate) release() { g.once.Do(func() { close(g.open) }) }

// at is a hook that does something with one call and lets all others pass.
func at(c call, do func(*http.Request) *local.Fault) func(*http.Request, call) *local.Fault {
	return func(req *http.Request, got call) *local.Fault {
		if got != c {
			return nil
		}
		return do(req)
	}
}

// gatedBody gives n bytes of a body, then passes a gate, then gives the rest.
type gatedBody struct {
	io.ReadCloser
	left int64
	gate *gate
}

func (b *gatedBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		b.gate.pass()
		b.left = -1
	}
	if b.left > 0 {
		p = p[:min(int64(len(p)), b.left)]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left > 0 {
		b.left -= int64(n)
	}
	return n, err
}

// releases lists the app's releases that have a slug, newest first.
func (r *rig) releases(t testing.TB) []platform.Release {
	t.Helper()
	list, err := r.client.Releases(context.Background(), "faulty", 0)
	if errors.Is(err, platform.ErrNotFound) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(list, func(rel platform.Release) bool { return rel.Slug == nil })
}

// step adds a build step that writes what it can see to out.
func (r *rig) step(t testing.TB, run string) {
	t.Helper()
	passed := ""
	if strings.Contains(run, "$BUILD_TOKEN") {
		passed = "\n    pass_env: [BUILD_TOKEN]"
	}
	replace(t, filepath.Join(r.dir, "slug.yaml"), "process_types:", `build:
  - name: pack
    run: |
      `+strings.ReplaceAll(run, "\n", "\n      ")+`
    outputs: [out]`+passed+`
process_types:`)
}

// packStep uses the runtime and the source.
const packStep = `echo "packed with $BUILD_TOKEN"
mkdir out
tool pack > out/said
cp main.txt out/main`

// change edits the source, so that there is something to release.
func (r *rig) change(t testing.TB, text string) {
	t.Helper()
	write(t, filepath.Join(r.dir, "main.txt"), text+"\n")
}

// each runs f for every case, several at a time: these tests wait more than they work, and
// t.Parallel would keep them to the number of processors.
func each[C any](t *testing.T, cases []C, name func(C) string, f func(*testing.T, C)) {
	t.Helper()
	const atOnce = 10
	if raceDetector && faultSize == "short" {
		cases = sampled(cases)
	}
	next := make(chan C)
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() {
			for c := range next {
				t.Run(name(c), func(t *testing.T) { f(t, c) })
			}
		})
	}
	for _, c := range cases {
		next <- c
	}
	close(next)
	wg.Wait()
}

// sampled keeps a third of many cases: the race detector sees the same code in each of them,
// and makes them several times slower.
func sampled[C any](cases []C) []C {
	if len(cases) <= 6 {
		return cases
	}
	var kept []C
	for i := 0; i < len(cases); i += 3 {
		kept = append(kept, cases[i])
	}
	return kept
}

// signal sends a signal. The process may have ended before: its exit code tells.
func (p *running) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("send %s: %v", s, err)
	}
}

// addGreeter gives the app a web process.
func (r *rig) addGreeter(t testing.TB) {
	t.Helper()
	web := filepath.Join(r.dir, "web")
	write(t, web, string(greeter(t)))
	if err := os.Chmod(web, 0o755); err != nil {
		t.Fatal(err)
	}
}

// dropCache makes the next run begin with an empty cache.
func (r *rig) dropCache(t testing.TB) {
	t.Helper()
	if err := os.RemoveAll(r.Env["XDG_CACHE_HOME"]); err != nil {
		t.Fatal(err)
	}
}

func readFile(t testing.TB, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// greeter is a static program that answers HTTP on PORT, built once.
var greeterOnce struct {
	sync.Once
	b []byte
}

func greeter(t testing.TB) []byte {
	t.Helper()
	greeterOnce.Do(func() { greeterOnce.b = buildGreeter(t) })
	return greeterOnce.b
}
