package unpack_test

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/tree"
	"github.com/slugfile/slugfile/pipeline/unpack"
)

// entry is one header of a tar written by hand: archive/tar's writer would refuse most of
// what has to be tried.
type entry struct {
	kind       byte
	name, link string
	body       string
	mode       int64
	size       int64             // of the header, when it is not the body's; -1 for none
	pax        map[string]string // an extended header before it
}

func file(name, body string) entry { return entry{kind: '0', name: name, body: body, mode: 0o644} }
func exe(name, body string) entry  { return entry{kind: '0', name: name, body: body, mode: 0o755} }
func dir(name string) entry        { return entry{kind: '5', name: name, mode: 0o755} }
func sym(name, to string) entry    { return entry{kind: '2', name: name, link: to, mode: 0o777} }
func hard(name, to string) entry   { return entry{kind: '1', name: name, link: to, mode: 0o644} }

// tarOf writes ustar headers, with GNU entries for what does not fit, and the two zero
// blocks of the end.
func tarOf(entries ...entry) []byte {
	var b bytes.Buffer
	for _, e := range entries {
		e.write(&b)
	}
	b.Write(make([]byte, 1024))
	return b.Bytes()
}

func (e entry) write(b *bytes.Buffer) {
	if e.pax != nil {
		var body bytes.Buffer
		for k, v := range e.pax {
			body.WriteString(paxRecord(k, v))
		}
		entry{kind: 'x', name: "PaxHeaders/x", body: body.String()}.write(b)
	}
	if len(e.name) > 100 {
		entry{kind: 'L', name: "././@LongLink", body: e.name + "\x00"}.write(b)
		e.name = e.name[:100]
	}
	if len(e.link) > 100 {
		entry{kind: 'K', name: "././@LongLink", body: e.link + "\x00"}.write(b)
		e.link = e.link[:100]
	}
	var h [512]byte
	size := int64(len(e.body))
	if e.size != 0 {
		size = max(0, e.size)
	}
	copy(h[0:100], e.name)
	copy(h[100:], fmt.Sprintf("%07o\x00", e.mode))
	copy(h[108:], "0001750\x000001750\x00")
	copy(h[124:], fmt.Sprintf("%011o\x00", size))
	copy(h[136:], fmt.Sprintf("%011o\x00", 1_500_000_000))
	h[156] = e.kind
	copy(h[157:257], e.link)
	copy(h[257:], "ustar  \x00")
	copy(h[148:156], "        ")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	b.Write(h[:])
	b.WriteString(e.body)
	if n := len(e.body) % 512; n > 0 {
		b.Write(make([]byte, 512-n))
	}
}

func paxRecord(k, v string) string {
	n := len(k) + len(v) + 3
	for {
		s := fmt.Sprintf("%d %s=%s\n", n, k, v)
		if len(s) == n {
			return s
		}
		n = len(s)
	}
}

func gz(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// zipEntry is one file of a zip.
type zipEntry struct {
	name, body string
	mode       fs.FileMode
	method     uint16
	flags      uint16
}

func zipOf(entries ...zipEntry) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: e.method, Flags: e.flags}
		if e.mode != 0 {
			h.SetMode(e.mode)
		}
		create := z.CreateHeader
		if e.flags != 0 || e.method != zip.Store && e.method != zip.Deflate {
			h.CompressedSize64, h.UncompressedSize64 = uint64(len(e.body)), uint64(len(e.body))
			create = z.CreateRaw
		}
		w, err := create(h)
		if err != nil {
			panic(err)
		}
		if _, err := w.Write([]byte(e.body)); err != nil {
			panic(err)
		}
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// extract writes an archive to a file and unpacks it beside.
func extract(t testing.TB, archive []byte, o unpack.Options) (string, tree.Manifest, error) {
	t.Helper()
	return extractIn(t, t.TempDir(), archive, o)
}

func extractIn(t testing.TB, base string, archive []byte, o unpack.Options) (string, tree.Manifest, error) {
	t.Helper()
	name := filepath.Join(base, "archive")
	if err := os.WriteFile(name, archive, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dest := filepath.Join(base, "dest")
	m, err := unpack.Extract(t.Context(), f, dest, o)
	if _, bench := t.(*testing.B); !bench && (err == nil || !strings.HasSuffix(err.Error(), "already there")) {
		checkPack(t, f, o, m, err)
	}
	return dest, m, err
}

// checkPack holds for every archive of all tests: a pack has the verdict and the manifest of a
// directory, and the same bytes.
func checkPack(t testing.TB, f *os.File, o unpack.Options, m tree.Manifest, verdict error) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "pack")
	out, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	packed, offsets, err := unpack.Pack(t.Context(), f, out, o)
	if verdict != nil || err != nil {
		if verdict == nil || err == nil || verdict.Error() != err.Error() {
			t.Errorf("a directory: %v; a pack: %v", verdict, err)
		}
		return
	}
	if d := cmp.Diff(m, packed); d != "" {
		t.Errorf("manifest (-directory +pack):\n%s", d)
	}
	again, err := unpack.Offsets(out, packed)
	if err != nil || !slices.Equal(offsets, again) {
		t.Errorf("offsets %v, read back %v, %v", offsets, again, err)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range packed {
		at := offsets[i]
		if (at == 0) != (e.Kind != tree.File) {
			t.Errorf("%s is at %d", e.Path, at)
		}
		if e.Kind == tree.File && digest.Of(text[at:at+e.Size]) != e.Digest {
			t.Errorf("%s has other bytes in the pack", e.Path)
		}
	}
}

// snapshot is the digest of everything below dir: names, types, modes, times, contents.
func snapshot(t testing.TB, dir string) digest.Digest {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		line := fmt.Sprintf("%q %v %d", p, info.Mode(), info.ModTime().UnixNano())
		switch {
		case info.Mode().IsRegular():
			text, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			line += digest.Of(text).String()
		case info.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(p)
			if err != nil {
				return err
			}
			line += to
		}
		all = append(all, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return digest.OfJSON(all)
}
