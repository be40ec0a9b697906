package stack

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/examine"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// loader is the dynamic loader of every stack, by the path that linkers write into programs.
const loader = "/lib64/ld-linux-x86-64.so.2"

// program checks an ELF file.
func (c *checker) program(p string, e *examine.ELF) {
	switch {
	case e.Type != "program" && e.Type != "library":
		if c.reached[p] != "" {
			c.add(CodeMachine, artifact.Error, p, "ELF "+e.Type, "", fmt.Sprintf("it is an ELF %s file, which nothing can run", e.Type), "link it to a program")
		}
		return
	case !e.X86():
		if c.reached[p] == "" && (labelled(p) || e.Machine == "bpf") {
			return
		}
		c.machine(p, built(e))
		return
	case e.Damaged != "":
		if c.reached[p] != "" {
			c.add(CodeMachine, artifact.Advice, p, "", "", "it is a program that cannot be read: "+e.Damaged, "look whether it was copied whole")
		}
		return
	}
	if !c.loads(p, e) {
		return
	}
	for _, r := range e.Requires {
		c.versions(p, e, r)
	}
	for _, so := range e.Needed {
		c.library(p, e, so)
	}
}

// built names what a file is built for.
func built(e *examine.ELF) string {
	system := e.OS
	if system == "" {
		system = "Linux"
	}
	switch {
	case e.Class == 32 && e.Machine == "x86-64":
		return "x32 " + system
	case e.Machine == "x86":
		return "32-bit x86 " + system
	}
	return e.Machine + " " + system
}

// loads checks the dynamic loader, and whether the C library is the stack's. It reports whether the rest
// can be checked against the stack.
func (c *checker) loads(p string, e *examine.ELF) bool {
	musl := strings.Contains(e.Interp, "/ld-musl-") || slices.Contains(e.Needed, "libc.musl-x86_64.so.1")
	below, own := inApp(e.Interp)
	switch {
	case musl && own: // brings its own loader
	case musl && e.Interp == "" && (c.byName["libc.musl-x86_64.so.1"] != nil || c.isAside(p)):
		return false
	case musl:
		if !c.known || c.reached[p] == "" && labelled(p) {
			return false
		}
		needs := e.Interp
		if needs == "" {
			needs = "libc.musl-x86_64.so.1"
		}
		c.add(CodeLoader, c.severity(p), p, needs, "glibc "+c.stack.GLIBC, fmt.Sprintf("needs musl (%s), as programs built on Alpine do; %s has glibc", needs, c.on()),
			"build it on "+c.on()+", or link it statically")
		return false
	}
	switch {
	case e.Interp == "" || e.Interp == loader:
		return true
	case own:
		if _, ok := c.resolve(below); !ok {
			c.add(CodeLoader, c.severity(p), p, e.Interp, "", fmt.Sprintf("needs the loader %s, which is not in the slug", e.Interp), "put it there, or link with the stack's")
		}
		return false // it has a world of its own
	case systemDir(e.Interp):
		return false // nobody knows
	}
	c.add(CodeLoader, c.severity(p), p, e.Interp, loader, fmt.Sprintf("needs the loader %s, which %s does not have", e.Interp, c.on()),
		"build it on "+c.on()+", link it statically, or set its loader with patchelf")
	return false
}

// systemDir reports whether a path lies where a run image may have more than the tables know.
func systemDir(p string) bool {
	for _, dir := range []string{"/bin/", "/sbin/", "/lib/", "/lib32/", "/lib64/", "/libx32/", "/usr/", "/opt/", "/etc/"} {
		if strings.HasPrefix(p, dir) {
			return true
		}
	}
	return false
}

// scheme is how a system library names its versions.
type scheme struct {
	prefix, code string
	of           func(Stack) string
}

var schemes = []scheme{
	{"GLIBC_", CodeGLIBC, func(s Stack) string { return s.GLIBC }},
	{"GLIBCXX_", CodeCXX, func(s Stack) string { return s.GLIBCXX }},
	{"CXXABI_", CodeCXX, func(s Stack) string { return s.CXXABI }},
	{"GCC_", CodeGCC, func(s Stack) string { return s.GCC }},
}

// versions checks what is wanted of one library.
func (c *checker) versions(p string, e *examine.ELF, r examine.Requirement) {
	if in, ok := c.search(p, e, r.Library); ok {
		c.ownVersions(p, r, in)
		return
	}
	if !c.known {
		return
	}
	for _, s := range schemes {
		top, text := version{}, ""
		for _, v := range r.Versions {
			if n, ok := wanted(s, v); ok && top.less(n) {
				top, text = n, v
			}
		}
		has := s.of(c.stack)
		if text == "" || !parseVersion(has).less(top) {
			continue
		}
		severity := artifact.Error
		if c.isAside(p) || c.providedElsewhere(r.Library, text) {
			severity = artifact.Advice
		}
		hint := "build on " + c.stack.Name + " or link statically"
		if to := newer(c.stack, s, top); to != "" {
			hint = fmt.Sprintf("build on %s, link statically, or move to %s", c.stack.Name, to)
		}
		c.add(s.code, severity, p, text, has, fmt.Sprintf("needs %s; %s has %s", text, c.stack.Name, has), hint)
	}
}

// wanted is the number in a version such as GLIBC_2.38. Others, such as GLIBC_PRIVATE, have none.
func wanted(s scheme, v string) (version, bool) {
	if v == "GLIBC_ABI_DT_RELR" && s.code == CodeGLIBC {
		return version{2, 36}, true // the release that brought it: https://sourceware.org/glibc/wiki/Release/2.36
	}
	text, ok := strings.CutPrefix(v, s.prefix)
	if !ok || text == "" || text[0] < '0' || text[0] > '9' {
		return nil, false
	}
	return parseVersion(text), true
}

