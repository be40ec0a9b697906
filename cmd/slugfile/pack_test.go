//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/pipetest"
)

// packProject is a directory with a runtime that no step sees, unless there are steps.
func packProject(t *testing.T, steps, more string) string {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{"rt/bin/run*": "#!/bin/sh\necho run\n", "rt/lib/empty": "", "rt/lib/extra": "extra"}
	noise := make([]byte, 3<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise) // it never fails
	files["rt/lib/noise"] = string(noise)
	for i := range 300 {
		files[fmt.Sprintf("rt/share/%d/%d", i%7, i)] = strings.Repeat(fmt.Sprint(i), i)
	}
	archive := pipetest.TarGz(t, files)
	write(t, filepath.Join(dir, "vendor", "rt.tar.gz"), string(archive))
	write(t, filepath.Join(dir, "src", "hello"), "hello\n")
	write(t, filepath.Join(dir, "slug.yaml"), fmt.Sprintf(`app: packs
stack: heroku-24
runtimes:
  rt: {path: vendor/rt.tar.gz, sha256: %x, strip: 1}
%sfiles:
  - {from: src, into: src}
process_types: {web: rt/bin/run}
%s`, hash(archive), steps, more))
	return dir
}

// aStep sees every runtime. Nothing of its output is in the slug.
const aStep = `build:
  - name: look
    run: mkdir -p out && "$(pwd)/rt/bin/run" > out/said
    outputs: [out]
`

// slugOf builds a slug and returns its bytes and what was said.
func (w *world) slugOf(t *testing.T, dir string) ([]byte, string) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "slug.tgz")
	r := w.run(t, dir, "build", "-o", out)
	if r.Code != 0 {
		t.Fatalf("build: exit code %d\n%s%s", r.Code, r.Out, r.Err)
	}
	return []byte(readFile(t, out)), r.Out + r.Err
}

// stored are the files of one kind of tree in the world's store.
func (w *world) stored(t *testing.T, kind string) (list []string) {
	t.Helper()
	root := filepath.Join(w.Env["XDG_CACHE_HOME"], name)
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.Contains(p, "/trees/"+kind+"/") && strings.Contains(p, "/tree/") {
			list = append(list, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestPack_slugIsThatOfAnUnpackedRuntime(t *testing.T) {
	t.Parallel()
	for name, only := range map[string]string{"whole": "", "in part": `, only: ["bin/**", "share/3", "lib/*"]`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			narrow := func(dir string) string {
				file := filepath.Join(dir, "slug.yaml")
				write(t, file, strings.Replace(readFile(t, file), ", strip: 1}", ", strip: 1"+only+"}", 1))
				return dir
			}
			packed, unpacked := newWorld(t), newWorld(t)
			project := narrow(packProject(t, "", ""))
			one, _ := packed.slugOf(t, project)
			two, _ := unpacked.slugOf(t, narrow(packProject(t, aStep, "")))
			if !bytes.Equal(one, two) {
				t.Errorf("packed: %d bytes, unpacked: %d; they differ", len(one), len(two))
			}
			if p, u := packed.stored(t, "pack"), packed.stored(t, "runtime"); len(p) != 1 || len(u) != 0 {
				t.Errorf("no step sees it, and there are %d packs and %d unpacked files", len(p), len(u))
			}
			if p, u := unpacked.stored(t, "pack"), unpacked.stored(t, "runtime"); len(p) != 0 || len(u) < 300 {
				t.Errorf("a step sees it, and there are %d packs and %d unpacked files", len(p), len(u))
			}
			// A step that comes later finds the files.
			file := filepath.Join(project, "slug.yaml")
			write(t, file, strings.Replace(readFile(t, file), "files:\n", aStep+"files:\n", 1))
			if three, _ := packed.slugOf(t, project); !bytes.Equal(one, three) {
				t.Error("the slug is another once a step sees the runtime")
			}
		})
	}
}

func TestPack_damageIsMendedBeforeItReachesASlug(t *testing.T) {
	t.Parallel()
	const said = "its pack was damaged in the store, was removed, and is made again"
	want, _ := newWorld(t).slugOf(t, packProject(t, "", "compression: fast\n"))
	damages := map[string]func(f *os.File, size int64) error{
		"a flipped byte": func(f *os.File, size int64) error {
			_, err := f.WriteAt([]byte("?"), size/2)
			return err
		},
		"zeros, as a crash leaves them": func(f *os.File, size int64) error {
			return errors.Join(f.Truncate(20), f.Truncate(size))
		},
		"cut":     func(f *os.File, size int64) error { return f.Truncate(size / 2) },
		"removed": func(f *os.File, _ int64) error { return os.Remove(f.Name()) },
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			dir := packProject(t, "", "")
			w.slugOf(t, dir)
			pack := w.stored(t, "pack")[0]
			info, err := os.Stat(pack)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(pack, 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(pack, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(damage(f, info.Size()), f.Close()); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Lstat(pack); err == nil {
				if err := os.Chtimes(pack, info.ModTime(), info.ModTime()); err != nil {
					t.Fatal(err)
				}
			}
			// At another level no segment of the last slug is of use.
			file := filepath.Join(dir, "slug.yaml")
			write(t, file, readFile(t, file)+"compression: fast\n")
			got, text := w.slugOf(t, dir)
			if !bytes.Equal(got, want) {
				t.Error("the damage is in the slug")
			}
			if n := strings.Count(text, said); n != 1 {
				t.Errorf("told %d times:\n%s", n, text)
			}
			write(t, filepath.Join(dir, "src", "hello"), "changed\n")
			if _, text := w.slugOf(t, dir); strings.Contains(text, "damaged") {
				t.Errorf("it was not mended:\n%s", text)
			}
		})
	}
}

func TestPack_killAtAnyPointLeavesNothingWrong(t *testing.T) {
	t.Parallel()
	dir := packProject(t, "", "")
	whole := newWorld(t)
	began := time.Now()
	want, _ := whole.slugOf(t, dir)
	took := time.Since(began)
	rounds := 6
	if long {
		rounds = 60
	}
	w := newWorld(t)
	rnd := random(t, 11)
	for range rounds {
		cmd := w.command(dir, "build")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rnd.Int64N(int64(took))))
		_ = cmd.Process.Kill() // it may be over already
		_ = cmd.Wait()
		if rnd.IntN(2) == 0 {
			continue
		}
		got, text := w.slugOf(t, dir)
		if !bytes.Equal(got, want) || strings.Contains(text, "damaged") {
			t.Errorf("after a kill: %d bytes, of a whole run %d\n%s", len(got), len(want), text)
		}
		w = newWorld(t)
	}
}
