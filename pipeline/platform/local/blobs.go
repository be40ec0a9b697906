package local

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/slugfile/slugfile/pipeline/disk"
	"github.com/slugfile/slugfile/pipeline/failpoint"
)

func (p *Platform) blobPath(file string) string { return filepath.Join(p.dir, "blobs", file) }

// signBlob makes a URL that allows one method on one blob until it expires.
func (p *Platform) signBlob(method, key string, c *call) string {
	base := p.blobURL
	if ip := net.ParseIP(p.host); p.host == "" || ip != nil && ip.IsUnspecified() {
		// Another machine reaches the blob store by the name that it reached the API by.
		if u, err := url.Parse(p.blobURL); err == nil {
			base = "http://" + net.JoinHostPort(hostName(c.Host), u.Port())
		}
	}
	expires := strconv.FormatInt(p.opts.Clock().Add(p.opts.BlobLifetime).Unix(), 10)
	path := "/slugs/" + key
	return base + path + "?Expires=" + expires + "&Signature=" + p.blobSignature(method, path, expires)
}

func (p *Platform) blobSignature(method, path, expires string) string {
	mac := hmac.New(sha256.New, []byte(p.meta.BlobKey))
	fmt.Fprintf(mac, "%s\n%s\n%s", method, path, expires)
	return hex.EncodeToString(mac.Sum(nil))
}

