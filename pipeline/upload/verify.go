package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/event"
	"github.com/slugfile/slugfile/pipeline/platform"
)

// VerifyError says that the platform does not hold the bytes that were sent. It is also a
// *digest.MismatchError for errors.As.
type VerifyError struct {
	// SlugID is the slug that must not be released.
	SlugID string
	// What says in words what differs.
	What     string
	mismatch *digest.MismatchError
}

func (e *VerifyError) Error() string {
	return fmt.Sprintf("slug %s on the platform is not the one that was sent: %s; nothing was released", e.SlugID, e.What)
}

// Hint says what to do next.
func (e *VerifyError) Hint() string {
	return "run slugfile again: it uploads a new slug, and reuses what was built"
}

// Unwrap classes the error with all bytes that do not match their digest.
func (e *VerifyError) Unwrap() error { return e.mismatch }

// verify asks the platform and the blob store about what arrived: outside Private Spaces the
// platform itself does not compare checksums.
func (u *upload) verify(ctx context.Context, id string, sum *md5Reader) error {
	found, err := u.Platform.Slug(ctx, u.app, id)
	if errors.Is(err, platform.ErrNotFound) {
		return u.bad(id, 0, "the platform has no such slug any more: %v", err)
	}
	if err != nil {
		return fmt.Errorf("verify upload: %w", err)
	}
	if found.Checksum != nil && !strings.EqualFold(*found.Checksum, u.op.Checksum) {
		return u.bad(id, u.slug.Size, "its checksum is %q, expected %q", *found.Checksum, u.op.Checksum)
	}
	known, err := u.compare(ctx, found, sum)
	if err == nil && !known {
		u.emit(event.Warning{Stage: event.Upload, Subject: subject, Message: "the blob store does not tell the size of the slug, so the upload could not be verified by size"})
	}
	return err
}

func (u *upload) bad(id string, got int64, format string, args ...any) error {
	return &VerifyError{
		SlugID: id, What: fmt.Sprintf(format, args...),
		mismatch: &digest.MismatchError{Subject: "slug on the platform", Want: u.slug.Digest, WantSize: u.slug.Size, GotSize: got},
	}
}

// compare asks the blob store about the bytes. known is false when it does not tell their size.
func (u *upload) compare(ctx context.Context, s platform.Slug, sum *md5Reader) (known bool, err error) {
	info, err := u.Platform.StatBlob(ctx, s.Blob)
	if errors.Is(err, platform.ErrNotFound) {
		return false, u.bad(s.ID, 0, "the blob store has no such blob: %v", err)
	}
	if err != nil {
		return false, fmt.Errorf("verify upload: %w", err)
	}
	known = info.Size >= 0
	if known && info.Size != u.slug.Size {
		return known, u.bad(s.ID, info.Size, "it has %d bytes, expected %d", info.Size, u.slug.Size)
	}
	tag, ok := md5Tag(info.ETag)
	if !ok {
		return known, nil
	}
	want, err := sum.hex(u.slug.Size)
	if err != nil {
		return known, fmt.Errorf("verify upload: read slug: %w", err)
	}
	if tag != want {
		return known, u.bad(s.ID, info.Size, "the MD5 of the blob store is %s, of the file %s", tag, want)
	}
	return known, nil
}

// md5Tag reads an ETag as S3 makes it from one PUT: the MD5 of the bytes in hex. Tags of multipart uploads
// have a dash, weak ones a prefix; they prove nothing.
func md5Tag(etag string) (string, bool) {
	t := strings.ToLower(strings.Trim(etag, `"`))
	if len(t) != 32 || strings.Trim(t, "0123456789abcdef") != "" {
		return "", false
	}
	return t, true
}

var _ io.ReaderAt = (*md5Reader)(nil)
