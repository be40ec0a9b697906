package archive

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/tree"
)

const (
	// maxTree is what readers of slugs accept, ours too, in bytes uncompressed.
	maxTree = 16 << 30
	// maxRatio is the most that deflate can shrink anything: 258 bytes in two bits.
	maxRatio = 1032
	// sparseFrom is the size in bytes from which a file is asked whether it has holes.
	sparseFrom = 1 << 20
	// named is how many entries a TooLargeError names.
	named = 10
)

// TooLargeError says that a slug is over its limit.
type TooLargeError struct {
	// Limit is in bytes, compressed; 0 when none was set.
	Limit int64
	// Why says what went over it.
	Why string
	// Largest are the largest files, the largest first, at most ten. Sizes are uncompressed. It is empty
	// for a slug that was made before.
	Largest []tree.Entry
	// Released is the live release, such as v12, whose slug this one can be compared with; empty when
	// there is none, or nobody asked.
	Released string
}

func (e *TooLargeError) Error() string {
	var b strings.Builder
	b.WriteString("the slug is too large")
	if e.Limit > 0 {
		fmt.Fprintf(&b, " for limits.slug (%s)", decimal(e.Limit))
	}
	b.WriteString(": " + e.Why)
	if len(e.Largest) > 0 {
		b.WriteString("; the largest files:")
	}
	for _, f := range e.Largest {
		fmt.Fprintf(&b, "\n  %9s  %s", decimal(f.Size), quoted(f.Path))
	}
	return b.String()
}

// quoted keeps an ordinary path as it is, and quotes one that would spoil the list.
func quoted(p string) string {
	if q := fmt.Sprintf("%q", p); q != `"`+p+`"` {
		return q
	}
	return p
}

// decimal writes a size in decimal units, as limits are written in slug.yaml.
func decimal(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%d B", n)
}

// largest returns the files that take the most room.
func largest(members []artifact.Member) []tree.Entry {
	var files []tree.Entry
	for _, m := range members {
		if m.Kind == tree.File {
			files = append(files, m.Entry)
		}
	}
	slices.SortFunc(files, func(a, b tree.Entry) int {
		return cmp.Or(cmp.Compare(b.Size, a.Size), tree.Compare(a.Path, b.Path))
	})
	return files[:min(len(files), named)]
}

// early refuses what is sure to be too large, or would take long to find out. A file with
// holes counts with its apparent size: compressing a hole takes seconds for each GiB, and
// every reader writes it out in full.
func early(members []artifact.Member, limit int64) error {
	var size, holes int64
	for i := range members {
		m := &members[i]
		size += m.Size
		if m.Src != "" && m.At == 0 && m.Size >= sparseFrom && isSparse(m.From()) {
			holes += m.Size
		}
	}
	var why string
	switch {
	case size > maxTree:
		return &TooLargeError{Limit: limit, Largest: largest(members), Why: fmt.Sprintf("unpacked it would be %s, and nothing unpacks more than %s", decimal(size), decimal(maxTree))}
	case limit <= 0:
		return nil
	case size/maxRatio > limit:
		why = fmt.Sprintf("no compression gets %s below it", decimal(size))
	case holes > limit:
		why = fmt.Sprintf("sparse files count in full, and they are %s", decimal(holes))
	default:
		return nil
	}
	return &TooLargeError{Limit: limit, Why: why, Largest: largest(members)}
}
