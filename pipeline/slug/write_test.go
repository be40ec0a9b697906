package slug_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"go/build"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sebdah/goldie/v2"
	"pgregory.net/rapid"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/pipetest"
	"github.com/slugfile/slugfile/pipeline/slug"
	"github.com/slugfile/slugfile/pipeline/tree"
)

func TestWrite_listing(t *testing.T) {
	t.Parallel()
	goldie.New(t).Assert(t, "listing", []byte(listing(t, pack(t, layered(t), slug.Options{}))))
}

// When this golden has to change, plan keys must change too: the format version is among
// the inputs of plan.Key. So must the format of an index, or old segments are taken over.
func TestWrite_bytesStayAsTheyWere(t *testing.T) {
	t.Parallel()
	ms := layered(t)
	ms = append(ms, inline("zz/large.txt", strings.Repeat("all work and no play\n", 60_000), artifact.LayerSource))
	var got strings.Builder
	for _, level := range []string{slug.LevelDefault, slug.LevelFast} {
		r, err := slug.Write(context.Background(), io.Discard, ms, slug.Options{Level: level, Epoch: epoch})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&got, "%s, %s\nslug %s %d\ntar  %d\n", slug.Compressor, level, r.Digest, r.Size, r.TarSize)
	}
	goldie.New(t).Assert(t, "digests", []byte(got.String()))
}

func TestWrite_gzipHeaderIsBare(t *testing.T) {
	t.Parallel()
	b := pack(t, layered(t), slug.Options{})
	if want := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}; !bytes.HasPrefix(b, want) {
		t.Errorf("header is % x, want % x", b[:10], want)
	}
}

// tarOf is the tar stream of a slug.
func tarOf(t testing.TB, b []byte) []byte {
	t.Helper()
	zr, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := io.ReadAll(zr)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func TestWrite_resultTellsTheTarStream(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	r, err := slug.Write(context.Background(), &b, layered(t), slug.Options{})
	if err != nil {
		t.Fatal(err)
	}
	stream := tarOf(t, b.Bytes())
	if r.TarSize != int64(len(stream)) {
		t.Errorf("result tells %d bytes; the stream has %d", r.TarSize, len(stream))
	}
}

func TestWrite_longEntriesOnlyFrom101Bytes(t *testing.T) {
	t.Parallel()
	name := func(n int) string { return strings.Repeat("n", n-len("./app/")) }
	for _, c := range []struct {
		what string
		m    artifact.Member
		long string
	}{
		{"a name of 100 bytes", inline(name(100), "", 0), ""},
		{"a name of 101 bytes", inline(name(101), "", 0), "L"},
		{"a directory of 100 bytes with its slash", dir(name(99), 0), ""},
		{"a directory of 101 bytes with its slash", dir(name(100), 0), "L"},
		{"a target of 100 bytes", link("l", strings.Repeat("t", 100)), ""},
		{"a target of 101 bytes", link("l", strings.Repeat("t", 101)), "K"},
		{"both long", link(name(200), strings.Repeat("t", 200)), "KL"},
	} {
		stream := tarOf(t, pack(t, []artifact.Member{c.m}, slug.Options{}))
		var long string
		for at := 0; at+512 <= len(stream); at += 512 {
			if bytes.HasPrefix(stream[at:], []byte("././@LongLink\x00")) {
				long += string(stream[at+156])
			}
		}
		if long != c.long {
			t.Errorf("%s: @LongLink entries %q, want %q", c.what, long, c.long)
		}
		if m, err := slug.Manifest(bytes.NewReader(pack(t, []artifact.Member{c.m}, slug.Options{}))); err != nil || !slices.Contains(m, c.m.Entry) {
			t.Errorf("%s: read back as %v, %v", c.what, m, err)
		}
	}
}

// oddNames are those that have broken archivers.
func oddNames() map[string]string {
	files := map[string]string{}
	for i, n := range []string{
		"new\nline", "tab\t", "esc\x1b[2Jx", "-rf", "--help", strings.Repeat("n", 255), "bad\xff\xfeutf8",
		"\u00e9", "e\u0301", "trailing ", " leading", "co:lon", "C:\\x", "*", "quo\"te'", "$(x)", "\u202eabc",
		strings.Repeat("deep/", 60) + "end", strings.Repeat(strings.Repeat("l", 200)+"/", 12) + "end", "@LongLink", "a/b", "a.b",
	} {
		files["./"+n] = fmt.Sprint("content ", i)
	}
	files["./odd\nlink -> new\nline"] = ""
	files["./bad link \xff -> bad\xff\xfeutf8"] = ""
	return files
}

func TestWrite_gnuTarListsOddNamesTheSame(t *testing.T) {
	t.Parallel()
	gnu := tool(t, "tar")
	ms := members(t, pipetest.Files(t, oddNames()), artifact.LayerSource)
	b := pack(t, ms, slug.Options{})
	want := "./app/\n"
	arranged, err := slug.Arrange(ms)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range arranged {
		want += "./app/" + m.Path
		if m.Kind == tree.Dir {
			want += "/"
		}
		want += "\n"
	}
	got := string(run(t, gnu, "tzf", save(t, b), "--quoting-style=literal"))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("GNU tar lists (-want +got):\n%s", diff)
	}
}

