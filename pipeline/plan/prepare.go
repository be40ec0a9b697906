package plan

import (
	"slices"

	"github.com/slugfile/slugfile/config"
	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// prepared is what follows from the inputs alone and takes a look at the whole source tree.
type prepared struct {
	// file and source are what it was worked out from.
	file   *config.File
	source tree.Manifest

	// reachable is what the plan key depends on, steps is what each step sees.
	reachable part
	steps     []part
	// runs is what the entries of `files` take of the source tree, nothing those that neither it
	// nor an output can satisfy.
	runs    []*run
	nothing []*NothingError
}

// part is a part of the source tree, and its BareDigest.
type part struct {
	tree   tree.Manifest
	digest digest.Digest
}

// Prepare works out once what Key, Keys and Build each need of a source tree, which may be
// large, and Check too. They give the same answers without it. What File and Source point to
// must not be changed after it.
func Prepare(in Inputs) Inputs {
	if in.File != nil {
		in.prepared = in.prepare()
	}
	return in
}

// Reachable is the part of the source tree that a step or the slug can take, and its BareDigest.
// There must be a slug.yaml.
func Reachable(in Inputs) (tree.Manifest, digest.Digest) {
	p := in.prepare()
	return p.reachable.tree, p.reachable.digest
}

// prepare returns what is known, or works it out.
func (in Inputs) prepare() *prepared {
	if p := in.prepared; p != nil && p.file == in.File && same(p.source, in.Source.Tree) {
		return p
	}
	p := &prepared{file: in.File, source: in.Source.Tree}
	if in.File.Files != nil {
		var later []string
		for _, s := range in.File.Build {
			later = append(later, s.Outputs...)
		}
		p.runs, p.nothing = entryRuns(in.File.Files, artifact.Tree{Source: in.Source}, later)
	}
	secrets := namedSecrets(in.File.Files)
	for _, s := range in.File.Build {
		p.steps = append(p.steps, part{tree: stepInputs(s, in.Source.Tree, secrets)})
	}
	p.reachable.tree = p.reach()
	p.reachable.digest = p.reachable.tree.BareDigest()
	for i := range p.steps {
		if s := &p.steps[i]; same(s.tree, p.reachable.tree) {
			s.digest = p.reachable.digest
		} else {
			s.digest = s.tree.BareDigest()
		}
	}
	return p
}

// reach is the part of the source tree that some step or some entry of `files` can take.
func (p *prepared) reach() tree.Manifest {
	if p.file.Files == nil {
		return p.source
	}
	taken := make([]bool, len(p.source))
	for _, s := range p.steps {
		if same(s.tree, p.source) {
			return p.source
		}
		for _, i := range picked(p.source, s.tree) {
			taken[i] = true
		}
	}
	for _, r := range p.runs {
		for i := 0; i < r.len() && r.from.Content == nil; i++ {
			taken[r.index(i)] = true
		}
	}
	if !slices.Contains(taken, false) {
		return p.source
	}
	out := make(tree.Manifest, 0, len(p.source))
	for i := range p.source {
		if taken[i] {
			out = append(out, p.source[i])
		}
	}
	return out
}

// same reports whether two manifests are one in memory.
func same(a, b tree.Manifest) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}
