package slug

import (
	"cmp"
	"slices"
	"strings"

	"github.com/slugfile/slugfile/pipeline/tree"
)

// Summary says what a slug is made of. Sizes are in bytes, unpacked.
type Summary struct {
	Size int64 `json:"size"`
	// Files, Dirs and Links count entries; Programs, Libraries and Scripts count files among them.
	Files     int `json:"files"`
	Dirs      int `json:"directories"`
	Links     int `json:"links"`
	Programs  int `json:"programs"`
	Libraries int `json:"libraries"`
	Scripts   int `json:"scripts"`
	// Top are the directories at the top, the largest first; files that lie there are in ".".
	Top []Share `json:"top"`
	// Largest are the largest files, the largest first, at most ten.
	Largest []Share `json:"largest"`
}

// Share is what a directory or a file takes of a slug.
type Share struct {
	Path  string `json:"path"`
	Size  int64  `json:"size"`
	Files int    `json:"files"`
}

// maxLargest is how many files a Summary names.
const maxLargest = 10

// Summary counts what the slug holds.
func (c Contents) Summary() Summary {
	s := Summary{Top: []Share{}, Largest: []Share{}}
	top := map[string]*Share{}
	var files []Share
	for _, e := range c.Tree {
		switch e.Kind {
		case tree.Dir:
			s.Dirs++
			continue
		case tree.Link:
			s.Links++
		case tree.File:
			s.Files++
			s.Size += e.Size
			files = append(files, Share{e.Path, e.Size, 1})
		}
		dir, _, below := strings.Cut(e.Path, "/")
		if !below {
			dir = "."
		}
		if top[dir] == nil {
			top[dir] = &Share{Path: dir}
		}
		top[dir].Size += e.Size
		top[dir].Files++
	}
	for _, f := range c.Facts {
		switch {
		case f.Script != nil:
			s.Scripts++
		case f.ELF != nil && f.ELF.Type == "program":
			s.Programs++
		case f.ELF != nil && f.ELF.Type == "library":
			s.Libraries++
		}
	}
	for _, d := range top {
		s.Top = append(s.Top, *d)
	}
	bySize := func(a, b Share) int { return cmp.Or(cmp.Compare(b.Size, a.Size), tree.Compare(a.Path, b.Path)) }
	slices.SortFunc(s.Top, bySize)
	slices.SortFunc(files, bySize)
	s.Largest = append(s.Largest, files[:min(len(files), maxLargest)]...)
	return s
}
