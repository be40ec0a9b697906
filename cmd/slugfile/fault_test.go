//go:build linux

package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/disk"
	"github.com/slugfile/slugfile/pipeline/pipetest"
	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/platform/heroku"
	"github.com/slugfile/slugfile/pipeline/platform/local"
	"github.com/slugfile/slugfile/pipeline/store"
	"github.com/slugfile/slugfile/pipeline/tree"
	"github.com/slugfile/slugfile/pipeline/unpack"
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
	time.Sleep(time.Until(quiet.Add(100 * time.Millisecond)))
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

// documented are the exit codes of the contract, with -1 for a run that was killed.
var documented = []int{-1, exitDone, exitFailed, exitStale, exitFile, exitUnauthorized, exitMismatch, exitRateLimited, exitUsage, exitHangup, exitInterrupted, exitTerminated}

// assertInvariants holds the five invariants of the fault matrix after runs that met a fault,
// all of them about the same change. It applies twice more.
//
//	I1  The change is released once: by the faulty runs or by the next apply, and if that finds
//	    it live, not at all.
//	I2  The store is sound: files hash to their names, trees are whole, and no leftover stays. No
//	    journal grows.
//	I3  What is live is what was built, to the byte; one more apply changes nothing.
//	I4  No secret is shown, kept or released, and nothing is changed outside the program's own
//	    directories.
//	I5  Each run ends in time, with a documented exit code, a last word that helps, and without
//	    leaving a process behind.
func (r *rig) assertInvariants(t testing.TB, faulty ...result) applied {
	t.Helper()
	r.forget(nil)
	for _, f := range faulty {
		r.accounts(t, f)
	}
	made := len(r.releases(t)) - r.base
	if made < 0 || made > 1 || made == 0 && len(faulty) == 1 && faulty[0].Code == exitDone {
		t.Errorf("I1: the faulty run made %d releases; exit code %d", made, faulty[0].Code)
	}
	source := snapshot(t, r.dir)

	again := r.start(t, applyArgs...).wait(t, timely)
	r.accounts(t, again)
	if again.Code != exitDone {
		t.Fatalf("I1: the next apply: exit code %d\n%s%s", again.Code, again.Out, again.Err)
	}
	if made = len(r.releases(t)) - r.base; made != 1 {
		t.Errorf("I1: after the next apply there are %d new releases, not one", made)
	}

	r.forget(nil)
	done := r.apply(t, r.dir, applyArgs...)
	if done.Changed {
		t.Error("I3: one more apply says that it changed something")
	}
	if n := r.count(postReleases) + r.count(postSlugs) + r.count("POST /apps"); n != 0 {
		t.Errorf("I3: one more apply sent %d POSTs", n)
	}
	r.live(t, done)
	r.sound(t)
	r.keepsSecrets(t)
	if d := cmp.Diff(source, snapshot(t, r.dir)); d != "" {
		t.Errorf("I4: the app's directory was changed (-before +after):\n%s", d)
	}
	r.leavesNoProcess(t)
	r.awaitQuiet()
	if last := len(r.releases(t)) - r.base; last != made {
		t.Errorf("I1: a release came late: %d new ones, not %d", last, made)
	}
	r.row.holds("I1")
	r.row.add(func(f *faultRow) {
		f.runs += max(1, len(faulty))
		f.changes++
		f.releases += made
	})
	r.base += max(made, 1)
	return done
}

// timely is how long a run may take on a machine that is busy with others, and may have to wait
// for a lost release before it goes on.
const timely = time.Minute

// accounts looks at one run by itself: its exit code, its last word, and its secrets.
func (r *rig) accounts(t testing.TB, f result) {
	t.Helper()
	if !slices.Contains(documented, f.Code) {
		t.Errorf("I5: exit code %d is not a documented one\n%s", f.Code, f.Err)
	}
	r.hides(t, "I4: a run", f.Out+f.Err)
	for _, mess := range []string{"panic:", "goroutine ", "WARNING: DATA RACE"} {
		if strings.Contains(f.Err, mess) {
			t.Errorf("I5: slugfile fell over:\n%s", f.Err)
		}
	}
	if f.Code <= 0 {
		return
	}
	lines := strings.Split(strings.TrimSpace(f.Out), "\n")
	var last struct {
		Type, Message, Hint string
		ExitCode            int `json:"exit_code"`
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || last.Type != "error" || last.Message == "" || last.ExitCode != f.Code {
		t.Errorf("I5: exit code %d, and the last line does not say why (%v): %s\n%s", f.Code, err, lines[len(lines)-1], f.Err)
	}
	if !strings.Contains(f.Err, name+": ") || !strings.Contains(f.Err, "hint: ") && last.Hint == "" {
		t.Errorf("I5: exit code %d, and it is not told what went wrong and what to do:\n%s", f.Code, f.Err)
	}
}

// signature finds the query of a signed address.
var signature = regexp.MustCompile(`Signature=[0-9a-f]`)

// live checks that the live slug is the one that was built, to the byte.
func (r *rig) live(t testing.TB, a applied) {
	t.Helper()
	var current *platform.Release
	for _, rel := range r.releases(t) {
		if rel.Current {
			current = &rel
		}
	}
	if current == nil {
		t.Error("I3: no release is live")
		return
	}
	slug, err := r.client.Slug(context.Background(), "faulty", current.Slug.ID)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodGet, slug.Blob.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("User-Agent", inspector)
	c := http.Client{Transport: &http.Transport{}}
	defer c.CloseIdleConnections()
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	blob, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("GET blob: %s, %v", res.Status, err)
	}
	got := fmt.Sprintf("SHA256:%x", hash(blob))
	if slug.Checksum == nil || got != *slug.Checksum || got != a.Slug.Checksum || a.Release.Version != current.Version {
		t.Errorf("I3: v%d is live with the bytes %s; apply says v%d with %s, the platform %v", current.Version, got, a.Release.Version, a.Slug.Checksum, slug.Checksum)
	}
	r.row.holds("I3")
	z, err := gzip.NewReader(bytes.NewReader(blob))
	if err != nil {
		t.Fatal(err)
	}
	files, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	r.hides(t, "I4: the released slug", string(files))
}

