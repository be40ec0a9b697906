package slug_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/slug"
	"github.com/slugfile/slugfile/pipeline/tree"
)

func arranged(t testing.TB, ms ...artifact.Member) string {
	t.Helper()
	out, err := slug.Arrange(ms)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range out {
		name := m.Path
		if m.Kind == tree.Dir {
			name += "/"
		}
		names = append(names, fmt.Sprint(int(m.Layer), " ", name))
	}
	return strings.Join(names, ", ")
}

func TestArrange_order(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what string
		in   []artifact.Member
		want string
	}{
		{"layer before path", []artifact.Member{inline("a", "1", 2), inline("z", "2", 0)}, "0 z, 2 a"},
		{"components, not bytes", []artifact.Member{inline("a.b", "1", 2), inline("a/b", "2", 2), inline("a-b", "3", 2)}, "2 a/, 2 a/b, 2 a-b, 2 a.b"},
		{"parents are added", []artifact.Member{inline("a/b/c/d", "1", 2)}, "2 a/, 2 a/b/, 2 a/b/c/, 2 a/b/c/d"},
		{"a directory is in the lowest layer of its members", []artifact.Member{dir("a", 2), inline("a/z", "1", 2), inline("a/b/c", "2", 1), dir("a/b", 2)}, "1 a/, 1 a/b/, 1 a/b/c, 2 a/z"},
		{"and not where it is listed alone", []artifact.Member{dir("a", 0), inline("a/f", "1", 2)}, "2 a/, 2 a/f"},
		{"an empty one stays", []artifact.Member{dir("a/e", 1), inline("a/f", "1", 2)}, "1 a/, 1 a/e/, 2 a/f"},
		{"an equal file is in the lowest", []artifact.Member{inline("f", "1", 2), inline("f", "1", 0)}, "0 f"},
		{"nothing", nil, ""},
	} {
		if got := arranged(t, c.in...); got != c.want {
			t.Errorf("%s: %s; want %s", c.what, got, c.want)
		}
	}
}

func TestArrange_twiceIsOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		var ms []artifact.Member
		for range rapid.IntRange(0, 12).Draw(rt, "members") {
			p := rapid.StringMatching(`[ab](/[ab.]{1,2}){0,3}`).Draw(rt, "path")
			layer := artifact.Layer(rapid.IntRange(0, 2).Draw(rt, "layer"))
			if rapid.Bool().Draw(rt, "directory") {
				ms = append(ms, dir(p, layer))
			} else {
				ms = append(ms, inline(p, "same", layer))
			}
		}
		once, err := slug.Arrange(ms)
		if err != nil {
			rt.Skip("two things at one path")
		}
		twice, err := slug.Arrange(once)
		if err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(once, twice); diff != "" {
			rt.Fatalf("arranged twice (-once +twice):\n%s", diff)
		}
		seen := map[string]bool{}
		for i, m := range once {
			if d, _, ok := cutLast(m.Path); ok && !seen[d] {
				rt.Fatalf("%s comes before its directory", m.Path)
			}
			seen[m.Path] = true
			if m.Kind != tree.Dir || i+1 == len(once) {
				continue
			}
			holds := false
			for _, o := range once {
				holds = holds || o.Path != m.Path && tree.Under(o.Path, m.Path)
			}
			if holds && !tree.Under(once[i+1].Path, m.Path) {
				rt.Fatalf("directory %s does not stand right before its first member", m.Path)
			}
		}
	})
}

func cutLast(p string) (dir, base string, ok bool) {
	i := strings.LastIndexByte(p, '/')
	if i < 0 {
		return "", p, false
	}
	return p[:i], p[i+1:], true
}

func TestArrange_rewritesTargetsBelowApp(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ path, target, want string }{
		{"l", "/app/bin/x", "bin/x"},
		{"a/b/l", "/app/bin/x", "../../bin/x"},
		{"a/b/l", "/app/a/x", "../x"},
		{"a/l", "/app/a", "."},
		{"a/l", "/app", ".."},
		{"l", "/app/", "."},
		{"l", "/app/a/../b//c/", "b/c"},
		{"a/l", "../x", "../x"},
		{"a/l", "b/../../x", "b/../../x"},
		{"l", "a//b/", "a//b/"},
		{"l", "l", "l"},
		{"l", "nowhere", "nowhere"},
	} {
		out, err := slug.Arrange([]artifact.Member{link(c.path, c.target)})
		if err != nil {
			t.Errorf("%s -> %s: %v", c.path, c.target, err)
			continue
		}
		if got := out[len(out)-1].Target; got != c.want {
			t.Errorf("%s -> %s becomes %q, want %q", c.path, c.target, got, c.want)
		}
	}
}

func TestArrange_refuses(t *testing.T) {
	t.Parallel()
	device := artifact.Member{Entry: tree.Entry{Path: "d", Kind: 9}, Part: &artifact.Part{Origin: "source"}}
	for _, c := range []struct {
		what string
		in   []artifact.Member
		want string
	}{
		{"a link out", []artifact.Member{link("a/l", "../../x")}, `source: link "a/l": target "../../x" leaves the app directory`},
		{"a link to the parent of the app", []artifact.Member{link("l", "..")}, `target ".." leaves the app directory`},
		{"an absolute link", []artifact.Member{link("l", "/usr/bin/python3")}, `target "/usr/bin/python3" is outside /app`},
		{"a prefix that is no parent", []artifact.Member{link("l", "/application")}, `outside /app`},
		{"up and out of /app", []artifact.Member{link("l", "/app/../etc")}, `outside /app`},
		{"an empty target", []artifact.Member{link("l", "")}, `link "l": it has no target`},
		{"a NUL in a target", []artifact.Member{link("l", "a\x00b")}, `NUL`},
		{"a NUL in a name", []artifact.Member{inline("a\x00b", "", 0)}, `files[0]: path "a\x00b" has a NUL byte`},
		{"an absolute path", []artifact.Member{inline("/etc/x", "", 0)}, `path "/etc/x" is not below ./app`},
		{"a path out", []artifact.Member{inline("../x", "", 0)}, `not below ./app`},
		{"a path that is not clean", []artifact.Member{inline("a//b", "", 0)}, `not below ./app`},
		{"the root as a file", []artifact.Member{inline(".", "", 0)}, `not below ./app`},
		{"an empty path", []artifact.Member{inline("", "", 0)}, `not below ./app`},
		{"a device", []artifact.Member{device}, `source: "d" is no file, directory or link`},
		{"two contents", []artifact.Member{inline("f", "1", 0), inline("f", "2", 2)}, `"f" comes from files[0] and from files[0], with different content`},
		{"a file and a directory", []artifact.Member{inline("f", "1", 0), dir("f", 0)}, `with different content`},
		{"below a file", []artifact.Member{inline("f", "1", 0), inline("f/x", "2", 2)}, `"f/x", from files[0], lies below "f", from files[0], which is a file`},
		{"below a link", []artifact.Member{link("l", "d"), inline("l/x", "2", 2)}, `lies below "l", from source, which is a link`},
	} {
		_, err := slug.Arrange(c.in)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v does not say %s", c.what, err, c.want)
		}
	}
}
