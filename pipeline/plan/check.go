package plan

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/slugfile/slugfile/config/diag"
	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// Check finds the faults of slug.yaml that only show beside the source tree: entries of
// `files` that select nothing or that write one path with different content, and runtimes
// whose directory is a file of the app. What depends on outputs that are not there yet is
// left to the archive stage.
func Check(in Inputs) diag.List {
	var faults diag.List
	if in.File == nil {
		return nil
	}
	given := in.prepare()
	runs := given.runs
	if in.File.Files == nil {
		source := layersOf(artifact.Tree{Source: in.Source})[0]
		runs = []*run{{layer: source, from: &artifact.Part{Origin: partSource}, into: "."}}
	}
	for _, n := range given.nothing {
		faults.Add(in.File.Diagnose(n.Origin+"."+n.Field, fmt.Sprintf("%q matches nothing in the source tree or among the outputs", n.Pattern), hintFor(in, n.Pattern)))
	}
	if len(runs) > 1 { // one alone writes nothing twice
		_, conflicts := merge(runs)
		for _, c := range conflicts {
			faults.Add(in.File.Diagnose(c.Second, c.Error(), `use "exclude" or another "into" in one of them`))
		}
	}
	for _, r := range in.File.Runtimes {
		if r.Host != "" || r.BuildOnly {
			continue
		}
		into := r.Into
		if into == "" {
			into = r.Name
		}
		for dir := cleanInto(into); dir != "."; dir = path.Dir(dir) {
			for _, g := range runs {
				if e, ok := g.find(dir); ok && e.Kind != tree.Dir {
					at := "runtimes." + r.Name
					faults.Add(in.File.Diagnose(at+".into", (&ConflictError{Path: dir, First: g.from.Origin, Second: partRuntime(r.Name), Parent: true}).Error(),
						`choose another "into", or exclude the file`))
				}
			}
		}
	}
	faults.Sort()
	return faults
}

// hintFor explains a `from` that was there but is withheld.
func hintFor(in Inputs, from string) string {
	for _, w := range in.Withheld {
		if tree.Under(w.Path, cleanInto(from)) || tree.Under(cleanInto(from), strings.TrimSuffix(w.Path, "/")) {
			return fmt.Sprintf("%s is withheld (%s)", w.Path, w.Rule)
		}
	}
	return "paths start at the directory of slug.yaml"
}

// IsConflict reports whether an error of Layout is about slug.yaml, and not about this machine.
func IsConflict(err error) bool {
	var c *ConflictError
	var n *NothingError
	return errors.As(err, &c) || errors.As(err, &n)
}
