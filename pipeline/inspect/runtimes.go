package inspect

import (
	"bytes"
	"cmp"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/slugfile/slugfile/pipeline/tree"
)

// Look recognises runtimes while a slug is examined. The zero value is ready.
//
// A runtime is known by files that every build of it has: a header, a file of its library, its
// program. Each says which version it is; nothing is run.
type Look struct{ seen []sign }

// sign is a file that tells of a runtime.
type sign struct {
	runtime, dir, version, from string
	// rank is higher for what is surer.
	rank int
}

// The ranks of what tells a version.
const (
	byName = iota
	byProgram
	byText
)

// teller says what a file with that path, of a runtime in dir, tells.
type teller struct {
	runtime string
	// base is how the file's name begins, and path is of the whole path below ./app; its first group is the runtime's directory with a slash,
	// or empty. Nearly all files are told apart by the first.
	base string
	path *regexp.Regexp
	rank int
	// elf is whether the file is a program or library.
	elf bool
	// most is the largest size of a text, in bytes.
	most int64
	tell func(match []string, size int64, r io.ReaderAt) (version string, ok bool)
}

var tellers = []teller{
	{"node", "node_version.h", regexp.MustCompile(`^(.*/|)include/node/node_version\.h$`), byText, false, 64 << 10, nodeHeader},
	{"node", "node", regexp.MustCompile(`^(|.*?/)(?:bin/)?node$`), byProgram, true, 0, nodeProgram},
	{"ruby", "rbconfig.rb", regexp.MustCompile(`^(|.*?/)lib(?:64)?/(?:[^/]+/)?ruby/(?:[^/]+/)*rbconfig\.rb$`), byText, false, 256 << 10, rubyConfig},
	{"ruby", "", regexp.MustCompile(`^(|.*?/)(?:bin/ruby|lib(?:64)?/(?:[^/]+/)?libruby[^/]*\.so[.0-9]*)$`), byProgram, true, 0, rubyProgram},
	{"python", "patchlevel.h", regexp.MustCompile(`^(|.*?/)include/python(3\.[0-9]+)[a-z]*/patchlevel\.h$`), byText, false, 64 << 10, pythonHeader},
	{"python", "", regexp.MustCompile(`^(|.*?/)(?:bin/python|lib(?:64)?/(?:[^/]+/)?libpython)(3\.[0-9]+)[a-z]*(?:\.so[.0-9]*)?$`), byProgram, true, 0, pythonProgram},
	{"java", "release", regexp.MustCompile(`^(.*/|)release$`), byText, false, 64 << 10, javaRelease},
	{"go", "VERSION", regexp.MustCompile(`^(.*/|)VERSION$`), byText, false, 4 << 10, goVersion},
}

// Wants asks for the files that tell of a runtime.
func (l *Look) Wants(name string, size int64, elf bool) bool {
	base := path.Base(name)
	return slices.ContainsFunc(tellers, func(t teller) bool {
		return t.elf == elf && (elf || size <= t.most) && strings.HasPrefix(base, t.base) && t.path.MatchString(name)
	})
}

// See reads what a file tells.
func (l *Look) See(name string, size int64, r io.ReaderAt) {
	for _, t := range tellers {
		match := t.path.FindStringSubmatch(name)
		if match == nil || !t.elf && size > t.most {
			continue
		}
		version, ok := t.tell(match, size, r)
		if !ok {
			continue
		}
		s := sign{t.runtime, cmp.Or(strings.TrimSuffix(match[1], "/"), "."), version, name, t.rank}
		if version == "" {
			s.rank = byName
		}
		l.seen = append(l.seen, s)
	}
}

// runtimes are those that were seen, each once for each directory, by their names.
func (l *Look) runtimes(m tree.Manifest) []Runtime {
	best := map[[2]string]sign{}
	for _, s := range l.seen {
		switch s.runtime { // a file of that name proves nothing alone
		case "java":
			if !has(m, s.dir, "bin/java") && !has(m, s.dir, "lib/modules") {
				continue
			}
		case "go":
			if !has(m, s.dir, "bin/go") && !has(m, s.dir, "src/runtime") {
				continue
			}
		}
		key := [2]string{s.runtime, s.dir}
		if b, ok := best[key]; !ok || s.rank > b.rank || s.rank == b.rank && tree.Compare(s.from, b.from) < 0 {
			best[key] = s
		}
	}
	out := []Runtime{}
	for _, s := range best {
		out = append(out, Runtime{Name: s.runtime, Version: s.version, Dir: s.dir, From: s.from})
	}
	slices.SortFunc(out, func(a, b Runtime) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), tree.Compare(a.Dir, b.Dir))
	})
	return out
}

