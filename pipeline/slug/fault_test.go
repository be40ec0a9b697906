package slug_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/pipetest"
	"github.com/slugfile/slugfile/pipeline/slug"
)

// sparse is n, and 1 with SLUGFILE_LONG=1: of many cases every n-th is looked at. Under the race
// detector they are fewer still.
func sparse(n int) int {
	switch {
	case os.Getenv("SLUGFILE_LONG") == "1":
		return 1
	case raceDetector:
		return 11 * n
	}
	return n
}

// easy is a tree of four segments, a file each, that compress at once. The hashes of their paths
// let each begin a segment.
func easy() []artifact.Member {
	var ms []artifact.Member
	for i := range 4 {
		ms = append(ms, file(fmt.Sprintf("a3/%d", i), bytes.Repeat(fmt.Appendf(nil, "line %d\n", i), 135_000/7), artifact.LayerSource))
	}
	return ms
}

// changed is ms with another file i.
func changed(ms []artifact.Member, i int) []artifact.Member {
	ms = slices.Clone(ms)
	b := slices.Clone(ms[i].Content)
	b[len(b)/2] ^= 1
	ms[i] = file(ms[i].Path, b, ms[i].Layer)
	return ms
}

// An index that says something else than it did, and that nothing but its own sums betrays: the
// slug is right all the same, or it is an error, or its digest is not that of its bytes,
// so that whoever opens it in the store finds out.
func TestWrite_noIndexMakesAWrongSlugThatLooksRight(t *testing.T) {
	t.Parallel()
	ms := easy()
	_, whole := packed(t, ms)
	text, err := whole.Index.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	type edited struct {
		what string
		ms   []artifact.Member
		want []byte
	}
	var cases []edited
	for what, now := range map[string][]artifact.Member{"nothing": ms, "early": changed(ms, 0), "late": changed(ms, 3)} {
		cases = append(cases, edited{what, now, pack(t, now, slug.Options{})})
	}
	seen := map[string]int{}
	for at := range text {
		b := slices.Clone(text)
		b[at] ^= 1 << (at % 8)
		index, err := slug.ParseIndex(b)
		if err != nil {
			seen["refused"]++
			continue
		}
		cached := slug.Cached{Index: index, File: whole.File}
		if cached.Check() != nil {
			seen["does not fit"]++
			continue
		}
		for i, c := range cases {
			if n := sparse(3); at%n != i%n {
				continue
			}
			draft, err := slug.New(c.ms, slug.Options{Epoch: epoch, Workers: 2, Cache: []slug.Cached{cached}})
			if err != nil {
				t.Fatal(err)
			}
			if same, ok := draft.Same(); ok && same.Index.Slug == digest.Of(c.want) {
				seen["the same slug"]++
				continue
			}
			out := &copier{}
			r, err := draft.Write(context.Background(), out)
			var damaged *slug.CacheError
			switch {
			case errors.As(err, &damaged):
				seen["noticed"]++
			case err != nil:
				t.Fatalf("byte %d, %s: %v", at, c.what, err)
			case r.Digest != digest.Of(out.Bytes()):
				seen["another digest"]++
			case !bytes.Equal(out.Bytes(), c.want):
				t.Fatalf("byte %d, %s: a wrong slug of %d bytes looks right", at, c.what, out.Len())
			default:
				seen["right"]++
			}
		}
	}
	if raceDetector {
		return // not every kind of damage is among the few
	}
	for _, what := range []string{"refused", "does not fit", "the same slug", "noticed", "another digest", "right"} {
		if seen[what] == 0 {
			t.Errorf("no damage is %q: %v", what, seen)
		}
	}
}

