package archive_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/config"
	"github.com/slugfile/slugfile/pipeline/archive"
	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/event"
	"github.com/slugfile/slugfile/pipeline/pipetest"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/slug"
	"github.com/slugfile/slugfile/pipeline/store"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// recorder keeps events and may do something on one.
type recorder struct {
	mu     sync.Mutex
	events []event.Event
	on     func(event.Event)
}

func (r *recorder) Emit(e event.Event) {
	r.mu.Lock()
	r.events = append(r.events, e)
	r.mu.Unlock()
	if r.on != nil {
		r.on(e)
	}
}

// types lists what happened, progress aside.
func (r *recorder) types() string {
	var out []string
	for _, e := range r.events {
		if _, ok := e.(event.Progress); !ok {
			out = append(out, e.Type())
		}
	}
	return strings.Join(out, " ")
}

func newStage(t *testing.T) (*archive.Stage, *recorder) {
	t.Helper()
	st, err := store.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{}
	return &archive.Stage{Store: st, Sink: r}, r
}

// source makes a source tree of files, as pipetest.Files does.
func source(t *testing.T, files map[string]string) artifact.Tree {
	t.Helper()
	return artifact.Tree{Source: look(t, pipetest.Files(t, files))}
}

func look(t *testing.T, root string) artifact.Source {
	t.Helper()
	m, err := tree.Scan(context.Background(), root, tree.ScanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return artifact.Source{Dir: root, Tree: m}
}

var key = digest.Of([]byte("plan"))

// empty fails when anything but directories is left in the store.
func empty(t *testing.T, s *archive.Stage) {
	t.Helper()
	probe, err := s.Store.Create()
	if err != nil {
		t.Fatal(err)
	}
	defer probe.Close()
	var kept artifact.Slug
	if ok, err := s.Store.GetRef("slug", key.String(), &kept); ok || err != nil {
		t.Errorf("a slug is remembered: %+v, %v", kept, err)
	}
	if err := filepath.WalkDir(filepath.Dir(filepath.Dir(s.Store.Path(key))), func(p string, d fs.DirEntry, err error) error {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err == nil && !d.IsDir() {
			t.Errorf("%s is left in the store", p)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestRun_putsTheSlugIntoTheStoreAndRemembersIt(t *testing.T) {
	t.Parallel()
	s, r := newStage(t)
	in := source(t, map[string]string{"web.js": "serve()", "*bin/run": "#!/bin/sh\n"})
	got, err := s.Run(context.Background(), plan.Archive{Key: key, Level: "default", Epoch: 1, Limit: 1e6}, in)
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.Store.Open(got.Digest)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := slug.Manifest(f)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in.Source.Tree, m); diff != "" {
		t.Errorf("slug (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(in.Source.Tree, slug.Tree(got.Members)); diff != "" {
		t.Errorf("tree (-want +got):\n%s", diff)
	}
	if got.Path != s.Store.Path(got.Digest) || got.PlanKey != key || got.Size == 0 || got.TarSize == 0 {
		t.Errorf("slug is %+v", got)
	}
	var kept artifact.Slug
	if ok, err := s.Store.GetRef("slug", key.String(), &kept); !ok || err != nil {
		t.Fatalf("the slug is not remembered: %v", err)
	}
	want := got
	want.Members = nil
	if diff := cmp.Diff(want, kept); diff != "" {
		t.Errorf("remembered (-want +got):\n%s", diff)
	}
	if r.types() != "task_started task_finished" {
		t.Errorf("events: %s", r.types())
	}
	end, ok := r.events[len(r.events)-1].(event.TaskFinished)
	if !ok || end.Bytes != got.Size || end.Subject != "slug" || end.Stage != event.Archive {
		t.Errorf("last event is %+v", r.events[len(r.events)-1])
	}
	last, ok := r.events[len(r.events)-2].(event.Progress)
	if !ok || last.Done != got.TarSize || last.Total != got.TarSize {
		t.Errorf("last progress is %+v", r.events[len(r.events)-2])
	}
}

func TestRun_layoutAndSlugAgreeOnTheOrder(t *testing.T) {
	t.Parallel()
	src := source(t, map[string]string{"a/b": "1", "a.b": "2", "shared/x": "same", "node/extra": "3"})
	if err := os.Symlink("/app/a/b", filepath.Join(src.Source.Dir, "shared/link")); err != nil {
		t.Fatal(err)
	}
	src.Source = look(t, src.Source.Dir)
	out := source(t, map[string]string{"node_modules/m/index.js": "4", "shared/x": "same"})
	rt := source(t, map[string]string{"*bin/node": "5"})
	in := artifact.Tree{
		Source:   src.Source,
		Outputs:  []artifact.Output{{Step: "install", Dir: out.Source.Dir, Tree: out.Source.Tree}},
		Runtimes: []artifact.Runtime{{Name: "node", Into: "node", Dir: rt.Source.Dir, Tree: rt.Source.Tree}},
	}
	for _, files := range [][]config.FileEntry{nil, {{From: ".", Into: "."}, {Into: "bin/start", Content: "#!/bin/sh\n", Mode: "0755"}}} {
		laid, err := plan.Layout(files, in)
		if err != nil {
			t.Fatal(err)
		}
		arranged, err := slug.Arrange(laid)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(laid, arranged); diff != "" {
			t.Errorf("plan.Layout and slug.Arrange differ (-layout +arrange):\n%s", diff)
		}
	}
}

func TestRun_theRecordIsOfWhatTheSlugHolds(t *testing.T) {
	t.Parallel()
	s, _ := newStage(t)
	in := source(t, map[string]string{"lib/a.js": "1", "bin/x": "2"})
	for name, target := range map[string]string{"current": "/app/lib", "lib/self": "/app/lib/../lib/a.js", "bin/b.js": "../lib/a.js"} {
		if err := os.Symlink(target, filepath.Join(in.Source.Dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	in.Source = look(t, in.Source.Dir)
	out, err := s.Run(context.Background(), plan.Archive{Key: key}, in)
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.Store.Open(out.Digest)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	holds, err := slug.Manifest(f)
	if err != nil {
		t.Fatal(err)
	}
	record := plan.NewRecord(plan.Inputs{File: &config.File{}, Source: in.Source}, "heroku-24", out, in)
	if diff := cmp.Diff(holds, record.Tree); diff != "" {
		t.Errorf("the record differs from the slug (-slug +record):\n%s", diff)
	}
	if e, ok := record.Tree.Find("lib/self"); !ok || e.Target != "a.js" {
		t.Errorf("lib/self is %+v", e)
	}
}

func TestRun_refusesAboveTheLimitAndNamesTheLargest(t *testing.T) {
	t.Parallel()
	s, r := newStage(t)
	files := map[string]string{"odd\nname": strings.Repeat("o", 150)}
	noise := make([]byte, 2<<20) // as good as random for deflate
	for i, x := 0, uint64(1); i < len(noise); i++ {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		noise[i] = byte(x)
	}
	files["vendor/huge.bin"] = string(noise)
	for i := range 12 {
		files[fmt.Sprintf("f%02d", i)] = strings.Repeat("x", 100+i)
	}
	in := source(t, files)
	_, err := s.Run(context.Background(), plan.Archive{Key: key, Limit: 1_000_000}, in)
	var large *archive.TooLargeError
	if !errors.As(err, &large) {
		t.Fatalf("error is %v", err)
	}
	if large.Limit != 1_000_000 || len(large.Largest) != 10 || large.Largest[0].Path != "vendor/huge.bin" || large.Largest[2].Path != "f11" || large.Largest[9].Path != "f04" {
		t.Errorf("error is %+v", large)
	}
	for _, want := range []string{"limits.slug (1.0 MB)", "\n     2.1 MB  vendor/huge.bin\n", `"odd\nname"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
	if r.types() != "task_started task_failed" {
		t.Errorf("events: %s", r.types())
	}
	empty(t, s)

	// The limit is for the slug, not for what goes into it.
	if _, err := s.Run(context.Background(), plan.Archive{Key: key, Limit: 1000}, source(t, map[string]string{"zeros": strings.Repeat("0", 1<<19)})); err != nil {
		t.Errorf("half a MiB of zeros: %v", err)
	}
}

func TestRun_aSlugOfExactlyTheLimitIsAllowed(t *testing.T) {
	t.Parallel()
	s, _ := newStage(t)
	in := source(t, map[string]string{"a": "content"})
	free, err := s.Run(context.Background(), plan.Archive{Key: key}, in)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Run(context.Background(), plan.Archive{Key: key, Limit: free.Size}, in); err != nil {
		t.Errorf("limit %d: %v", free.Size, err)
	}
	var large *archive.TooLargeError
	if _, err := s.Run(context.Background(), plan.Archive{Key: key, Limit: free.Size - 1}, in); !errors.As(err, &large) {
		t.Errorf("limit %d: error is %v", free.Size-1, err)
	}
}

func TestRun_refusesASparseFileBeforeItReadsIt(t *testing.T) {
	t.Parallel()
	s, _ := newStage(t)
	in := source(t, map[string]string{"hole": "", "web.js": "x"})
	name := filepath.Join(in.Source.Dir, "hole")
	if err := os.Truncate(name, 64<<20); err != nil {
		t.Fatal(err)
	}
	in.Source = look(t, in.Source.Dir)
	var large *archive.TooLargeError
	_, err := s.Run(context.Background(), plan.Archive{Key: key, Limit: 50_000_000}, in)
	if !errors.As(err, &large) || large.Largest[0].Path != "hole" {
		t.Fatalf("error is %v", err)
	}
	if large.Why != "sparse files count in full, and they are 67.1 MB" {
		t.Skipf("this file system made no hole: %v", err)
	}
	empty(t, s)
}

func TestRun_refusesWhatNoCompressionSaves(t *testing.T) {
	t.Parallel()
	s, _ := newStage(t)
	e := tree.Entry{Path: "big", Kind: tree.File, Size: 3 << 30, Digest: key}
	in := artifact.Tree{Source: artifact.Source{Dir: "/nowhere", Tree: tree.Manifest{e}}}
	var large *archive.TooLargeError
	if _, err := s.Run(context.Background(), plan.Archive{Key: key, Limit: 1_000_000}, in); !errors.As(err, &large) || !strings.Contains(err.Error(), "no compression") {
		t.Errorf("error is %v", err)
	}
	in.Source.Tree[0].Size = 17 << 30
	if _, err := s.Run(context.Background(), plan.Archive{Key: key}, in); !errors.As(err, &large) || !strings.Contains(err.Error(), "unpacked") || strings.Contains(err.Error(), "limits.slug") {
		t.Errorf("without a limit: error is %v", err)
	}
}

func TestRun_looksTwiceAtAFileThatChanges(t *testing.T) {
	t.Parallel()
	s, r := newStage(t)
	in := source(t, map[string]string{"a": "planned", "b": "other"})
	name := filepath.Join(in.Source.Dir, "a")
	if err := os.WriteFile(name, []byte("halfway"), 0o644); err != nil {
		t.Fatal(err)
	}
	r.on = func(e event.Event) {
		if _, ok := e.(event.Retry); ok {
			if err := os.WriteFile(name, []byte("planned"), 0o644); err != nil {
				t.Error(err)
			}
		}
	}
	got, err := s.Run(context.Background(), plan.Archive{Key: key}, in)
	if err != nil {
		t.Fatal(err)
	}
	if r.types() != "task_started retry task_finished" {
		t.Errorf("events: %s", r.types())
	}
	f, err := s.Store.Open(got.Digest)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if m, err := slug.Manifest(f); err != nil || !cmp.Equal(m, in.Source.Tree) {
		t.Errorf("the slug holds %v, %v", m, err)
	}
}

func TestRun_givesUpOnAFileThatStaysChanged(t *testing.T) {
	t.Parallel()
	s, r := newStage(t)
	in := source(t, map[string]string{"a": "planned"})
	if err := os.WriteFile(filepath.Join(in.Source.Dir, "a"), []byte("CHANGED"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := s.Run(context.Background(), plan.Archive{Key: key}, in)
	var moved *slug.ChangedError
	if !errors.As(err, &moved) || !strings.Contains(err.Error(), "run slugfile again") {
		t.Errorf("error is %v", err)
	}
	if r.types() != "task_started retry task_failed" {
		t.Errorf("events: %s", r.types())
	}
	empty(t, s)
}

func TestRun_stopsWhenTheContextEnds(t *testing.T) {
	t.Parallel()
	s, r := newStage(t)
	ctx, cancel := context.WithCancel(context.Background())
	r.on = func(e event.Event) {
		if _, ok := e.(event.Progress); ok {
			cancel()
		}
	}
	if _, err := s.Run(ctx, plan.Archive{Key: key}, source(t, map[string]string{"a": "x"})); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	empty(t, s)
}

func TestRun_warnsOfMaskedBitsAndTwins(t *testing.T) {
	t.Parallel()
	s, r := newStage(t)
	in := source(t, map[string]string{"*su": "x", "caf\u00e9/menu": "1", "cafe\u0301/menu": "2", "na\u00efve": "3"})
	if len(in.Source.Tree) != 6 {
		t.Skip("this file system folds Unicode forms")
	}
	if err := os.Chmod(filepath.Join(in.Source.Dir, "su"), 0o755|fs.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	made, err := s.Run(context.Background(), plan.Archive{Key: key}, in)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Check(context.Background(), plan.Archive{Key: key}, made); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range r.events {
		if w, ok := e.(event.Warning); ok {
			got = append(got, w.Message)
			if w.Hint == "" || w.Stage != event.Archive || w.Subject == "" {
				t.Errorf("incomplete warning %+v", w)
			}
		}
	}
	want := []string{
		`it has mode urwxr-xr-x; the slug has it without the setuid, setgid and sticky bits`,
		`"cafe\u0301" and "caf\u00e9" look the same: they differ only in their Unicode form`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

func TestRun_namesBothEntriesOfAConflict(t *testing.T) {
	t.Parallel()
	s, _ := newStage(t)
	in := source(t, map[string]string{"x": "source"})
	out := source(t, map[string]string{"x": "output"})
	in.Outputs = []artifact.Output{{Step: "bundle", Dir: out.Source.Dir, Tree: out.Source.Tree}}
	var conflict *plan.ConflictError
	if _, err := s.Run(context.Background(), plan.Archive{Key: key}, in); !errors.As(err, &conflict) || !strings.Contains(err.Error(), "step bundle") || !strings.Contains(err.Error(), "source") {
		t.Errorf("error is %v", err)
	}
}

func made(t *testing.T) (*archive.Stage, artifact.Slug, []byte) {
	t.Helper()
	s, _ := newStage(t)
	out, err := s.Run(context.Background(), plan.Archive{Key: key}, source(t, map[string]string{"a": "x"}))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out.Path)
	if err != nil {
		t.Fatal(err)
	}
	return s, out, b
}

func TestExport_replacesAFileWhole(t *testing.T) {
	t.Parallel()
	s, out, want := made(t)
	dir := t.TempDir()
	to := filepath.Join(dir, "slug.tgz")
	alias := filepath.Join(dir, "alias.tgz")
	if err := os.Symlink("slug.tgz", alias); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{to, to, alias} {
		if err := archive.Export(context.Background(), s.Store, out, name); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(to); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: other bytes, %v", name, err)
		}
	}
	if fi, err := os.Lstat(alias); err != nil || fi.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link was replaced: %v", err)
	}
	fi, err := os.Stat(to)
	if err != nil {
		t.Fatal(err)
	}
	if fi.Mode().Perm()&0o200 == 0 {
		t.Errorf("the copy has mode %s: its owner cannot change it", fi.Mode())
	}
	names(t, dir, "alias.tgz slug.tgz")
}

func names(t *testing.T, dir, want string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range list {
		got = append(got, d.Name())
	}
	if strings.Join(got, " ") != want {
		t.Errorf("directory holds %v, want %s", got, want)
	}
}

func TestExport_leavesNothingBehindWhenItCannot(t *testing.T) {
	t.Parallel()
	s, out, _ := made(t)
	dir := t.TempDir()
	if err := archive.Export(context.Background(), s.Store, out, dir); err == nil || !strings.Contains(err.Error(), "name a file") {
		t.Errorf("to a directory: error is %v", err)
	}
	if err := archive.Export(context.Background(), s.Store, out, os.DevNull); err == nil || !strings.Contains(err.Error(), "name a file") {
		t.Errorf("to a device: error is %v", err)
	}
	if err := archive.Export(context.Background(), s.Store, out, filepath.Join(dir, "no", "slug.tgz")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("to no directory: error is %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := archive.Export(ctx, s.Store, out, filepath.Join(dir, "slug.tgz")); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: error is %v", err)
	}
	if err := s.Store.Remove(out.Digest); err != nil {
		t.Fatal(err)
	}
	if err := archive.Export(context.Background(), s.Store, out, filepath.Join(dir, "slug.tgz")); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("without the slug: error is %v", err)
	}
	names(t, dir, "")
}

func TestRun_tellsProgressAFewTimesASecond(t *testing.T) {
	t.Parallel()
	s, r := newStage(t)
	files := map[string]string{}
	for i := range 40 {
		files[fmt.Sprintf("f%02d", i)] = strings.Repeat(fmt.Sprintln("line", i), 40_000)
	}
	began := time.Now()
	if _, err := s.Run(context.Background(), plan.Archive{Key: key, Level: "fast"}, source(t, files)); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range r.events {
		if _, ok := e.(event.Progress); ok {
			n++
		}
	}
	if most := int(time.Since(began)/(200*time.Millisecond)) + 3; n < 2 || n > most {
		t.Errorf("%d progress events, want 2 to %d", n, most)
	}
}
