package bom

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// MaxSize is how large a bill may be that is checked, in bytes: ten times that of a slug with
// 100,000 files of its own.
const MaxSize = 256 << 20

// Bill is a bill that was read.
type Bill struct {
	bill cdx.BOM
	slug digest.Digest
}

// Parse reads a bill of CycloneDX 1.6. One that does not say which slug it is of is an error.
func Parse(doc []byte) (*Bill, error) {
	if len(bytes.TrimSpace(doc)) == 0 {
		return nil, errors.New("it is empty")
	}
	b := &Bill{}
	if err := cdx.NewBOMDecoder(bytes.NewReader(doc), cdx.BOMFileFormatJSON).Decode(&b.bill); err != nil {
		return nil, fmt.Errorf("it is no bill of materials: %w", err)
	}
	switch {
	case b.bill.BOMFormat != cdx.BOMFormat:
		return nil, fmt.Errorf("it is no bill of materials: its format is %.100q, not %q", b.bill.BOMFormat, cdx.BOMFormat)
	case b.bill.SpecVersion != cdx.SpecVersion1_6:
		return nil, fmt.Errorf("it is of CycloneDX %s, and only 1.6 is known", b.bill.SpecVersion)
	}
	if m := b.bill.Metadata; m != nil && m.Component != nil {
		b.slug, _ = sha256Of(m.Component)
	}
	if b.slug.IsZero() {
		return nil, errors.New("it does not say which slug it is of")
	}
	return b, nil
}

// About reports a *digest.MismatchError when the bill is of another slug.
func (b *Bill) About(slug digest.Digest) error {
	if b.slug != slug {
		return &digest.MismatchError{Subject: "slug of the bill of materials", Want: b.slug, Got: slug, WantSize: -1}
	}
	return nil
}

// Check holds the bill against what is in its slug. Everything that it says of files must be
// so, and every file must be in it, or it is a *digest.MismatchError.
//
// Runtimes and packages are believed: what an archive was called cannot be seen in its files.
// Who signed the bill vouches for them.
func (b *Bill) Check(c Contents) (Summary, error) {
	var sum Summary
	k := checker{files: map[string]*cdx.Component{}, trees: map[string]*cdx.Component{}}
	if b.bill.Components != nil {
		for i := range *b.bill.Components {
			k.collect(&(*b.bill.Components)[i], &sum)
		}
	}
	return sum, k.check(c.Files)
}

func sha256Of(c *cdx.Component) (digest.Digest, bool) {
	if c.Hashes != nil {
		for _, h := range *c.Hashes {
			if h.Algorithm == cdx.HashAlgoSHA256 {
				d, err := digest.Parse(h.Value)
				return d, err == nil && !d.IsZero()
			}
		}
	}
	return digest.Digest{}, false
}

// values are those of the properties of a name.
func values(c *cdx.Component, name string) []string {
	var list []string
	if c.Properties != nil {
		for _, p := range *c.Properties {
			if p.Name == name {
				list = append(list, p.Value)
			}
		}
	}
	return list
}

// checker holds the components of a bill by what they say of the slug's files.
type checker struct {
	// files are listed one by one; trees stand for directories, by their reference.
	files, trees map[string]*cdx.Component
	owners       owners
}

func (k *checker) collect(c *cdx.Component, sum *Summary) {
	if path, ok := strings.CutPrefix(c.BOMRef, "file:"); ok {
		k.files[path] = c
		if c.Type == cdx.ComponentTypeFile {
			sum.Files++
		} else {
			sum.Programs++
		}
		return
	}
	switch {
	case strings.HasPrefix(c.BOMRef, "runtime:"):
		sum.Runtimes++
	case strings.HasPrefix(c.PackageURL, "pkg:golang/"):
		sum.Modules++
	case strings.HasPrefix(c.PackageURL, "pkg:npm/"):
		sum.Packages++
	case strings.HasPrefix(c.BOMRef, "gem:"):
		sum.Gems++
	}
	for _, dir := range values(c, propPath) {
		k.owners.add(dir, c.BOMRef)
		k.trees[c.BOMRef] = c
	}
}

func (k *checker) check(files tree.Manifest) error {
	owned := map[string]tree.Manifest{}
	for _, e := range files {
		if e.Kind == tree.Dir {
			continue
		}
		name := printable(e.Path)
		c, listed := k.files[name]
		if listed {
			delete(k.files, name)
			if err := same(c, e); err != nil {
				return err
			}
		}
		if ref, ok := k.owners.of(name); ok {
			owned[ref] = append(owned[ref], e)
		} else if !listed {
			return &digest.MismatchError{Subject: fmt.Sprintf("%q, which the bill of materials does not have", e.Path), Got: e.Digest, WantSize: -1}
		}
	}
	for _, name := range sorted(k.files) {
		want, _ := sha256Of(k.files[name])
		return &digest.MismatchError{Subject: fmt.Sprintf("%q, which the slug does not have", name), Want: want, WantSize: -1}
	}
	for _, ref := range sorted(k.trees) {
		m, told := owned[ref], values(k.trees[ref], propTree)
		if len(m) == 0 && len(told) == 0 {
			continue // its directory has nothing of its own
		}
		var want digest.Digest
		if len(told) == 1 {
			want, _ = digest.Parse(told[0]) // zero is no digest of anything
		}
		if got := m.BareDigest(); got != want {
			return &digest.MismatchError{Subject: "files of " + ref, Want: want, Got: got, WantSize: -1}
		}
	}
	return nil
}

// same holds what a bill says of one file against the slug.
func same(c *cdx.Component, e tree.Entry) error {
	want, told := sha256Of(c)
	if e.Kind == tree.Link {
		if links := values(c, propLink); told || len(links) != 1 || links[0] != printable(e.Target) {
			return &digest.MismatchError{Subject: fmt.Sprintf("%q, which is a link in the slug", e.Path), Want: want, WantSize: -1}
		}
		return nil
	}
	if want != e.Digest {
		return &digest.MismatchError{Subject: fmt.Sprintf("%q in the slug", e.Path), Want: want, Got: e.Digest, WantSize: -1}
	}
	return nil
}
