package unpack_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/tree"
	"github.com/slugfile/slugfile/pipeline/unpack"
)

var sample = tarOf(
	entry{kind: 'g', name: "pax_global_header", body: paxRecord("comment", "0123456789abcdef")},
	dir("node/"),
	exe("node/bin/node", "#!/bin/sh\n"),
	sym("node/bin/npm", "../lib/npm.js"),
	file("node/lib/npm.js", "npm"),
	hard("node/lib/twin.js", "node/lib/npm.js"),
	dir("node/lib/empty"),
)

func fileEntry(path, body string, exec bool) tree.Entry {
	return tree.Entry{Path: path, Kind: tree.File, Exec: exec, Size: int64(len(body)), Digest: digest.Of([]byte(body))}
}

var sampleTree = tree.Manifest{
	{Path: "bin", Kind: tree.Dir},
	fileEntry("bin/node", "#!/bin/sh\n", true),
	{Path: "bin/npm", Kind: tree.Link, Target: "../lib/npm.js"},
	{Path: "lib", Kind: tree.Dir},
	{Path: "lib/empty", Kind: tree.Dir},
	fileEntry("lib/npm.js", "npm", false),
	fileEntry("lib/twin.js", "npm", false),
}

func xzOf(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := xz.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zstOf(t testing.TB, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(b, nil)
}

func TestExtract_readsEveryFormatToTheSameTree(t *testing.T) {
	t.Parallel()
	half := len(sample) / 2
	archives := map[string][]byte{
		"tar":                 sample,
		"gzip":                gz(sample),
		"gzip of two members": append(gz(sample[:half]), gz(sample[half:])...),
		"xz":                  xzOf(t, sample),
		"zstd":                zstOf(t, sample),
		"zstd of two frames":  append(zstOf(t, sample[:half]), zstOf(t, sample[half:])...),
		"record padding":      append(bytes.Clone(sample), make([]byte, 10240)...),
	}
	archives["no end blocks"] = sample[:len(sample)-1024]
	for name, archive := range archives {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dest, m, err := extract(t, archive, unpack.Options{Strip: 1})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(sampleTree, m); d != "" {
				t.Errorf("manifest (-want +got):\n%s", d)
			}
			checkTree(t, dest, m)
		})
	}
}

