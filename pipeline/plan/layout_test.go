package plan_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/config"
	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// files makes a manifest: "a/b" is a file whose content is its path, "a/b=text" one with that
// content, "a/b*" an executable, "a/" a directory, "a->b" a link.
func files(names ...string) tree.Manifest {
	m := tree.Manifest{}
	for _, n := range names {
		e := tree.Entry{Path: n, Kind: tree.File}
		content := n
		if dir, ok := strings.CutSuffix(n, "/"); ok {
			m = append(m, tree.Entry{Path: dir, Kind: tree.Dir})
			continue
		}
		if at, to, ok := strings.Cut(n, "->"); ok {
			m = append(m, tree.Entry{Path: at, Kind: tree.Link, Target: to})
			continue
		}
		if at, text, ok := strings.Cut(n, "="); ok {
			e.Path, content = at, text
		}
		e.Path, e.Exec = strings.TrimSuffix(e.Path, "*"), strings.HasSuffix(e.Path, "*")
		content = strings.TrimSuffix(content, "*")
		e.Size, e.Digest = int64(len(content)), digest.Of([]byte(content))
		m = append(m, e)
	}
	m.Sort()
	return m
}

func source(names ...string) artifact.Source {
	return artifact.Source{Dir: "/src", Tree: files(names...)}
}

// shown is one line a member: layer, path, and where a file comes from.
func shown(members []artifact.Member) []string {
	var out []string
	for _, m := range members {
		line := fmt.Sprintf("%d %s", m.Layer, m.Path)
		switch {
		case m.Kind == tree.Dir:
			line += "/"
		case m.Kind == tree.Link:
			line += " -> " + m.Target
		case m.Content != nil:
			line += fmt.Sprintf(" = %q", m.Content)
		default:
			line += " < " + m.From()
		}
		out = append(out, line)
	}
	return out
}