func TestWrite_realToolsUnpackAnEqualTree(t *testing.T) {
	t.Parallel()
	python := `
import sys, tarfile
options = {"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}
with tarfile.open(sys.argv[1], "r:gz") as t:
    t.extractall(sys.argv[2], **options)
`
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 3<<20)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	big := inline("zbig/noise", string(noise), artifact.LayerSource)
	odd := members(t, pipetest.Files(t, oddNames()), artifact.LayerSource)
	for what, ms := range map[string][]artifact.Member{"layers": append(layered(t), big), "odd names": odd, "nothing": nil} {
		for _, level := range []string{slug.LevelDefault, slug.LevelFast} {
			b := pack(t, ms, slug.Options{Level: level})
			name := save(t, b)
			arranged, err := slug.Arrange(ms)
			if err != nil {
				t.Fatal(err)
			}
			want := slug.Tree(arranged)
			for reader, unpack := range map[string]func(t *testing.T, to string){
				"GNU tar": func(t *testing.T, to string) { run(t, tool(t, "tar"), "-xzf", name, "-C", to) },
				"bsdtar":  func(t *testing.T, to string) { run(t, tool(t, "bsdtar"), "-xzf", name, "-C", to) },
				"busybox": func(t *testing.T, to string) { run(t, tool(t, "busybox"), "tar", "-xzf", name, "-C", to) },
				"python":  func(t *testing.T, to string) { run(t, tool(t, "python3"), "-c", python, name, to) },
			} {
				t.Run(what+" "+level+" "+reader, func(t *testing.T) {
					t.Parallel()
					to := t.TempDir()
					unpack(t, to)
					if diff := cmp.Diff(want, scan(t, filepath.Join(to, "app"))); diff != "" {
						t.Errorf("unpacked (-want +got):\n%s", diff)
					}
				})
			}
			t.Run(what+" "+level+" gzip", func(t *testing.T) {
				t.Parallel()
				run(t, tool(t, "gzip"), "-t", name)
				if out := run(t, tool(t, "gzip"), "-dc", name); !bytes.Equal(out, tarOf(t, b)) {
					t.Error("gzip reads another stream")
				}
			})
			t.Run(what+" "+level+" Manifest", func(t *testing.T) {
				t.Parallel()
				got, err := slug.Manifest(bytes.NewReader(b))
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("manifest (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// varied is a tree of several segments: many small files, some large, text and noise.
func varied(t testing.TB) string {
	random := rand.New(rand.NewPCG(3, 4))
	files := map[string]string{}
	words := strings.Fields("const function return require module exports if else for while package import class end def 0 1 2 3 { } ( ) ; = + \n")
	text := func(n int) string {
		var b strings.Builder
		for b.Len() < n {
			b.WriteString(words[random.IntN(len(words))] + " ")
		}
		return b.String()[:n]
	}
	for i := range 200 {
		files[fmt.Sprintf("lib/%02d/module_%d.js", i%37, i)] = text(random.IntN(12_000))
	}
	noise := make([]byte, 700_000)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	files["assets/noise.bin"] = string(noise)
	files["assets/exact.bin"] = text(512 << 10)
	files["assets/twice.bin"] = text(512<<10 + 1)
	files["assets/zeros.bin"] = strings.Repeat("\x00", 1_100_000)
	files["*bin/run"] = text(600_000)
	return pipetest.Files(t, files)
}

func TestWrite_bytesDependOnTheMembersAlone(t *testing.T) {
	root := varied(t)
	ms := members(t, root, artifact.LayerSource)
	levels, most := []string{slug.LevelFast, slug.LevelDefault}, 8
	if raceDetector {
		levels, most = levels[:1], 3
	}
	for _, level := range levels {
		want := pack(t, ms, slug.Options{Level: level, Workers: 1})
		same := func(what string, got []byte) {
			t.Helper()
			if bytes.Equal(got, want) {
				return
			}
			t.Errorf("%s, %s: other bytes (%s, want %s); listings (-want +got):\n%s", level, what,
				digest.Of(got), digest.Of(want), cmp.Diff(listing(t, want), listing(t, got)))
		}
		for workers := 2; workers <= most; workers++ {
			same(fmt.Sprint(workers, " workers"), pack(t, ms, slug.Options{Level: level, Workers: workers}))
		}
		for _, procs := range []int{1, 2} {
			before := runtime.GOMAXPROCS(procs)
			same(fmt.Sprint("GOMAXPROCS ", procs), pack(t, ms, slug.Options{Level: level}))
			runtime.GOMAXPROCS(before)
		}
		shuffled := slices.Clone(ms)
		rand.New(rand.NewPCG(5, 6)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		same("another order of members", pack(t, shuffled, slug.Options{Level: level}))

		later := time.Now().AddDate(1, 0, 0)
		for _, m := range ms {
			if m.Src == "" {
				continue
			}
			if err := os.Chtimes(m.From(), later, later); err != nil {
				t.Fatal(err)
			}
			mode := fs.FileMode(0o600)
			if m.Exec {
				mode = 0o700
			}
			if err := os.Chmod(m.From(), mode); err != nil {
				t.Fatal(err)
			}
		}
		same("other times and modes", pack(t, members(t, root, artifact.LayerSource), slug.Options{Level: level}))

		other := filepath.Join(t.TempDir(), "elsewhere")
		if err := tree.Copy(context.Background(), scan(t, root), root, other); err != nil {
			t.Fatal(err)
		}
		same("another directory", pack(t, members(t, other, artifact.LayerSource), slug.Options{Level: level}))
	}
}

func TestWrite_timeAndLevelAreInTheBytes(t *testing.T) {
	t.Parallel()
	ms := layered(t)
	a, b, c := pack(t, ms, slug.Options{}), pack(t, ms, slug.Options{Epoch: epoch + 1}), pack(t, ms, slug.Options{Level: slug.LevelFast})
	if bytes.Equal(a, b) {
		t.Error("another time gave the same slug")
	}
	if !bytes.Equal(tarOf(t, a), tarOf(t, c)) {
		t.Error("the level changed the tar stream")
	}
	if _, err := slug.Write(context.Background(), io.Discard, ms, slug.Options{Level: "best"}); err == nil || !strings.Contains(err.Error(), `"best"`) {
		t.Errorf("an unknown level: error is %v", err)
	}
}

func TestWrite_hardLinksBecomeCopies(t *testing.T) {
	t.Parallel()
	root := pipetest.Files(t, map[string]string{"a": "content"})
	if err := os.Link(filepath.Join(root, "a"), filepath.Join(root, "b")); err != nil {
		t.Fatal(err)
	}
	copies := pipetest.Files(t, map[string]string{"a": "content", "b": "content"})
	if !bytes.Equal(pack(t, members(t, root, 0), slug.Options{}), pack(t, members(t, copies, 0), slug.Options{})) {
		t.Error("a hard link is not packed like a copy")
	}
}

// untar is the plainest reader there can be; it trusts the slug.
func untar(t testing.TB, b []byte) string {
	t.Helper()
	to := t.TempDir()
	err := slug.Read(bytes.NewReader(b), func(h *tar.Header, body io.Reader) error {
		p, err := slug.Path(h.Name)
		if err != nil {
			return err
		}
		at := to + "/" + p
		switch h.Typeflag {
		case tar.TypeDir:
			return os.MkdirAll(at, 0o755)
		case tar.TypeSymlink:
			return os.Symlink(h.Linkname, at)
		}
		content, err := io.ReadAll(body)
		if err != nil {
			return err
		}
		return os.WriteFile(at, content, fs.FileMode(h.Mode))
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func TestWrite_packingWhatWasUnpackedGivesTheSameSlug(t *testing.T) {
	t.Parallel()
	dirs := []string{"", "a/", "a/b/", "c.d/", "a.b/"}
	rapid.Check(t, func(rt *rapid.T) {
		ms := map[string]artifact.Member{}
		for range rapid.IntRange(0, 20).Draw(rt, "entries") {
			name := rapid.SampledFrom(dirs).Draw(rt, "in") + "x" + rapid.StringMatching(`[a-c \n\xff.]{0,3}|y{95,110}`).Draw(rt, "name")
			name = strings.TrimRight(name, "/")
			switch rapid.IntRange(0, 3).Draw(rt, "kind") {
			case 0:
				ms[name] = dir(name, artifact.LayerSource)
			case 1:
				ms[name] = link(name, rapid.StringMatching(`[a-c]{1,5}(/z{90,110})?`).Draw(rt, "target"))
			default:
				m := inline(name, strings.Repeat(rapid.StringN(0, 40, -1).Draw(rt, "text"), rapid.SampledFrom([]int{1, 1, 1, 12, 13, 20_000}).Draw(rt, "times")), artifact.LayerSource)
				m.Exec = rapid.Bool().Draw(rt, "exec")
				ms[name] = m
			}
		}
		var list []artifact.Member
		for _, m := range ms {
			list = append(list, m)
		}
		once := pack(t, list, slug.Options{})
		twice := pack(t, members(t, untar(t, once), artifact.LayerSource), slug.Options{})
		if !bytes.Equal(once, twice) {
			rt.Fatalf("listings differ (-once +twice):\n%s", cmp.Diff(listing(t, once), listing(t, twice)))
		}
	})
}

func TestWrite_aFileThatMovesIsNamed(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]func(name string) error{
		"grown":          func(name string) error { return os.WriteFile(name, []byte("planned and more"), 0o644) },
		"shrunk":         func(name string) error { return os.Truncate(name, 3) },
		"emptied":        func(name string) error { return os.Truncate(name, 0) },
		"other bytes":    func(name string) error { return os.WriteFile(name, []byte("PLANNED"), 0o644) },
		"gone":           os.Remove,
		"its parent too": func(name string) error { return os.RemoveAll(filepath.Dir(name)) },
		"a link now":     func(name string) error { return errors.Join(os.Remove(name), os.Symlink("/etc/hostname", name)) },
		"a directory":    func(name string) error { return errors.Join(os.Remove(name), os.Mkdir(name, 0o755)) },
		"parent a file": func(name string) error {
			dir := filepath.Dir(name)
			return errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o644))
		},
	} {
		root := pipetest.Files(t, map[string]string{"dir/file": "planned", "z": "after"})
		ms := members(t, root, artifact.LayerSource)
		name := root + "/dir/file"
		if err := change(name); err != nil {
			t.Fatal(err)
		}
		_, err := slug.Write(context.Background(), io.Discard, ms, slug.Options{})
		var moved *slug.ChangedError
		if !errors.As(err, &moved) || moved.Path != name || !strings.Contains(err.Error(), "changed while archiving: ") {
			t.Errorf("%s: error is %v", what, err)
		}
	}
}

func TestWrite_neverMixesTwoStatesOfAFile(t *testing.T) {
	t.Parallel()
	root := pipetest.Files(t, map[string]string{"f": strings.Repeat("a", 1<<20)})
	ms := members(t, root, artifact.LayerSource)
	name := root + "/f"
	stop, done := make(chan struct{}), make(chan error)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			// One byte changes and comes back: size and often the time stay.
			f, err := os.OpenFile(name, os.O_WRONLY, 0)
			if err == nil {
				_, err = f.WriteAt([]byte{"ab"[i%2]}, 1<<19)
				err = errors.Join(err, f.Close())
			}
			if err != nil {
				done <- err
				return
			}
		}
	}()
	want := ms[0].Digest
	for range 40 {
		var b bytes.Buffer
		_, err := slug.Write(context.Background(), &b, ms, slug.Options{Level: slug.LevelFast})
		var moved *slug.ChangedError
		if errors.As(err, &moved) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		m, err := slug.Manifest(&b)
		if err != nil {
			t.Fatal(err)
		}
		if m[0].Digest != want {
			t.Fatal("a slug holds bytes that were not planned")
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestWrite_tellsOfMaskedBits(t *testing.T) {
	t.Parallel()
	root := pipetest.Files(t, map[string]string{"*su": "x", "*plain": "y"})
	if err := os.Chmod(root+"/su", 0o4755|fs.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	var told []string
	pack(t, members(t, root, 0), slug.Options{Masked: func(m artifact.Member, mode fs.FileMode) {
		told = append(told, fmt.Sprint(m.Path, " ", mode))
	}})
	if diff := cmp.Diff([]string{"su urwxr-xr-x"}, told); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

func TestWrite_progressEndsAtTheTotal(t *testing.T) {
	t.Parallel()
	var seen []int64
	var totals []int64
	b := pack(t, members(t, varied(t), 0), slug.Options{Level: slug.LevelFast, Progress: func(done, total int64) {
		seen, totals = append(seen, done), append(totals, total)
	}})
	size := int64(len(tarOf(t, b)))
	if !slices.IsSorted(seen) || seen[0] != 0 || seen[len(seen)-1] != size || len(seen) < 5 {
		t.Errorf("progress is %v of %d", seen, size)
	}
	for _, total := range totals {
		if total != size {
			t.Errorf("total is %d, want %d", total, size)
		}
	}
}

type failing struct{ after int }

var errDisk = errors.New("disk is full")

func (f *failing) Write(p []byte) (int, error) {
	if f.after -= len(p); f.after < 0 {
		return 0, errDisk
	}
	return len(p), nil
}

func TestWrite_stopsAtTheFirstError(t *testing.T) {
	t.Parallel()
	ms := members(t, varied(t), 0)
	for _, after := range []int{0, 9, 10, 200_000, 800_000} {
		if _, err := slug.Write(context.Background(), &failing{after}, ms, slug.Options{Level: slug.LevelFast}); !errors.Is(err, errDisk) {
			t.Errorf("after %d bytes: error is %v", after, err)
		}
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("interrupted")
	_, err := slug.Write(ctx, io.Discard, ms, slug.Options{Level: slug.LevelFast, Progress: func(done, _ int64) {
		if done > 0 {
			cancel(why)
		}
	}})
	if !errors.Is(err, why) {
		t.Errorf("cancelled: error is %v", err)
	}
}

func TestWrite_defaultIsWithinOnePercentOfGzip6(t *testing.T) {
	t.Parallel()
	if raceDetector {
		t.Skip("a size has no races, and takes long to find out")
	}
	gzip6 := tool(t, "gzip")
	root := filepath.Join(build.Default.GOROOT, "src", "net")
	if _, err := os.Stat(root); err != nil {
		t.Skipf("no Go sources to compress: %v", err)
	}
	ms := members(t, root, artifact.LayerSource)
	b := pack(t, ms, slug.Options{})
	cmd := exec.Command(gzip6, "-6nc")
	cmd.Stdin = bytes.NewReader(tarOf(t, b))
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if limit := len(out) + len(out)/100; len(b) > limit {
		t.Errorf("%d bytes; gzip -6 makes %d", len(b), len(out))
	}
}

func BenchmarkWrite(b *testing.B) {
	ms := members(b, varied(b), artifact.LayerSource)
	for _, level := range []string{slug.LevelDefault, slug.LevelFast} {
		b.Run(level, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r, err := slug.Write(context.Background(), io.Discard, ms, slug.Options{Level: level})
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(r.TarSize)
				b.ReportMetric(float64(r.Size)/float64(r.TarSize), "ratio")
			}
		})
	}
}
