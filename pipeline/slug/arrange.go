package slug

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// Arrange returns the members as a slug holds them: checked, with every parent directory,
// link targets rewritten, and in the slug's order. That is by layer, then by tree.Compare;
// a directory stands right before its first member, in the lowest layer that has one, and
// an equal entry in two layers belongs to the lowest. The root itself is not listed.
//
// Arranging twice changes nothing, and what is arranged is returned as it is. New arranges by
// itself.
func Arrange(members []artifact.Member) ([]artifact.Member, error) {
	out := members
	for i := range members {
		m := members[i]
		if err := check(&m); err != nil {
			return nil, err
		}
		if m == members[i] {
			continue
		}
		if &out[0] == &members[0] {
			out = slices.Clone(members)
		}
		out[i] = m
	}
	if isArranged(out) {
		return out, nil
	}
	if len(members) > 0 && &out[0] == &members[0] {
		out = slices.Clone(members)
	}
	// By path first: this brings repeats together and parents before children.
	slices.SortStableFunc(out, func(a, b artifact.Member) int {
		return cmp.Or(tree.Compare(a.Path, b.Path), cmp.Compare(a.Layer, b.Layer))
	})
	out, err := unite(out)
	if err != nil {
		return nil, err
	}
	out, err = addParents(out)
	if err != nil {
		return nil, err
	}

	// A directory's members follow it directly. Going backwards, the lowest layer of what
	// was seen below each directory is known when the directory itself is met.
	lowest := map[string]artifact.Layer{}
	for i := len(out) - 1; i >= 0; i-- {
		m := &out[i]
		if below, ok := lowest[m.Path]; ok {
			m.Layer = below
			delete(lowest, m.Path)
		}
		dir := path.Dir(m.Path)
		if known, ok := lowest[dir]; !ok || m.Layer < known {
			lowest[dir] = m.Layer
		}
	}
	slices.SortStableFunc(out, func(a, b artifact.Member) int { return cmp.Compare(a.Layer, b.Layer) })
	return out, nil
}

// isArranged looks at the layers side by side, by path, and needs no memory but for the
// directories that are open.
func isArranged(members []artifact.Member) bool {
	var runs [][]artifact.Member // one a layer
	for i := range members {
		switch {
		case i == 0 || members[i-1].Layer < members[i].Layer:
			runs = append(runs, members[i:i:len(members)])
		case members[i-1].Layer > members[i].Layer || tree.Compare(members[i-1].Path, members[i].Path) >= 0:
			return false
		}
		last := &runs[len(runs)-1]
		*last = (*last)[:len(*last)+1]
	}
	type directory struct {
		*artifact.Member
		lowest artifact.Layer // of what is in it
		holds  bool
	}
	var open []directory
	closeTop := func() bool {
		d := open[len(open)-1]
		open = open[:len(open)-1]
		return !d.holds || d.lowest == d.Layer
	}
	previous := ""
	for {
		var first *[]artifact.Member
		for r := range runs {
			if len(runs[r]) > 0 && (first == nil || tree.Compare(runs[r][0].Path, (*first)[0].Path) < 0) {
				first = &runs[r]
			}
		}
		if first == nil {
			break
		}
		m := &(*first)[0]
		*first = (*first)[1:]
		if m.Path == previous {
			return false
		}
		previous = m.Path
		for len(open) > 0 && !tree.Under(m.Path, open[len(open)-1].Path) {
			if !closeTop() {
				return false
			}
		}
		above := 0 // the length of the parent's path with its slash
		if len(open) > 0 {
			d := &open[len(open)-1]
			above = len(d.Path) + 1
			if !d.holds || m.Layer < d.lowest {
				d.lowest, d.holds = m.Layer, true
			}
		}
		if strings.IndexByte(m.Path[above:], '/') >= 0 {
			return false
		}
		if m.Kind == tree.Dir {
			open = append(open, directory{Member: m})
		}
	}
	for len(open) > 0 {
		if !closeTop() {
			return false
		}
	}
	return true
}

