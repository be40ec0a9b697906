package observe

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"unicode/utf8"

	"github.com/aymanbagabas/go-udiff"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/slug"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// What is shown of texts: more is for a program that compares files.
const (
	largestText = 64 << 10
	mostTexts   = 200
	mostText    = 1 << 20
)

// DiffOptions say where the texts on both sides of a plan are.
type DiffOptions struct {
	// Options are those that the plan was made with; Inputs are required. The slug that the plan is
	// compared with is read from the platform when it is not in the store.
	Options
	// Seen is what the plan was made of.
	Seen plan.Observed
	// From is the revision that the plan is compared with, after its source was listed, and Base
	// what was seen of it. From is nil when the plan is compared with anything else.
	From *Revision
	Base plan.Observed
}

// Diffs fills FileChange.Diff of the small text files that a plan adds, changes or removes, or
// FileChange.NoDiff with the reason why there is none. Bytes are shown only when they have the
// digest that the plan names. What cannot be had is no error.
func Diffs(ctx context.Context, p *plan.Plan, o DiffOptions) error {
	t := texts{}
	secret := o.secrets()
	var chosen []*plan.FileChange
	sum := int64(0)
	for i := range p.Files {
		c := &p.Files[i]
		before, after := textOf(c.Before), textOf(c.After)
		size := max(before.Size, after.Size)
		switch {
		case before.Digest == after.Digest, sideways(c): // another mode, a link, a directory
		case secret(c):
			c.NoDiff = mayHoldSecrets
		case size > largestText:
			c.NoDiff = "too large (" + inWords(size) + ")"
		case len(chosen) == mostTexts:
			c.NoDiff = "too many files"
		case sum+before.Size+after.Size > mostText:
			c.NoDiff = "too much text in all"
		default:
			sum += before.Size + after.Size
			t.want(before)
			t.want(after)
			chosen = append(chosen, c)
		}
	}
	if len(chosen) == 0 {
		return nil
	}
	missing, err := o.collect(ctx, p, t, chosen)
	if err != nil {
		return fmt.Errorf("compare the texts of files: %w", err)
	}
	for _, c := range chosen {
		c.Diff, c.NoDiff = t.diff(c, missing)
	}
	return nil
}

// Reasons that stand in two places.
const (
	mayHoldSecrets = "may hold secrets"
	notHere        = "its bytes are not on this machine"
)

// textOf is the entry of a file, and an empty one of anything else.
func textOf(e *tree.Entry) tree.Entry {
	if e == nil || e.Kind != tree.File {
		return tree.Entry{}
	}
	return *e
}

// sideways reports whether a file became something else, or the other way round.
func sideways(c *plan.FileChange) bool {
	return c.Before != nil && c.After != nil && c.Before.Kind != c.After.Kind
}

// secrets returns what tells a change that nobody may see: one of a file that the deny list names or
// that include_secrets lets pass, wherever it stands in the slug.
func (o DiffOptions) secrets() func(*plan.FileChange) bool {
	bases, sums := map[string]bool{}, map[digest.Digest]bool{}
	for _, f := range o.Inputs.File.Files {
		for _, name := range f.IncludeSecrets {
			bases[path.Base(name)] = true
			if e, ok := o.Inputs.Source.Tree.Find(path.Clean(name)); ok {
				sums[e.Digest] = true
			}
		}
	}
	return func(c *plan.FileChange) bool {
		// What only its content tells is looked at when it is there.
		if _, denied := tree.Denied(c.Path, func() ([]byte, error) { return nil, nil }); denied || bases[path.Base(c.Path)] {
			return true
		}
		return c.Before != nil && sums[c.Before.Digest] || c.After != nil && sums[c.After.Digest]
	}
}

// texts are the contents that are wanted, by their digest; nil until one is found.
type texts map[digest.Digest][]byte

func (t texts) want(e tree.Entry) {
	if e.Kind == tree.File {
		t[e.Digest] = nil
	}
}

// lacks reports whether content with this digest is wanted and not found yet.
func (t texts) lacks(d digest.Digest) bool {
	b, wanted := t[d]
	return wanted && b == nil
}

// found keeps content whose digest is wanted, whoever brought it.
func (t texts) found(b []byte) {
	if d := digest.Of(b); t.lacks(d) {
		t[d] = append([]byte{}, b...)
	}
}

// collect looks for the texts: on this machine first, then in the slug that the plan is compared
// with, which is read once. It returns why that one could not be had, if it was needed.
func (o DiffOptions) collect(ctx context.Context, p *plan.Plan, t texts, chosen []*plan.FileChange) (string, error) {
	t.found(nil) // an empty file is known
	for _, f := range o.Inputs.File.Files {
		t.found([]byte(f.Content))
	}
	t.disk(o.Inputs.Source.Dir, o.Inputs.Source.Tree)
	for _, seen := range []plan.Observed{o.Seen, o.Base} {
		for _, out := range seen.Outputs {
			t.disk(out.Dir, out.Tree)
		}
	}
	if o.From != nil {
		if err := t.revision(ctx, o.From); err != nil {
			return "", err
		}
	}
	// What is left is in a slug: of the plan, in the store alone, or of what it is compared with.
	before, after := map[string]bool{}, map[string]bool{}
	for _, c := range chosen {
		before[c.Path] = t.lacks(textOf(c.Before).Digest)
		after[c.Path] = t.lacks(textOf(c.After).Digest)
	}
	if next := o.Seen.Slug; next != nil && has(after) {
		if _, err := o.pick(ctx, "the slug", platform.Slug{}, next.Digest, t, after); err != nil {
			return "", err
		}
	}
	if !has(before) {
		return "", nil
	}
	of, s, missing, err := o.comparedWith(ctx, p)
	if err != nil || missing != "" {
		return missing, err
	}
	gone, err := o.pick(ctx, of, s, checksum(s), t, before)
	return gone.why, err
}

