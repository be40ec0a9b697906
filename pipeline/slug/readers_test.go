package slug_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/pipetest"
	"github.com/slugfile/slugfile/pipeline/slug"
)

// nodeReads inflates a file with Node's zlib, which goes on with a second member, and writes
// what it got.
const nodeReads = `
const zlib = require('zlib'), fs = require('fs');
const input = fs.readFileSync(process.argv[1]);
const {buffer, engine} = zlib.gunzipSync(input, {info: true});
if (engine.bytesWritten !== input.length) throw new Error(engine.bytesWritten + ' of ' + input.length + ' bytes were read');
fs.writeFileSync(process.argv[2], buffer);
`

// rubyReads does so with Ruby's Zlib, whose GzipReader stops at the end of the first member.
const rubyReads = `
require 'zlib'
File.open(ARGV[0], 'rb') do |f|
  gz = Zlib::GzipReader.new(f)
  stream = gz.read
  raise "#{gz.unused.bytesize} bytes were not read" if gz.unused
  gz.finish
  raise "it stopped at #{f.pos} of #{f.size}" if f.pos != f.size
  File.binwrite(ARGV[1], stream)
end
`

// pythonUnpacks unpacks a file, and holds that it is one member.
const pythonUnpacks = `
import sys, tarfile, zlib
with open(sys.argv[1], "rb") as f:
    z = zlib.decompressobj(31)
    z.decompress(f.read())
    assert z.eof and not z.unused_data, "there is more than one member"
options = {"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}
with tarfile.open(sys.argv[1], "r:gz") as t:
    t.extractall(sys.argv[2], **options)
`

// grown is a slug that was put together from those of several generations of a tree, with the
// tree that it holds. copied says how much of it was taken over.
func grown(t *testing.T, level string) (root string, b []byte, copied int64) {
	t.Helper()
	random := rand.New(rand.NewPCG(11, 11))
	files := map[string]string{"*bin/run": "#!/bin/sh\n", "current -> bin/run": "", "empty/": ""}
	for i := range 60 {
		files[fmt.Sprintf("lib/%d/f%02d", i%4, i)] = string(content(random, 15_000))
	}
	files["lib/2/long"] = string(content(random, 1_700_000))
	noise := make([]byte, 400_000)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	files["noise"] = string(noise)
	root = pipetest.Files(t, files)
	var cache []slug.Cached
	for generation := range 5 {
		switch generation {
		case 1:
			err := os.WriteFile(root+"/lib/0/f00", content(random, 16_000), 0o644)
			if err != nil {
				t.Fatal(err)
			}
		case 2:
			f, err := os.OpenFile(root+"/lib/2/long", os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			_, err = f.WriteAt([]byte("changed"), 800_000)
			if err = errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
		case 3:
			if err := errors.Join(os.Remove(root+"/lib/3/f03"), os.Rename(root+"/lib/1/f01", root+"/lib/1/g01")); err != nil {
				t.Fatal(err)
			}
		case 4:
			if err := os.WriteFile(root+"/zz", content(random, 300), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		out := &copier{}
		r, err := slug.Write(context.Background(), out, members(t, root, artifact.LayerSource), slug.Options{Level: level, Epoch: epoch, Cache: cache})
		if err != nil {
			t.Fatal(err)
		}
		newest := archived(t, t.TempDir(), out.Bytes(), r.Index)
		t.Cleanup(func() { newest.File.Close() })
		cache = append([]slug.Cached{newest}, cache...)
		b, copied = out.Bytes(), out.copied
	}
	return root, b, copied
}

// Every reader gets the whole tree from a slug that was put together from earlier ones, and
// finds one member in it.
func TestWrite_realToolsUnpackWhatWasTakenOver(t *testing.T) {
	t.Parallel()
	for _, level := range []string{slug.LevelDefault, slug.LevelFast} {
		root, b, copied := grown(t, level)
		if copied < int64(len(b))/2 || copied > int64(len(b))-100 {
			t.Fatalf("%s: %d of %d bytes are taken over", level, copied, len(b))
		}
		ms := members(t, root, artifact.LayerSource)
		if !bytes.Equal(b, pack(t, ms, slug.Options{Level: level})) {
			t.Fatalf("%s: warm and cold differ", level)
		}
		want := scan(t, root)
		name, stream := save(t, b), tarOf(t, b)
		for what, unpack := range map[string]func(t *testing.T, to string){
			"tar":     func(t *testing.T, to string) { run(t, tool(t, "tar"), "-xzf", name, "-C", to) },
			"bsdtar":  func(t *testing.T, to string) { run(t, tool(t, "bsdtar"), "-xzf", name, "-C", to) },
			"busybox": func(t *testing.T, to string) { run(t, tool(t, "busybox"), "tar", "-xzf", name, "-C", to) },
			"python3": func(t *testing.T, to string) { run(t, tool(t, "python3"), "-c", pythonUnpacks, name, to) },
			"pigz and tar": func(t *testing.T, to string) {
				run(t, tool(t, "tar"), "-I", tool(t, "pigz"), "-xf", name, "-C", to)
			},
		} {
			t.Run(level+" "+what, func(t *testing.T) {
				t.Parallel()
				to := t.TempDir()
				unpack(t, to)
				if diff := cmp.Diff(want, scan(t, filepath.Join(to, "app"))); diff != "" {
					t.Errorf("unpacked (-want +got):\n%s", diff)
				}
			})
		}
		for what, inflate := range map[string]func(t *testing.T, to string){
			"gzip": func(t *testing.T, to string) {
				run(t, tool(t, "gzip"), "-t", name)
				output(t, to, run(t, tool(t, "gzip"), "-dc", name))
			},
			"pigz": func(t *testing.T, to string) {
				run(t, tool(t, "pigz"), "-t", name)
				output(t, to, run(t, tool(t, "pigz"), "-dc", name))
			},
			"node": func(t *testing.T, to string) { run(t, tool(t, "node"), "-e", nodeReads, name, to) },
			"ruby": func(t *testing.T, to string) { run(t, tool(t, "ruby"), "-e", rubyReads, name, to) },
			"Go": func(t *testing.T, to string) {
				r := bytes.NewReader(b)
				zr, err := gzip.NewReader(r)
				if err != nil {
					t.Fatal(err)
				}
				zr.Multistream(false)
				got, err := io.ReadAll(zr)
				if err != nil || r.Len() > 0 {
					t.Fatalf("%d bytes were not read, %v", r.Len(), err)
				}
				output(t, to, got)
			},
		} {
			t.Run(level+" "+what, func(t *testing.T) {
				t.Parallel()
				to := filepath.Join(t.TempDir(), "stream")
				inflate(t, to)
				if got, err := os.ReadFile(to); err != nil || !bytes.Equal(got, stream) {
					t.Errorf("%d bytes, want %d, %v", len(got), len(stream), err)
				}
			})
		}
	}
}

func output(t testing.TB, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
}
