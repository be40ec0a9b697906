package observe_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sebdah/goldie/v2"

	"github.com/slugfile/slugfile/config"
	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/observe"
	"github.com/slugfile/slugfile/pipeline/pipetest"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// sides are the files of a slug before and after.
type sides struct{ before, after map[string]string }

func entry(name, text string) *tree.Entry {
	return &tree.Entry{Path: name, Kind: tree.File, Size: int64(len(text)), Digest: digest.Of([]byte(text))}
}

// plan lists every file that differs.
func (s sides) plan() *plan.Plan {
	p := &plan.Plan{}
	names := map[string]bool{}
	for _, side := range []map[string]string{s.before, s.after} {
		for name := range side {
			names[name] = true
		}
	}
	for name := range names {
		c := plan.FileChange{Action: plan.Change, Path: name, What: "content"}
		if text, ok := s.before[name]; ok {
			c.Before = entry(name, text)
		}
		if text, ok := s.after[name]; ok {
			c.After = entry(name, text)
		}
		p.Files = append(p.Files, c)
	}
	slices.SortFunc(p.Files, func(a, b plan.FileChange) int { return tree.Compare(a.Path, b.Path) })
	return p
}

// tree writes files below a new directory.
func written(t *testing.T, files map[string]string) artifact.Source {
	t.Helper()
	c := directory(t)
	var m tree.Manifest
	for name, text := range files {
		c.put(name, text, 0o644)
		m = append(m, *entry(name, text))
	}
	m.Sort()
	return artifact.Source{Dir: filepath.ToSlash(c.dir), Tree: m}
}

// between is options for a plan whose sides are the live slug, on the platform alone, and the source tree.
func (s sides) between(t *testing.T) (observe.DiffOptions, *memory) {
	t.Helper()
	m := example()
	m.carry(slugOf(t, s.before))
	in := inputs(t)
	in.Source = written(t, s.after)
	o := observe.DiffOptions{Options: observe.Options{Platform: m, Inputs: in, Store: newStore(t)}}
	o.Seen.Target = &plan.Target{Name: "example", Current: &m.releases[1], Slug: new(m.slugs["slug"])}
	return o, m
}

func diffs(t *testing.T, p *plan.Plan, o observe.DiffOptions) string {
	t.Helper()
	if err := observe.Diffs(t.Context(), p, o); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, c := range p.Files {
		fmt.Fprintf(&b, "== %q", c.Path)
		if c.NoDiff != "" {
			fmt.Fprintf(&b, ": %s", c.NoDiff)
		}
		fmt.Fprintf(&b, "\n%s", c.Diff)
	}
	return b.String()
}

func TestDiffs_showSmallTexts(t *testing.T) {
	t.Parallel()
	lines := func(n int, change ...string) string {
		var b strings.Builder
		for i := range n {
			if i/10 < len(change) && i%10 == 5 && change[i/10] != "" {
				b.WriteString(change[i/10])
				continue
			}
			fmt.Fprintf(&b, "line %d\n", i)
		}
		return b.String()
	}
	s := sides{
		before: map[string]string{
			"web.js": lines(40), "removed": "one\ntwo\n", "noeol": "a\nb", "empty": "", "same": "same", "binary": "a\x00b", "latin": "caf\xe9",
			"large": "x", ".env": "A=1", "key.pem": "-----BEGIN PRIVATE KEY-----\n1", "cert.pem": "-----BEGIN CERTIFICATE-----\n1\n",
			"notes": "-----BEGIN RSA PRIVATE KEY-----\n1",
		},
		after: map[string]string{
			"web.js": lines(40, "changed\n", "", "new 1\nnew 2\n", ""), "added\nline": "new\n", "noeol": "a\nb\n", "empty": "full\n", "same": "same",
			"binary": "a\x00c", "latin": "café", "large": strings.Repeat("0123456789", 7000),
			".env": "A=2", "key.pem": "-----BEGIN PRIVATE KEY-----\n2", "cert.pem": "-----BEGIN CERTIFICATE-----\n2\n",
			"notes": "nothing", "hidden/prod": "password", "new-empty": "",
		},
	}
	o, m := s.between(t)
	o.Inputs.File.Files = []config.FileEntry{{From: ".", Into: ".", IncludeSecrets: []string{"hidden/prod"}}}
	goldie.New(t).Assert(t, "diffs", []byte(diffs(t, s.plan(), o)))
	same(t, "calls", m.calls, []string{"blob https://blobs.example/slug"})
}

