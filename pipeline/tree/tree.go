// Package tree describes the files below a directory: names, modes, sizes, digests.
//
// A Manifest is a value: two trees with equal manifests are the same to every stage.
// Times, owners, inodes and the order of the directory are no part of it.
package tree

import (
	"slices"
	"sort"
	"strings"

	"github.com/slugfile/slugfile/pipeline/digest"
)

// Kind says what an entry is. There are no others: devices, sockets and FIFOs are refused
// by Scan, hard links are files.
type Kind uint8

// The kinds of entries. The zero value is none of them.
const (
	File Kind = 1 + iota
	Dir
	Link
)

var kinds = [...]string{File: "file", Dir: "dir", Link: "link"}

// String is "file", "dir" or "link", and empty for what is no kind.
func (k Kind) String() string {
	if int(k) < len(kinds) {
		return kinds[k]
	}
	return ""
}

// MarshalText writes the kind's name.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads what MarshalText writes, and makes anything else the zero value.
func (k *Kind) UnmarshalText(b []byte) error {
	*k = kindOf(string(b))
	return nil
}

// kindOf is the kind of that name, or the zero value.
func kindOf(name string) Kind {
	switch name {
	case "file":
		return File
	case "dir":
		return Dir
	case "link":
		return Link
	}
	return 0
}

// Entry is one name of a tree. Names are bytes: those that are not UTF-8 are kept too. The
// fields stand in the order that takes the least room: there may be a million entries.
type Entry struct {
	// Path is relative to the root, with slashes, clean, never empty, "." or starting with "..".
	Path string
	// Target is what a link says, word for word.
	Target string
	// Digest is the sha256 of a file's content.
	Digest digest.Digest
	// Size is in bytes, of files only.
	Size int64
	Kind Kind
	// Exec is the owner's executable bit of a file; all other bits are dropped.
	Exec bool
}

// Manifest lists a tree in the order of Compare, each path once. Directories are listed
// when the source knows them (a scan does, git does not); a parent may be missing.
type Manifest []Entry

// Compare orders paths depth first, their components bytewise: "a/b" comes before "a.b".
func Compare(a, b string) int {
	i := sharedPrefix(a, b)
	switch {
	case i == len(a) || i == len(b):
		return len(a) - len(b)
	case a[i] == '/':
		return -1
	case b[i] == '/':
		return 1
	case a[i] < b[i]:
		return -1
	}
	return 1
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

// Below returns where the entry at dir and what lies below it stand: from start to before end.
// The directory "." holds everything.
func (m Manifest) Below(dir string) (start, end int) {
	if dir == "." {
		return 0, len(m)
	}
	start = sort.Search(len(m), func(i int) bool { return Compare(m[i].Path, dir) >= 0 })
	return start, start + sort.Search(len(m)-start, func(i int) bool { return !Under(m[start+i].Path, dir) })
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
