package slug_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/pipetest"
	"github.com/slugfile/slugfile/pipeline/slug"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// epoch is any constant time.
const epoch = 1_000_000_000

// tool returns the path of a program, or skips the test; in CI it must be there.
func tool(t testing.TB, name string) string {
	t.Helper()
	at, err := exec.LookPath(name)
	if err == nil {
		return at
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed, and CI must have it", name)
	}
	t.Skipf("%s is not installed", name)
	return ""
}

// run runs a program in the C locale and returns what it prints.
func run(t testing.TB, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = []string{"LC_ALL=C", "PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, stderr.Bytes())
	}
	return out
}

func scan(t testing.TB, root string) tree.Manifest {
	t.Helper()
	m, err := tree.Scan(context.Background(), root, tree.ScanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// members puts a directory into one layer.
func members(t testing.TB, root string, layer artifact.Layer) []artifact.Member {
	t.Helper()
	part := &artifact.Part{Origin: "source", Dir: root}
	var out []artifact.Member
	for _, e := range scan(t, root) {
		m := artifact.Member{Entry: e, Layer: layer, Part: part}
		if e.Kind == tree.File {
			m.Src = e.Path
		}
		out = append(out, m)
	}
	return out
}

func inline(path, content string, layer artifact.Layer) artifact.Member {
	return artifact.Member{
		Entry: tree.Entry{Path: path, Kind: tree.File, Size: int64(len(content)), Digest: digest.Of([]byte(content))},
		Layer: layer, Part: &artifact.Part{Content: []byte(content), Origin: "files[0]"},
	}
}

func link(path, target string) artifact.Member {
	return artifact.Member{Entry: tree.Entry{Path: path, Kind: tree.Link, Target: target}, Layer: artifact.LayerSource, Part: &artifact.Part{Origin: "source"}}
}

func dir(path string, layer artifact.Layer) artifact.Member {
	return artifact.Member{Entry: tree.Entry{Path: path, Kind: tree.Dir}, Layer: layer, Part: &artifact.Part{Origin: "source"}}
}

func pack(t testing.TB, ms []artifact.Member, o slug.Options) []byte {
	t.Helper()
	var b bytes.Buffer
	if o.Epoch == 0 {
		o.Epoch = epoch
	}
	r, err := slug.Write(context.Background(), &b, ms, o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Digest != digest.Of(b.Bytes()) || r.Size != int64(b.Len()) {
		t.Fatalf("the result tells %s and %d bytes, written were %s and %d", r.Digest, r.Size, digest.Of(b.Bytes()), b.Len())
	}
	return b.Bytes()
}

func save(t testing.TB, b []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "slug.tgz")
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// listing is what `tar tvf` would print, with names quoted.
func listing(t testing.TB, b []byte) string {
	t.Helper()
	var out strings.Builder
	err := slug.Read(bytes.NewReader(b), func(h *tar.Header, _ io.Reader) error {
		fmt.Fprintf(&out, "%s %s/%s %d:%d %6d %d %q", h.FileInfo().Mode(), h.Uname, h.Gname, h.Uid, h.Gid, h.Size, h.ModTime.Unix(), h.Name)
		if h.Linkname != "" {
			fmt.Fprintf(&out, " -> %q", h.Linkname)
		}
		if h.Format != tar.FormatGNU {
			fmt.Fprintf(&out, " (%s)", h.Format)
		}
		out.WriteString("\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// layered is a tree of three layers with every kind of entry.
func layered(t testing.TB) []artifact.Member {
	t.Helper()
	long := strings.Repeat("directory-", 9)
	node := pipetest.Files(t, map[string]string{"*node/bin/node": "\x7fELF runtime", "node/lib/README": "shared"})
	out := pipetest.Files(t, map[string]string{"node_modules/a/index.js": "module.exports = 1\n", "public/app.css": "body {}\n"})
	src := pipetest.Files(t, map[string]string{
		"web.js": "require('a')\n", "*bin/start": "#!/bin/sh\n", "node/lib/README": "shared", "node/extra": "",
		"empty/": "", "public/logo.svg": "<svg/>", "current -> bin/start": "", "dangling -> nowhere/at/all": "", "up/here -> ../web.js": "",
		long + "/" + long + "/file": "deep", "far -> " + long + "/" + long + "/file": "",
	})
	ms := members(t, node, artifact.LayerRuntime)
	ms = append(ms, members(t, out, artifact.LayerOutput)...)
	ms = append(ms, members(t, src, artifact.LayerSource)...)
	return append(ms, inline("inline.txt", "text", artifact.LayerSource), link("absolute", "/app/node/bin/node"), link("bin/abs", "/app/web.js"))
}
