package tree

import (
	"bytes"
	"encoding/binary"
	"errors"
	"iter"
	"slices"
	"strings"

	"github.com/slugfile/slugfile/pipeline/digest"
)

// Index is what a scan learnt of a tree: its names, and of each file the digest and the stamp
// by which its content is known. Given to the next scan of the same directory, a file that
// still has its stamp is not read, and a directory that has is not listed.
//
// A stamp is size, times of the last change of content and of inode, inode, device and mode.
// Only what had been at rest for two seconds when its scan began has one, so a write in the
// same tick of the clock is never missed. On a system that does not tell such times nothing
// has, and directories have on file systems alone that are known to keep them. What the kernel does not write into the inode cannot be seen: a page that a program
// still has mapped for writing, and the clock of a file server that is more than two seconds
// behind.
//
// An index is a hint that may be lost. It is never changed, so goroutines may share it.
type Index struct {
	// folders are in the order of the manifest, the root first.
	folders []folder
}

// folder is one directory: a record for each name in it, in the order of the names' bytes.
type folder struct {
	path    string   // empty for the root
	seal    dirStamp // zero: the records need not be all that it holds
	dev     uint64   // of the files that have a stamp
	records []byte
	end     int // the folder after those below this one
}

// dirStamp is what an inode says of a directory.
type dirStamp struct {
	mtime, ctime int64
	ino, dev     uint64
}

// stamp is what an inode says of a file.
type stamp struct {
	size, mtime, ctime int64 // bytes, nanoseconds; no ctime where the system has none
	ino, dev           uint64
	mode               uint32 // as the system has it, with the type
}

// A record is a byte of flags, the name with its length before it, and what follows by kind:
// fileSize bytes of a file, the target of a link with its length before it, nothing of a
// directory or a name that is left out, of which the kind is 0. The folder of a directory with
// flagFolder comes later among the folders, in the same order.
const (
	kindMask    = 3
	flagExec    = 1 << 2 // of the manifest's entry, which need not be the mode's
	flagStamped = 1 << 3
	flagListed  = 1 << 4 // of a directory: it stands in the manifest
	flagFolder  = 1 << 5

	atSize, atDigest, atMtime, atCtime, atIno, atMode = 0, 8, 8 + digest.Size, 16 + digest.Size, 24 + digest.Size, 32 + digest.Size
	fileSize                                          = atMode + 4
)

var order = binary.LittleEndian

// record is one that was read; its slices are those of its folder.
type record struct {
	flags  byte
	name   []byte
	body   []byte // of a file
	target []byte // of a link
}

func (r record) kind() Kind { return Kind(r.flags & kindMask) }

var errIndex = errors.New("not the index of a tree")

// read cuts the first record from b.
func (r *record) read(b []byte) (rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, false
	}
	r.flags = b[0]
	if r.name, b, ok = readBytes(b[1:]); !ok {
		return nil, false
	}
	switch r.kind() {
	case File:
		if len(b) < fileSize {
			return nil, false
		}
		r.body, b = b[:fileSize:fileSize], b[fileSize:]
	case Link:
		r.target, b, ok = readBytes(b)
	}
	return b, ok
}

func readBytes(b []byte) (text, rest []byte, ok bool) {
	if len(b) > 0 && b[0] < 0x80 { // nearly always
		n := int(b[0])
		if len(b) <= n {
			return nil, nil, false
		}
		return b[1 : 1+n], b[1+n:], true
	}
	n, k := binary.Uvarint(b)
	if k <= 0 || n > uint64(len(b)-k) {
		return nil, nil, false
	}
	return b[k : k+int(n)], b[k+int(n):], true
}

