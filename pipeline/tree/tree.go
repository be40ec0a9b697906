// Package tree describes the files below a directory: names, modes, sizes, digests.
//
// A Manifest is a value: two trees with equal manifests are the same to every stage.
// Times, owners, inodes and the order of the directory are no part of it.
package tree

import (
	"slices"
	"strings"

	"github.com/slugfile/slugfile/pipeline/digest"
)

// Kind says what an entry is. There are no others: devices, sockets and FIFOs are refused
// by Scan, hard links are files.
type Kind string

// The kinds of entries.
const (
	File Kind = "file"
	Dir  Kind = "dir"
	Link Kind = "link"
)

// Entry is one name of a tree. Names are bytes: those that are not UTF-8 are kept too.
type Entry struct {
	// Path is relative to the root, with slashes, clean, never empty, "." or starting with "..".
	Path string
	Kind Kind
	// Exec is the owner's executable bit of a file; all other bits are dropped.
	Exec bool
	// Size is in bytes, of files only.
	Size int64
	// Digest is the sha256 of a file's content.
	Digest digest.Digest
	// Target is what a link says, word for word.
	Target string
}

// Manifest lists a tree in the order of Compare, each path once. Directories are listed
// when the source knows them (a scan does, git does not); a parent may be missing.
type Manifest []Entry

// Compare orders paths depth first, their components bytewise: "a/b" comes before "a.b".
func Compare(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] == b[i] {
			continue
		}
		switch {
		case a[i] == '/':
			return -1
		case b[i] == '/':
			return 1
		case a[i] < b[i]:
			return -1
		}
		return 1
	}
	return len(a) - len(b)
}

// Sort puts the manifest into the order of Compare.
func (m Manifest) Sort() {
	slices.SortFunc(m, func(a, b Entry) int { return Compare(a.Path, b.Path) })
}

// Find returns the entry at path.
func (m Manifest) Find(path string) (Entry, bool) {
	i, ok := slices.BinarySearchFunc(m, path, func(e Entry, p string) int { return Compare(e.Path, p) })
	if !ok {
		return Entry{}, false
	}
	return m[i], true
}

// Size is the sum of the files' sizes in bytes.
func (m Manifest) Size() int64 {
	var n int64
	for _, e := range m {
		n += e.Size
	}
	return n
}

// Filter returns the entries that keep accepts, in their order.
func (m Manifest) Filter(keep func(Entry) bool) Manifest {
	out := make(Manifest, 0, len(m))
	for _, e := range m {
		if keep(e) {
			out = append(out, e)
		}
	}
	return out
}

// Under reports whether path is dir or lies below it. The directory "." holds everything.
func Under(path, dir string) bool {
	return dir == "." || path == dir || strings.HasPrefix(path, dir) && path[len(dir)] == '/'
}
