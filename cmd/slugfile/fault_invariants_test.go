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
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/disk"
	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/store"
	"github.com/slugfile/slugfile/pipeline/tree"
	"github.com/slugfile/slugfile/pipeline/unpack"
)

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
