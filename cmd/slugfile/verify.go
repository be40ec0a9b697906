package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/slugfile/slugfile/cmd/slugfile/internal/view"
	"github.com/slugfile/slugfile/pipeline/bom"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/provenance"
)

type verifyCmd struct {
	Slug string `arg:"" placeholder:"SLUG" help:"The slug, a file."`
	verifyFlags
	jsonFlag
}

// Run says yes or fails: what is missing, empty or of an unknown kind is never passed over.
func (c *verifyCmd) Run(ctx context.Context, app *App) error {
	const command = "slugfile verify"
	switch {
	case c.Provenance == "" && c.SBOM == "":
		return &usageError{msg: "there is nothing to verify the slug with: give --provenance and --key, --sbom, or all three", command: command}
	case c.Provenance != "" && c.Key == "":
		return &usageError{msg: "--provenance: who must have signed it? give the public key with --key", command: command}
	case c.Provenance == "" && c.Key != "":
		return &usageError{msg: "--key: there is no signature to check; give --provenance too", command: command}
	}
	path := app.abs(c.Slug)
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read %w", unwrapOpen(err))
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return fmt.Errorf("read %s: not a regular file", path)
	}
	h := digest.New()
	size, err := io.Copy(h, contextReader{ctx, f})
	if err != nil {
		return fmt.Errorf("read %w", unwrapOpen(err))
	}
	slug := digest.Sum(h)
	done := view.Verified{V: 1, Verified: true, Slug: view.BuiltSlug{Checksum: slug.Checksum(), Size: size, Path: path}}
	var signed digest.Digest
	if c.Provenance != "" {
		if done.Provenance, signed, err = c.provenance(app, slug); err != nil {
			return &verifyError{what: "provenance", file: c.Provenance, err: err}
		}
	}
	if c.SBOM != "" {
		if done.SBOM, err = c.sbom(ctx, app, f, slug, signed); err != nil {
			return &verifyError{what: "bill of materials", file: c.SBOM, err: err}
		}
	}
	if c.JSON {
		return view.WriteDocument(app.Out, done)
	}
	return view.WriteVerified(app.Out, done, app.outStyle())
}

// provenance checks the statement, and returns the digest of the bill that it vouches for.
func (c *verifyCmd) provenance(app *App, slug digest.Digest) (*view.BuiltProvenance, digest.Digest, error) {
	text, err := readText(app.abs(c.Key))
	if err != nil {
		return nil, digest.Digest{}, fmt.Errorf("--key: %w", err)
	}
	key, err := provenance.ParsePublicKey(text)
	if err != nil {
		return nil, digest.Digest{}, fmt.Errorf("--key %s: %w", c.Key, err)
	}
	path := app.abs(c.Provenance)
	doc, err := readDocument(path, provenance.MaxSize)
	if err != nil {
		return nil, digest.Digest{}, err
	}
	statement, err := provenance.Open(doc, key)
	if err != nil {
		return nil, digest.Digest{}, err
	}
	if err := statement.About(slug); err != nil {
		return nil, digest.Digest{}, err
	}
	told := &view.BuiltProvenance{Path: path, SHA256: digest.Of(doc).String(), KeyID: key.ID()}
	told.Commit, told.Dirty = statement.Commit()
	return told, statement.BOM(), nil
}

// errUnsignedBOM is for a bill that stands beside a statement which does not know it.
var errUnsignedBOM = errors.New("the signed provenance vouches for no bill of materials: it was made without --sbom")

// sbom checks the bill against the slug, and against the statement when one was given.
func (c *verifyCmd) sbom(ctx context.Context, app *App, slugFile *os.File, slug, signed digest.Digest) (*view.BuiltSBOM, error) {
	path := app.abs(c.SBOM)
	doc, err := readDocument(path, bom.MaxSize)
	if err != nil {
		return nil, err
	}
	got := digest.Of(doc)
	switch {
	case c.Provenance == "":
	case signed.IsZero():
		return nil, errUnsignedBOM
	case got != signed:
		return nil, &digest.MismatchError{Subject: "bill of materials of the signed provenance", Want: signed, Got: got, WantSize: -1}
	}
	bill, err := bom.Parse(doc)
	if err == nil {
		err = bill.About(slug)
	}
	if err != nil {
		return nil, err
	}
	if _, err := slugFile.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	// The file may have been changed since it was hashed.
	contents, err := bom.Read(ctx, digest.NewReader(slugFile, "slug", slug, -1), os.TempDir())
	if err != nil {
		return nil, err
	}
	sum, err := bill.Check(contents)
	return &view.BuiltSBOM{Path: path, SHA256: got.String(), Summary: sum}, err
}

// contextReader stops reading when its context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(p)
}

// verifyError says which document does not hold.
type verifyError struct {
	what, file string
	err        error
}

func (e *verifyError) Error() string {
	return fmt.Sprintf("verify %s %s: %s", e.what, e.file, e.err)
}

func (e *verifyError) Unwrap() error { return e.err }

// Hint is for bytes that differ. The other errors say what to do themselves.
func (e *verifyError) Hint() string {
	var signature *provenance.SignatureError
	if is[*digest.MismatchError](e.err) || errors.As(e.err, &signature) {
		return "do not deploy this slug: it, or the document, is another than when they were made"
	}
	return ""
}
