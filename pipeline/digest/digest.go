// Package digest holds sha256 as a value, and readers that verify while they read.
//
// It is for everything that names bytes by their content: runtimes, files of a tree,
// step keys, slugs. It opens no file.
package digest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"strings"
)

// Size is the number of bytes of a digest.
const Size = sha256.Size

// Digest is a sha256. The zero value means "not known": no bytes are expected to have it.
type Digest [Size]byte

// Of returns the digest of b.
func Of(b []byte) Digest { return sha256.Sum256(b) }

// OfJSON returns the digest of v in JSON: the way keys are made from structs. Struct
// fields keep their order and maps are sorted by key, so equal values give equal
// digests. It panics when v cannot be encoded, which is a mistake in this program.
func OfJSON(v any) Digest {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("digest of %T: %v", v, err))
	}
	return Of(b)
}

// Parse reads 64 hex digits, with or without a "sha256:" prefix in any case.
func Parse(s string) (Digest, error) {
	var d Digest
	h := s
	if i := strings.IndexByte(s, ':'); i >= 0 {
		if !strings.EqualFold(s[:i], "sha256") {
			return d, fmt.Errorf("digest %q: unknown algorithm %q", s, s[:i])
		}
		h = s[i+1:]
	}
	if len(h) != 2*Size {
		return d, fmt.Errorf("digest %q: must be %d hex digits, got %d", s, 2*Size, len(h))
	}
	if _, err := hex.Decode(d[:], []byte(h)); err != nil {
		return Digest{}, fmt.Errorf("digest %q: not hex", s)
	}
	return d, nil
}

// MustParse is Parse for constants in tests and tables; it panics on an error.
func MustParse(s string) Digest {
	d, err := Parse(s)
	if err != nil {
		panic(err)
	}
	return d
}

// Sum returns the digest of what was written to h, which must be a sha256.
func Sum(h hash.Hash) Digest {
	var d Digest
	h.Sum(d[:0])
	return d
}

// New returns a hash to write to; finish with Sum.
func New() hash.Hash { return sha256.New() }

// IsZero reports whether the digest is not known.
func (d Digest) IsZero() bool { return d == Digest{} }

// String is 64 lower-case hex digits.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// Short is the first 12 hex digits, for people.
func (d Digest) Short() string { return d.String()[:12] }

// Checksum is the form of Heroku's slug resource: "SHA256:" and 64 hex digits.
func (d Digest) Checksum() string { return "SHA256:" + d.String() }

// MarshalText writes hex digits, or nothing for the zero digest.
func (d Digest) MarshalText() ([]byte, error) {
	if d.IsZero() {
		return nil, nil
	}
	return []byte(d.String()), nil
}

// UnmarshalText reads what MarshalText writes.
func (d *Digest) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*d = Digest{}
		return nil
	}
	p, err := Parse(string(b))
	if err != nil {
		return err
	}
	*d = p
	return nil
}

// MismatchError says that bytes are not those that a digest or a size promised.
type MismatchError struct {
	// Subject names the bytes: "runtime node", "slug".
	Subject string
	// Want and Got are the promised and the found digest. Got is zero when reading
	// stopped because of the size.
	Want, Got Digest
	// WantSize and GotSize are in bytes; WantSize is -1 when no size was promised.
	WantSize, GotSize int64
}

func (e *MismatchError) Error() string {
	if e.WantSize >= 0 && e.WantSize != e.GotSize {
		more := ""
		if e.GotSize > e.WantSize {
			more = " or more"
		}
		return fmt.Sprintf("%s: expected %d bytes, got %d%s", e.Subject, e.WantSize, e.GotSize, more)
	}
	return fmt.Sprintf("%s: expected sha256 %s, got %s", e.Subject, e.Want, e.Got)
}

// NewReader returns a reader of r that fails with a *MismatchError, instead of io.EOF,
// when the bytes are not those of want. A size of -1 is not checked; otherwise reading
// stops at the first byte beyond it.
func NewReader(r io.Reader, subject string, want Digest, size int64) io.Reader {
	return &reader{r: r, h: sha256.New(), subject: subject, want: want, size: size}
}

type reader struct {
	r       io.Reader
	h       hash.Hash
	subject string
	want    Digest
	size, n int64
	err     error
}

func (r *reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.r.Read(p)
	r.n += int64(n)
	r.h.Write(p[:n])
	switch {
	case r.size >= 0 && r.n > r.size:
		r.err = r.mismatch(Digest{})
	case err == io.EOF:
		r.err = io.EOF
		if got := Sum(r.h); got != r.want || r.size >= 0 && r.n != r.size {
			r.err = r.mismatch(got)
		}
	default:
		r.err = err
	}
	return n, r.err
}

func (r *reader) mismatch(got Digest) error {
	return &MismatchError{Subject: r.subject, Want: r.want, Got: got, WantSize: r.size, GotSize: r.n}
}
