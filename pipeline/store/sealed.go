package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/disk"
	"github.com/slugfile/slugfile/pipeline/failpoint"
)

// seal is the last line of a document: the digest of what stands before it, and the document's
// own name, so that one which is torn, changed or moved is noticed. Before it is the document,
// in JSON. It is not a part of the seal: large ones would be held and read twice.
type seal struct {
	Name   string        `json:"name"`
	SHA256 digest.Digest `json:"sha256"`
}

// writeSealed writes v to a new file and flushes it.
func (s *Store) writeSealed(path, name string, v any) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := digest.New()
	if err := json.NewEncoder(io.MultiWriter(f, h)).Encode(v); err != nil {
		return err
	}
	if err := json.NewEncoder(f).Encode(seal{Name: name, SHA256: digest.Sum(h)}); err != nil {
		return err
	}
	return s.syncFile(f)
}

// readSealed reads into v what writeSealed wrote. A document that is absent or not whole is
// not ok; err is for a disk that does not answer.
func readSealed(path, name string, v any) (ok bool, err error) {
	b, ok, err := readDocument(path)
	if err != nil || !ok {
		return false, err
	}
	b, ended := bytes.CutSuffix(b, []byte{'\n'})
	at := bytes.LastIndexByte(b, '\n') + 1
	value, last := b[:at], b[at:]
	var s seal
	whole := ended && json.Unmarshal(last, &s) == nil && s.Name == name && digest.Of(value) == s.SHA256
	// The bytes are those that were written: if they do not fit v, another version wrote them.
	return whole && json.Unmarshal(value, v) == nil, nil
}

// readDocument reads a whole file. What stands there and is none is not ok either.
func readDocument(path string) (b []byte, ok bool, err error) {
	b, err = readFile(path)
	if err == nil {
		return b, true, nil
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, false, nil
	}
	if fi, statErr := os.Lstat(path); statErr == nil && !fi.Mode().IsRegular() {
		return nil, false, nil
	}
	return nil, false, err
}

func readFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|openNoFollow, 0)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if fi, err := f.Stat(); err == nil && fi.Mode().IsRegular() {
		b.Grow(int(min(fi.Size(), 512<<20)) + bytes.MinRead)
	}
	_, err = b.ReadFrom(f)
	return b.Bytes(), errors.Join(err, f.Close())
}

// GetRef reads the document of kind under key into v. One that is absent, damaged or not of
// v's shape is not found, and v is then not to be used.
func (s *Store) GetRef(kind, key string, v any) (bool, error) {
	path, err := s.refPath(kind, key, ".json")
	if err != nil {
		return false, err
	}
	ok, err := readSealed(path, kind+"/"+key, v)
	if err != nil {
		return false, fmt.Errorf("read %s %s from the store: %w", kind, key, err)
	}
	return ok, nil
}

// PutRef stores v as the document of kind under key, in place of an earlier one. v must
// survive JSON. kind and key are plain names: letters, digits, dots, dashes and underscores.
func (s *Store) PutRef(kind, key string, v any) error {
	path, err := s.refPath(kind, key, ".json")
	if err != nil {
		return err
	}
	name := kind + "/" + key
	err = s.mkdirs(filepath.Dir(path))
	if err == nil {
		err = s.publish(path, func(fresh string) error { return s.writeSealed(fresh, name, v) })
	}
	if err != nil {
		return fmt.Errorf("store %s %s: %w", kind, key, err)
	}
	return nil
}

// publish lets write make a file of its own, which must be flushed, and moves it to path.
func (s *Store) publish(path string, write func(fresh string) error) (err error) {
	l, err := s.lease("")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.end()) }()
	if err := write(l.path); err != nil {
		return err
	}
	failpoint.Hit("store.document.written")
	if err := os.Rename(l.path, path); err != nil {
		return err
	}
	failpoint.Hit("store.document.renamed")
	return disk.SyncDir(filepath.Dir(path))
}

func (s *Store) refPath(kind, key, ext string) (string, error) {
	if !validName(kind) || !validName(key) {
		return "", fmt.Errorf("store document %q of kind %q: not a plain name", key, kind)
	}
	return filepath.Join(s.dir, "refs", kind, key+ext), nil
}

// validName accepts names that are one path component on every system.
func validName(s string) bool {
	if s == "" || len(s) > 128 || s[0] == '.' || s[len(s)-1] == '.' {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}
