package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/slugfile/slugfile/pipeline/digest"
)

// PutBytes stores b as the raw document of kind under key, in place of an earlier one. kind
// and key are plain names: letters, digits, dots, dashes and underscores. Raw documents and
// those of PutRef do not share their names.
func (s *Store) PutBytes(kind, key string, b []byte) error {
	path, err := s.refPath(kind, key, ".bin")
	if err != nil {
		return err
	}
	name := kind + "/" + key
	err = s.mkdirs(filepath.Dir(path))
	if err == nil {
		err = s.publish(path, func(fresh string) error { return s.writeRaw(fresh, name, b) })
	}
	if err != nil {
		return fmt.Errorf("store %s %s: %w", kind, key, err)
	}
	return nil
}

// GetBytes reads the raw document of kind under key. One that is absent or damaged is not
// found. The bytes are those that PutBytes got, of this or of another version of the program:
// a document is a hint, and its reader must bear one that it does not understand.
func (s *Store) GetBytes(kind, key string) ([]byte, bool, error) {
	path, err := s.refPath(kind, key, ".bin")
	if err != nil {
		return nil, false, err
	}
	b, ok, err := readRaw(path, kind+"/"+key)
	if err != nil {
		return nil, false, fmt.Errorf("read %s %s from the store: %w", kind, key, err)
	}
	return b, ok, nil
}

// rawName is a document's own name as it stands after its bytes. No name has a line feed, so
// none is the end of another.
func rawName(name string) string { return "\n" + name }

// writeRaw writes a new file of b, its name and the digest of both, and flushes it.
func (s *Store) writeRaw(path, name string, b []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := digest.New()
	h.Write(b)
	tail := []byte(rawName(name))
	h.Write(tail)
	sum := digest.Sum(h)
	if _, err := f.Write(b); err != nil {
		return err
	}
	if _, err := f.Write(append(tail, sum[:]...)); err != nil {
		return err
	}
	return s.syncFile(f)
}

// readRaw reads what writeRaw wrote. Its results are those of readSealed.
func readRaw(path, name string) (b []byte, ok bool, err error) {
	b, ok, err = readDocument(path)
	if err != nil || !ok || len(b) < digest.Size {
		return nil, false, err
	}
	signed, sum := b[:len(b)-digest.Size], b[len(b)-digest.Size:]
	b, named := bytes.CutSuffix(signed, []byte(rawName(name)))
	if got := digest.Of(signed); !named || !bytes.Equal(got[:], sum) {
		return nil, false, nil
	}
	return b, true, nil
}
