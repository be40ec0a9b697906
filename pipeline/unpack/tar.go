package unpack

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

const (
	// maxHeaders limits the headers of one entry, extended ones included.
	maxHeaders = 1 << 20
	// maxPadding limits the zeros after the last entry. GNU tar fills records of 10 KiB, or
	// of what -b says.
	maxPadding = 16 << 20
)

func readTar(ctx context.Context, src io.Reader, kind format, w *writer) error {
	plain, err := decompress(src, kind)
	if err != nil {
		return err
	}
	ahead := readAhead(plain)
	defer ahead.close()
	budget := &headerReader{r: ahead, left: -1}
	t := tar.NewReader(budget)
	last := ""
	for {
		budget.left = maxHeaders
		h, err := t.Next()
		budget.left = -1
		if err == io.EOF {
			break
		}
		if err != nil {
			if last == "" && errors.Is(err, tar.ErrHeader) {
				return fmt.Errorf("%s: the content is no tar archive: %w", kind, err)
			}
			return &Error{Archive: w.o.Name, After: last, Err: cause(err)}
		}
		last = h.Name
		if err := tarEntry(ctx, w, h, t); err != nil {
			return &Error{Archive: w.o.Name, Entry: h.Name, Err: cause(err)}
		}
	}
	if err := drain(ahead); err != nil {
		return &Error{Archive: w.o.Name, After: last, Err: cause(err)}
	}
	return nil
}

func tarEntry(ctx context.Context, w *writer, h *tar.Header, body io.Reader) error {
	if err := w.next(ctx); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil // git writes one, with the commit; it says nothing about files
	}
	for k := range h.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse") {
			return errors.New("it is a sparse file")
		}
	}
	switch h.Typeflag {
	case tar.TypeDir, tar.TypeReg, tar.TypeSymlink, tar.TypeLink:
	default:
		return fmt.Errorf("it is a %s", typeName(h.Typeflag))
	}
	p, err := w.o.place(h.Name, h.Typeflag == tar.TypeDir)
	if err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return w.mkdir(p)
	case tar.TypeSymlink:
		return w.symlink(p, h.Linkname)
	case tar.TypeLink:
		target, err := w.o.place(h.Linkname, false)
		if err != nil {
			return fmt.Errorf("hard link to %q: %w", clip(h.Linkname), err)
		}
		return w.hardlink(p, target)
	}
	return w.file(ctx, p, h.Mode&0o100 != 0, h.Size, body)
}

func typeName(flag byte) string {
	switch flag {
	case tar.TypeChar:
		return "character device"
	case tar.TypeBlock:
		return "block device"
	case tar.TypeFifo:
		return "FIFO"
	case tar.TypeCont:
		return "contiguous file"
	case tar.TypeGNUSparse:
		return "sparse file"
	}
	return fmt.Sprintf("thing of the unknown type %q", flag)
}

// headerReader ends a read that takes too many header bytes for one entry.
type headerReader struct {
	r    io.Reader
	left int64 // -1 while a file's content is read
}

func (h *headerReader) Read(p []byte) (int, error) {
	if h.left < 0 {
		return h.r.Read(p)
	}
	if h.left == 0 {
		return 0, fmt.Errorf("an entry has more than %d bytes of headers, the limit", maxHeaders)
	}
	n, err := h.r.Read(p[:min(int64(len(p)), h.left)])
	h.left -= int64(n)
	return n, err
}

// drain reads what follows the end of the tar: zeros are padding, anything else is an error.
// It also makes the decompressor check its trailer, which tar.Reader stops short of.
func drain(r io.Reader) error {
	buf := make([]byte, 32<<10)
	for n := 0; ; {
		k, err := r.Read(buf)
		for _, b := range buf[:k] {
			if b != 0 {
				return errors.New("there are more bytes after the end of the tar archive")
			}
		}
		if n += k; n > maxPadding {
			return fmt.Errorf("there are more than %d bytes of padding after the end of the tar archive", maxPadding)
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// cause says plainly what an early end means.
func cause(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the archive is cut short: %w", err)
	}
	return err
}
