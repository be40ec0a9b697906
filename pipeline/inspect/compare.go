package inspect

import (
	"cmp"
	"path"
	"slices"

	"github.com/slugfile/slugfile/pipeline/tree"
)

// Compare says how after differs from before. The sides are left to the caller.
func Compare(before, after Slug, o Folding) Comparison {
	c := Comparison{
		V: Version, Type: ComparisonType,
		Files: []FileDifference{}, Runtimes: []VersionChange{}, Packages: []VersionChange{},
	}
	root := &branch{}
	i, j := 0, 0
	for i < len(before.Tree) || j < len(after.Tree) {
		var order int
		switch {
		case i == len(before.Tree):
			order = 1
		case j == len(after.Tree):
			order = -1
		default:
			order = tree.Compare(before.Tree[i].Path, after.Tree[j].Path)
		}
		var was, is *tree.Entry
		var wasSizes, isSizes Sizes
		if order <= 0 {
			was, wasSizes = &before.Tree[i], before.sizes(i)
			i++
		}
		if order >= 0 {
			is, isSizes = &after.Tree[j], after.sizes(j)
			j++
		}
		if f, ok := change(was, is, wasSizes, isSizes); ok {
			c.Files = append(c.Files, f)
			if dir := path.Dir(f.Path); dir != "." {
				root.add(dir, true, wasSizes, isSizes, f.weight())
			} else {
				root.dir = true
				root.sum(wasSizes, isSizes, f.weight())
			}
		}
	}
	c.Same = len(c.Files) == 0
	if !c.Same {
		root.close()
		n := root.node(o, root.weight, true)
		n.Path, c.Tree = ".", &n
	}
	slices.SortStableFunc(c.Files, func(a, b FileDifference) int {
		return cmp.Or(cmp.Compare(b.weight(), a.weight()), tree.Compare(a.Path, b.Path))
	})
	c.Runtimes = versions("runtime", runtimeVersions(before), runtimeVersions(after))
	c.Packages = append(c.Packages, slices.Concat(
		versions("go", moduleVersions(before), moduleVersions(after)),
		versions("npm", packageVersions(packages(before.Bill.NPM())), packageVersions(packages(after.Bill.NPM()))),
		versions("gem", packageVersions(packages(before.Bill.Gems())), packageVersions(packages(after.Bill.Gems()))))...)
	return c
}

// change is what became of a path, and whether that is worth a line: directories are told by what
// is in them.
func change(was, is *tree.Entry, before, after Sizes) (FileDifference, bool) {
	switch {
	case was == nil:
		return FileDifference{Action: Added, Path: is.Path, After: &after}, is.Kind != tree.Dir
	case is == nil:
		return FileDifference{Action: Removed, Path: was.Path, Before: &before}, was.Kind != tree.Dir
	case *was == *is:
		return FileDifference{}, false
	}
	f := FileDifference{Action: Changed, Path: is.Path, Before: &before, After: &after}
	switch {
	case was.Kind != is.Kind:
		f.What = "kind"
	case was.Kind == tree.Link:
		f.What = "link"
	case was.Digest == is.Digest:
		f.What = "mode"
	default:
		f.What = "content"
	}
	return f, true
}

// weight is how much of the slug a change is about: the difference that it makes, or 1 for one
// that makes none.
func (f FileDifference) weight() int64 {
	var n int64
	if f.After != nil {
		n += f.After.Packed
	}
	if f.Before != nil {
		n -= f.Before.Packed
	}
	return max(n, -n, 1)
}

// versions lists the names whose versions differ, sorted.
func versions(kind string, before, after map[string][]string) []VersionChange {
	names := map[string]bool{}
	for n := range before {
		names[n] = true
	}
	for n := range after {
		names[n] = true
	}
	out := []VersionChange{}
	for n := range names {
		c := VersionChange{Kind: kind, Name: n, Before: set(before[n]), After: set(after[n])}
		if !slices.Equal(c.Before, c.After) {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b VersionChange) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func set(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return append([]string{}, slices.Compact(list)...)
}

func runtimeVersions(s Slug) map[string][]string {
	out := map[string][]string{}
	for _, r := range s.Runtimes.runtimes(s.Tree) {
		out[r.Name] = append(out[r.Name], r.Version)
	}
	return out
}

// moduleVersions are those of all Go programs, and of Go itself as "stdlib".
func moduleVersions(s Slug) map[string][]string {
	out := map[string][]string{}
	for _, p := range s.Bill.Programs() {
		out["stdlib"] = append(out["stdlib"], p.Go)
		if p.Module != "" {
			out[p.Module] = append(out[p.Module], p.Version)
		}
		for _, m := range p.Modules {
			out[m.Name] = append(out[m.Name], m.Version)
		}
	}
	return out
}

func packageVersions(list []Package) map[string][]string {
	out := map[string][]string{}
	for _, p := range list {
		out[p.Name] = append(out[p.Name], p.Version)
	}
	return out
}
