package fetch_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/config"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/fetch"
	"github.com/slugfile/slugfile/pipeline/lock"
	"github.com/slugfile/slugfile/pipeline/pipetest"
)

func (b *bench) pin(t *testing.T, dir string, runtimes []config.Runtime, old *lock.File, o fetch.PinOptions) (fetch.Pinned, error) {
	t.Helper()
	return b.stage.Pin(context.WithoutCancel(t.Context()), dir, runtimes, old, o)
}

func pinOf(name, url string, body []byte) lock.Pin {
	return lock.Pin{Name: name, URL: url, SHA256: digest.Of(body), Size: int64(len(body))}
}

func TestPin_pinsWhatHasNoLiteralDigest(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1000)
	dir := t.TempDir()
	tools := archiveOf(t, "tools", 100)
	if err := os.MkdirAll(filepath.Join(dir, "third_party"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "third_party", "tools.tgz"), tools, 0o600); err != nil {
		t.Fatal(err)
	}
	old := &lock.File{Pins: []lock.Pin{
		pinOf("gone", host+"/gone", []byte("gone")),
		pinOf("node", host+"/older", []byte("older")),
	}}
	runtimes := []config.Runtime{
		{Name: "node", URL: host + path},
		{Name: "tools", Path: "third_party/tools.tgz"},
		{Name: "literal", URL: host + "/absent", SHA256: strings.Repeat("ab", 32)},
		{Name: "go", Host: "go"},
	}
	got, err := b.pin(t, dir, runtimes, old, fetch.PinOptions{})
	if err != nil {
		t.Fatal(err)
	}
	node, tool := pinOf("node", host+path, b.archive), pinOf("tools", "third_party/tools.tgz", tools)
	want := fetch.Pinned{
		Lock: &lock.File{Pins: []lock.Pin{node, old.Pins[1], tool}},
		Changes: []fetch.Change{
			{Name: "node", URL: node.URL, New: &node},
			{Name: "tools", URL: tool.URL, New: &tool},
			{Name: "gone", URL: host + "/gone", Old: &old.Pins[0]},
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("pinned (-want +got):\n%s", d)
	}
	// What was pinned needs no second download, neither for the lock nor for apply.
	again, err := b.pin(t, dir, runtimes, got.Lock, fetch.PinOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(got.Lock, again.Lock); d != "" {
		t.Errorf("second lock:\n%s", d)
	}
	b.mustRun(t, b.runtime())
	if n := b.server.Count(path); n != 1 {
		t.Errorf("%d downloads, want 1", n)
	}
}

func TestPin_neverOverwritesAPinUnasked(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1000)
	dir := t.TempDir()
	file := filepath.Join(dir, "tools.tgz")
	if err := os.WriteFile(file, archiveOf(t, "new", 10), 0o600); err != nil {
		t.Fatal(err)
	}
	other := archiveOf(t, "other", 10)
	old := &lock.File{Pins: []lock.Pin{pinOf("node", host+path, other), pinOf("tools", "tools.tgz", other)}}
	node, tools := []config.Runtime{{Name: "node", URL: host + path}}, []config.Runtime{{Name: "tools", Path: "tools.tgz"}}
	b.server.Put("/SHASUMS256.txt", pipetest.Sums(map[string][]byte{path: b.archive}, path))
	for name, run := range map[string]func() (fetch.Pinned, error){
		"repository": func() (fetch.Pinned, error) { return b.pin(t, dir, tools, old, fetch.PinOptions{}) },
		"checksum file": func() (fetch.Pinned, error) {
			return b.pin(t, dir, node, old, fetch.PinOptions{Sums: host + "/SHASUMS256.txt"})
		},
	} {
		_, err := run()
		var changed *fetch.ChangedError
		var mismatch *digest.MismatchError
		if !errors.As(err, &changed) || !errors.As(err, &mismatch) || !strings.Contains(changed.Hint(), "--update") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	got, err := b.pin(t, dir, node, old, fetch.PinOptions{Update: true})
	if err != nil {
		t.Fatal(err)
	}
	if c := got.Changes[0]; c.Old.SHA256 != digest.Of(other) || c.New.SHA256 != digest.Of(b.archive) {
		t.Errorf("change %+v", c)
	}
	if len(old.Pins) != 2 || old.Pins[0].SHA256 != digest.Of(other) {
		t.Error("the old file was changed")
	}
}

func TestPin_checksAgainstAPublishedFile(t *testing.T) {
	t.Parallel()
	sum, wrong := digest.Of([]byte("x")).String(), strings.Repeat("0f", 32)
	for name, c := range map[string]struct {
		sums string // SUM is the archive's digest
		want string
	}{
		"right":            {"SUM  node.tar.gz\n" + sum + "  other.tar.gz\n", ""},
		"binary mark":      {"SUM *node.tar.gz\r\n", ""},
		"signed":           {"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nSUM  node.tar.gz\n-----BEGIN PGP SIGNATURE-----\n", ""},
		"wrong":            {wrong + "  node.tar.gz\n", "expected sha256 " + wrong},
		"absent":           {sum + "  node.tar.xz\n", `has no line for "node.tar.gz"`},
		"part of a name":   {sum + "  win-x64/node.tar.gz\nSUM  xnode.tar.gz\nSUM  node.tar.gz.sig\n", `has no line for "node.tar.gz"`},
		"twice":            {"SUM  node.tar.gz\nSUM  node.tar.gz\n", `has 2 lines for "node.tar.gz"`},
		"one blank":        {"SUM node.tar.gz\n", "no line of it"},
		"bare digest":      {"SUM\n", "no line of it"},
		"another length":   {strings.Repeat("0f", 20) + "  node.tar.gz\n", "no line of it"},
		"html":             {"<!DOCTYPE html>", "no line of it"},
		"larger than 1 MB": {strings.Repeat("#", 1<<20) + "\nSUM  node.tar.gz\n", "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, 1000)
			b.server.Put("/sums", []byte(strings.ReplaceAll(c.sums, "SUM", digest.Of(b.archive).String())))
			got, err := b.pin(t, t.TempDir(), []config.Runtime{{Name: "node", URL: host + path}}, nil, fetch.PinOptions{Sums: host + "/sums"})
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want == "" && got.Lock.Pins[0].SHA256 != digest.Of(b.archive):
				t.Errorf("pinned %+v", got.Lock)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestPin_refusesWhatIsNoArchive(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1000)
	b.server.Fault(path, pipetest.HTML())
	_, err := b.pin(t, t.TempDir(), []config.Runtime{{Name: "node", URL: host + path}}, nil, fetch.PinOptions{})
	if err == nil || !strings.Contains(err.Error(), "no archive") || !strings.Contains(err.Error(), "<!DOCTYPE html>") {
		t.Errorf("got %v", err)
	}
}

func TestPin_leavesSignaturesOut(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1000)
	signed := host + path + "?X-Amz-Signature=canary&X-Amz-Date=1"
	got, err := b.pin(t, t.TempDir(), []config.Runtime{{Name: "node", URL: signed}}, nil, fetch.PinOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if text := string(got.Lock.Bytes()); strings.Contains(text, "canary") || !strings.Contains(text, host+path) {
		t.Errorf("slug.lock:\n%s", text)
	}
	if b.server.Requests()[0].Query == "" {
		t.Error("the signature was not sent")
	}
	b.server.Fault(path, pipetest.Always(pipetest.Status(403)))
	_, err = b.pin(t, t.TempDir(), []config.Runtime{{Name: "node", URL: signed}}, nil, fetch.PinOptions{})
	if err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("got %v", err)
	}
}

func TestPin_limitsItselfToNames(t *testing.T) {
	t.Parallel()
	b := newBench(t, 1000)
	runtimes := []config.Runtime{{Name: "node", URL: host + path}, {Name: "ruby", URL: host + "/absent"}}
	got, err := b.pin(t, t.TempDir(), runtimes, nil, fetch.PinOptions{Names: []string{"node"}})
	if err != nil || len(got.Lock.Pins) != 1 {
		t.Errorf("got %+v, %v", got.Lock, err)
	}
	if _, err := b.pin(t, t.TempDir(), runtimes, nil, fetch.PinOptions{Names: []string{"nodde"}}); err == nil {
		t.Error("a name that is not there passes")
	}
}