// check refuses what a slug cannot hold and rewrites link targets.
func check(m *artifact.Member) error {
	switch {
	case m.Path == "" || m.Path == "." || path.Clean(m.Path) != m.Path ||
		m.Path[0] == '/' || m.Path == ".." || strings.HasPrefix(m.Path, "../"):
		return fmt.Errorf("%s: path %q is not below ./app", m.Origin, m.Path)
	case strings.IndexByte(m.Path, 0) >= 0:
		return fmt.Errorf("%s: path %q has a NUL byte, which no archive can hold", m.Origin, m.Path)
	}
	switch m.Kind {
	case tree.Dir:
		m.Src = ""
		m.Entry = tree.Entry{Path: m.Path, Kind: tree.Dir}
	case tree.File:
		if m.Src == "" && int64(len(m.Content)) != m.Size || m.Size < 0 {
			return fmt.Errorf("%s: %q has %d bytes of content, its entry says %d", m.Origin, m.Path, len(m.Content), m.Size)
		}
		m.Target = ""
	case tree.Link:
		target, err := tree.LinkTarget(m.Path, m.Target)
		if err != nil {
			return fmt.Errorf("%s: link %q: %w", m.Origin, m.Path, err)
		}
		m.Src = ""
		m.Entry = tree.Entry{Path: m.Path, Kind: tree.Link, Target: target}
	default:
		return fmt.Errorf("%s: %q is no file, directory or link, and a slug holds nothing else", m.Origin, m.Path)
	}
	return nil
}

// unite drops repeats of equal entries and refuses others. The members are sorted by path,
// then layer, so the lowest layer stays.
func unite(members []artifact.Member) ([]artifact.Member, error) {
	out := members[:0]
	for _, m := range members {
		if len(out) > 0 {
			last := &out[len(out)-1]
			if last.Path == m.Path {
				if last.Entry != m.Entry || m.Kind == tree.File && m.Digest.IsZero() {
					return nil, fmt.Errorf("%q comes from %s and from %s, with different content", m.Path, last.Origin, m.Origin)
				}
				continue
			}
		}
		out = append(out, m)
	}
	return out, nil
}

// addParents adds the directories that are not listed. The members are sorted by path.
func addParents(members []artifact.Member) ([]artifact.Member, error) {
	var out []artifact.Member  // none as long as no directory is missing, which is common
	var open []artifact.Member // the directories that the last member is in, outermost first
	for k, m := range members {
		for len(open) > 0 && !tree.Under(m.Path, open[len(open)-1].Path) {
			open = open[:len(open)-1]
		}
		top := ""
		if len(open) > 0 {
			if o := open[len(open)-1]; o.Kind != tree.Dir {
				return nil, fmt.Errorf("%q, from %s, lies below %q, from %s, which is a %s", m.Path, m.Origin, o.Path, o.Origin, o.Kind)
			}
			top = open[len(open)-1].Path + "/"
		}
		for i := len(top); i < len(m.Path); i++ {
			if m.Path[i] == '/' {
				if out == nil {
					out = append(make([]artifact.Member, 0, len(members)+len(members)/8), members[:k]...)
				}
				dir := artifact.Member{Entry: tree.Entry{Path: m.Path[:i], Kind: tree.Dir}, Layer: m.Layer, Part: m.Part}
				out = append(out, dir)
				open = append(open, dir)
			}
		}
		if out != nil {
			out = append(out, m)
		}
		open = append(open, m)
	}
	if out == nil {
		return members, nil
	}
	return out, nil
}

// Tree is what arranged members look like once unpacked.
func Tree(members []artifact.Member) tree.Manifest {
	m := make(tree.Manifest, len(members))
	for i := range members {
		m[i] = members[i].Entry
	}
	m.Sort()
	return m
}