func has(m tree.Manifest, dir, name string) bool {
	_, ok := m.Find(path.Join(dir, name))
	return ok
}

func text(size int64, r io.ReaderAt) []byte {
	b := make([]byte, size)
	n, _ := r.ReadAt(b, 0) // what cannot be read tells nothing
	return b[:n]
}

var nodeParts = regexp.MustCompile(`(?m)^#define NODE_(MAJOR|MINOR|PATCH)_VERSION ([0-9]+)\s*$`)

func nodeHeader(_ []string, size int64, r io.ReaderAt) (string, bool) {
	parts := map[string]string{}
	for _, m := range nodeParts.FindAllSubmatch(text(size, r), -1) {
		parts[string(m[1])] = string(m[2])
	}
	return parts["MAJOR"] + "." + parts["MINOR"] + "." + parts["PATCH"], len(parts) == 3
}

// nodeProgram finds the address of its own source, which process.release tells in builds of the
// project. Others are node all the same, of a version that is not known.
func nodeProgram(_ []string, size int64, r io.ReaderAt) (string, bool) {
	if version, ok := find(size, r, "/node-v", regexp.MustCompile(`^/node-v([0-9]+\.[0-9]+\.[0-9]+)\.tar\.gz`)); ok {
		return version, true
	}
	return find(size, r, "NODE_OPTIONS", regexp.MustCompile(`^NODE_OPTIONS()`))
}

var rubyParts = regexp.MustCompile(`(?m)^\s*CONFIG\["(MAJOR|MINOR|TEENY)"\] = "([0-9]+)"`)

func rubyConfig(_ []string, size int64, r io.ReaderAt) (string, bool) {
	parts := map[string]string{}
	for _, m := range rubyParts.FindAllSubmatch(text(size, r), -1) {
		parts[string(m[1])] = string(m[2])
	}
	return parts["MAJOR"] + "." + parts["MINOR"] + "." + parts["TEENY"], len(parts) == 3
}

// rubyProgram finds what "ruby --version" says.
func rubyProgram(_ []string, size int64, r io.ReaderAt) (string, bool) {
	return find(size, r, "ruby ", regexp.MustCompile(`^ruby ([0-9]+\.[0-9]+\.[0-9]+)(?:p-?[0-9]+|[a-z0-9]*) \(`))
}

var pythonText = regexp.MustCompile(`(?m)^#define PY_VERSION\s+"([^"\n]{1,32})"`)

func pythonHeader(_ []string, size int64, r io.ReaderAt) (string, bool) {
	m := pythonText.FindSubmatch(text(size, r))
	if m == nil {
		return "", false
	}
	return string(m[1]), true
}

// pythonProgram finds the version, which stands in it as a text of its own, or as the end of one: linkers
// let such texts share their bytes. A program that has all of it in a library tells no more than its
// name does.
func pythonProgram(match []string, size int64, r io.ReaderAt) (string, bool) {
	minor := match[2]
	version, ok := find(size, r, minor+".", regexp.MustCompile(`^(`+regexp.QuoteMeta(minor)+`\.[0-9]{1,3}(?:(?:a|b|rc)[0-9]+)?\+?)\x00`))
	if !ok {
		return "", true
	}
	return version, true
}

var javaText = regexp.MustCompile(`(?m)^JAVA_VERSION="([^"\n]{1,64})"`)

func javaRelease(_ []string, size int64, r io.ReaderAt) (string, bool) {
	m := javaText.FindSubmatch(text(size, r))
	if m == nil {
		return "", false
	}
	return string(m[1]), true
}

var goText = regexp.MustCompile(`^go([0-9]+\.[0-9]+[.0-9a-z]*)(?:\s|$)`)

func goVersion(_ []string, size int64, r io.ReaderAt) (string, bool) {
	m := goText.FindSubmatch(text(size, r))
	if m == nil {
		return "", false
	}
	return string(m[1]), true
}

const (
	// block is how much of a program is searched at a time, in bytes, and around what a match
	// may need behind its beginning.
	block  = 1 << 20
	around = 128
)

// find searches a file for a text, and takes the first group of what follows it. It holds a block
// at a time.
func find(size int64, r io.ReaderAt, begins string, match *regexp.Regexp) (string, bool) {
	b := make([]byte, min(size, block+around))
	for at := int64(0); at < size; at += block {
		n, _ := r.ReadAt(b, at) // what cannot be read is not found
		rest := b[:n]
		for {
			i := bytes.Index(rest, []byte(begins))
			if i < 0 || n-len(rest)+i >= block { // the next block has it whole
				break
			}
			rest = rest[i:]
			if m := match.FindSubmatch(rest[:min(len(rest), around)]); m != nil {
				return string(m[1]), true
			}
			rest = rest[1:]
		}
	}
	return "", false
}
