package plan_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/slugfile/slugfile/config"
	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// large is how many files the tree of a large app has.
const large = 40_000

// modules is a tree of n files like that of a package manager, ten in a directory.
func modules(n int) tree.Manifest {
	m := make(tree.Manifest, 0, n)
	for i := range n {
		var content [8]byte
		binary.BigEndian.PutUint64(content[:], uint64(i))
		m = append(m, tree.Entry{
			Path: fmt.Sprintf("node_modules/package-%04d/lib/part%d/module_%d_index.js", i/100, i/10%10, i),
			Kind: tree.File, Size: int64(i % 9000), Digest: digest.Of(content[:]),
		})
	}
	return m
}

// largeApp is an app of large files, in the source tree or as the output of a step.
func largeApp(built bool) (plan.Inputs, artifact.Tree) {
	in := plan.Inputs{
		File:   &config.File{App: "example", Stack: "heroku-24", ProcessTypes: map[string]string{"web": "node web.js"}},
		Source: artifact.Source{Dir: "/src", Tree: modules(large)},
	}
	t := artifact.Tree{Source: in.Source}
	if built {
		in.File.Build = []config.Step{{Name: "bundle", Run: "npm ci", Outputs: []string{"node_modules"}}}
		t.Outputs = []artifact.Output{{Step: "bundle", Dir: "/out", Tree: in.Source.Tree}}
		in.Source = source("lib/old.js", "package.json", "web.js")
		t.Source = in.Source
	}
	return in, t
}

func BenchmarkLayout(b *testing.B) {
	files := []config.FileEntry{{From: ".", Into: ".", Exclude: []string{"**/*.md", "**/test/**", "**/*.map", "docs"}}}
	for _, c := range []struct {
		name  string
		built bool
		files []config.FileEntry
	}{{"source", false, nil}, {"output", true, nil}, {"files", false, files}} {
		b.Run(c.name, func(b *testing.B) {
			_, t := largeApp(c.built)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := plan.Layout(c.files, t); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkKey(b *testing.B) {
	in, _ := largeApp(false)
	b.ReportAllocs()
	for b.Loop() {
		if plan.Key(in, "heroku-24", plan.Observed{}).IsZero() {
			b.Fatal("no key")
		}
	}
}

func BenchmarkRecord(b *testing.B) {
	in, t := largeApp(true)
	r := plan.NewRecord(in, "heroku-24", artifact.Slug{}, t)
	text, err := r.MarshalBinary()
	if err != nil {
		b.Fatal(err)
	}
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if r := plan.NewRecord(in, "heroku-24", artifact.Slug{}, t); len(r.Tree) < large {
				b.Fatal(len(r.Tree))
			}
		}
	})
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			if _, err := r.MarshalBinary(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			var r plan.Record
			if err := r.UnmarshalBinary(text); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	in, _ := largeApp(false)
	in.File.Files = []config.FileEntry{{From: "node_modules", Into: "node_modules", Exclude: []string{"**/*.md", "**/test/**"}}, {From: "*.js", Into: "."}}
	in.Source.Tree = append(in.Source.Tree, tree.Entry{Path: "web.js", Kind: tree.File})
	in.File.Runtimes = config.Runtimes{{Name: "node", Into: "vendor/node", URL: node10}}
	b.ReportAllocs()
	for b.Loop() {
		if faults := plan.Check(in); len(faults) > 0 {
			b.Fatal(faults)
		}
	}
}

// BenchmarkBuild decides about an app of which nothing changed, and of which one file did.
func BenchmarkBuild(b *testing.B) {
	in, t := largeApp(false)
	r := plan.NewRecord(in, "heroku-24", artifact.Slug{PlanKey: plan.Key(in, "heroku-24", plan.Observed{})}, t)
	description := plan.CommitDescription(r.Key)
	seen := plan.Observed{Released: &r, Target: &plan.Target{
		Name: "example", App: &platform.App{Name: "example"}, Current: &platform.Release{Version: 1, CreatedAt: time.Unix(0, 0)},
		Slug: &platform.Slug{Stack: platform.Ref{Name: "heroku-24"}, ProcessTypes: in.File.ProcessTypes, CommitDescription: &description, Checksum: ptr(digest.Of(nil).Checksum())},
	}}
	changed := in
	changed.Source.Tree = slices.Clone(in.Source.Tree)
	changed.Source.Tree[large/2].Digest = digest.Of(nil)
	for _, c := range []struct {
		name  string
		in    plan.Inputs
		files int
	}{{"unchanged", in, 0}, {"one", changed, 1}} {
		in := plan.Prepare(c.in)
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if p := plan.Build(in, seen); len(p.Files) != c.files || p.Changed != (c.files > 0) {
					b.Fatalf("%v files, %s", len(p.Files), p.Why)
				}
			}
		})
	}
}

// BenchmarkNextRecord is what a plan costs more that is saved or compared with.
func BenchmarkNextRecord(b *testing.B) {
	in, _ := largeApp(false)
	in = plan.Prepare(in)
	b.ReportAllocs()
	for b.Loop() {
		if r := plan.NextRecord(in, plan.Observed{}); len(r.Tree) < large {
			b.Fatal(len(r.Tree))
		}
	}
}

// BenchmarkSaved writes and reads the saved plan of an app with many files.
func BenchmarkSaved(b *testing.B) {
	in, _ := largeApp(false)
	in = plan.Prepare(in)
	s := plan.Save(plan.Build(in, plan.Observed{}), in, plan.Observed{}, plan.SavedOptions{}, 0)
	text, err := json.Marshal(s)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("write", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			if _, err := json.Marshal(s); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("read", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			if _, err := plan.ReadSaved(text); err != nil {
				b.Fatal(err)
			}
		}
	})
}