// checkTree compares the disk with the manifest.
func checkTree(t *testing.T, dest string, m tree.Manifest) {
	t.Helper()
	found, err := tree.Scan(t.Context(), dest, tree.ScanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(m, found); d != "" {
		t.Errorf("the manifest is not what is on the disk (-manifest +disk):\n%s", d)
	}
	for _, e := range m {
		info, err := os.Lstat(filepath.Join(dest, e.Path))
		if err != nil {
			t.Fatal(err)
		}
		want := fs.FileMode(0o644)
		switch {
		case e.Kind == tree.Link:
			continue
		case e.Kind == tree.Dir:
			want = fs.ModeDir | 0o755
		case e.Exec:
			want = 0o755
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", e.Path, info.Mode(), want)
		}
	}
	entries, err := os.ReadDir(filepath.Dir(dest))
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 2 {
		t.Errorf("left beside it: %v", entries)
	}
}

func TestExtract_readsZip(t *testing.T) {
	t.Parallel()
	archive := zipOf(
		zipEntry{name: "bun/", mode: fs.ModeDir | 0o755},
		zipEntry{name: "bun/bun", body: "binary", mode: 0o755, method: 8},
		zipEntry{name: "bun/doc/readme", body: strings.Repeat("text ", 1000), mode: 0o600, method: 8},
		zipEntry{name: "bun/bunx", body: "bun", mode: fs.ModeSymlink | 0o777},
		zipEntry{name: "bun/stored", body: "stored"},
	)
	dest, m, err := extract(t, archive, unpack.Options{Strip: 1})
	if err != nil {
		t.Fatal(err)
	}
	want := tree.Manifest{
		fileEntry("bun", "binary", true),
		{Path: "bunx", Kind: tree.Link, Target: "bun"},
		{Path: "doc", Kind: tree.Dir},
		fileEntry("doc/readme", strings.Repeat("text ", 1000), false),
		fileEntry("stored", "stored", false),
	}
	if d := cmp.Diff(want, m); d != "" {
		t.Errorf("manifest (-want +got):\n%s", d)
	}
	checkTree(t, dest, m)
}

func TestExtract_readsWhatCommonToolsWrite(t *testing.T) {
	t.Parallel()
	src := t.TempDir()
	for name, mode := range map[string]fs.FileMode{"top/bin/tool": 0o755, "top/lib/" + strings.Repeat("long-", 40) + "/data": 0o640, "top/ünïcode": 0o444} {
		p := filepath.Join(src, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, bytes.Repeat([]byte(name), 4000), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("bin/tool", filepath.Join(src, "top", "link")); err != nil {
		t.Skip(err)
	}
	want, err := tree.Scan(t.Context(), src, tree.ScanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{
		"tar -czf OUT top", "tar --format=pax -cf OUT top", "tar --format=v7 -cf OUT top/bin top/link", "tar -cJf OUT top", "tar --zstd -cf OUT ./top",
		"tar -cjf OUT top", "bsdtar -cf OUT top", "busybox tar -cf OUT top", "xz-mt", "zip -qry OUT top",
	} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			base := t.TempDir()
			out := filepath.Join(base, "made")
			script := strings.ReplaceAll(command, "OUT", out)
			if command == "xz-mt" {
				script = "tar -cf - top | xz -T2 --block-size=262144 > " + out
			}
			if strings.HasPrefix(command, "zip") {
				script = strings.ReplaceAll(script, out, out+".zip") + " && mv " + out + ".zip " + out
			}
			tool, _, _ := strings.Cut(command, " ")
			if _, err := exec.LookPath(strings.TrimSuffix(tool, "-mt")); err != nil {
				if os.Getenv("CI") == "true" && tool == "tar" {
					t.Fatal(err)
				}
				t.Skip(err)
			}
			cmd := exec.Command("sh", "-c", script)
			cmd.Dir = src
			if text, err := cmd.CombinedOutput(); err != nil {
				t.Skipf("%s: %v %s", script, err, text)
			}
			archive, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			_, m, err := extract(t, archive, unpack.Options{})
			if err != nil {
				t.Fatal(err)
			}
			wanted := want
			if strings.Contains(command, "v7") {
				wanted = want.Filter(func(e tree.Entry) bool {
					return tree.Under(e.Path, "top/bin") || e.Path == "top" || e.Path == "top/link"
				})
			}
			if d := cmp.Diff(wanted, m); d != "" {
				t.Errorf("tree (-want +got):\n%s", d)
			}
		})
	}
}

func TestExtract_readsSlugsAsADynoDoes(t *testing.T) {
	t.Parallel()
	archive := gz(tarOf(
		dir("./"), dir("./app/"), exe("./app/web", "w"), sym("./app/current", "/app/releases/1"),
		sym("./app/home", "/app"), dir("./app/releases/1/"), hard("./app/twin", "./app/web"), file("app/no-dot", "n"),
	))
	_, m, err := extract(t, archive, unpack.Options{Slug: true})
	if err != nil {
		t.Fatal(err)
	}
	want := tree.Manifest{
		{Path: "current", Kind: tree.Link, Target: "/app/releases/1"},
		{Path: "home", Kind: tree.Link, Target: "/app"},
		fileEntry("no-dot", "n", false),
		{Path: "releases", Kind: tree.Dir},
		{Path: "releases/1", Kind: tree.Dir},
		fileEntry("twin", "w", true),
		fileEntry("web", "w", true),
	}
	if d := cmp.Diff(want, m); d != "" {
		t.Errorf("manifest (-want +got):\n%s", d)
	}
}

// An app can live of its process types alone.
func TestExtract_readsASlugWithoutFiles(t *testing.T) {
	t.Parallel()
	for name, archive := range map[string][]byte{"./app/": tarOf(dir("./app/")), "./ and ./app/": tarOf(dir("./"), dir("./app/"))} {
		dest, m, err := extract(t, gz(archive), unpack.Options{Slug: true})
		if err != nil || len(m) != 0 {
			t.Errorf("%s: %v, %v", name, m, err)
			continue
		}
		if list, err := os.ReadDir(dest); err != nil || len(list) != 0 {
			t.Errorf("%s: %v, %v", name, list, err)
		}
		if _, _, err := extract(t, gz(archive), unpack.Options{Strip: 1}); err == nil {
			t.Errorf("%s: a runtime of nothing is taken", name)
		}
	}
	if _, _, err := extract(t, gz(tarOf()), unpack.Options{Slug: true}); err == nil {
		t.Error("an archive of nothing is taken for a slug")
	}
}

// All orders of a link, a directory in its place and a file through both, at depths 1 to 4.
func TestExtract_nothingPassesThroughALinkInAnyOrder(t *testing.T) {
	t.Parallel()
	orders := [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}
	refused := 0
	for depth := 1; depth <= 4; depth++ {
		above := strings.Repeat("d/", depth-1)
		parts := []entry{
			sym(above+"x", strings.Repeat("../", depth-1)+"inside"),
			dir(above + "x"),
			file(above+"x/file", "evil"),
		}
		for _, order := range orders {
			entries := []entry{dir("inside")}
			for _, i := range order {
				entries = append(entries, parts[i])
			}
			base := t.TempDir()
			_, _, err := extractIn(t, base, tarOf(entries...), unpack.Options{})
			if err == nil {
				t.Errorf("depth %d, order %v: accepted", depth, order)
				continue
			}
			refused++
			if left, err := os.ReadDir(base); err != nil || len(left) != 1 {
				t.Errorf("left behind: %v %v", left, err)
			}
		}
	}
	if refused != 24 {
		t.Errorf("%d of 24 refused", refused)
	}
}

func TestExtract_hardLinksNameFilesOfThisArchiveOnly(t *testing.T) {
	t.Parallel()
	refused := 0
	for name, entries := range map[string][]entry{
		"upwards":       {hard("l", "../canary")},
		"to a symlink":  {file("f", ""), sym("s", "f"), hard("l", "s")},
		"to nothing":    {hard("l", "absent")},
		"to itself":     {hard("l", "l")},
		"to what comes": {hard("l", "f"), file("f", "")},
	} {
		base := t.TempDir()
		if err := os.WriteFile(filepath.Join(base, "canary"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := extractIn(t, base, tarOf(entries...), unpack.Options{}); err == nil || !strings.Contains(err.Error(), `entry "l"`) {
			t.Errorf("%s: got %v", name, err)
		} else {
			refused++
		}
	}
	if refused != 5 {
		t.Errorf("%d of 5 refused", refused)
	}
}

func TestExtract_carriesNoModeBitsOrOwners(t *testing.T) {
	t.Parallel()
	var entries []entry
	for _, mode := range []int64{0, 0o7777, 0o4755, 0o2711, 0o1777, 0o111, 0o222, 0o100, 0o77777777 & 0o7677} {
		e := file("f"+string(rune('a'+len(entries))), "x")
		e.mode = mode
		entries = append(entries, e)
		d := dir("d" + string(rune('a'+len(entries))))
		d.mode = mode
		entries = append(entries, d)
	}
	dest, m, err := extract(t, tarOf(entries...), unpack.Options{})
	if err != nil {
		t.Fatal(err)
	}
	checkTree(t, dest, m) // it knows two modes of files and one of directories
	for i, e := range entries {
		if e.kind == '0' {
			if got, _ := m.Find(e.name); got.Exec != (e.mode&0o100 != 0) {
				t.Errorf("%d: mode %o gives executable %v", i, e.mode, got.Exec)
			}
		}
	}
}

func TestExtract_destinationAppearsWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	archive := gz(tarOf(file("a", strings.Repeat("a", 100_000)), file("b", "b")))
	for _, cut := range []int{1, 10, len(archive) / 2, len(archive) - 9, len(archive) - 8, len(archive) - 1} {
		base := t.TempDir()
		_, _, err := extractIn(t, base, archive[:cut], unpack.Options{})
		if err == nil {
			t.Errorf("cut at %d of %d: accepted", cut, len(archive))
		}
		if left, err := os.ReadDir(base); err != nil || len(left) != 1 {
			t.Errorf("cut at %d: left %v %v", cut, left, err)
		}
	}
	base := t.TempDir()
	if _, _, err := extractIn(t, base, archive, unpack.Options{}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := extractIn(t, base, archive, unpack.Options{}); err == nil || !strings.Contains(err.Error(), "already there") {
		t.Errorf("a second time: %v", err)
	}
}

func TestExtract_endsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	name := filepath.Join(t.TempDir(), "a")
	if err := os.WriteFile(name, sample, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := unpack.Extract(ctx, f, filepath.Join(t.TempDir(), "d"), unpack.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestExtract_errorsNameArchiveAndEntry(t *testing.T) {
	t.Parallel()
	_, _, err := extract(t, tarOf(file("fine", ""), file("a/../b", "")), unpack.Options{Name: "node"})
	if want := `unpack node: entry "a/../b": its name has the component ".."`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	whole := gz(tarOf(file("fine", "x")))
	_, _, err = extract(t, append(whole, "more"...), unpack.Options{Name: "node"})
	if err == nil || !strings.HasPrefix(err.Error(), `unpack node: after entry "fine": `) {
		t.Errorf("got %v", err)
	}
	var named *unpack.Error
	if !errors.As(err, &named) || named.Archive != "node" || named.After != "fine" {
		t.Errorf("got %+v", named)
	}
	_, _, err = extract(t, []byte("<!DOCTYPE html><title>no</title>"), unpack.Options{Name: "node"})
	if err == nil || !strings.Contains(err.Error(), `starts with "<!DOCTYPE html><title>no"`) {
		t.Errorf("got %v", err)
	}
}

func TestExtract_checksTheTrailerOfGzip(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(sample); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{out.Len() - 8, out.Len() - 1} {
		damaged := slices.Clone(out.Bytes())
		damaged[at] ^= 1
		if _, _, err := extract(t, damaged, unpack.Options{}); err == nil || !strings.Contains(err.Error(), "checksum") {
			t.Errorf("byte %d changed: %v", at, err)
		}
	}
}

// manyFiles are n small files in the order of their names.
func manyFiles(n int) []entry {
	entries := make([]entry, 0, n)
	for i := range n {
		entries = append(entries, file(filepath.ToSlash(filepath.Join("lib", string(rune('a'+i%26)), string(rune('a'+i/26%26)), "f"+digest.Of([]byte{byte(i), byte(i >> 8)}).Short())), "content"))
	}
	slices.SortFunc(entries, func(x, y entry) int { return strings.Compare(x.name, y.name) })
	return entries
}

func BenchmarkExtract_manySmallFiles(b *testing.B) {
	archive := gz(tarOf(manyFiles(35_000)...))
	for b.Loop() {
		if _, _, err := extract(b, archive, unpack.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkExtract_oneLargeFile(b *testing.B) {
	body := make([]byte, 0, 117<<20)
	for d := digest.Of(nil); len(body) < cap(body)-64; d = digest.Of(d[:]) {
		body = append(append(body, d[:]...), "and text that does compress well"...)
	}
	archive := gz(tarOf(exe("bin/node", string(body))))
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, _, err := extract(b, archive, unpack.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