// Any byte of the earlier slug: what was copied behind the first change is looked at, and what
// was copied in front of it betrays itself by its digest.
func TestWrite_noDamageOfAnEarlierSlugLooksRight(t *testing.T) {
	t.Parallel()
	ms := easy()
	b, whole := packed(t, ms)
	early, late := changed(ms, 0), changed(ms, 3)
	wantEarly, wantLate := pack(t, early, slug.Options{}), pack(t, late, slug.Options{})
	name := filepath.Join(t.TempDir(), "damaged")
	noticed := 0
	write := func(ms []artifact.Member, bad []byte) (slug.Result, []byte, error) {
		if err := os.WriteFile(name, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var out bytes.Buffer // not a Copier, for a change
		r, err := slug.Write(context.Background(), &out, ms, slug.Options{Epoch: epoch, Workers: 1, Cache: []slug.Cached{{Index: whole.Index, File: f}}})
		return r, out.Bytes(), err
	}
	hold := func(what string, r slug.Result, got, want []byte, err error) {
		t.Helper()
		var damaged *slug.CacheError
		switch {
		case errors.As(err, &damaged):
			if damaged.Slug != whole.Index.Slug {
				t.Errorf("%s: the error names slug %s", what, damaged.Slug)
			}
			noticed++
		case err != nil:
			t.Errorf("%s: %v", what, err)
		case r.Digest == digest.Of(got) && !bytes.Equal(got, want):
			t.Errorf("%s: a wrong slug looks right", what)
		}
	}
	step := sparse(5)
	for at := 0; at < len(b); at += step {
		bad := slices.Clone(b)
		bad[at] ^= 0x10
		r, got, err := write(early, bad)
		hold(fmt.Sprintf("early change, byte %d", at), r, got, wantEarly, err)
		r, got, err = write(late, bad)
		hold(fmt.Sprintf("late change, byte %d", at), r, got, wantLate, err)
		r, got, err = write(early, b[:at])
		hold(fmt.Sprintf("early change, cut at %d", at), r, got, wantEarly, err)
		r, got, err = write(late, b[:at])
		hold(fmt.Sprintf("late change, cut at %d", at), r, got, wantLate, err)
	}
	if noticed < len(b)/step {
		t.Errorf("only %d faults were noticed", noticed)
	}
}

// pieces is a directory with a file of several segments between small ones.
func pieces(t testing.TB, size int) (root string, ms []artifact.Member) {
	t.Helper()
	root = pipetest.Files(t, map[string]string{"a": "first", "long": strings.Repeat("long line\n", size/10), "z": "last"})
	return root, members(t, root, artifact.LayerSource)
}

// A file is changed when its first piece is written and the last is not read yet.
func TestWrite_aLongFileThatChangesWhileItIsRead(t *testing.T) {
	t.Parallel()
	const size = 12 << 20
	flip := func(off int64) func(name string) error {
		return func(name string) error {
			f, err := os.OpenFile(name, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte("X"), off)
			return errors.Join(err, f.Close())
		}
	}
	other := func(name string) error { return os.WriteFile(name+".new", []byte("other"), 0o644) }
	for _, c := range []struct {
		what   string
		change func(name string) error
		moved  bool
	}{
		{"what was read already is other", flip(10), false},
		{"the middle is other", flip(size / 2), true},
		{"the last piece is other", flip(size - 30), true},
		{"grown", func(name string) error { return os.Truncate(name, size+1) }, true},
		{"shorter by a byte", func(name string) error { return os.Truncate(name, size-11) }, true},
		{"cut in the middle", func(name string) error { return os.Truncate(name, size/2) }, true},
		{"emptied", func(name string) error { return os.Truncate(name, 0) }, true},
		{"removed", os.Remove, false},
		{"chmodded", func(name string) error { return os.Chmod(name, 0o755) }, false},
		{"replaced", func(name string) error { return errors.Join(other(name), os.Rename(name+".new", name)) }, false},
		{"replaced by a link", func(name string) error { return errors.Join(os.Remove(name), os.Symlink("a", name)) }, false},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			root, ms := pieces(t, size)
			want := pack(t, ms, slug.Options{Level: slug.LevelFast})
			once := false
			var changeErr error
			var b bytes.Buffer
			r, err := slug.Write(context.Background(), &b, ms, slug.Options{Level: slug.LevelFast, Epoch: epoch, Workers: 1, Progress: func(done, _ int64) {
				if done > 0 && !once {
					once = true
					changeErr = c.change(root + "/long")
				}
			}})
			if changeErr != nil || !once {
				t.Fatalf("it was not changed: %v", changeErr)
			}
			var moved *slug.ChangedError
			switch {
			case errors.As(err, &moved):
				if !c.moved || moved.Path != root+"/long" {
					t.Errorf("error is %v", err)
				}
			case err != nil:
				t.Errorf("error is %v", err)
			case c.moved:
				t.Error("it was not noticed")
			case !bytes.Equal(b.Bytes(), want) || r.Digest != digest.Of(want):
				t.Error("the slug is not the one that was planned")
			}
		})
	}
}

