package plan

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/config"
	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/tree"
)

func TestCompared_isWhatTheSlugWouldHold(t *testing.T) {
	t.Parallel()
	source := tree.Manifest{
		{Path: "bin/run", Kind: tree.File, Size: 3, Exec: true},
		{Path: "current", Kind: tree.Link, Target: "/app/releases/../releases/1"},
		{Path: "deep/down/link", Kind: tree.Link, Target: "../up"},
		{Path: "out", Kind: tree.Link, Target: "/etc/passwd"},
		{Path: "web.js", Kind: tree.File, Size: 5},
	}
	source.Sort()
	b := &builder{in: Inputs{File: &config.File{}, Source: artifact.Source{Tree: source}}, p: &Plan{}}
	quick := b.compared()
	if quick.source == nil {
		t.Fatal("the source tree was laid out, though it is taken as it is")
	}
	laid := b.known()
	if d := cmp.Diff(fileChanges(nil, laid.files(nil)), fileChanges(nil, quick.files(nil))); d != "" {
		t.Errorf("files (-laid out +as it is):\n%s", d)
	}
	for _, e := range source {
		want, _ := laid.find(e.Path)
		if got, ok := quick.find(e.Path); !ok || got != want {
			t.Errorf("%s: found %+v, want %+v", e.Path, got, want)
		}
	}
	if _, ok := quick.find("missing"); ok {
		t.Error("what is not there was found")
	}
}
