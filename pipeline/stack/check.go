package stack

import (
	"cmp"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/examine"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// CheckVersion moves when the same slug gives other findings. Findings of another version are
// worth nothing.
const CheckVersion = 2

// maxFindings bounds what is remembered of one slug.
const maxFindings = 1000

// The codes of findings, which `checks.allow` in slug.yaml names.
const (
	// CodeGLIBC, CodeCXX and CodeGCC are about versions of the C library, the C++ library and
	// GCC's own, that the stack does not have.
	CodeGLIBC = "glibc"
	CodeCXX   = "libstdcxx"
	CodeGCC   = "libgcc"
	// CodeVersion is about versions that a library in the slug does not have.
	CodeVersion = "library-version"
	// CodeLibrary is a library that is neither in the slug nor in the stack.
	CodeLibrary = "library"
	// CodeMachine is a file that is built for another machine or system.
	CodeMachine = "machine"
	// CodeLoader is a dynamic loader, such as that of musl, that is not there.
	CodeLoader = "loader"
	// CodeInterpreter is a script whose #! names what is not there.
	CodeInterpreter = "interpreter"
	// CodeProgram is a process type whose command begins with what is not there, or cannot be run.
	CodeProgram = "program"
	// CodeLineEnds are scripts with the line ends of Windows.
	CodeLineEnds = "line-ends"
	// CodeMode are files that everybody may write, or that run as their owner.
	CodeMode = "mode"
	// CodeLink are links that leave /app. Slugs that slugfile makes have none.
	CodeLink = "link"
	// CodeTwins are names that other systems take for one.
	CodeTwins = "twins"
)

// Codes lists the codes, sorted.
func Codes() []string {
	return []string{
		CodeGLIBC, CodeInterpreter, CodeGCC, CodeLibrary, CodeVersion, CodeCXX, CodeLineEnds, CodeLink, CodeLoader, CodeMachine,
		CodeMode, CodeProgram, CodeTwins,
	}
}

// Subject is what is checked: the files of a slug and what they need, and how it is started.
type Subject struct {
	// Stack is the name of the one that it is for. Of one that is not known nothing is missing.
	Stack        string
	ProcessTypes map[string]string
	// Entries are all that the slug holds below ./app, directories too, and Find looks one up.
	Entries iter.Seq[*tree.Entry]
	Find    func(path string) (tree.Entry, bool)
	// Facts are by the path below ./app. A file without facts needs nothing.
	Facts map[string]examine.Facts
	// Modes are those of files that have other bits than a slug of ours gives them.
	Modes map[string]fs.FileMode
}

// Check says what of a slug would not run on its stack. The findings are in a fixed order, errors
// first. Nothing is told as an error that may work all the same: that a file is for another machine
// matters when a process type leads to it, and a library that a table does not know may be there.
func Check(in Subject) []artifact.Finding {
	c := &checker{Subject: in, reached: map[string]string{}, named: map[string]string{}}
	c.stack, c.known = Known(in.Stack)
	c.profile()
	c.index()
	c.processTypes()
	paths := slices.Sorted(maps.Keys(in.Facts))
	for _, p := range paths {
		f := in.Facts[p]
		switch {
		case f.ELF != nil:
			c.program(p, f.ELF)
		case f.Script != nil:
			c.script(p, f.Script)
		case f.Foreign != "":
			c.foreign(p, f.Foreign)
		}
		if f.Profile != nil && f.Profile.CR {
			c.add(CodeLineEnds, artifact.Advice, p, "", "", "its lines end as on Windows, so every value that it sets ends with a carriage return",
				`save it with Unix line ends; "*.sh text eol=lf" in .gitattributes keeps them`)
		}
	}
	for _, p := range slices.Sorted(maps.Keys(in.Modes)) {
		c.mode(p, in.Modes[p])
	}
	slices.SortStableFunc(c.found, func(a, b artifact.Finding) int {
		return cmp.Or(cmp.Compare(a.Severity, b.Severity), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Needs, b.Needs), tree.Compare(a.Path, b.Path))
	})
	return c.found[:min(len(c.found), maxFindings)]
}

type checker struct {
	Subject
	stack Stack
	known bool
	found []artifact.Finding

	// path and libraries are where a dyno looks beside the stack's own directories. unclear says
	// that it may look elsewhere too.
	path, libraries []string
	unclear         bool
	// reached are the files that a process type leads to, with its name.
	reached map[string]string
	// byName are the paths of libraries of the slug, by their soname and by their name.
	byName map[string][]string
	// named are executable files of the slug by their name, as far as somebody asked.
	named map[string]string
}

func (c *checker) add(code string, s artifact.Severity, p, needs, has, message, hint string) {
	c.found = append(c.found, artifact.Finding{
		Code: code, Severity: s, Path: p, ProcessType: c.reached[p], Needs: needs, Has: has, Message: message, Hint: hint,
	})
}

