package pipetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"strings"
	"testing"
)

// PlainSlug packs a slug as another tool would. Entries are names below ./app and contents, in
// turn; "-> target" as a content makes a symbolic link, "=> name" a hard one. Level is gzip's.
func PlainSlug(t testing.TB, level int, entries ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, level)
	check(t, err)
	w := tar.NewWriter(z)
	for i := 0; i < len(entries); i += 2 {
		name, body := entries[i], entries[i+1]
		h := &tar.Header{Name: "./app/" + name, Typeflag: tar.TypeReg, Size: int64(len(body)), Mode: 0o644}
		if to, ok := strings.CutPrefix(body, "-> "); ok {
			h.Typeflag, h.Linkname, h.Size, body = tar.TypeSymlink, to, 0, ""
		} else if to, ok := strings.CutPrefix(body, "=> "); ok {
			h.Typeflag, h.Linkname, h.Size, body = tar.TypeLink, "./app/"+to, 0, ""
		}
		check(t, w.WriteHeader(h))
		_, err := io.WriteString(w, body)
		check(t, err)
	}
	check(t, w.Close(), z.Close())
	return b.Bytes()
}