func TestDiffs_areEmptyWhereNoTextChanges(t *testing.T) {
	t.Parallel()
	file, link := entry("a", "text"), &tree.Entry{Path: "a", Kind: tree.Link, Target: "b"}
	moved, exec := *link, *file
	moved.Target, exec.Exec = "c", true
	p := &plan.Plan{Files: []plan.FileChange{
		{Path: "a", Before: file, After: &exec, What: "mode"}, {Path: "a", Before: link, After: &moved, What: "link"},
		{Path: "a", Before: file, After: link, What: "kind"}, {Path: "a", After: link},
	}}
	o, m := sides{}.between(t)
	same(t, "diffs", diffs(t, p, o), strings.Repeat("== \"a\"\n", 4))
	same(t, "calls", len(m.calls), 0)
}

func TestDiffs_haveALimit(t *testing.T) {
	t.Parallel()
	s := sides{before: map[string]string{}, after: map[string]string{}}
	for i := range 210 {
		s.after[fmt.Sprintf("f%03d", i)] = fmt.Sprintf("%d\n", i)
	}
	o, _ := s.between(t)
	p := s.plan()
	diffs(t, p, o)
	for i, c := range p.Files {
		if (c.Diff != "") != (i < 200) || (c.NoDiff == "too many files") != (i >= 200) {
			t.Fatalf("%d: %q, %q", i, c.Diff, c.NoDiff)
		}
	}
	s.after = map[string]string{}
	for i := range 20 {
		s.after[fmt.Sprintf("f%03d", i)] = strings.Repeat(fmt.Sprintf("%9d\n", i), 6000)
	}
	o, _ = s.between(t)
	p = s.plan()
	diffs(t, p, o)
	for i, c := range p.Files {
		if (c.NoDiff == "too much text in all") != (i >= 17) {
			t.Fatalf("%d: %d bytes, %q", i, len(c.Diff), c.NoDiff)
		}
	}
}

func TestDiffs_findTheNewSideWhereverItIs(t *testing.T) {
	t.Parallel()
	s := sides{before: map[string]string{"out": "old\n"}, after: map[string]string{"out": "new\n"}}
	const want = "== \"out\"\n--- a/out\n+++ b/out\n@@ -1 +1 @@\n-old\n+new\n"
	for name, place := range map[string]func(t *testing.T, o *observe.DiffOptions){
		"an output": func(t *testing.T, o *observe.DiffOptions) {
			src := written(t, s.after)
			o.Seen.Outputs = map[digest.Digest]artifact.Output{{1}: {Dir: src.Dir, Tree: src.Tree}}
		},
		"inline": func(_ *testing.T, o *observe.DiffOptions) {
			o.Inputs.File.Files = []config.FileEntry{{Into: "out", Content: "new\n"}}
		},
		"the stored slug": func(t *testing.T, o *observe.DiffOptions) {
			b := slugOf(t, s.after)
			put(t, o.Store, b)
			o.Seen.Slug = &artifact.Slug{Digest: digest.Of(b)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, _ := s.between(t)
			o.Inputs.Source = artifact.Source{Dir: t.TempDir()}
			same(t, "nowhere", diffs(t, s.plan(), o), "== \"out\": its bytes are not on this machine\n")
			o, _ = s.between(t)
			o.Inputs.Source = artifact.Source{Dir: t.TempDir()}
			place(t, &o)
			same(t, "diff", diffs(t, s.plan(), o), want)
		})
	}
}

