package unpack

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/klauspost/compress/flate"
)

const (
	// maxZipDirectory limits the central directory, all of which is held in memory: 335
	// bytes for each of 200,000 entries.
	maxZipDirectory = 64 << 20

	zipEndLen       = 22
	zip64LocatorLen = 20
	zip64EndLen     = 56
	zipHeaderLen    = 46
	zipEncrypted    = 1
)

func readZip(ctx context.Context, src *io.SectionReader, w *writer) error {
	count, err := checkZipDirectory(src, w.o.MaxEntries)
	if err != nil {
		return err
	}
	z, err := zip.NewReader(src, src.Size())
	if err != nil {
		return err
	}
	if len(z.File) != count {
		return fmt.Errorf("zip: the directory holds %d entries, or %d in another reading", count, len(z.File))
	}
	z.RegisterDecompressor(zip.Deflate, flate.NewReader)
	for _, f := range z.File {
		if err := zipEntry(ctx, w, f); err != nil {
			return &Error{Archive: w.o.Name, Entry: f.Name, Err: cause(err)}
		}
	}
	return nil
}

func zipEntry(ctx context.Context, w *writer, f *zip.File) (err error) {
	if err := w.next(ctx); err != nil {
		return err
	}
	kind := f.Mode().Type()
	p, err := w.o.place(f.Name, kind == fs.ModeDir)
	if err != nil {
		return err
	}
	switch {
	case f.Flags&zipEncrypted != 0:
		return errors.New("it is encrypted")
	case kind == fs.ModeDir:
		if f.UncompressedSize64 != 0 {
			return errors.New("it is a directory with content")
		}
		return w.mkdir(p)
	case kind != 0 && kind != fs.ModeSymlink:
		return fmt.Errorf("it is of the type %q", kind)
	}
	if f.UncompressedSize64 > uint64(w.left) {
		return w.tooBig()
	}
	body, err := f.Open()
	if err != nil {
		if errors.Is(err, zip.ErrAlgorithm) {
			return fmt.Errorf("it is compressed by method %d, which is not supported", f.Method)
		}
		return err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	size := int64(f.UncompressedSize64)
	// One byte more than the directory says is enough to see that it lies.
	limited := io.LimitReader(body, size+1)
	if kind == 0 {
		return w.file(ctx, p, f.Mode()&0o100 != 0, size, limited)
	}
	if size > maxTarget {
		return fmt.Errorf("its target is over %d bytes long", maxTarget)
	}
	var target bytes.Buffer
	if _, err := target.ReadFrom(limited); err != nil {
		return err
	}
	if int64(target.Len()) != size {
		return fmt.Errorf("its target has %d bytes, its header says %d", target.Len(), size)
	}
	return w.symlink(p, target.String())
}

// checkZipDirectory counts the central directory before anything of its size is allocated,
// and refuses what archive/zip overlooks: bytes after the end, bytes between the directory
// and the end, and a count that is not the true one.
func checkZipDirectory(src *io.SectionReader, maxEntries int) (int, error) {
	end, at, err := zipEnd(src)
	if err != nil {
		return 0, err
	}
	le := binary.LittleEndian
	count := uint64(le.Uint16(end[10:]))
	size, offset := uint64(le.Uint32(end[12:])), uint64(le.Uint32(end[16:]))
	// archive/zip looks for the end record of zip64 at a size of 0xffff too, so this does.
	if count == 0xffff || size == 0xffff || size == 0xffffffff || offset == 0xffffffff {
		if count, size, offset, at, err = zip64End(src, at, count, size, offset); err != nil {
			return 0, err
		}
	}
	switch {
	case count > uint64(maxEntries):
		return 0, fmt.Errorf("it has more than %d entries, the limit", maxEntries)
	case size > maxZipDirectory:
		return 0, fmt.Errorf("its directory has more than %d bytes, the limit", maxZipDirectory)
	case offset > uint64(at) || offset+size != uint64(at):
		return 0, errors.New("zip: the directory is not where the end of the archive says")
	}
	return int(count), walkZipDirectory(io.NewSectionReader(src, int64(offset), int64(size)), count)
}

func walkZipDirectory(dir *io.SectionReader, count uint64) error {
	var head [zipHeaderLen]byte
	n, pos := uint64(0), int64(0)
	for ; pos < dir.Size(); n++ {
		if _, err := dir.ReadAt(head[:], pos); err != nil {
			return fmt.Errorf("zip: directory entry %d is cut short: %w", n, err)
		}
		if !bytes.HasPrefix(head[:], []byte("PK\x01\x02")) {
			return fmt.Errorf("zip: directory entry %d is damaged", n)
		}
		le := binary.LittleEndian
		pos += zipHeaderLen + int64(le.Uint16(head[28:])) + int64(le.Uint16(head[30:])) + int64(le.Uint16(head[32:]))
	}
	if n != count || pos != dir.Size() {
		return fmt.Errorf("zip: the directory says %d entries and holds %d", count, n)
	}
	return nil
}

// zipEnd finds the end record, which with its comment must close the file.
func zipEnd(src *io.SectionReader) (rec []byte, at int64, err error) {
	tail := min(src.Size(), zipEndLen+0xffff)
	buf := make([]byte, tail)
	if _, err := src.ReadAt(buf, src.Size()-tail); err != nil && err != io.EOF {
		return nil, 0, err
	}
	i := bytes.LastIndex(buf, []byte("PK\x05\x06"))
	if i < 0 || len(buf)-i < zipEndLen {
		return nil, 0, errors.New("zip: no end record: the archive is cut short, or bytes follow it")
	}
	if i+zipEndLen+int(binary.LittleEndian.Uint16(buf[i+20:])) != len(buf) {
		return nil, 0, errors.New("zip: there are more bytes after the end of the archive")
	}
	return buf[i:], src.Size() - tail + int64(i), nil
}

// zip64End replaces what does not fit into the old end record.
func zip64End(src *io.SectionReader, at int64, count, size, offset uint64) (c, s, o uint64, start int64, err error) {
	le := binary.LittleEndian
	loc := make([]byte, zip64LocatorLen)
	if at >= zip64LocatorLen {
		if _, err := src.ReadAt(loc, at-zip64LocatorLen); err != nil {
			return 0, 0, 0, 0, err
		}
	}
	if !bytes.HasPrefix(loc, []byte("PK\x06\x07")) {
		return count, size, offset, at, nil // exactly 65,535 entries, without zip64
	}
	start = int64(le.Uint64(loc[8:]))
	rec := make([]byte, zip64EndLen)
	if start < 0 || start > at-zip64LocatorLen-zip64EndLen {
		return 0, 0, 0, 0, errors.New("zip: the end record of zip64 is not where its locator says")
	}
	if _, err := src.ReadAt(rec, start); err != nil {
		return 0, 0, 0, 0, err
	}
	if !bytes.HasPrefix(rec, []byte("PK\x06\x06")) {
		return 0, 0, 0, 0, errors.New("zip: the end record of zip64 is damaged")
	}
	return le.Uint64(rec[32:]), le.Uint64(rec[40:]), le.Uint64(rec[48:]), start, nil
}