func TestLayout_putsEveryEntryWhereItsIntoSays(t *testing.T) {
	t.Parallel()
	node := artifact.Runtime{Name: "node", Into: "node", Dir: "/store/node", Tree: files("bin/", "bin/node*", "bin/npm", "share/man")}
	out := artifact.Output{Step: "bundle", Dir: "/store/out", Tree: files("dist/", "dist/app.js", "dist/app.css")}
	for _, c := range []struct {
		name  string
		files []config.FileEntry
		tree  artifact.Tree
		want  []string
	}{
		{
			name: "the default is the source tree and all outputs, runtimes first",
			tree: artifact.Tree{Runtimes: []artifact.Runtime{node}, Outputs: []artifact.Output{out}, Source: source("web.js", "lib/a.js", "lib.js", "current->lib")},
			want: []string{
				"0 node/", "0 node/bin/", "0 node/bin/node < /store/node/bin/node", "0 node/bin/npm < /store/node/bin/npm",
				"0 node/share/", "0 node/share/man < /store/node/share/man",
				"1 dist/", "1 dist/app.css < /store/out/dist/app.css", "1 dist/app.js < /store/out/dist/app.js",
				"2 current -> lib", "2 lib/", "2 lib/a.js < /src/lib/a.js", "2 lib.js < /src/lib.js", "2 web.js < /src/web.js",
			},
		},
		{
			name: "only limits a runtime, build_only and tools stay out",
			tree: artifact.Tree{Runtimes: []artifact.Runtime{
				{Name: "node", Into: "vendor/node", Dir: "/n", Only: []string{"bin/node"}, Tree: node.Tree},
				{Name: "gcc", Into: "gcc", Dir: "/g", BuildOnly: true, Tree: files("bin/gcc")},
				{Name: "go", Tool: "/usr/bin/go", BuildOnly: true},
			}},
			want: []string{"0 vendor/", "0 vendor/node/", "0 vendor/node/bin/", "0 vendor/node/bin/node < /n/bin/node"},
		},
		{
			name:  "a single file goes into the directory of a runtime, and does not take its name",
			files: []config.FileEntry{{From: "web.js", Into: "node"}, {From: "web.js", Into: "node.js"}},
			tree: artifact.Tree{
				Runtimes: []artifact.Runtime{{Name: "node", Into: "node", Dir: "/n", Tree: files("bin/node")}},
				Source:   source("web.js"),
			},
			want: []string{"0 node/", "0 node/bin/", "0 node/bin/node < /n/bin/node", "2 node/web.js < /src/web.js", "2 node.js < /src/web.js"},
		},
		{
			name:  "a directory's content goes into into, without what is excluded",
			files: []config.FileEntry{{From: "web", Into: "public", Exclude: []string{"test/**", "*.map"}}},
			tree:  artifact.Tree{Source: source("web/i.html", "web/i.map", "web/js/i.map", "web/test/t.js", "other")},
			want:  []string{"2 public/", "2 public/i.html < /src/web/i.html", "2 public/js/", "2 public/js/i.map < /src/web/js/i.map"},
		},
		{
			name:  "an excluded directory takes its content along",
			files: []config.FileEntry{{From: ".", Into: ".", Exclude: []string{"test"}}},
			tree:  artifact.Tree{Source: source("a", "test/x/y", "testing")},
			want:  []string{"2 a < /src/a", "2 testing < /src/testing"},
		},
		{
			name:  "the whole tree means the outputs too",
			files: []config.FileEntry{{From: ".", Into: "."}},
			tree:  artifact.Tree{Outputs: []artifact.Output{out}, Source: source("a")},
			want:  []string{"1 dist/", "1 dist/app.css < /store/out/dist/app.css", "1 dist/app.js < /store/out/dist/app.js", "2 a < /src/a"},
		},
		{
			name:  "a single file is renamed",
			files: []config.FileEntry{{From: "start.sh", Into: "bin/start"}},
			tree:  artifact.Tree{Source: source("start.sh*")},
			want:  []string{"2 bin/", "2 bin/start < /src/start.sh"},
		},
		{
			name:  "a single file keeps its name below a final slash",
			files: []config.FileEntry{{From: "x/start.sh", Into: "bin/"}, {From: "x/a", Into: "."}},
			tree:  artifact.Tree{Source: source("x/start.sh", "x/a")},
			want:  []string{"2 a < /src/x/a", "2 bin/", "2 bin/start.sh < /src/x/start.sh"},
		},
		{
			name:  "a single file keeps its name in a directory of another entry",
			files: []config.FileEntry{{From: "x/start.sh", Into: "bin"}, {Into: "bin/stop", Content: "#!/bin/sh\n", Mode: "0755"}},
			tree:  artifact.Tree{Source: source("x/start.sh")},
			want:  []string{"2 bin/", "2 bin/start.sh < /src/x/start.sh", `2 bin/stop = "#!/bin/sh\n"`},
		},
		{
			name:  "a glob keeps the path below its fixed prefix",
			files: []config.FileEntry{{From: "lib/**/*.js", Into: "out"}, {From: "doc/*", Into: "."}},
			tree:  artifact.Tree{Source: source("lib/a.js", "lib/b/c.js", "lib/b/c.ts", "doc/api/x.md", "doc.md")},
			want: []string{
				"2 api/", "2 api/x.md < /src/doc/api/x.md",
				"2 out/", "2 out/a.js < /src/lib/a.js", "2 out/b/", "2 out/b/c.js < /src/lib/b/c.js",
			},
		},
		{
			name:  "an equal file in two layers belongs to the lowest",
			files: []config.FileEntry{{From: "dist", Into: "d"}, {From: "copy.js", Into: "d/app.js"}},
			tree: artifact.Tree{
				Outputs: []artifact.Output{{Step: "s", Dir: "/out", Tree: files("dist/app.js=same")}},
				Source:  source("copy.js=same"),
			},
			want: []string{"1 d/", "1 d/app.js < /out/dist/app.js"},
		},
		{
			name: "a directory stands in the lowest layer that holds something of it",
			tree: artifact.Tree{
				Runtimes: []artifact.Runtime{{Name: "r", Into: ".", Dir: "/r", Tree: files("shared/", "empty/deep/", "empty/")}},
				Outputs:  []artifact.Output{{Step: "s", Dir: "/o", Tree: files("shared/x/", "shared/x/1")}},
				Source:   source("shared/a"),
			},
			want: []string{
				"0 empty/", "0 empty/deep/",
				"1 shared/", "1 shared/x/", "1 shared/x/1 < /o/shared/x/1",
				"2 shared/a < /src/shared/a",
			},
		},
		{
			name: "what one entry's include_secrets lets in, no other entry takes along",
			files: []config.FileEntry{
				{From: "config", Into: "config", IncludeSecrets: []string{"config/.env"}},
				{From: "config", Into: "copy"},
			},
			tree: artifact.Tree{Source: source("config/.env", "config/a")},
			want: []string{
				"2 config/", "2 config/.env < /src/config/.env", "2 config/a < /src/config/a",
				"2 copy/", "2 copy/a < /src/config/a",
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := plan.Layout(c.files, c.tree)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, shown(got)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestLayout_refusesEntriesThatDisagree(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		files []config.FileEntry
		tree  artifact.Tree
		want  string
	}{
		{
			name:  "two entries and one path",
			files: []config.FileEntry{{From: "a", Into: "x"}, {Into: "x", Content: "other"}},
			tree:  artifact.Tree{Source: source("a")},
			want:  "files[0] and files[1] both write x, with different content",
		},
		{
			name: "the same bytes with another executable bit",
			tree: artifact.Tree{
				Runtimes: []artifact.Runtime{{Name: "r", Into: "r", Dir: "/r", Tree: files("f*")}},
				Source:   source("r/f=f"),
			},
			want: "runtime r and source both write r/f, with different content",
		},
		{
			name: "a file where another needs a directory",
			tree: artifact.Tree{
				Runtimes: []artifact.Runtime{{Name: "node", Into: "node", Dir: "/r", Tree: files("bin/node")}},
				Source:   source("node"),
			},
			want: "node is not a directory for source, and runtime node puts files below it",
		},
		{
			name: "a link where another needs a directory",
			tree: artifact.Tree{
				Outputs: []artifact.Output{{Step: "s", Tree: files("lib/x")}},
				Source:  source("lib->vendor"),
			},
			want: "lib is not a directory for source, and step s puts files below it",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := plan.Layout(c.files, c.tree)
			var conflict *plan.ConflictError
			if !errors.As(err, &conflict) || err.Error() != c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestLayout_refusesAnEntryThatSelectsNothing(t *testing.T) {
	t.Parallel()
	for from, want := range map[string]string{
		"missing":  `files[0]: from "missing" matches nothing`,
		"lib/*.go": `files[0]: from "lib/*.go" matches nothing`,
	} {
		_, err := plan.Layout([]config.FileEntry{{From: from, Into: "."}}, artifact.Tree{Source: source("lib/a.js")})
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	_, err := plan.Layout(nil, artifact.Tree{Runtimes: []artifact.Runtime{{Name: "n", Into: "n", Only: []string{"bin/x"}, Tree: files("bin/y")}}})
	if want := `runtime n: only "bin/x" matches nothing`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