func has(set map[string]bool) bool {
	for _, in := range set {
		if in {
			return true
		}
	}
	return false
}

// comparedWith is the slug that a plan is compared with, or why there is none.
func (o DiffOptions) comparedWith(ctx context.Context, p *plan.Plan) (of string, s platform.Slug, missing string, err error) {
	if p.Against == nil {
		g := o.Seen.Target
		if g == nil || g.Slug == nil || g.Current == nil {
			return "", s, "the released slug is not known", nil
		}
		return fmt.Sprintf("the slug of v%d", g.Current.Version), *g.Slug, "", nil
	}
	of = "the slug of " + p.Against.Name
	if p.Against.Kind == plan.BaseRelease && o.Platform != nil {
		r, err := o.Platform.Release(ctx, o.app(), p.Against.Name)
		if err == nil && r.Slug != nil {
			s, err = o.Platform.Slug(ctx, o.app(), r.Slug.ID)
		}
		switch {
		case errors.Is(err, platform.ErrNotFound), err == nil && r.Slug == nil:
			return of, s, "the platform has removed " + of, nil
		}
		return of, s, "", err
	}
	if b := o.Seen.Against; b != nil && !b.Checksum.IsZero() {
		s.Checksum = new(b.Checksum.Checksum())
		return of, s, "", nil
	}
	return of, s, notHere, nil
}

// pick reads a slug once and keeps the texts at these paths.
func (o DiffOptions) pick(ctx context.Context, of string, s platform.Slug, sum digest.Digest, t texts, at map[string]bool) (gap, error) {
	here := false
	if o.Store != nil {
		_, here = o.Store.Has(sum)
	}
	switch {
	case sum.IsZero():
		return gap{why: of + " has no checksum"}, nil
	case !here && (o.Platform == nil || s.Blob.URL == ""):
		return gap{why: of + " is not on this machine"}, nil
	}
	return o.stream(ctx, of, s, sum, func(r io.Reader) error {
		return slug.Read(r, func(hdr *tar.Header, body io.Reader) error {
			name, err := slug.Path(hdr.Name)
			if err != nil || !at[name] || hdr.Typeflag != tar.TypeReg || hdr.Size > largestText {
				return err
			}
			b, err := io.ReadAll(io.LimitReader(body, largestText))
			if err == nil {
				t.found(b)
			}
			return err
		})
	})
}

// disk reads the wanted files of a tree. One that cannot be read, or has changed, is not found.
func (t texts) disk(dir string, m tree.Manifest) {
	for i := range m {
		e := &m[i]
		if e.Kind != tree.File || !t.lacks(e.Digest) {
			continue
		}
		if b, err := readText(filepath.Join(filepath.FromSlash(dir), filepath.FromSlash(e.Path))); err == nil {
			t.found(b)
		}
	}
}

func readText(name string) ([]byte, error) {
	f, err := tree.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // read only: nothing is lost
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		return nil, errors.Join(err, os.ErrInvalid)
	}
	return io.ReadAll(io.LimitReader(f, largestText+1))
}

// revision reads the wanted blobs of a revision whose source was listed.
func (t texts) revision(ctx context.Context, r *Revision) error {
	var ids []string
	asked := map[digest.Digest]bool{}
	for i := range r.list {
		if e := &r.list[i].entry; e.Kind == tree.File && e.Size <= largestText && t.lacks(e.Digest) && !asked[e.Digest] {
			ids, asked[e.Digest] = append(ids, r.list[i].id), true
		}
	}
	if len(ids) == 0 {
		return nil
	}
	return r.contents(ctx, ids, func(_ int, size int64, body io.Reader) error {
		b, err := io.ReadAll(io.LimitReader(body, largestText))
		if err == nil {
			t.found(b)
		}
		return err
	})
}

// noFile is the name of a side that has no file, on every system.
const noFile = "/dev/null"

// label is a path on one line.
func label(name string) string {
	if quoted := strconv.Quote(name); quoted != `"`+name+`"` {
		return quoted
	}
	return name
}

// hidden reports whether a file's content is that of a key or a password.
func hidden(name string, b []byte) bool {
	_, denied := tree.Denied(name, func() ([]byte, error) { return b, nil })
	return denied || bytes.Contains(b, []byte("PRIVATE KEY-----"))
}

// inWords is a size for people, in decimal units.
func inWords(n int64) string {
	if n < 1_000_000 {
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

// diff compares both sides of a change, or says why it does not.
func (t texts) diff(c *plan.FileChange, missing string) (diff, none string) {
	side := func(e *tree.Entry, prefix string) (name, text, none string) {
		file := textOf(e)
		if file.Kind == 0 {
			return noFile, "", ""
		}
		b := t[file.Digest]
		switch {
		case b == nil && prefix == "a/" && missing != "":
			return "", "", missing
		case b == nil:
			return "", "", notHere
		case bytes.IndexByte(b, 0) >= 0 || !utf8.Valid(b):
			return "", "", "binary"
		case hidden(c.Path, b):
			return "", "", mayHoldSecrets
		}
		return label(prefix + c.Path), string(b), ""
	}
	from, before, none := side(c.Before, "a/")
	if none != "" {
		return "", none
	}
	to, after, none := side(c.After, "b/")
	if none != "" {
		return "", none
	}
	diff, err := udiff.ToUnified(from, to, before, udiff.Lines(before, after), udiff.DefaultContextLines)
	if err != nil {
		return "", "it cannot be compared: " + err.Error()
	}
	return diff, ""
}