// What lies in a cached slug is not read: whatever became of the files, the slug is the one
// that was planned. Of the segment before one that is read, the last 32 KiB are.
func TestWrite_aCleanSegmentIsAsItWasPlanned(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(9, 9))
	files := map[string]string{}
	for i := range 60 {
		files[fmt.Sprintf("f%02d", i)] = string(content(random, 20_000))
	}
	root := pipetest.Files(t, files)
	_, before := packed(t, members(t, root, artifact.LayerSource))
	// The last file of all changes, and it alone is planned to.
	if err := os.WriteFile(root+"/f59", content(random, 20_000), 0o644); err != nil {
		t.Fatal(err)
	}
	ms := members(t, root, artifact.LayerSource)
	want := pack(t, ms, slug.Options{})
	var ended, window int
	for i := 58; i >= 0; i-- {
		name := filepath.Join(root, fmt.Sprintf("f%02d", i))
		was, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for what, change := range map[string]func() error{
			"its end is other": func() error { return os.WriteFile(name, append(slices.Clone(was[:len(was)-1]), '?'), 0o644) },
			"gone":             func() error { return os.Remove(name) },
		} {
			if err := change(); err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			_, err := slug.Write(context.Background(), &b, ms, slug.Options{Epoch: epoch, Cache: []slug.Cached{before}})
			var moved *slug.ChangedError
			switch {
			case errors.As(err, &moved):
				if moved.Path != name {
					t.Errorf("f%02d, %s: error is %v", i, what, err)
				}
				window++
			case err != nil:
				t.Errorf("f%02d, %s: %v", i, what, err)
			case !bytes.Equal(b.Bytes(), want):
				t.Errorf("f%02d, %s: the slug is not the one that was planned", i, what)
			default:
				ended++
			}
			if err := os.WriteFile(name, was, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	// The dirty segment and the window before it, and the rest.
	if window < 4 || window > 100 || ended < 10 {
		t.Errorf("%d changes were noticed, %d did not matter", window, ended)
	}
}

// openBelow counts the files below a directory that this process has open.
func openBelow(t testing.TB, dir string) (n int) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("this system does not tell what is open: %v", err)
	}
	for _, fd := range fds {
		if name, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(name, dir+"/") {
			n++
		}
	}
	return n
}

// slow is a writer that takes its time, and may fail.
type slow struct {
	pause time.Duration
	left  int
}

func (s *slow) Write(p []byte) (int, error) {
	time.Sleep(s.pause)
	if s.left -= len(p); s.left < 0 {
		return 0, errDisk
	}
	return len(p), nil
}

// Copy makes a slow a slug.Copier.
func (s *slow) Copy(_ *os.File, _, n int64) error {
	_, err := s.Write(make([]byte, n))
	return err
}