// severity is an error for what a process type leads to.
func (c *checker) severity(p string) artifact.Severity {
	if c.reached[p] != "" {
		return artifact.Error
	}
	return artifact.Advice
}

// profile collects what the files say that a dyno sources.
func (c *checker) profile() {
	for _, p := range slices.Sorted(maps.Keys(c.Facts)) {
		f := c.Facts[p].Profile
		if f == nil {
			continue
		}
		c.path = append(c.path, f.Path...)
		c.libraries = append(c.libraries, f.Libraries...)
		c.unclear = c.unclear || f.Unclear
	}
}

// index goes through all entries once: for libraries that are links, and for twins.
func (c *checker) index() {
	c.byName = map[string][]string{}
	provide := func(name, p string) {
		if name != "" && !slices.Contains(c.byName[name], p) {
			c.byName[name] = append(c.byName[name], p)
		}
	}
	for p, f := range c.Facts {
		if f.ELF != nil && f.ELF.X86() {
			provide(path.Base(p), p)
			provide(f.ELF.Soname, p)
		}
	}
	var seen hashes
	again := map[uint64][]string{} // paths whose hash came before
	for e := range c.Entries {
		if e.Kind == tree.Link {
			c.link(e)
			if strings.Contains(path.Base(e.Path), ".so") {
				if to, ok := c.resolve(e.Path); ok && c.Facts[to.Path].ELF != nil {
					provide(path.Base(e.Path), to.Path)
				}
			}
		}
		if h := folded(e.Path); seen.add(h) {
			again[h] = append(again[h], e.Path)
		}
	}
	if len(again) > 0 {
		c.findTwins(again)
	}
	for _, list := range c.byName {
		slices.SortFunc(list, tree.Compare)
	}
}

// findTwins compares the paths that share a hash with those that came before them.
func (c *checker) findTwins(again map[uint64][]string) {
	first := map[uint64]string{}
	for e := range c.Entries {
		h := folded(e.Path)
		list, suspect := again[h]
		if !suspect || slices.Contains(list, e.Path) {
			continue
		}
		first[h] = e.Path
	}
	for _, h := range slices.Sorted(maps.Keys(again)) {
		for _, p := range again[h] {
			if twin := first[h]; path.Dir(twin) == path.Dir(p) && strings.EqualFold(norm.NFC.String(twin), norm.NFC.String(p)) {
				c.twins(twin, p)
			}
		}
	}
}

// folded is a hash of a path under which names meet that a file system may take for one: letters
// count without their case, and other characters in one form. Names that are no twins may meet too.
func folded(p string) uint64 {
	for i := range len(p) {
		if p[i] >= 0x80 {
			p = strings.ToLower(norm.NFC.String(p))
			break
		}
	}
	const letters = 0x2020202020202020 // what tells a from A
	h := uint64(len(p))
	for i := 0; i < len(p); i += 8 {
		var word uint64
		if i+8 <= len(p) {
			word = uint64(p[i]) | uint64(p[i+1])<<8 | uint64(p[i+2])<<16 | uint64(p[i+3])<<24 |
				uint64(p[i+4])<<32 | uint64(p[i+5])<<40 | uint64(p[i+6])<<48 | uint64(p[i+7])<<56
		} else {
			for k := i; k < len(p); k++ {
				word |= uint64(p[k]) << (8 * (k - i))
			}
		}
		h = (h ^ (word | letters)) * 0x9e3779b97f4a7c15
		h ^= h >> 29
	}
	return h
}

// hashes is a set of hashes. It takes a fraction of the time of a map, which matters where a slug of
// 40,000 files is made anew for one that changed.
type hashes struct {
	slots []uint64 // 0 is free
	n     int
}

// add reports whether a hash was there.
func (s *hashes) add(h uint64) bool {
	if h == 0 {
		h = 1
	}
	if 2*s.n >= len(s.slots) {
		old := s.slots
		*s = hashes{slots: make([]uint64, max(1024, 2*len(old)))}
		for _, o := range old {
			if o != 0 {
				s.add(o)
			}
		}
	}
	for i := h >> 7; ; i++ {
		switch at := &s.slots[i&uint64(len(s.slots)-1)]; *at {
		case h:
			return true
		case 0:
			*at = h
			s.n++
			return false
		}
	}
}

func (c *checker) twins(a, b string) {
	if norm.NFC.String(a) == norm.NFC.String(b) {
		c.add(CodeTwins, artifact.Advice, b, "", fmt.Sprintf("%+q", a), fmt.Sprintf("%+q and %+q look the same: they differ only in their Unicode form", a, b),
			"rename one of them; other systems take them for one file")
		return
	}
	c.add(CodeTwins, artifact.Advice, b, "", a, fmt.Sprintf("%s is there as well: the names differ in capitals alone", a),
		"rename one of them; macOS and Windows take them for one file, and a checkout there loses one")
}

