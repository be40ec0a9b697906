package plan

import (
	"github.com/slugfile/slugfile/config"
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
}

// part is a part of the source tree, and its BareDigest.
type part struct {
	tree   tree.Manifest
	digest digest.Digest
}

// Prepare works out once what Key, Keys and Build each need of a source tree, which may be
// large. They give the same answers without it. File and Source must not be changed after it.
func Prepare(in Inputs) Inputs {
	if in.File != nil {
		in.prepared = in.prepare()
	}
	return in
}

// prepare returns what is known, or works it out.
func (in Inputs) prepare() *prepared {
	if p := in.prepared; p != nil && p.file == in.File && same(p.source, in.Source.Tree) {
		return p
	}
	p := &prepared{file: in.File, source: in.Source.Tree}
	secrets := namedSecrets(in.File.Files)
	for _, s := range in.File.Build {
		p.steps = append(p.steps, part{tree: stepInputs(s, in.Source.Tree, secrets)})
	}
	p.reachable.tree = reachable(in, p.steps)
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

// same reports whether two manifests are one in memory.
func same(a, b tree.Manifest) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}