// Whatever ends it, and wherever: it returns, says why, and leaves no file open.
func TestWrite_endsAtAnyFault(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(10, 10))
	root := pipetest.Files(t, map[string]string{})
	for i := range 40 {
		if err := os.WriteFile(fmt.Sprintf("%s/f%02d", root, i), content(random, 30_000), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(root+"/f20", content(random, 2_000_000), 0o644); err != nil {
		t.Fatal(err)
	}
	_, whole := packed(t, members(t, root, artifact.LayerSource))
	cutName := save(t, nil)
	cut, err := os.Open(cutName)
	if err != nil {
		t.Fatal(err)
	}
	defer cut.Close()
	if err := os.WriteFile(root+"/f00", content(random, 31_000), 0o644); err != nil {
		t.Fatal(err)
	}
	ms := members(t, root, artifact.LayerSource)
	why := errors.New("interrupted")
	runs := 60
	if raceDetector {
		runs = 12
	}
	for n := range runs {
		what := fmt.Sprint("run ", n)
		ctx, cancel := context.WithCancelCause(context.Background())
		w := &slow{left: 1 << 30}
		o := slug.Options{Level: slug.LevelFast, Epoch: epoch, Workers: 1 + random.IntN(8)}
		if n%2 == 0 {
			o.Cache = []slug.Cached{whole}
		}
		want := error(nil)
		var damaged *slug.CacheError
		var moved *slug.ChangedError
		ok := func(err error) bool { return errors.Is(err, want) }
		list := ms
		switch n % 6 {
		case 0, 1:
			w.left, want = random.IntN(200_000), errDisk
		case 2:
			o.Cache = []slug.Cached{{Index: whole.Index, File: cut}}
			ok = func(err error) bool { return errors.As(err, &damaged) }
			o.Level = slug.LevelDefault // that of the earlier slug
		case 3:
			list = slices.Clone(ms)
			i := random.IntN(len(list))
			list[i].Digest[3] ^= 1
			ok = func(err error) bool { return errors.As(err, &moved) && moved.Path == list[i].From() }
		case 4, 5:
			after := time.Duration(random.IntN(30)) * time.Millisecond
			w.pause, want = 10*time.Millisecond, why
			time.AfterFunc(after, func() { cancel(why) })
			ok = func(err error) bool { return err == nil || errors.Is(err, why) }
		}
		done := make(chan error, 1)
		go func() {
			_, err := slug.Write(ctx, w, list, o)
			done <- err
		}()
		select {
		case err := <-done:
			if !ok(err) {
				t.Errorf("%s, fault %d: error is %v, want %v", what, n%6, err, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s, fault %d: it does not end", what, n%6)
		}
		cancel(nil)
		if n := openBelow(t, root); n > 0 {
			t.Errorf("%s: %d files are left open", what, n)
		}
	}
}

// A hundred races of a run with somebody who changes one file: the slug is the one that was
// planned, or the error names the file.
func TestWrite_holdsInAHundredRaces(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(rand.Uint64(), 0))
	root, ms := pieces(t, 1_600_000)
	name := root + "/long"
	was, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	want := pack(t, ms, slug.Options{Level: slug.LevelFast})
	_, cached := packed(t, ms[:1])
	var right, moved int
	races := 100
	if raceDetector {
		races = 20
	}
	for n := range races {
		restored := name + ".was"
		if err := errors.Join(os.WriteFile(restored, was, 0o644), os.Rename(restored, name)); err != nil {
			t.Fatal(err)
		}
		kind, off, pause := random.IntN(6), random.Int64N(int64(len(was))), time.Duration(random.IntN(20_000))*time.Microsecond
		done := make(chan error, 1)
		go func() {
			time.Sleep(pause)
			done <- meddle(name, kind, off)
		}()
		var b bytes.Buffer
		o := slug.Options{Level: slug.LevelFast, Epoch: epoch, Workers: 1 + n%3}
		if n%4 == 0 {
			o.Cache = []slug.Cached{cached}
		}
		r, err := slug.Write(context.Background(), &b, ms, o)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		var change *slug.ChangedError
		switch {
		case errors.As(err, &change):
			if change.Path != name {
				t.Errorf("race %d: error is %v", n, err)
			}
			moved++
		case err != nil:
			t.Errorf("race %d: %v", n, err)
		case !bytes.Equal(b.Bytes(), want) || r.Digest != digest.Of(want):
			t.Fatalf("race %d, change %d at %d after %s: the slug is not the one that was planned", n, kind, off, pause)
		default:
			right++
		}
	}
	t.Logf("%d slugs, %d errors", right, moved)
}

// meddle changes a file in one of six ways.
func meddle(name string, kind int, off int64) error {
	write := func(b []byte, off int64) error {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteAt(b, off)
		return errors.Join(err, f.Close())
	}
	switch kind {
	case 0:
		return write([]byte("?"), off)
	case 1:
		return os.Truncate(name, off)
	case 2:
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return err
		}
		_, err = io.WriteString(f, "more")
		return errors.Join(err, f.Close())
	case 3:
		return errors.Join(os.WriteFile(name+".new", []byte("new"), 0o644), os.Rename(name+".new", name))
	case 4:
		return errors.Join(os.Remove(name), os.Symlink("z", name))
	}
	return errors.Join(os.Chmod(name, 0o755), write([]byte("\n"), off))
}
