package inspect

import (
	"cmp"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/slugfile/slugfile/pipeline/bom"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/junk"
	"github.com/slugfile/slugfile/pipeline/slug"
	"github.com/slugfile/slugfile/pipeline/tree"
)

const (
	// maxLargest is how many files, and how many duplicates, are named.
	maxLargest = 10
	// maxPaths is how many places of a duplicate, or of what could be left out, are named.
	maxPaths = 5
)

// Slug is a slug that was read: what it holds, what was recognised in it, and its packages.
type Slug struct {
	slug.Contents
	Runtimes *Look
	Bill     bom.Contents
}

// sizes are those of an entry; directories have no files.
func (s Slug) sizes(i int) Sizes {
	e := Sizes{Size: s.Tree[i].Size, Packed: s.Packed[i], Files: 1}
	if s.Tree[i].Kind == tree.Dir {
		e.Files = 0
	}
	return e
}

// below is the sum of what lies below a directory.
func (s Slug) below(dir string) (sum Sizes) {
	if dir == "." {
		return sum
	}
	for i, end := s.Tree.Below(dir); i < end; i++ {
		sum.add(s.sizes(i))
	}
	return sum
}

// bySize puts what takes most first.
func bySize(a, b Sizes) int {
	return cmp.Or(cmp.Compare(b.Packed, a.Packed), cmp.Compare(b.Size, a.Size))
}

// Describe says what is in a slug.
func Describe(s Slug) *Contents {
	c := &Contents{
		Top: []Share{}, Kinds: []KindShare{}, Largest: []Share{},
		Runtimes: s.Runtimes.runtimes(s.Tree), GoPrograms: []GoProgram{}, NPM: packages(s.Bill.NPM()), Gems: packages(s.Bill.Gems()),
	}
	c.sizes(s)
	c.Duplicates = duplicates(s)
	c.Advice = advice(s)
	c.elf(s)
	for i := range c.Runtimes {
		c.Runtimes[i].Sizes = s.below(c.Runtimes[i].Dir)
	}
	for _, p := range s.Bill.Programs() {
		g := GoProgram{Path: p.Path, Go: p.Go, Module: p.Module, Version: p.Version, Modules: packages(p.Modules)}
		g.Sizes = s.below(p.Path)
		c.GoPrograms = append(c.GoPrograms, g)
	}
	return c
}

func packages(list []bom.Package) []Package {
	out := make([]Package, len(list))
	for i, p := range list {
		out[i] = Package(p)
	}
	return out
}

func (c *Contents) sizes(s Slug) {
	top, kinds := map[string]*Sizes{}, map[string]*Sizes{}
	add := func(to map[string]*Sizes, name string, n Sizes) {
		if to[name] == nil {
			to[name] = &Sizes{}
		}
		to[name].add(n)
	}
	var files []Share
	for i := range s.Tree {
		e, n := &s.Tree[i], s.sizes(i)
		dir, _, below := strings.Cut(e.Path, "/")
		if !below && e.Kind != tree.Dir {
			dir = "."
		}
		add(top, dir, n)
		switch e.Kind {
		case tree.Dir:
			c.Dirs++
		case tree.Link:
			c.Links++
		case tree.File:
			c.Files++
			c.Size += e.Size
			files = append(files, Share{e.Path, n})
			add(kinds, kindOf(e.Path, s.Facts[e.Path]), n)
		}
	}
	for _, f := range s.Facts {
		switch {
		case f.Script != nil:
			c.Scripts++
		case f.ELF != nil && f.ELF.Type == "program":
			c.Programs++
		case f.ELF != nil && f.ELF.Type == "library":
			c.Libraries++
		}
	}
	for dir, n := range top {
		c.Top = append(c.Top, Share{dir, *n})
	}
	for kind, n := range kinds {
		c.Kinds = append(c.Kinds, KindShare{kind, *n})
	}
	byShare := func(a, b Share) int { return cmp.Or(bySize(a.Sizes, b.Sizes), tree.Compare(a.Path, b.Path)) }
	slices.SortFunc(c.Top, byShare)
	slices.SortFunc(c.Kinds, func(a, b KindShare) int { return cmp.Or(bySize(a.Sizes, b.Sizes), cmp.Compare(a.Kind, b.Kind)) })
	slices.SortFunc(files, byShare)
	c.Largest = append(c.Largest, files[:min(len(files), maxLargest)]...)
}

