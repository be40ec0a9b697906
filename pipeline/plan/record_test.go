package plan_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/tree"
)

var anyRecord = rapid.Custom(func(t *rapid.T) plan.Record {
	r := plan.Record{
		Key: digests.Draw(t, "key"), Stack: names.Draw(t, "stack"), Size: rapid.Int64().Draw(t, "size"),
		Tree: manifests.Draw(t, "tree"), Source: manifests.Draw(t, "source"),
		Runtimes: []plan.RuntimeRecord{{Name: names.Draw(t, "runtime"), From: node10, Digest: digests.Draw(t, "was"), Layout: digests.Draw(t, "layout"), Unknown: optional(t)}},
		Steps:    []plan.StepRecord{{Name: names.Draw(t, "step"), Key: digests.Draw(t, "key"), Definition: digests.Draw(t, "def"), Inputs: digests.Draw(t, "inputs"), Unknown: optional(t)}},
	}
	for range rapid.IntRange(0, len(r.Tree)).Draw(t, "parts") {
		r.Parts = append(r.Parts, rapid.IntRange(-1, 2).Draw(t, "part"))
	}
	return r
})

func TestRecord_survivesItsBinaryForm(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := anyRecord.Draw(t, "record")
		b, err := r.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		var got plan.Record
		if err := got.UnmarshalBinary(b); err != nil {
			t.Fatal(err)
		}
		r.Tree, r.Source, r.Parts = append(tree.Manifest{}, r.Tree...), append(tree.Manifest{}, r.Source...), append([]int{}, r.Parts...)
		if diff := cmp.Diff(r, got); diff != "" {
			t.Fatalf("read back (-want +got):\n%s", diff)
		}
		other := bytes.Replace(b, []byte("record 1\n"), []byte("record 2\n"), 1)
		if err := got.UnmarshalBinary(other); err == nil {
			t.Fatal("a record of another version was read")
		}
		if diff := cmp.Diff(r, got); diff != "" {
			t.Fatalf("a record was changed by one that cannot be read:\n%s", diff)
		}
	})
}

func TestNewRecord_tellsTheSameOfMembersAsOfTrees(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := anyWorld.Filter(func(w world) bool { return w.in.File != nil }).Draw(t, "world")
		given := artifact.Tree{
			Runtimes: []artifact.Runtime{{Name: "r", Into: patterns.Draw(t, "into"), Tree: manifests.Draw(t, "runtime")}},
			Outputs:  []artifact.Output{{Step: "s", Tree: manifests.Draw(t, "output")}},
			Source:   w.in.Source,
		}
		members, err := plan.Layout(w.in.File.Files, given)
		if err != nil {
			return
		}
		of, from := plan.NewRecord(w.in, "", artifact.Slug{Members: members}, given), plan.NewRecord(w.in, "", artifact.Slug{}, given)
		if diff := cmp.Diff(from, of); diff != "" {
			t.Fatalf("of trees, and of members (-/+):\n%s", diff)
		}
	})
}

// What is read from a disk may be anything.
func FuzzRecord_UnmarshalBinary(f *testing.F) {
	in, t := nodeApp().in, artifact.Tree{Source: source("web.js", "lib/a.js")}
	r := plan.NewRecord(in, "heroku-24", artifact.Slug{}, t)
	b, err := r.MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var r plan.Record
		if r.UnmarshalBinary(b) != nil {
			return
		}
		again, err := r.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		var back plan.Record
		if err := back.UnmarshalBinary(again); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, back); diff != "" {
			t.Fatalf("written and read again (-want +got):\n%s", diff)
		}
	})
}

func TestPrepare_changesNoAnswer(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := anyWorld.Draw(t, "world")
		in := plan.Prepare(w.in)
		if plan.Key(in, "heroku-24", w.seen) != plan.Key(w.in, "heroku-24", w.seen) {
			t.Fatal("prepared inputs have another key")
		}
		if diff := cmp.Diff(plan.Build(w.in, w.seen), plan.Build(in, w.seen)); diff != "" {
			t.Fatalf("prepared inputs have another plan: %s", diff)
		}
		in.Source.Tree = append(tree.Manifest{{Path: "0", Kind: tree.File}}, in.Source.Tree...)
		fresh := w.in
		fresh.Source.Tree = in.Source.Tree
		if plan.Key(in, "heroku-24", w.seen) != plan.Key(fresh, "heroku-24", w.seen) {
			t.Fatal("what was prepared for one tree is taken for another")
		}
	})
}
