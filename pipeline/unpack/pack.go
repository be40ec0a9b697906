package unpack

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// A pack is these bytes, then those of every file in the order of the archive, then for each
// entry of the manifest where its bytes begin, in eight bytes, then the digest of the latter.
// So no file begins at 0, and a pack that was cut is noticed without reading it.
const packMagic = "slugfile pack 1\n"

// Pack is Extract into one file: what is refused there is refused here, and what is accepted
// has the same manifest. The result says for each of its entries where in the pack its bytes
// begin; for directories and links it is 0. After an error what was written is of no use.
func Pack(ctx context.Context, f *os.File, to io.Writer, o Options) (tree.Manifest, []int64, error) {
	o = o.withDefaults(f)
	fail := func(err error) (tree.Manifest, []int64, error) { return nil, nil, &Error{Archive: o.Name, Err: err} }
	p := &pack{w: bufio.NewWriterSize(to, 256<<10), starts: map[string]int64{}}
	if _, err := p.Write([]byte(packMagic)); err != nil {
		return fail(err)
	}
	m, err := read(ctx, f, p, o)
	if err != nil {
		return nil, nil, err
	}
	offsets := make([]int64, len(m))
	table := make([]byte, 0, 8*len(m)+digest.Size)
	for i, e := range m {
		offsets[i] = p.starts[e.Path]
		table = binary.LittleEndian.AppendUint64(table, uint64(offsets[i]))
	}
	sum := digest.Of(table)
	if _, err := p.Write(append(table, sum[:]...)); err != nil {
		return fail(err)
	}
	if err := p.w.Flush(); err != nil {
		return fail(err)
	}
	return m, offsets, nil
}

// Offsets reads from a pack what Pack returned with the manifest m. It does not read the
// files: their bytes are as good as their digests say.
func Offsets(pack *os.File, m tree.Manifest) ([]int64, error) {
	info, err := pack.Stat()
	if err != nil {
		return nil, err
	}
	table := make([]byte, 8*len(m)+digest.Size)
	end := info.Size() - int64(len(table))
	head := make([]byte, len(packMagic))
	if !info.Mode().IsRegular() || end < int64(len(head)) {
		return nil, fmt.Errorf("%s is no pack", pack.Name())
	}
	if _, err := pack.ReadAt(head, 0); err != nil {
		return nil, err
	}
	if _, err := pack.ReadAt(table, end); err != nil {
		return nil, err
	}
	table, sum := table[:8*len(m)], table[8*len(m):]
	if string(head) != packMagic || digest.Of(table) != digest.Digest(sum) {
		return nil, fmt.Errorf("%s is no pack, or was damaged", pack.Name())
	}
	offsets := make([]int64, len(m))
	for i, e := range m {
		at := int64(binary.LittleEndian.Uint64(table[8*i:]))
		if e.Kind == tree.File && (at < int64(len(head)) || e.Size > end-at) || e.Kind != tree.File && at != 0 {
			return nil, fmt.Errorf("%s is the pack of something else", pack.Name())
		}
		offsets[i] = at
	}
	return offsets, nil
}

// pack writes all files one after another.
type pack struct {
	w      *bufio.Writer
	size   int64
	starts map[string]int64
}

// Write is not for files that were not announced.
func (p *pack) Write(b []byte) (int, error) {
	n, err := p.w.Write(b)
	p.size += int64(n)
	return n, err
}

func (p *pack) mkdir(string) error { return nil }

func (p *pack) file(path string, _ bool, fill func(io.Writer) error) error {
	p.starts[path] = p.size
	return fill(p)
}

func (p *pack) hardlink(path, old string) error {
	at, ok := p.starts[old]
	if !ok {
		return errors.New("its target is not in the pack")
	}
	p.starts[path] = at
	return nil
}

func (p *pack) symlink(string, string) error { return nil }
