package upload

import (
	"crypto/md5" // blob stores name their blobs by it; nothing is trusted for it
	"encoding/hex"
	"hash"
	"io"
	"sync"
)

// md5Reader computes the MD5 of a file while it is read from front to end, once or, after a
// retry, once more from the beginning.
type md5Reader struct {
	r  io.ReaderAt
	mu sync.Mutex
	h  hash.Hash
	n  int64
}

func (r *md5Reader) ReadAt(p []byte, off int64) (int, error) {
	n, err := r.r.ReadAt(p, off)
	r.mu.Lock()
	defer r.mu.Unlock()
	if off == 0 {
		r.h, r.n = md5.New(), 0
	}
	if r.h != nil && off == r.n {
		r.h.Write(p[:n])
		r.n += int64(n)
	} else if n > 0 {
		r.h = nil // read out of order; hex reads the file again
	}
	return n, err
}

// hex is the MD5 of the first size bytes.
func (r *md5Reader) hex(size int64) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.h == nil || r.n != size {
		h := md5.New()
		if _, err := io.Copy(h, io.NewSectionReader(r.r, 0, size)); err != nil {
			return "", err
		}
		return hex.EncodeToString(h.Sum(nil)), nil
	}
	return hex.EncodeToString(r.h.Sum(nil)), nil
}
