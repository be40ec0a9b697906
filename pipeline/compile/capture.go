package compile

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/failpoint"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// capture stores what a step made of its declared outputs.
func (r *run) capture(ctx context.Context, p *place, step plan.Step, key digest.Digest) (out artifact.Output, err error) {
	var wanted []output
	for _, o := range step.Outputs {
		clean := path.Clean(o)
		if !filepath.IsLocal(filepath.FromSlash(clean)) {
			return out, &StepError{Step: step.Name, Err: fmt.Errorf("output %q leaves /app", o)}
		}
		wanted = append(wanted, newOutput(clean))
	}
	hidden := p.copies()
	m, err := tree.Scan(ctx, p.work, tree.ScanOptions{Skip: func(rel string, isDir bool) bool {
		return hidden[rel] || !slices.ContainsFunc(wanted, func(o output) bool { return o.leadsTo(rel, isDir) })
	}})
	if err != nil {
		return out, fmt.Errorf("step %q: read its outputs: %w", step.Name, err)
	}
	m = m.Filter(func(e tree.Entry) bool {
		return slices.ContainsFunc(wanted, func(o output) bool { return o.has(e.Path) })
	})
	for _, o := range wanted {
		if !slices.ContainsFunc(m, func(e tree.Entry) bool { return o.has(e.Path) }) {
			return out, r.missing(p, step, o)
		}
	}
	if err := checkLinks(m, p.root); err != nil {
		return out, fmt.Errorf("step %q: %w", step.Name, err)
	}
	dir, m, err := r.Store.PutTree(outputKind, key, func(dir string) (tree.Manifest, error) {
		return m, tree.Move(ctx, m, p.work, dir) // every process of the step has ended
	})
	if err != nil {
		return out, fmt.Errorf("step %q: store its outputs: %w", step.Name, err)
	}
	failpoint.Hit("compile.captured")
	return artifact.Output{Step: step.Name, Key: key, Dir: dir, Tree: m}, nil
}

// output is a declared output: a path, which stands for all below it, or a glob.
type output struct {
	pattern string
	// fixed is the part of a glob before its first special character, whole components only.
	fixed string
	glob  bool
}

func newOutput(pattern string) output {
	o := output{pattern: pattern, fixed: pattern}
	if i := strings.IndexAny(pattern, `*?[{\`); i >= 0 {
		o.glob = true
		o.fixed = path.Dir(pattern[:i] + "x")
	}
	return o
}

// has reports whether a path is part of the output.
func (o output) has(rel string) bool {
	if !o.glob {
		return tree.Under(rel, o.pattern)
	}
	for at := rel; at != "."; at = path.Dir(at) {
		if tree.Glob(o.pattern, at) {
			return true
		}
	}
	return false
}

// leadsTo reports whether a path is, holds, or may hold, a part of the output.
func (o output) leadsTo(rel string, isDir bool) bool {
	return o.has(rel) || isDir && (tree.Under(o.fixed, rel) || o.glob && tree.Under(rel, o.fixed))
}

// copies are the paths of the runtimes that were copied into the work tree.
func (p *place) copies() map[string]bool {
	paths := map[string]bool{}
	for _, a := range p.copied {
		if into := path.Clean(a.Into); into != "." {
			paths[into] = true
			continue
		}
		for _, e := range a.Tree {
			if e.Kind != tree.Dir {
				paths[e.Path] = true
			}
		}
	}
	return paths
}

// missing says what stands where an output should be.
func (r *run) missing(p *place, step plan.Step, o output) error {
	e := &StepError{Step: step.Name, Missing: o.pattern}
	// The deepest directory above the output that is there, and what was looked for in it.
	dir, want := path.Dir(o.fixed), path.Base(o.fixed)
	if o.glob {
		dir, want = o.fixed, path.Base(o.pattern)
	}
	for dir != "." {
		if fi, err := os.Lstat(filepath.Join(p.work, filepath.FromSlash(dir))); err == nil && fi.IsDir() {
			break
		}
		dir, want = path.Dir(dir), path.Base(dir)
	}
	entries, err := os.ReadDir(filepath.Join(p.work, filepath.FromSlash(dir)))
	if err != nil {
		return e
	}
	names := make([]string, 0, len(entries))
	for _, d := range entries {
		names = append(names, d.Name())
	}
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(distance(a, want), distance(b, want)) })
	const most = 5
	for i, name := range names {
		if i == most {
			e.Found = append(e.Found, fmt.Sprintf("and %d more", len(names)-most))
			break
		}
		e.Found = append(e.Found, strconv.Quote(path.Join(dir, name)))
	}
	return e
}

// distance is the number of letters by which two names differ, whatever their case.
func distance(a, b string) int {
	a, b = strings.ToLower(a), strings.ToLower(b)
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// checkLinks refuses links that leave /app: on a dyno nothing else is there. Without
// namespaces root is another directory; a link that names it is made to name /app.
func checkLinks(m tree.Manifest, root string) error {
	for i, e := range m {
		if e.Kind != tree.Link {
			continue
		}
		if rel, ok := strings.CutPrefix(e.Target, root); ok && root != insideApp && (rel == "" || rel[0] == '/') {
			m[i].Target = insideApp + rel
			e = m[i]
		}
		at := path.Clean(e.Target)
		if path.IsAbs(e.Target) {
			if at == insideApp || strings.HasPrefix(at, insideApp+"/") {
				continue
			}
			return fmt.Errorf("output %q links to %q, which is not below /app and will not be on the dyno", e.Path, e.Target)
		}
		if at := path.Join(path.Dir(e.Path), e.Target); at == ".." || strings.HasPrefix(at, "../") {
			return fmt.Errorf("output %q links to %q, which leaves /app and will not be on the dyno", e.Path, e.Target)
		}
	}
	return nil
}