func appendBytes[T string | []byte](b []byte, text T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// known reports whether the record vouches for a file with stamp s in its folder.
func (r record) known(dev uint64, s *stamp) bool {
	b := r.body
	return r.flags&flagStamped != 0 && s.dev == dev &&
		int64(order.Uint64(b[atSize:])) == s.size &&
		int64(order.Uint64(b[atMtime:])) == s.mtime &&
		int64(order.Uint64(b[atCtime:])) == s.ctime &&
		order.Uint64(b[atIno:]) == s.ino &&
		order.Uint32(b[atMode:]) == s.mode
}

// unread reports whether the record of a file has no digest.
func (r record) unread() bool { return digest.Digest(r.body[atDigest:atMtime]).IsZero() }

// putStamp fills the body of a file's record, but for the digest.
func putStamp(body []byte, s *stamp) {
	order.PutUint64(body[atSize:], uint64(s.size))
	order.PutUint64(body[atMtime:], uint64(s.mtime))
	order.PutUint64(body[atCtime:], uint64(s.ctime))
	order.PutUint64(body[atIno:], s.ino)
	order.PutUint32(body[atMode:], s.mode)
}

// entry is what the record says to the manifest.
func (r record) entry(path string) Entry {
	e := Entry{Path: path, Kind: r.kind(), Exec: r.flags&flagExec != 0}
	switch {
	case e.Kind == Link:
		e.Target = string(r.target)
	case e.Kind == File && !r.unread():
		e.Size = int64(order.Uint64(r.body[atSize:]))
		copy(e.Digest[:], r.body[atDigest:])
	}
	return e
}

// all yields the records of a folder. They have been checked or made by this package.
func (f *folder) all() iter.Seq[record] {
	return func(yield func(record) bool) {
		var r record
		for b := f.records; len(b) > 0; {
			b, _ = r.read(b)
			if !yield(r) {
				return
			}
		}
	}
}

// indexHead opens the binary form and tells its version.
const indexHead = "tree index 2\n"

// AppendBinary writes what ParseIndex reads.
func (x *Index) AppendBinary(b []byte) ([]byte, error) {
	size := len(indexHead) + binary.MaxVarintLen64
	for i := range x.folders {
		size += 5*8 + binary.MaxVarintLen64 + len(x.folders[i].records)
	}
	b = slices.Grow(b, size)
	b = binary.AppendUvarint(append(b, indexHead...), uint64(len(x.folders)))
	for i := range x.folders {
		f := &x.folders[i]
		for _, n := range []uint64{f.dev, f.seal.dev, f.seal.ino, uint64(f.seal.mtime), uint64(f.seal.ctime)} {
			b = order.AppendUint64(b, n)
		}
		b = appendBytes(b, f.records)
	}
	return b, nil
}

// folderHead is how many bytes stand before the records of a folder.
const folderHead = 5 * 8

// deepest is more directories in each other than a path that a system takes can name.
const deepest = 4096

// ParseIndex reads what AppendBinary wrote, and keeps b, which must not be changed any more.
// Bytes of another form are an error. Bytes that have the form are believed: whoever stores
// an index must see that it is the one that was written.
func ParseIndex(b []byte) (*Index, error) {
	rest, ok := bytes.CutPrefix(b, []byte(indexHead))
	n, k := binary.Uvarint(rest)
	if !ok || k <= 0 || n == 0 || n > uint64(len(rest)) {
		return nil, errIndex
	}
	p := &indexParser{rest: rest[k:], x: &Index{folders: make([]folder, 0, n)}, most: int(n)}
	if !p.folder("", 0) || len(p.rest) > 0 || len(p.x.folders) != p.most {
		return nil, errIndex
	}
	return p.x, nil
}

type indexParser struct {
	rest  []byte
	x     *Index
	most  int
	paths chunks
}

// folder reads the next folder and those below it.
func (p *indexParser) folder(path string, depth int) bool {
	if len(p.rest) < folderHead || len(p.x.folders) == p.most || depth > deepest {
		return false
	}
	f := folder{path: path, dev: order.Uint64(p.rest), seal: dirStamp{
		dev: order.Uint64(p.rest[8:]), ino: order.Uint64(p.rest[16:]),
		mtime: int64(order.Uint64(p.rest[24:])), ctime: int64(order.Uint64(p.rest[32:])),
	}}
	var ok bool
	if f.records, p.rest, ok = readBytes(p.rest[folderHead:]); !ok {
		return false
	}
	n := len(p.x.folders)
	p.x.folders = append(p.x.folders, f)
	var last []byte
	for b := f.records; len(b) > 0; {
		var r record
		if b, ok = r.read(b); !ok || !r.valid() || bytes.Compare(last, r.name) >= 0 {
			return false
		}
		last = r.name
		if r.flags&flagFolder != 0 && !p.folder(p.paths.join(path, r.name), depth+1) {
			return false
		}
	}
	p.x.folders[n].end = len(p.x.folders)
	return true
}

// valid refuses what no scan writes.
func (r record) valid() bool {
	flags := byte(0)
	switch r.kind() {
	case File:
		flags = flagExec | flagStamped
		if order.Uint64(r.body[atSize:])>>63 != 0 || r.flags&flagStamped != 0 && r.unread() {
			return false
		}
	case Dir:
		flags = flagListed | flagFolder
	case Link, 0:
	}
	if r.flags&^kindMask&^flags != 0 || string(r.name) == "." || string(r.name) == ".." {
		return false
	}
	return len(r.name) > 0 && bytes.IndexByte(r.name, '/') < 0
}

// find returns where the folder of a path is, or -1.
func (x *Index) find(path string) int {
	if x == nil {
		return -1
	}
	lo, hi := 0, len(x.folders)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if Compare(x.folders[mid].path, path) < 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(x.folders) && x.folders[lo].path == path {
		return lo
	}
	return -1
}

// collect appends the folders of s and of what is below it.
func (x *Index) collect(s *spot) {
	n := len(x.folders)
	x.folders = append(x.folders, s.folder)
	for _, sub := range s.subs {
		x.collect(sub)
	}
	x.folders[n].end = len(x.folders)
}

// splitPath cuts a path into its directory, empty for the root, and its last component.
func splitPath(path string) (dir, name string) {
	i := strings.LastIndexByte(path, '/')
	return path[:max(i, 0)], path[i+1:]
}
