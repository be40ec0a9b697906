package slug_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/pipetest"
	"github.com/slugfile/slugfile/pipeline/slug"
	"github.com/slugfile/slugfile/pipeline/tree"
	"github.com/slugfile/slugfile/pipeline/unpack"
)

// foreign is a slug by another writer.
func foreign(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	tw := tar.NewWriter(zw)
	for _, h := range headers {
		body := ""
		if h.Typeflag == tar.TypeReg {
			body = "content"
			h.Size = int64(len(body))
		}
		if h.Mode == 0 && h.Typeflag != tar.TypeXGlobalHeader {
			h.Mode = 0o644
		}
		if err := tw.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(tw, body); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(tw.Close(), zw.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func ignore(*tar.Header, io.Reader) error { return nil }

func TestRead_acceptsForeignSlugs(t *testing.T) {
	t.Parallel()
	b := foreign(t,
		tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "abc"}},
		tar.Header{Typeflag: tar.TypeDir, Name: "./app"},
		tar.Header{Typeflag: tar.TypeDir, Name: "./app/bin/"},
		tar.Header{Typeflag: tar.TypeDir, Name: "./app/bin/"},
		tar.Header{Typeflag: tar.TypeReg, Name: "./app/bin/run", Mode: 0o4755},
		tar.Header{Typeflag: tar.TypeLink, Name: "./app/hard", Linkname: "./app/bin/run"},
		tar.Header{Typeflag: tar.TypeReg, Name: "./app/no/parent", Format: tar.FormatPAX, PAXRecords: map[string]string{"SCHILY.xattr.user.x": "y"}},
		tar.Header{Typeflag: tar.TypeSymlink, Name: "./app/abs", Linkname: "/app/bin/run"},
	)
	got, err := slug.Manifest(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	sum := digest.Of([]byte("content"))
	want := tree.Manifest{
		{Path: "abs", Kind: tree.Link, Target: "/app/bin/run"},
		{Path: "bin", Kind: tree.Dir},
		{Path: "bin/run", Kind: tree.File, Exec: true, Size: 7, Digest: sum},
		{Path: "hard", Kind: tree.File, Exec: true, Size: 7, Digest: sum},
		{Path: "no/parent", Kind: tree.File, Size: 7, Digest: sum},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("manifest (-want +got):\n%s", diff)
	}
}

func TestRead_acceptsTheArticlesOwnArchive(t *testing.T) {
	t.Parallel()
	gnu := tool(t, "tar")
	root := pipetest.Files(t, map[string]string{"app/web.js": "x", "*app/node/bin/node": "y", "app/l -> web.js": ""})
	name := filepath.Join(t.TempDir(), "slug.tgz")
	run(t, gnu, "czf", name, "-C", root, "./app")
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := slug.Manifest(f)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(scan(t, filepath.Join(root, "app")), got); diff != "" {
		t.Errorf("manifest (-want +got):\n%s", diff)
	}
}

func TestRead_refusesEntries(t *testing.T) {
	t.Parallel()
	file := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name} }
	sym := func(name, target string) tar.Header {
		return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target}
	}
	hard := func(name, target string) tar.Header {
		return tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target}
	}
	for what, c := range map[string]struct {
		in   []tar.Header
		want string
	}{
		"no prefix":              {[]tar.Header{file("app/web.js")}, "does not start with ./app/"},
		"outside":                {[]tar.Header{file("./etc/out")}, "does not start with ./app/"},
		"a longer name":          {[]tar.Header{file("./application/x")}, "does not start with ./app/"},
		"absolute":               {[]tar.Header{file("/app/x")}, "does not start with ./app/"},
		"up":                     {[]tar.Header{file("./app/../x")}, "not clean"},
		"a dot":                  {[]tar.Header{file("./app/./x")}, "not clean"},
		"two slashes":            {[]tar.Header{file("./app//x")}, "not clean"},
		"the root as a file":     {[]tar.Header{file("./app")}, "./app is no directory"},
		"twice":                  {[]tar.Header{file("./app/x"), file("./app/x")}, "twice"},
		"a directory then file":  {[]tar.Header{{Typeflag: tar.TypeDir, Name: "./app/x/"}, file("./app/x")}, "twice"},
		"a parent, then a file":  {[]tar.Header{file("./app/x/y"), file("./app/x")}, "twice"},
		"through a link":         {[]tar.Header{sym("./app/l", "d"), file("./app/l/x")}, `lies below "l"`},
		"below a file":           {[]tar.Header{file("./app/f"), file("./app/f/x")}, `lies below "f"`},
		"a link out":             {[]tar.Header{sym("./app/l", "../x")}, "leaves the app directory"},
		"a link elsewhere":       {[]tar.Header{sym("./app/l", "/etc/passwd")}, "outside /app"},
		"a hard link to nothing": {[]tar.Header{hard("./app/h", "./app/f")}, "hard link"},
		"a hard link out":        {[]tar.Header{hard("./app/h", "/etc/passwd")}, "hard link"},
		"a hard link to a link":  {[]tar.Header{sym("./app/l", "x"), hard("./app/h", "./app/l")}, "hard link"},
		"a FIFO":                 {[]tar.Header{{Typeflag: tar.TypeFifo, Name: "./app/p"}}, "directories, files and links only"},
		"a device":               {[]tar.Header{{Typeflag: tar.TypeChar, Name: "./app/null", Devmajor: 1, Devminor: 3}}, "directories, files and links only"},
		"a very long name":       {[]tar.Header{file("./app/" + strings.Repeat("d/", 2500) + "x")}, "longer than"},
	} {
		err := slug.Read(bytes.NewReader(foreign(t, c.in...)), ignore)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v does not say %q", what, err, c.want)
		}
	}
}