// maxJournal is how large the journal of an app may be after a run that ended well.
const maxJournal = 64 << 10

// sound checks what is kept on this machine: every file hashes to its name, every tree is
// whole, and no leftover stays.
func (r *rig) sound(t testing.TB) {
	t.Helper()
	cache := filepath.Join(r.Env["XDG_CACHE_HOME"], name)
	err := filepath.WalkDir(filepath.Join(cache, "sha256"), func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		if got := fmt.Sprintf("%x", hash(b)); got != d.Name() {
			t.Errorf("I2: the store holds %s under the name %s", got, d.Name())
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	left, err := os.ReadDir(filepath.Join(cache, "ingest"))
	if err != nil {
		t.Error(err)
	}
	for _, e := range left {
		t.Errorf("I2: a leftover stays in the store: %s", e.Name())
	}
	st, err := store.Open(cache)
	if err != nil {
		t.Fatal(err)
	}
	trees, err := filepath.Glob(filepath.Join(cache, "trees", "*", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range trees {
		kind := filepath.Base(filepath.Dir(filepath.Dir(dir)))
		key, err := digest.Parse(filepath.Base(dir))
		if err != nil {
			t.Errorf("I2: the store has a tree %s: %v", dir, err)
			continue
		}
		if err := wholeTree(t.Context(), st, kind, key); err != nil {
			t.Errorf("I2: the stored tree %s %s is not whole: %v", kind, key.Short(), err)
		}
	}
	err = filepath.WalkDir(r.Env["HOME"], func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if disk.IsTemp(d.Name()) {
			t.Errorf("I2: a leftover stays: %s", p)
		}
		if info, err := d.Info(); err == nil && strings.HasPrefix(d.Name(), "journal") && info.Size() > maxJournal {
			t.Errorf("I2: %s has %d bytes", p, info.Size())
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	r.row.holds("I2")
}

// wholeTree reads a stored tree. One of the kind pack is a single file that holds what its
// manifest lists.
func wholeTree(ctx context.Context, st *store.Store, kind string, key digest.Digest) error {
	if kind != "pack" {
		_, _, ok, err := st.VerifyTree(ctx, kind, key)
		if err == nil && !ok {
			err = store.ErrNotFound
		}
		return err
	}
	dir, m, ok, err := st.Tree(kind, key)
	if err != nil || !ok {
		return errors.Join(err, store.ErrNotFound)
	}
	f, err := os.Open(filepath.Join(dir, "pack"))
	if err != nil {
		return err
	}
	defer f.Close()
	offsets, err := unpack.Offsets(f, m)
	if err != nil {
		return err
	}
	for i, e := range m {
		if e.Kind != tree.File {
			continue
		}
		h := digest.New()
		if _, err := io.Copy(h, io.NewSectionReader(f, offsets[i], e.Size)); err != nil {
			return err
		}
		if got := digest.Sum(h); got != e.Digest {
			return fmt.Errorf("%s has the digest %s, not %s", e.Path, got, e.Digest)
		}
	}
	return nil
}

// keepsSecrets looks for secrets in all that slugfile has written.
func (r *rig) keepsSecrets(t testing.TB) {
	t.Helper()
	home := r.Env["HOME"]
	for _, e := range entries(t, home) {
		if !slices.Contains([]string{"cache", "state", "data"}, e) {
			t.Errorf("I4: something was written beside cache, state and data: %s", e)
		}
	}
	for _, e := range entries(t, r.Env["TMPDIR"]) {
		t.Errorf("I4: something was left in TMPDIR: %s", e)
	}
	searched(t, home, func(path string, text []byte) { r.hides(t, "I4: "+path, string(text)) })
	r.row.holds("I4")
}

func entries(t testing.TB, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

// leftProcesses waits for every process of this world to end and describes those that do not.
// They are known by the world's directory: slugfile has it in its environment, and what runs
// in a sandbox has it among its mounts or as its working directory.
func (r *rig) leftProcesses() []string {
	self := strconv.Itoa(os.Getpid())
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		var left []string
		dirs, err := os.ReadDir("/proc")
		if err != nil {
			return []string{err.Error()}
		}
		for _, d := range dirs {
			if _, err := strconv.Atoi(d.Name()); err != nil || d.Name() == self {
				continue
			}
			proc := filepath.Join("/proc", d.Name())
			var text []byte
			for _, file := range []string{"environ", "cmdline", "mountinfo"} {
				b, _ := os.ReadFile(filepath.Join(proc, file)) // it may have ended, or be somebody else's
				text = append(text, b...)
			}
			cwd, _ := os.Readlink(filepath.Join(proc, "cwd")) // likewise
			if bytes.Contains(append(text, cwd...), []byte(r.Env["HOME"])) {
				cmdline, _ := os.ReadFile(filepath.Join(proc, "cmdline"))
				left = append(left, d.Name()+" "+strings.ReplaceAll(string(cmdline), "\x00", " "))
			}
		}
		if len(left) == 0 || time.Now().After(end) {
			return left
		}
	}
}

// leavesNoProcess waits for all processes of this world to end.
func (r *rig) leavesNoProcess(t testing.TB) {
	t.Helper()
	if left := r.leftProcesses(); len(left) > 0 {
		t.Errorf("I5: processes are left: %q", left)
	}
	r.row.holds("I5")
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