// blobError answers in the form of S3, which holds the real platform's blobs.
func blobError(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	var text strings.Builder
	_ = xml.EscapeText(&text, []byte(message)) // a strings.Builder never fails
	fmt.Fprintf(w, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>%s</Code><Message>%s</Message></Error>\n", code, text.String())
}

// serveBlob is the blob store. It knows no token: the URL is the credential.
func (p *Platform) serveBlob(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "" {
		// S3 refuses this too, and it finds clients that leak their token.
		blobError(w, http.StatusBadRequest, "InvalidArgument", "Only one auth mechanism allowed; only the signed URL or the Authorization header should be specified")
		return
	}
	query := r.URL.Query()
	expires := query.Get("Expires")
	if !hmac.Equal([]byte(query.Get("Signature")), []byte(p.blobSignature(r.Method, r.URL.Path, expires))) {
		blobError(w, http.StatusForbidden, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided.")
		return
	}
	until, err := strconv.ParseInt(expires, 10, 64)
	if err != nil || !p.opts.Clock().Before(time.Unix(until, 0)) {
		blobError(w, http.StatusForbidden, "AccessDenied", "Request has expired")
		return
	}
	slug, err := p.slugByKey(strings.TrimPrefix(r.URL.Path, "/slugs/"))
	if err != nil {
		blobError(w, http.StatusNotFound, "NoSuchKey", "The specified key does not exist.")
		return
	}
	if r.Method == http.MethodPut {
		p.putBlob(w, r, slug)
		return
	}
	p.getBlob(w, r, slug)
}

func (p *Platform) slugByKey(key string) (slug slugRecord, err error) {
	err = p.db.View(func(tx *bolt.Tx) error {
		slug, err = slugIn(tx, string(tx.Bucket(bucketKeys).Get([]byte(key))))
		return err
	})
	return slug, err
}

// openBlob opens the archive of a slug. The record may be older than an upload that took the
// place of its file: then it is read again.
func (p *Platform) openBlob(slug slugRecord) (*os.File, slugRecord, error) {
	for {
		f, err := os.Open(p.blobPath(slug.File))
		if slug.File != "" && !errors.Is(err, os.ErrNotExist) {
			return f, slug, err
		}
		file := slug.File
		readErr := p.db.View(func(tx *bolt.Tx) (err error) {
			slug, err = slugIn(tx, slug.ID)
			return err
		})
		if readErr != nil || slug.File == file {
			return nil, slug, fmt.Errorf("slug %s has no archive: %w", slug.ID, os.ErrNotExist)
		}
	}
}

func (p *Platform) getBlob(w http.ResponseWriter, r *http.Request, slug slugRecord) {
	f, slug, err := p.openBlob(slug)
	if err != nil {
		blobError(w, http.StatusNotFound, "NoSuchKey", "The specified key does not exist.")
		return
	}
	defer f.Close()
	w.Header().Set("ETag", `"`+slug.MD5+`"`)
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", slug.UpdatedAt, f)
}

// putBlob takes the bytes of a slug. They are on disk when it answers; a part never shows.
func (p *Platform) putBlob(w http.ResponseWriter, r *http.Request, slug slugRecord) {
	switch {
	case r.ContentLength < 0:
		blobError(w, http.StatusLengthRequired, "MissingContentLength", "You must provide the Content-Length HTTP header.")
		return
	case r.Header.Get("Content-Type") != "":
		// The real URL is signed without one, so that any value breaks the signature.
		blobError(w, http.StatusForbidden, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided.")
		return
	case r.ContentLength > p.opts.SlugLimit:
		blobError(w, http.StatusBadRequest, "EntityTooLarge", fmt.Sprintf("Your proposed upload exceeds the maximum allowed size of %d bytes.", p.opts.SlugLimit))
		return
	}
	f, err := os.CreateTemp(filepath.Join(p.dir, "blobs"), ".new-")
	if err != nil {
		blobError(w, http.StatusInternalServerError, "InternalError", err.Error())
		return
	}
	defer os.Remove(f.Name()) // gone already when it was published
	defer f.Close()           // closed already when it was published
	sha, md := sha256.New(), md5.New()
	n, err := io.Copy(io.MultiWriter(f, sha, md), r.Body)
	if err == nil && n != r.ContentLength {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		blobError(w, http.StatusBadRequest, "IncompleteBody", fmt.Sprintf("You did not provide the number of bytes specified by the Content-Length HTTP header: %d of %d.", n, r.ContentLength))
		return
	}
	file := randomHex(16)
	if err := disk.Publish(f, p.blobPath(file)); err != nil {
		blobError(w, http.StatusInternalServerError, "InternalError", err.Error())
		return
	}
	failpoint.Hit("local.blob.published")
	old := ""
	tag := hex.EncodeToString(md.Sum(nil))
	err = p.db.Update(func(tx *bolt.Tx) error {
		s, err := slugIn(tx, slug.ID)
		if err != nil {
			return err
		}
		digest := hex.EncodeToString(sha.Sum(nil))
		if s.File != "" && s.SHA256 != digest {
			if err := mayReplace(tx, s); err != nil {
				return err
			}
		}
		old = s.File
		s.File, s.Size, s.MD5, s.SHA256, s.UpdatedAt = file, n, tag, digest, p.now()
		return put(tx, bucketSlugs, []byte(s.ID), s)
	})
	if err != nil {
		_ = os.Remove(p.blobPath(file)) // nothing names it
		var refused *apiError
		switch {
		case isNotFound(err):
			blobError(w, http.StatusNotFound, "NoSuchKey", "The specified key does not exist.")
		case errors.As(err, &refused):
			blobError(w, refused.status, "AccessDenied", refused.message)
		default:
			blobError(w, http.StatusInternalServerError, "InternalError", err.Error())
		}
		return
	}
	failpoint.Hit("local.blob.recorded")
	if old != "" {
		p.removeFiles([]string{p.blobPath(old)})
	}
	w.Header().Set("ETag", `"`+tag+`"`)
	w.WriteHeader(http.StatusOK)
}

// mayReplace refuses other bytes for a slug that was released: what runs, and what a rollback
// goes back to, is what was there when it was released.
func mayReplace(tx *bolt.Tx, s slugRecord) error {
	type use struct {
		Slug string `json:"slug"`
	}
	return each(tx, bucketReleases, nil, func(u use) error {
		if u.Slug == s.ID {
			return &apiError{status: http.StatusForbidden, message: "The slug was released: its archive cannot be replaced by another one."}
		}
		return nil
	})
}

// removeFiles drops files that no record names any more. What stays is swept at the next start.
func (p *Platform) removeFiles(paths []string) {
	for _, path := range paths {
		_ = os.Remove(path)
	}
}