func TestRead_refusesASparseFile(t *testing.T) {
	t.Parallel()
	gnu := tool(t, "tar")
	for _, format := range []string{"--format=gnu", "--format=posix"} {
		root := t.TempDir()
		if err := os.Mkdir(filepath.Join(root, "app"), 0o755); err != nil {
			t.Fatal(err)
		}
		hole := filepath.Join(root, "app", "hole")
		if err := os.WriteFile(hole, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(hole, 10<<20); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(gnu, format, "--sparse", "-czf", "-", "-C", root, "./app").Output()
		if err != nil {
			t.Skipf("tar cannot write sparse files: %v", err)
		}
		if err := slug.Read(bytes.NewReader(out), ignore); err == nil || !strings.Contains(err.Error(), `entry "./app/hole"`) {
			t.Errorf("%s: error is %v", format, err)
		}
	}
}

func compress(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	zw := gzip.NewWriter(&out)
	if _, err := zw.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestRead_refusesEnvelopes(t *testing.T) {
	t.Parallel()
	good := pack(t, []artifact.Member{inline("a", "text", 0), inline("zeros", strings.Repeat("\x00", 4096), 0)}, slug.Options{})
	stream := tarOf(t, good)
	flipped := bytes.Clone(good)
	flipped[len(flipped)-6] ^= 1
	for what, c := range map[string]struct {
		in   []byte
		want string
	}{
		"squashfs":              {[]byte("hsqs\x00\x01"), "squashfs"},
		"nothing":               {nil, "not gzip"},
		"zip":                   {[]byte("PK\x03\x04"), "not gzip"},
		"a bare tar":            {stream, "not gzip"},
		"two members":           {append(bytes.Clone(good), good...), "bytes after the gzip member"},
		"a byte after the end":  {append(bytes.Clone(good), 0), "bytes after the gzip member"},
		"a wrong CRC":           {flipped, "checksum"},
		"no trailer at all":     {compress(t, stream[:len(stream)-1024]), "without its trailer"},
		"half a trailer":        {compress(t, stream[:len(stream)-512]), "without its trailer"},
		"an empty stream":       {compress(t, nil), "without its trailer"},
		"data after the end":    {compress(t, append(bytes.Clone(stream), "x"...)), "data behind the end"},
		"a broken header":       {compress(t, bytes.Repeat([]byte("x"), 1024)), "header"},
		"cut inside an entry":   {compress(t, stream[:1024+2]), "EOF"},
		"cut inside its header": {compress(t, stream[:700]), "EOF"},
	} {
		err := slug.Read(bytes.NewReader(c.in), ignore)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v does not say %q", what, err, c.want)
		}
	}
	if err := slug.Read(bytes.NewReader(compress(t, append(bytes.Clone(stream), make([]byte, 9216)...))), ignore); err != nil {
		t.Errorf("zeros after the end: %v", err)
	}
	if !errors.Is(slug.Read(strings.NewReader("hsqs...."), ignore), slug.ErrSquashfs) {
		t.Error("squashfs cannot be told from other faults")
	}
}

func TestRead_noticesEveryCut(t *testing.T) {
	t.Parallel()
	b := pack(t, layered(t), slug.Options{})
	for n := range len(b) {
		if err := slug.Read(bytes.NewReader(b[:n]), ignore); err == nil {
			t.Fatalf("the first %d of %d bytes pass for a whole slug", n, len(b))
		}
	}
}

func TestRead_stopsWhenTheVisitorSaysSo(t *testing.T) {
	t.Parallel()
	enough := errors.New("enough")
	n := 0
	err := slug.Read(bytes.NewReader(pack(t, layered(t), slug.Options{})), func(*tar.Header, io.Reader) error {
		if n++; n == 3 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || n != 3 {
		t.Errorf("after %d entries: %v", n, err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(pack(f, []artifact.Member{inline("bin/x", "text", 0), link("l", "bin/x")}, slug.Options{}))
	f.Add(foreign(f, tar.Header{Typeflag: tar.TypeReg, Name: "./app/x"}, tar.Header{Typeflag: tar.TypeLink, Name: "./app/y", Linkname: "./app/x"}))
	f.Add([]byte("hsqs"))
	f.Fuzz(func(t *testing.T, b []byte) {
		// The fuzzer cannot guess checksums of gzip, so bytes that are not gzip stand for a
		// tar stream.
		if !bytes.HasPrefix(b, []byte{0x1f, 0x8b}) {
			b = compress(t, b)
		}
		m, err := slug.Manifest(bytes.NewReader(b))
		if err != nil {
			return
		}
		// Whatever is accepted must be a tree that a slug can hold.
		var ms []artifact.Member
		for _, e := range m {
			ms = append(ms, artifact.Member{Entry: e, Src: "never opened", Part: &artifact.Part{Origin: "fuzz"}})
		}
		if _, err := slug.Arrange(ms); err != nil {
			t.Errorf("an accepted slug cannot be packed: %v", err)
		}
	})
}

// What a system takes as a name can be packed, and so it must boot.
func TestWrite_dynosUnpackEveryName(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("names are bytes on Linux only")
	}
	deep := strings.Repeat("d/", 100)
	root := pipetest.Files(t, map[string]string{
		`back\slash`: "1", "new\nline": "2", "esc\x1b[2J": "3", "bad\xff\xfe": "4", "-rf": "5", "trailing ": "6", "a:b": "7", "é": "8", "e\u0301": "9",
		strings.Repeat("n", 255): "10", deep + "leaf": "11", `c:\windows`: "12", "tab\t/x": "13", `"quoted"`: "14", "star*": "15",
		`to back -> back\slash`: "", "to bad\xff -> bad\xff\xfe": "", deep + `up -> ../up\`: "",
	})
	b := pack(t, members(t, root, artifact.LayerSource), slug.Options{})
	if _, err := slug.Manifest(bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "slug.tgz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
	app := filepath.Join(t.TempDir(), "app")
	got, err := unpack.Extract(context.Background(), f, app, unpack.Options{Slug: true})
	if err != nil {
		t.Fatal(err)
	}
	for what, m := range map[string]tree.Manifest{"the manifest": got, "the directory": scan(t, app)} {
		if diff := cmp.Diff(scan(t, root), m); diff != "" {
			t.Errorf("%s is another (-packed +unpacked):\n%s", what, diff)
		}
	}
	foreign := filepath.Join(t.TempDir(), "runtime")
	if _, err := unpack.Extract(context.Background(), f, foreign, unpack.Options{}); err == nil || !strings.Contains(err.Error(), "backslash") && !strings.Contains(err.Error(), "deep") {
		t.Errorf("as a runtime: error is %v", err)
	}
}