// newer is the oldest stack after this one that has what is wanted, or empty.
func newer(from Stack, s scheme, v version) string {
	after := false
	for _, other := range stacks {
		if after && !parseVersion(s.of(other)).less(v) {
			return other.Name
		}
		after = after || other.Name == from.Name
	}
	return ""
}

// ownVersions checks versions against a library of the slug, which the loader finds before the stack's.
func (c *checker) ownVersions(p string, r examine.Requirement, in string) {
	lib := c.Facts[in].ELF
	if lib == nil || len(lib.Defines) == 0 || lib.Damaged != "" {
		return // the loader only mumbles when a library has no versions at all
	}
	for _, v := range r.Versions {
		if !slices.Contains(lib.Defines, v) {
			c.add(CodeVersion, c.severity(p), p, v, in, fmt.Sprintf("needs %s of %s; the one at %s does not have it", v, r.Library, in), "put the library into the slug that it was linked with")
			return
		}
	}
}

// providedElsewhere reports whether some library of the slug has the version. Whether it is loaded
// depends on the program that loads both.
func (c *checker) providedElsewhere(soname, v string) bool {
	return slices.ContainsFunc(c.byName[soname], func(in string) bool {
		return c.Facts[in].ELF != nil && slices.Contains(c.Facts[in].ELF.Defines, v)
	})
}

// library checks one soname that a file is linked with. One that is nowhere stops what a process type
// leads to; what else lies in a slug may never be loaded.
func (c *checker) library(p string, e *examine.ELF, soname string) {
	if strings.Contains(soname, "/") || c.isAside(p) {
		return // by path: seldom, and the directory it starts from is anybody's guess
	}
	if _, ok := c.search(p, e, soname); ok {
		return
	}
	has := c.stack.HasLibrary(soname)
	if has == Yes {
		return
	}
	if in := c.byName[soname]; in != nil {
		// A library may find it loaded already, by whoever loads the library.
		if e.Interp != "" && !c.unclear && has == No {
			c.add(CodeLibrary, artifact.Advice, p, soname, in[0], fmt.Sprintf("needs %s, which is at %s, where the loader does not look", soname, in[0]),
				fmt.Sprintf(`link with -Wl,-rpath,'$ORIGIN/…', or set LD_LIBRARY_PATH to /app/%s in .profile.d`, path.Dir(in[0])))
		}
		return
	}
	if has != No {
		return
	}
	other := c.stack.others(soname)
	message := fmt.Sprintf("needs %s, which neither the slug nor %s has", soname, c.stack.Name)
	if other != "" {
		message = fmt.Sprintf("needs %s; %s has %s", soname, c.stack.Name, other)
	}
	hint := "build on " + c.stack.Name + ", or put the library into the slug"
	if outside := c.outside(e); outside != "" {
		hint = fmt.Sprintf("it is looked for in %s too, which a dyno does not have: put it below /app", outside)
	}
	severity := c.severity(p)
	if c.unclear {
		severity = artifact.Advice // a profile that does more than set variables may bring it
	}
	c.add(CodeLibrary, severity, p, soname, other, message, hint)
}

// outside is a directory that a file looks in and that no dyno has.
func (c *checker) outside(e *examine.ELF) string {
	for _, dir := range slices.Concat(e.RPath, e.RunPath) {
		if _, below := inApp(dir); strings.HasPrefix(dir, "/") && !below && !systemDir(dir+"/") {
			return dir
		}
	}
	return ""
}

// others are the versions of a library that the stack has.
func (s Stack) others(soname string) string {
	var list []string
	for so := range images()[s.Name].sonames {
		if family(so) == family(soname) {
			list = append(list, so)
		}
	}
	slices.Sort(list)
	return strings.Join(list, " and ")
}

// search looks for a library in the slug, as the loader does: RPATH where there is no RUNPATH,
// LD_LIBRARY_PATH, RUNPATH. The stack's own directories come after these.
func (c *checker) search(p string, e *examine.ELF, soname string) (string, bool) {
	var dirs []string
	if len(e.RunPath) == 0 {
		dirs = append(dirs, e.RPath...)
	}
	dirs = append(append(dirs, c.libraries...), e.RunPath...)
	for _, dir := range dirs {
		for _, origin := range []string{"$ORIGIN", "${ORIGIN}"} {
			if rest, ok := strings.CutPrefix(dir, origin); ok {
				dir = path.Join("/app", path.Dir(p)) + rest
			}
		}
		if strings.Contains(dir, "$") {
			continue // $LIB and $PLATFORM are the loader's own
		}
		if !strings.HasPrefix(dir, "/") {
			dir = "/app/" + dir // a dyno starts there
		}
		below, ok := inApp(dir)
		if !ok {
			continue
		}
		if found, ok := c.resolve(path.Join(below, soname)); ok && found.Kind == tree.File {
			if lib := c.Facts[found.Path].ELF; lib != nil && lib.X86() {
				return found.Path, true
			}
		}
	}
	return "", false
}

// version is a number such as 2.38.
type version []int

func parseVersion(s string) version {
	var v version
	for part := range strings.SplitSeq(s, ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			break
		}
		v = append(v, n)
	}
	// libgcc names versions after releases of GCC with zeros at the end: GCC_12.0.0.
	for len(v) > 1 && v[len(v)-1] == 0 {
		v = v[:len(v)-1]
	}
	return v
}

func (v version) less(o version) bool { return slices.Compare(v, o) < 0 }
