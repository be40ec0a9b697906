package unpack_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slugfile/slugfile/pipeline/unpack"
)

// evil is the hostile corpus: archives that must be refused, with a word of the reason.
// The canary of the test stands at ../canary/file, seen from the directory unpacked into.
func evil(t testing.TB) map[string]evilCase {
	long := strings.Repeat("x", 4097)
	deep := strings.Repeat("d/", 65) + "f"
	cases := map[string]evilCase{
		// Names of tar entries.
		"name: absolute":                    tarCase("absolute", file("/canary/file", "evil")),
		"name: absolute directory":          tarCase("absolute", dir("/canary/")),
		"name: two slashes":                 tarCase("absolute", file("//canary", "evil")),
		"name: parent":                      tarCase(`".."`, file("../canary/file", "evil")),
		"name: parent directory":            tarCase(`".."`, dir("..")),
		"name: parent with slash":           tarCase(`".."`, dir("../")),
		"name: parent inside":               tarCase(`".."`, file("a/../../canary/file", "evil")),
		"name: parent that stays inside":    tarCase(`".."`, file("a/../b", "evil")),
		"name: parent after dot":            tarCase(`".."`, file("./../canary/file", "evil")),
		"name: parent at the end":           tarCase(`".."`, dir("a/..")),
		"name: dot inside":                  tarCase(`"."`, file("a/./b", "evil")),
		"name: two dots at the start":       tarCase(`"."`, file("././b", "evil")),
		"name: dot file":                    tarCase(`"."`, file(".", "evil")),
		"name: empty component":             tarCase("empty component", file("a//b", "evil")),
		"name: empty component, start":      tarCase("empty component", file(".//b", "evil")),
		"name: slash after a file":          tarCase("empty component", file("a/", "evil")),
		"name: two slashes after directory": tarCase("empty component", dir("a//")),
		"name: empty":                       tarCase("is empty", file("", "evil")),
		"name: backslash":                   tarCase("backslash", file(`..\canary\file`, "evil")),
		"name: drive":                       tarCase("backslash", file(`C:\canary`, "evil")),
		"name: NUL from PAX":                tarCase("header", entry{kind: '0', name: "x", pax: map[string]string{"path": "a\x00b"}}),
		"name: PAX parent":                  tarCase(`".."`, entry{kind: '0', name: "x", body: "evil", pax: map[string]string{"path": "../canary/file"}}),
		"name: PAX absolute":                tarCase("absolute", entry{kind: '0', name: "x", body: "evil", pax: map[string]string{"path": "/canary/file"}}),
		"name: GNU parent":                  tarCase(`".."`, file(strings.Repeat("../", 40)+"canary/file", "evil")),
		"name: over 4096 bytes":             tarCase("over 4096 bytes", file(long, "evil")),
		"name: component of 256 bytes":      tarCase("over 255 bytes", file("a/"+long[:256], "evil")),
		"name: over 64 deep":                tarCase("64 components", file(deep, "evil")),
		"name: component over 255 bytes":    tarCase("", file(strings.Repeat("y", 300), "evil")),

		// Types.
		"type: FIFO":             tarCase("FIFO", entry{kind: '6', name: "x"}),
		"type: character device": tarCase("character device", entry{kind: '3', name: "x"}),
		"type: block device":     tarCase("block device", entry{kind: '4', name: "x"}),
		"type: contiguous":       tarCase("contiguous", entry{kind: '7', name: "x"}),
		"type: unknown":          tarCase("unknown type", entry{kind: 'Z', name: "x"}),
		"type: old GNU sparse":   tarCase("", entry{kind: 'S', name: "x", body: "data"}),
		"type: PAX sparse 0.1":   tarCase("sparse", entry{kind: '0', name: "x", body: "data", pax: map[string]string{"GNU.sparse.size": "4", "GNU.sparse.numblocks": "1", "GNU.sparse.map": "0,4"}}),
		"type: PAX sparse name":  tarCase("sparse", entry{kind: '0', name: "x", body: "data", pax: map[string]string{"GNU.sparse.name": "../canary/file"}}),
		"type: PAX sparse 1.0":   tarCase("", entry{kind: '0', name: "x", body: "1\n0\n4\n", pax: map[string]string{"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "4"}}),

		// Paths that come twice.
		"twice: file":                  tarCase("is there already", file("a", "1"), file("a", "2")),
		"twice: file, other spelling":  tarCase("is there already", file("a", "1"), file("./a", "2")),
		"twice: directory then file":   tarCase("is there already", dir("a"), file("a", "2")),
		"twice: file then directory":   tarCase("is there already", file("a", "1"), dir("a")),
		"twice: made directory, link":  tarCase("is there already", file("a/b", "1"), sym("a", "c")),
		"twice: link then file":        tarCase("is there already", sym("a", "b"), file("a", "2")),
		"twice: file then link":        tarCase("is there already", file("a", "1"), sym("a", "b")),
		"twice: two links":             tarCase("is there already", sym("a", "b"), sym("a", "c")),
		"twice: hard link over a file": tarCase("is there already", file("a", "1"), file("b", "2"), hard("b", "a")),
		"below a file":                 tarCase("passes through", file("a", "1"), file("a/b", "2")),

		// Symbolic links.
		"link: absolute":                tarCase("absolute", sym("x", "/canary/file")),
		"link: absolute below app":      tarCase("absolute", sym("x", "/app/y")),
		"link: parent":                  tarCase("leads out", sym("x", "../canary/file")),
		"link: parent from depth":       tarCase("leads out", sym("a/b/x", "../../../canary")),
		"link: out and back":            tarCase("leads out", sym("x", "../dest/y")),
		"link: parent in the middle":    tarCase("leads out", sym("a/x", "b/../../../canary")),
		"link: empty target":            tarCase("is empty", sym("x", "")),
		"link: backslash":               tarCase("backslash", sym("x", `..\canary`)),
		"link: long target":             tarCase("over 4096 bytes", sym("x", long)),
		"link: target of 4096 bytes":    tarCase("over 4095 bytes", sym("x", long[1:])),
		"link: GNU long target out":     tarCase("leads out", sym("x", strings.Repeat("a/../", 30)+"../canary")),
		"link: PAX target out":          tarCase("leads out", entry{kind: '2', name: "x", link: "ok", pax: map[string]string{"linkpath": "../canary"}}),
		"link: through it, then a file": tarCase("passes through", sym("x", "y"), file("x/file", "evil")),
		"link: through it, directory":   tarCase("passes through", sym("x", "y"), dir("x/sub")),
		"link: through it, link":        tarCase("passes through", sym("x", "y"), sym("x/sub", "z")),
		"link: through it, hard link":   tarCase("passes through", file("f", ""), sym("x", "y"), hard("x/f", "f")),
		"link: a chain that turns back": tarCase("another link", sym("d/d/s", "../.."), sym("x", "d/d/s/../canary")),
		"link: a chain, turned around":  tarCase("another link", sym("x", "d/d/s/../canary"), sym("d/d/s", "../..")),
		"link: itself, then up":         tarCase("another link", sym("x", "x/..")),

		// Hard links.
		"hard link: out":              tarCase(`".."`, hard("x", "../canary/file")),
		"hard link: absolute":         tarCase("absolute", hard("x", "/canary/file")),
		"hard link: to a directory":   tarCase("no regular file", dir("d"), hard("x", "d")),
		"hard link: to a symlink":     tarCase("no regular file", sym("s", "f"), file("f", ""), hard("x", "s")),
		"hard link: through a link":   tarCase("no regular file", file("d/f", ""), sym("s", "d"), hard("x", "s/f")),
		"hard link: to a later file":  tarCase("no regular file", hard("x", "f"), file("f", "")),
		"hard link: to itself":        tarCase("no regular file", hard("x", "x")),
		"hard link: without a target": tarCase("is empty", hard("x", "")),

		// strip and slugs.
		"strip: file above":       {archive: tarOf(file("a", "")), o: unpack.Options{Strip: 1}, want: "nothing is left"},
		"strip: nothing left":     {archive: tarOf(dir("a"), dir("a/b")), o: unpack.Options{Strip: 2}, want: "nothing is left"},
		"strip: parent appears":   {archive: tarOf(file("a/../x", "")), o: unpack.Options{Strip: 1}, want: `".."`},
		"strip: link out":         {archive: tarOf(sym("a/x", "../canary")), o: unpack.Options{Strip: 1}, want: "leads out"},
		"strip: hard link":        {archive: tarOf(file("a/f", ""), hard("a/x", "f")), o: unpack.Options{Strip: 1}, want: "nothing is left"},
		"strip: two become one":   {archive: tarOf(file("a/f", ""), file("b/f", "")), o: unpack.Options{Strip: 1}, want: "is there already"},
		"slug: outside app":       {archive: tarOf(file("./etc/passwd", "")), o: unpack.Options{Slug: true}, want: "not below ./app"},
		"slug: app is a file":     {archive: tarOf(file("./app", "")), o: unpack.Options{Slug: true}, want: "root directory"},
		"slug: app is a link":     {archive: tarOf(sym("./app", "canary")), o: unpack.Options{Slug: true}, want: "root directory"},
		"slug: link out of app":   {archive: tarOf(sym("./app/x", "../canary")), o: unpack.Options{Slug: true}, want: "leads out"},
		"slug: link to app's end": {archive: tarOf(sym("./app/x", "/app/../canary")), o: unpack.Options{Slug: true}, want: "leads out"},
		"slug: link to /etc":      {archive: tarOf(sym("./app/x", "/etc/passwd")), o: unpack.Options{Slug: true}, want: "absolute"},
		"slug: link to /apple":    {archive: tarOf(sym("./app/x", "/apple")), o: unpack.Options{Slug: true}, want: "absolute"},

		// The stream.
		"stream: empty file":              {archive: nil, want: "empty"},
		"stream: text":                    {archive: []byte("hello"), want: "no archive"},
		"stream: zeros":                   {archive: make([]byte, 10240), want: "no archive"},
		"stream: no entries":              {archive: gz(make([]byte, 1024)), want: "no entries"},
		"stream: gzip of text":            {archive: gz(bytes.Repeat([]byte("hello"), 500)), want: "no tar"},
		"stream: gzip of gzip":            {archive: gz(gz(tarOf(file("a", "")))), want: ""},
		"stream: bytes after the tar":     {archive: append(tarOf(file("a", "")), "evil"...), want: "more bytes"},
		"stream: a second tar":            {archive: append(tarOf(file("a", "")), tarOf(file("b", ""))...), want: "more bytes"},
		"stream: a second tar in gzip":    {archive: append(gz(tarOf(file("a", ""))), gz(tarOf(file("b", "")))...), want: "more bytes"},
		"stream: bytes after gzip":        {archive: append(gz(tarOf(file("a", ""))), "evil"...), want: ""},
		"stream: zeros after gzip":        {archive: append(gz(tarOf(file("a", ""))), make([]byte, 512)...), want: "header"},
		"stream: tar cut in a file":       {archive: tarOf(file("a", strings.Repeat("a", 2000)))[:1000], want: "cut short"},
		"stream: tar cut in a header":     {archive: tarOf(file("a", ""), file("b", ""))[:700], want: "cut short"},
		"stream: damaged header":          {archive: damaged(tarOf(file("a", ""), file("b", "")), 512), want: "header"},
		"stream: bytes after xz":          {archive: append(xzOf(t, tarOf(file("a", ""))), "evil"...), want: ""},
		"stream: xz twice":                {archive: append(xzOf(t, tarOf(file("a", ""))), xzOf(t, tarOf(file("b", "")))...), want: ""},
		"stream: xz cut":                  {archive: xzOf(t, tarOf(file("a", "")))[:60], want: ""},
		"stream: xz dictionary of 4 GiB":  {archive: xzDictionary(t, 40), want: "dictionary of 4294967295"},
		"stream: xz dictionary of 384 MB": {archive: xzDictionary(t, 33), want: "over the limit"},
		"stream: zstd window of 2 GiB":    {archive: []byte("\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00"), want: ""},
		"stream: zstd cut":                {archive: zstOf(t, tarOf(file("a", strings.Repeat("a", 5000))))[:20], want: ""},
		"stream: bytes after zstd":        {archive: append(zstOf(t, tarOf(file("a", ""))), "evil"...), want: ""},
		"stream: bzip2 of nothing":        {archive: []byte("BZh9evil"), want: ""},

		// zip.
		"zip: parent":                  zipCase(`".."`, zipEntry{name: "../canary/file", body: "evil"}),
		"zip: absolute":                zipCase("absolute", zipEntry{name: "/canary/file", body: "evil"}),
		"zip: backslash":               zipCase("backslash", zipEntry{name: `..\canary\file`, body: "evil"}),
		"zip: empty name":              zipCase("is empty", zipEntry{body: "evil"}),
		"zip: NUL":                     zipCase("NUL", zipEntry{name: "a\x00b", body: "evil"}),
		"zip: over 4096 bytes":         zipCase("over 4096 bytes", zipEntry{name: long}),
		"zip: twice":                   zipCase("is there already", zipEntry{name: "a", body: "1"}, zipEntry{name: "a", body: "2"}),
		"zip: link out":                zipCase("leads out", zipEntry{name: "x", body: "../canary/file", mode: fs.ModeSymlink | 0o777}),
		"zip: absolute link":           zipCase("absolute", zipEntry{name: "x", body: "/canary/file", mode: fs.ModeSymlink | 0o777}),
		"zip: long link":               zipCase("over 4095 bytes", zipEntry{name: "x", body: long, mode: fs.ModeSymlink | 0o777, method: 8}),
		"zip: through a link":          zipCase("passes through", zipEntry{name: "x", body: "y", mode: fs.ModeSymlink | 0o777}, zipEntry{name: "x/f", body: "evil"}),
		"zip: FIFO":                    zipCase("type", zipEntry{name: "x", mode: fs.ModeNamedPipe | 0o600}),
		"zip: device":                  zipCase("type", zipEntry{name: "x", mode: fs.ModeDevice | 0o600}),
		"zip: encrypted":               zipCase("encrypted", zipEntry{name: "x", body: "evil", flags: 1}),
		"zip: unknown method":          zipCase("method 99", zipEntry{name: "x", body: "evil", method: 99}),
		"zip: no entries":              zipCase("no entries"),
		"zip: strip leaves nothing":    {archive: zipOf(zipEntry{name: "a"}), o: unpack.Options{Strip: 1}, want: "nothing is left"},
		"zip: bytes after the end":     {archive: append(zipOf(zipEntry{name: "a"}), "evil"...), want: "after the end"},
		"zip: cut":                     {archive: zipOf(zipEntry{name: "a", body: "evil"})[:60], want: "end record"},
		"zip: bytes before the end":    {archive: zipGap(), want: "not where"},
		"zip: count too small":         {archive: zipCount(1, zipEntry{name: "a"}, zipEntry{name: "b"}), want: "says 1 entries and holds 2"},
		"zip: count too large":         {archive: zipCount(3, zipEntry{name: "a"}, zipEntry{name: "b"}), want: "says 3 entries and holds 2"},
		"zip: count over the limit":    {archive: zipOf(zipEntry{name: "a"}, zipEntry{name: "b"}), o: unpack.Options{MaxEntries: 1}, want: "more than 1 entries"},
		"zip: says less than it holds": {archive: zipSize(3, strings.Repeat("a", 100)), want: ""},
		"zip: says more than it holds": {archive: zipSize(1000, strings.Repeat("a", 100)), want: ""},
		"zip: says more than is allowed": {archive: zipSize(1<<31-1, "a"), o: unpack.Options{MaxBytes: 1 << 20},
			want: "more than 1048576 bytes"},
		"zip: wrong checksum": {archive: damaged(zipOf(zipEntry{name: "a", body: "evil"}), 33), want: "checksum"},

		// Limits.
		"limit: bytes":             {archive: tarOf(file("a", strings.Repeat("a", 600)), file("b", strings.Repeat("b", 600))), o: unpack.Options{MaxBytes: 1000}, want: "more than 1000 bytes"},
		"limit: entries":           {archive: tarOf(file("a", ""), file("b", ""), file("c", "")), o: unpack.Options{MaxEntries: 2}, want: "more than 2 entries"},
		"limit: made directories":  {archive: tarOf(file("a/b/c/d/e/f", "")), o: unpack.Options{MaxEntries: 5}, want: "more than 5 entries"},
		"limit: size of a header":  {archive: tarOf(entry{kind: '0', name: "a", size: 1<<33 - 1}), want: "more than 2147483648 bytes"},
		"limit: extended headers":  tarCase("", entry{kind: '0', name: "a", pax: map[string]string{"comment": strings.Repeat("c", 2<<20)}}),
		"limit: chain of headers":  {archive: tarOf(append(headers(40), file("a", ""))...), want: "bytes of headers"},
		"limit: zeros at the end":  {archive: gz(append(tarOf(file("a", "")), make([]byte, 17<<20)...)), want: "padding"},
		"limit: a second's global": {archive: tarOf(dir("a"), dir("a"), entry{kind: 'g', name: "g", body: paxRecord("comment", "c")}), o: unpack.Options{MaxEntries: 2}, want: "more than 2 entries"},
	}
	return cases
}

type evilCase struct {
	archive []byte
	o       unpack.Options
	want    string // in the message; empty where the decoder's own words are used
}

func tarCase(want string, entries ...entry) evilCase {
	return evilCase{archive: tarOf(entries...), want: want}
}

func zipCase(want string, entries ...zipEntry) evilCase {
	return evilCase{archive: zipOf(entries...), want: want}
}

func damaged(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}

// headers are n extended headers of 64 KiB, all for one entry.
func headers(n int) []entry {
	list := make([]entry, n)
	for i := range list {
		list[i] = entry{kind: 'x', name: "PaxHeaders/x", body: paxRecord("comment", strings.Repeat("c", 64<<10))}
	}
	return list
}

// xzDictionary asks for a dictionary; the sum of the block header is of no use before that.
func xzDictionary(t testing.TB, bits byte) []byte {
	b := xzOf(t, tarOf(file("a", "")))
	at := bytes.IndexByte(b[12:], 0x21) + 12 // the LZMA2 filter, then the size of its properties
	b[at+2] = bits
	return b
}

func zipGap() []byte {
	b := zipOf(zipEntry{name: "a", body: "x"})
	end := bytes.LastIndex(b, []byte("PK\x05\x06"))
	return append(append(bytes.Clone(b[:end]), "gap"...), b[end:]...)
}

func zipCount(n uint16, entries ...zipEntry) []byte {
	b := zipOf(entries...)
	end := bytes.LastIndex(b, []byte("PK\x05\x06"))
	binary.LittleEndian.PutUint16(b[end+8:], n)
	binary.LittleEndian.PutUint16(b[end+10:], n)
	return b
}

// zipSize lies about the uncompressed size.
func zipSize(size uint32, body string) []byte {
	b := zipOf(zipEntry{name: "a", body: body, method: 8})
	at := bytes.Index(b, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint32(b[at+24:], size)
	return b
}

func TestExtractEvilCorpus(t *testing.T) {
	t.Parallel()
	cases := evil(t)
	if len(cases) < 60 {
		t.Errorf("only %d archives", len(cases))
	}
	base := t.TempDir()
	canary := filepath.Join(base, "canary")
	if err := errors.Join(os.MkdirAll(canary, 0o755), os.WriteFile(filepath.Join(canary, "file"), []byte("canary"), 0o640), os.Symlink("file", filepath.Join(canary, "link"))); err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, canary)
	for name, c := range cases {
		c.o.Volatile = true
		dest, m, err := extractIn(t, base, c.archive, c.o)
		if err == nil {
			t.Errorf("%s: accepted as %v", name, m)
			if err := os.RemoveAll(dest); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "unpack archive: ") {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
		if left, err := os.ReadDir(base); err != nil || len(left) != 2 {
			t.Fatalf("%s: left behind: %v %v", name, left, err)
		}
	}
	if snapshot(t, canary) != before {
		t.Error("the tree around was changed")
	}
	t.Logf("%d hostile archives refused", len(cases))
}

func TestExtract_bombsEndAtTheirLimit(t *testing.T) {
	t.Parallel()
	t.Run("zeros", func(t *testing.T) {
		t.Parallel()
		var head bytes.Buffer
		entry{kind: '0', name: "zeros", size: 64 << 20, mode: 0o644}.write(&head)
		archive := append(gz(head.Bytes()), bytes.Repeat(gz(make([]byte, 1<<20)), 65)...)
		_, _, err := extract(t, archive, unpack.Options{MaxBytes: 64<<20 - 1})
		if err == nil || !strings.Contains(err.Error(), "more than 67108863 bytes") {
			t.Errorf("got %v", err)
		}
		// The honest hole below the limit is no bomb, whatever its ratio.
		if _, m, err := extract(t, archive, unpack.Options{}); err != nil || m.Size() != 64<<20 {
			t.Errorf("got %d bytes, %v", m.Size(), err)
		}
	})
	t.Run("empty entries", func(t *testing.T) {
		t.Parallel()
		// A million headers, in as many members of gzip as it takes to keep the test small.
		var one bytes.Buffer
		dir("d/").write(&one)
		archive := bytes.Repeat(gz(bytes.Repeat(one.Bytes(), 1000)), 1000)
		_, _, err := extract(t, archive, unpack.Options{})
		if err == nil || !strings.Contains(err.Error(), "more than 200000 entries") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("sparse map", func(t *testing.T) {
		t.Parallel()
		e := entry{kind: '0', name: "x", body: "1000000\n" + strings.Repeat("0\n0\n", 1_000_000), pax: map[string]string{
			"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "4",
		}}
		if _, _, err := extract(t, gz(tarOf(e)), unpack.Options{}); err == nil {
			t.Error("accepted")
		}
	})
}