func TestDiffs_showNoByteThatIsNotTheOneOfThePlan(t *testing.T) {
	t.Parallel()
	s := sides{before: map[string]string{"a": "old\n", "b": "old\n"}, after: map[string]string{"a": "new\n", "b": "newer\n"}}
	o, _ := s.between(t)
	if err := os.WriteFile(filepath.Join(o.Inputs.Source.Dir, "a"), []byte("evil"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := diffs(t, s.plan(), o)
	if strings.Contains(got, "evil") || !strings.Contains(got, "== \"a\": its bytes are not on this machine\n") || !strings.Contains(got, "+newer") {
		t.Error(got)
	}
	o, m := s.between(t)
	m.blobs["https://blobs.example/slug"] = bytes.NewReader(slugOf(t, map[string]string{"a": "evil", "b": "evil"}))
	got = diffs(t, s.plan(), o)
	if strings.Contains(got, "evil") || !strings.Contains(got, "== \"a\": the platform gave other bytes than those of the slug of v2") {
		t.Error(got)
	}
}

func TestDiffs_compareWithWhatThePlanDoes(t *testing.T) {
	t.Parallel()
	s := sides{before: map[string]string{"out": "old\n"}, after: map[string]string{"out": "new\n"}}
	const want = "== \"out\"\n--- a/out\n+++ b/out\n@@ -1 +1 @@\n-old\n+new\n"
	o, m := s.between(t)
	o.Seen.Target = nil
	old := slugOf(t, s.before)

	p := s.plan()
	same(t, "nothing", diffs(t, p, o), "== \"out\": the released slug is not known\n")

	p = s.plan()
	p.Against = &plan.Against{Kind: plan.BaseRelease, Name: "v2"}
	same(t, "a release", diffs(t, p, o), want)
	same(t, "calls", m.calls, []string{"blob https://blobs.example/slug"})

	p = s.plan()
	p.Against = &plan.Against{Kind: plan.BaseRelease, Name: "v3"}
	same(t, "a release whose slug is gone", diffs(t, p, o), "== \"out\": the platform has removed the slug of v3\n")

	p = s.plan()
	p.Against = &plan.Against{Kind: plan.BaseSaved, Name: "plan.json"}
	o.Seen.Against = &plan.Base{Checksum: digest.Of(old)}
	same(t, "a saved plan", diffs(t, p, o), "== \"out\": the slug of plan.json is not on this machine\n")
	put(t, o.Store, old)
	p = s.plan()
	p.Against = &plan.Against{Kind: plan.BaseSaved, Name: "plan.json"}
	same(t, "a saved plan whose slug was made here", diffs(t, p, o), want)
}

func TestDiffs_readTheRevisionThatAPlanIsComparedWith(t *testing.T) {
	t.Parallel()
	c := repository(t)
	c.put("web.js", "one\ntwo\n", 0o644)
	c.put("gone", "gone\n", 0o644)
	c.git("add", ".")
	c.git("commit", "-qm", "first")
	r := c.revision("HEAD")
	before, _, _, err := r.Source(t.Context(), observe.SourceOptions{Env: c.env})
	if err != nil {
		t.Fatal(err)
	}
	c.put("web.js", "one\n2\n", 0o644)
	c.git("rm", "-q", "gone")
	after, _, _, _, err := observe.Source(t.Context(), c.dir, observe.SourceOptions{Env: c.env})
	if err != nil {
		t.Fatal(err)
	}
	p := &plan.Plan{Against: &plan.Against{Kind: plan.BaseRevision, Name: r.Name}}
	for _, d := range tree.Diff(before.Tree, after.Tree) {
		p.Files = append(p.Files, plan.FileChange{Path: d.Path, Before: d.Before, After: d.After})
	}
	built := written(t, map[string]string{"out": "built\n"})
	p.Files = append(p.Files, plan.FileChange{Path: "out", Before: &built.Tree[0]}, plan.FileChange{Path: "lost", Before: entry("lost", "lost")})
	in := inputs(t)
	in.Source = after
	o := observe.DiffOptions{Options: observe.Options{Inputs: in}, From: r}
	o.Base.Outputs = map[digest.Digest]artifact.Output{{1}: {Dir: built.Dir, Tree: built.Tree}}
	same(t, "diffs", diffs(t, p, o), "== \"gone\"\n--- a/gone\n+++ /dev/null\n@@ -1 +0,0 @@\n-gone\n"+
		"== \"web.js\"\n--- a/web.js\n+++ b/web.js\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n"+
		"== \"out\"\n--- a/out\n+++ /dev/null\n@@ -1 +0,0 @@\n-built\n"+
		"== \"lost\": its bytes are not on this machine\n")
}

// A program that people use for that reads them.
func TestDiffs_canBeApplied(t *testing.T) {
	t.Parallel()
	pipetest.NeedTools(t, "git")
	s := sides{
		before: map[string]string{"a": "1\n2\n3\n4\n5\n6\n7\n8\n9\n", "noeol": "a\nb", "gone": "x\n", "d/e": "\n", "crlf": "a\r\nb\r\n"},
		after:  map[string]string{"a": "1\n2\n3\n4\nfive\n6\n7\n8\n9\nten\n", "noeol": "a\nb\n", "new": "y", "d/e": "z\n\n", "crlf": "a\r\nB\r\n"},
	}
	o, _ := s.between(t)
	p := s.plan()
	diffs(t, p, o)
	c := repository(t)
	for name, text := range s.before {
		c.put(name, text, 0o644)
	}
	var all strings.Builder
	for _, f := range p.Files {
		_, _ = io.WriteString(&all, f.Diff)
	}
	c.feed(all.String(), "apply", "-p1")
	for name, text := range s.after {
		b, err := os.ReadFile(filepath.Join(c.dir, name))
		if err != nil || string(b) != text {
			t.Errorf("%s: %q, %v; want %q", name, b, err, text)
		}
	}
	if _, err := os.Stat(filepath.Join(c.dir, "gone")); err == nil {
		t.Error("a removed file is still there")
	}
}