func (c *checker) link(e *tree.Entry) {
	if _, err := tree.LinkTarget(e.Path, e.Target); err != nil {
		c.add(CodeLink, artifact.Advice, e.Path, "", "", fmt.Sprintf("is a link to %s, outside the app's directory", e.Target),
			"put the file itself into the slug: what lies elsewhere is another on each stack, and slugfile makes no such slug")
	}
}

func (c *checker) mode(p string, m fs.FileMode) {
	switch {
	case m&(fs.ModeSetuid|fs.ModeSetgid) != 0:
		c.add(CodeMode, artifact.Advice, p, "", m.String(), "it is set to run as its owner or group", "a dyno runs everything as one user, who could not use that: take the bit away")
	case m.IsRegular() && m.Perm()&0o002 != 0:
		c.add(CodeMode, artifact.Advice, p, "", m.String(), "everybody may write to it", "chmod o-w")
	}
}

// foreign is for programs that Linux does not run. That they are there is usual: packages bring them
// for every system, under names that say so.
func (c *checker) foreign(p, form string) {
	system := map[string]string{"Mach-O": "macOS", "PE": "Windows"}[form]
	if c.reached[p] == "" && (labelled(p) || !strings.HasSuffix(p, ".node") && !strings.HasSuffix(p, ".so")) {
		return
	}
	c.machine(p, system)
}

func (c *checker) machine(p, system string) {
	hint := "build it for linux/amd64, on Linux or in a container"
	if strings.Contains(p, "node_modules/") {
		hint = "run npm in a build step, so that packages are installed for linux/amd64"
	}
	c.add(CodeMachine, c.severity(p), p, system, "x86-64 Linux", fmt.Sprintf("built for %s; %s runs x86-64 Linux", system, c.on()), hint)
}

// on is the stack in messages.
func (c *checker) on() string { return cmp.Or(c.Stack, "a dyno") }

// resolve finds the file or directory at a path below ./app, through links. Of a link that leads nowhere
// it returns false.
func (c *checker) resolve(p string) (tree.Entry, bool) {
	hops := 0
	done := "."
	rest := strings.Split(path.Clean(p), "/")
	var e tree.Entry
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case ".", "":
			continue
		case "..":
			if done == "." {
				return e, false
			}
			done = path.Dir(done)
			continue
		}
		at := path.Join(done, part)
		var ok bool
		if e, ok = c.Find(at); !ok {
			return e, false
		}
		if e.Kind != tree.Link {
			done = at
			continue
		}
		if hops++; hops > 40 { // as many as Linux follows
			return e, false
		}
		target := e.Target
		if strings.HasPrefix(target, "/") {
			below, ok := inApp(target)
			if !ok {
				return e, false
			}
			done, target = ".", below
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	if done == "." {
		return tree.Entry{Path: ".", Kind: tree.Dir}, true
	}
	return c.Find(done)
}

// inApp makes a path below ./app of an absolute one that leads there.
func inApp(p string) (string, bool) {
	p = path.Clean(p)
	if p == "/app" {
		return ".", true
	}
	return strings.CutPrefix(p, "/app/")
}

// labels are words in paths that name another system than the stack's.
var labels = func() map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(`darwin macos osx mac win32 win64 windows win mingw msvc freebsd openbsd netbsd sunos solaris aix android ios
		arm64 aarch64 arm armv5 armv6 armv6l armv7 armv7l armv8 armhf arm64e gnueabihf eabihf ia32 i386 i586 i686 ppc64 ppc64le s390x
		riscv64 loong64 loongarch64 mips mips64 mips64el mipsel musl alpine linuxmusl linux32 wasm wasm32`) {
		m[w] = true
	}
	return m
}()

// labelled reports whether a path says that the file is for another system, as
// prebuilds/darwin-arm64/x.node does.
func labelled(p string) bool {
	for w := range strings.FieldsFuncSeq(strings.ToLower(p), func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') }) {
		if labels[w] {
			return true
		}
	}
	return false
}

// aside are directories with files that nothing runs, or one of which is chosen.
var aside = map[string]bool{"prebuilds": true, "prebuilt": true, "fixtures": true, "test": true, "tests": true, "testdata": true, "spec": true}

// isAside reports whether a file that no process type leads to is likely not to be used.
func (c *checker) isAside(p string) bool {
	if c.reached[p] != "" {
		return false
	}
	for part := range strings.SplitSeq(path.Dir(p), "/") {
		if aside[part] {
			return true
		}
	}
	return labelled(p)
}