// duplicates finds files of equal content. Of each content the copy that takes most of the slug is
// the one that would stay.
func duplicates(s Slug) Duplicates {
	places := map[digest.Digest][]int{}
	for i := range s.Tree {
		if e := &s.Tree[i]; e.Kind == tree.File && e.Size > 0 && !s.Hard[e.Path] {
			places[e.Digest] = append(places[e.Digest], i)
		}
	}
	d := Duplicates{Largest: []Duplicate{}}
	for sum, list := range places {
		if len(list) == 1 {
			continue
		}
		d.Contents++
		one := Duplicate{Digest: sum}
		stays := Sizes{Size: s.Tree[list[0]].Size, Files: 1}
		for i, at := range list {
			n := s.sizes(at)
			one.add(n)
			stays.Packed = max(stays.Packed, n.Packed)
			if i < maxPaths {
				one.Paths = append(one.Paths, s.Tree[at].Path)
			} else {
				one.More++
			}
		}
		one.Size -= stays.Size
		one.Packed -= stays.Packed
		one.Files--
		d.add(one.Sizes)
		d.Largest = append(d.Largest, one)
	}
	slices.SortFunc(d.Largest, func(a, b Duplicate) int {
		return cmp.Or(bySize(a.Sizes, b.Sizes), tree.Compare(a.Paths[0], b.Paths[0]))
	})
	d.Largest = slices.Clip(d.Largest[:min(len(d.Largest), maxLargest)])
	return d
}

// advice is that of package junk, which counts what files take in either way.
func advice(s Slug) []Advice {
	packed := slices.Clone(s.Tree)
	for i := range packed {
		packed[i].Size = s.Packed[i]
	}
	unpacked := map[string]int64{}
	for _, a := range junk.Advise(s.Tree) {
		unpacked[a.Kind] = a.Bytes
	}
	out := []Advice{}
	for _, a := range junk.Advise(packed) {
		one := Advice{Kind: a.Kind, Hint: a.Hint, Sizes: Sizes{unpacked[a.Kind], a.Bytes, a.Files}, Paths: []Share{}}
		for _, p := range a.Paths[:min(len(a.Paths), maxPaths)] {
			one.Paths = append(one.Paths, Share{p.Path, s.below(p.Path)})
		}
		one.More = len(a.Paths) + a.More - len(one.Paths)
		out = append(out, one)
	}
	return out
}

func (c *Contents) elf(s Slug) {
	e := ELF{Machines: map[string]int{}, Needs: []Needed{}}
	own, needs := map[string]bool{}, map[string]int{}
	for i := range s.Tree {
		if p := s.Tree[i].Path; s.Tree[i].Kind == tree.Link && strings.Contains(path.Base(p), ".so") {
			own[path.Base(p)] = true
		}
	}
	for p, f := range s.Facts {
		if f.ELF != nil && f.ELF.Type == "library" {
			own[path.Base(p)], own[f.ELF.Soname] = true, true
		}
	}
	for _, p := range slices.Sorted(maps.Keys(s.Facts)) {
		f := s.Facts[p]
		if f.Foreign != "" {
			e.Foreign++
		}
		if f.ELF == nil {
			continue
		}
		if f.ELF.Machine != "" {
			e.Machines[f.ELF.Machine]++
		}
		if f.ELF.Damaged != "" {
			e.Damaged++
		}
		if f.ELF.Type == "program" && f.ELF.Interp == "" && len(f.ELF.Needed) == 0 {
			e.Static++
		} else if f.ELF.Type == "program" {
			e.Dynamic++
		}
		for _, n := range f.ELF.Needed {
			if !own[n] {
				needs[n]++
			}
		}
		for _, r := range f.ELF.Requires {
			for _, v := range r.Versions {
				if n, ok := strings.CutPrefix(v, "GLIBC_"); ok && older(e.GLIBC, n) {
					e.GLIBC, e.GLIBCOf = n, p
				}
			}
		}
	}
	for n, files := range needs {
		e.Needs = append(e.Needs, Needed{n, files})
	}
	slices.SortFunc(e.Needs, func(a, b Needed) int { return cmp.Or(cmp.Compare(b.Files, a.Files), cmp.Compare(a.Name, b.Name)) })
	c.ELF = e
}

// older compares versions of the C library. What is none, such as GLIBC_PRIVATE, is never newer.
func older(a, b string) bool {
	number := func(s string) []int {
		var out []int
		for part := range strings.SplitSeq(s, ".") {
			n, err := strconv.Atoi(part)
			if err != nil {
				return nil
			}
			out = append(out, n)
		}
		return out
	}
	return slices.Compare(number(a), number(b)) < 0
}
