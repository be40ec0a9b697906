package observe_test

import (
	"fmt"
	"testing"

	"github.com/slugfile/slugfile/pipeline/observe"
	"github.com/slugfile/slugfile/pipeline/plan"
)

// changes are the files of a plan with what happens to them.
func changes(p plan.Plan) []string {
	var out []string
	for _, c := range p.Files {
		out = append(out, fmt.Sprint(c.Action, " ", c.Path))
	}
	return out
}

func TestRevision_isABaseOfAPlan(t *testing.T) {
	t.Parallel()
	c, s := repository(t), newStore(t)
	c.write("web.js", "gone")
	c.git("add", ".")
	c.git("commit", "-qm", "first")
	r := c.revision("HEAD")
	of := observe.SourceOptions{Env: c.env, Indexes: s}
	old := inputs(t)
	old.File.Build = nil
	src, _, _, err := r.Source(t.Context(), of)
	if err != nil {
		t.Fatal(err)
	}
	old.Source = src
	before := look(t, observe.Options{Inputs: old, Store: s, Revision: r})
	base := plan.BaseOf(plan.BaseRevision, r.Name, *old, before)

	now := func() *plan.Inputs {
		in := inputs(t)
		in.File.Build = nil
		if in.Source, _, _, _, err = observe.Source(t.Context(), c.dir, of); err != nil {
			t.Fatal(err)
		}
		return in
	}
	in := now()
	if p := plan.Build(*in, look(t, observe.Options{Inputs: in, Store: s, Against: &base})); p.Changed || len(p.Files) > 0 {
		t.Errorf("a checkout differs from its own commit: %s, %v", p.Why, changes(p))
	}
	c.put("web.js", "changed\n", 0o644)
	c.git("rm", "-q", "gone")
	c.write("new")
	in = now()
	seen := look(t, observe.Options{Inputs: in, Store: s, Against: &base})
	p := plan.Build(*in, seen)
	same(t, "files", changes(p), []string{"- gone", "+ new", "~ web.js"})
	if err := observe.Diffs(t.Context(), &p, observe.DiffOptions{Options: observe.Options{Inputs: in, Store: s}, Seen: seen, From: r, Base: before}); err != nil {
		t.Fatal(err)
	}
	for _, f := range p.Files {
		if f.Diff == "" || f.NoDiff != "" {
			t.Errorf("%s: %q, %q", f.Path, f.Diff, f.NoDiff)
		}
	}
}

func TestWorld_letsAPlanTellTheFilesOfASlugMadeElsewhere(t *testing.T) {
	t.Parallel()
	files := map[string]string{"web.js": "old\n", "gone": "gone\n", "same": "same\n"}
	m, s := example(), newStore(t)
	m.carry(slugOf(t, files))
	in := inputs(t)
	in.File.Build = nil
	in.Source = written(t, map[string]string{"web.js": "new\n", "same": "same\n", "new": "new\n"})
	o := observe.Options{Platform: m, Inputs: in, Store: s, Stream: true}
	seen := look(t, o)
	p := plan.Build(*in, seen)
	if !p.FilesKnown {
		t.Fatal(p.FilesWhy)
	}
	same(t, "files", changes(p), []string{"- gone", "+ new", "~ web.js"})
	// The address was for one reading, and the plan was another.
	m.carry(slugOf(t, files))
	if err := observe.Diffs(t.Context(), &p, observe.DiffOptions{Options: o, Seen: seen}); err != nil {
		t.Fatal(err)
	}
	same(t, "diff", p.Files[2].Diff, "--- a/web.js\n+++ b/web.js\n@@ -1 +1 @@\n-old\n+new\n")
}
