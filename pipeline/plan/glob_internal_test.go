package plan

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/slugfile/slugfile/pipeline/tree"
)

var (
	somePattern = rapid.StringMatching(`(\*\*/|a/|b\*/|/)?[ab*?.]{0,3}(/\*\*|/[ab*]{1,2}|\{a,b\}|\[ab\]|\\\*|\]|/){0,2}`)
	somePath    = rapid.StringMatching(`[ab*]{1,2}(/[.]?[ab]{1,2}){0,3}`)
)

func TestGlob_matchesWhatTreeGlobMatches(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		pattern, p := somePattern.Draw(t, "pattern"), somePath.Draw(t, "path")
		if got, want := newGlob(pattern).match(p), tree.Glob(pattern, p); got != want {
			t.Fatalf("%q matches %q: %v, want %v", pattern, p, got, want)
		}
	})
}

func TestSelects_saysWhetherSelectFindsSomething(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var m tree.Manifest
		for _, p := range rapid.SliceOfNDistinct(somePath, 0, 5, rapid.ID).Draw(t, "paths") {
			m = append(m, tree.Entry{Path: p, Kind: tree.File})
		}
		m.Sort()
		pattern := somePattern.Draw(t, "pattern")
		if got, want := selects(m, pattern), len(tree.Select(m, []string{pattern})) > 0; got != want {
			t.Fatalf("%q selects something of %v: %v, want %v", pattern, m, got, want)
		}
	})
}
