// Package bom writes what is in a slug as a bill of materials in the JSON form of CycloneDX 1.6,
// and checks one against a slug.
//
// It is for the commands that build and verify. What is in the slug is read from the slug itself,
// so a slug that was in the store gives the same bill as one that was just made: the runtimes,
// which the plan knows, the Go modules of every Go program, by its build information, the npm
// packages and gems that lie in it, by their lock files, and each file that is part of none of
// these. Nothing in the bill depends on the time of day or on this machine.
//
// The format: https://cyclonedx.org/docs/1.6/json/; package URLs:
// https://github.com/package-url/purl-spec.
package bom

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// Input is what a bill tells beside what is in the slug.
type Input struct {
	// Slug is the digest of the slug.
	Slug digest.Digest
	// App may be empty. Stack is the stack's name.
	App, Stack string
	// PlanKey is of every input of the slug.
	PlanKey digest.Digest
	// Runtimes are the archives and tools that went into it, in any order.
	Runtimes []Runtime
	// Version is of this program.
	Version string
}

// Runtime is an archive that was unpacked into the slug, or that only the build steps saw.
type Runtime struct {
	Name string
	// Version is empty when nothing tells it.
	Version string
	// URL is where it comes from, without credentials. It is empty for what is no URL.
	URL string
	// Digest is of the archive, or of the tool.
	Digest digest.Digest
	// Into is the directory below ./app that holds it. BuildOnly keeps it out of the slug.
	Into      string
	BuildOnly bool
}

// Summary counts what a bill tells.
type Summary struct {
	Runtimes int `json:"runtimes"`
	Programs int `json:"go_programs"`
	Modules  int `json:"go_modules"`
	Packages int `json:"npm_packages"`
	Gems     int `json:"gems"`
	Files    int `json:"files"`
}

// The names of properties, as CycloneDX wants them: in a namespace.
const (
	propPath     = "slugfile:path"     // where it lies in the slug; several when it is there more than once
	propTree     = "slugfile:tree"     // the digest of the names and contents below these paths
	propFiles    = "slugfile:files"    // how many files those are
	propLink     = "slugfile:link"     // what a symbolic link says
	propStack    = "slugfile:stack"    // the stack that the slug is for
	propPlanKey  = "slugfile:plan-key" // the digest of every input of the slug
	propBuilt    = "slugfile:built-with"
	propNotFound = "slugfile:in-slug" // "unknown": a lock file names it, and no directory is its own
	propUnread   = "slugfile:unread"  // a lock file that could not be understood
	propGoSum    = "slugfile:go-sum"  // the hash that go.sum has
)

// Write writes the bill of a slug.
func Write(w io.Writer, in Input, c Contents) (Summary, error) {
	b := &builder{byRef: map[string]*cdx.Component{}, needs: map[string][]string{}}
	b.runtimes(in.Runtimes)
	b.npm(c.npm)
	b.gems(c.gems)
	b.programs(c.programs, c.Files)
	b.files(c.Files)
	bill := b.bill(in, c)
	enc := cdx.NewBOMEncoder(w, cdx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false)
	if err := enc.Encode(bill); err != nil {
		return b.sum, fmt.Errorf("write bill of materials: %w", err)
	}
	return b.sum, nil
}

// builder collects components by their reference.
type builder struct {
	byRef map[string]*cdx.Component
	// owners are the directories whose content a component stands for, with its reference.
	owners owners
	// needs are the references that the program of a reference was made of.
	needs map[string][]string
	sum   Summary
}

// add returns the component of that reference, new when there was none.
func (b *builder) add(c cdx.Component) (at *cdx.Component, fresh bool) {
	if at, ok := b.byRef[c.BOMRef]; ok {
		return at, false
	}
	at = &c
	b.byRef[c.BOMRef] = at
	return at, true
}

func addProperty(c *cdx.Component, name, value string) {
	if c.Properties == nil {
		c.Properties = &[]cdx.Property{}
	}
	*c.Properties = append(*c.Properties, cdx.Property{Name: name, Value: value})
}

func addHash(c *cdx.Component, alg cdx.HashAlgorithm, value string) {
	if c.Hashes == nil {
		c.Hashes = &[]cdx.Hash{}
	}
	*c.Hashes = append(*c.Hashes, cdx.Hash{Algorithm: alg, Value: value})
}

func (b *builder) runtimes(list []Runtime) {
	for _, r := range list {
		query := ""
		if !r.Digest.IsZero() {
			query = "checksum=sha256:" + r.Digest.String()
		}
		if r.URL != "" {
			query += "&download_url=" + escape(r.URL, "/:")
		}
		c := cdx.Component{
			Type: cdx.ComponentTypePlatform, Name: r.Name, Version: r.Version,
			BOMRef: "runtime:" + r.Name, PackageURL: purl("generic", "", r.Name, r.Version, query), Scope: cdx.ScopeRequired,
		}
		if r.BuildOnly {
			c.Scope = cdx.ScopeExcluded
		}
		if !r.Digest.IsZero() {
			addHash(&c, cdx.HashAlgoSHA256, r.Digest.String())
		}
		at, _ := b.add(c)
		b.sum.Runtimes++
		// One that is unpacked into ./app itself shares it with everything else.
		if !r.BuildOnly && r.Into != "" && r.Into != "." {
			b.own(at, r.Into)
		}
	}
}

// own says that a component stands for a directory.
func (b *builder) own(c *cdx.Component, dir string) {
	addProperty(c, propPath, printable(dir))
	b.owners.add(dir, c.BOMRef)
}

// files lists the files that no component stands for, and says of the others how many there
// are and what they are, as one digest.
func (b *builder) files(files tree.Manifest) {
	owned := map[string]tree.Manifest{}
	for _, e := range files {
		if e.Kind == tree.Dir {
			continue
		}
		if ref, ok := b.owners.of(e.Path); ok {
			owned[ref] = append(owned[ref], e)
			continue
		}
		c := cdx.Component{Type: cdx.ComponentTypeFile, Name: printable(e.Path), BOMRef: "file:" + printable(e.Path)}
		if e.Kind == tree.Link {
			addProperty(&c, propLink, printable(e.Target))
		} else {
			addHash(&c, cdx.HashAlgoSHA256, e.Digest.String())
		}
		if _, fresh := b.add(c); fresh { // a program stands there already
			b.sum.Files++
		}
	}
	for ref, m := range owned {
		addProperty(b.byRef[ref], propFiles, strconv.Itoa(len(m)))
		addProperty(b.byRef[ref], propTree, m.BareDigest().String())
	}
}

// bill puts the document together.
func (b *builder) bill(in Input, c Contents) *cdx.BOM {
	name := in.App
	if name == "" {
		name = "app"
	}
	slug := cdx.Component{
		Type: cdx.ComponentTypeApplication, Name: name, BOMRef: "slug",
		Hashes: &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: in.Slug.String()}},
	}
	if in.Stack != "" {
		addProperty(&slug, propStack, in.Stack)
	}
	if !in.PlanKey.IsZero() {
		addProperty(&slug, propPlanKey, in.PlanKey.String())
	}
	for _, p := range c.unread {
		addProperty(&slug, propUnread, printable(p))
	}
	components := []cdx.Component{}
	top, below := []string{}, map[string]bool{}
	for _, list := range b.needs {
		for _, ref := range list {
			below[ref] = true
		}
	}
	for _, ref := range sorted(b.byRef) {
		components = append(components, *b.byRef[ref])
		if !below[ref] {
			top = append(top, ref)
		}
	}
	depends := []cdx.Dependency{{Ref: "slug", Dependencies: &top}}
	for _, ref := range sorted(b.needs) {
		list := slices.Compact(slices.Sorted(slices.Values(b.needs[ref])))
		depends = append(depends, cdx.Dependency{Ref: ref, Dependencies: &list})
	}
	bill := cdx.NewBOM()
	bill.JSONSchema, bill.SpecVersion = "http://cyclonedx.org/schema/bom-1.6.schema.json", cdx.SpecVersion1_6
	bill.SerialNumber = serial(in.Slug)
	bill.Metadata = &cdx.Metadata{
		Tools: &cdx.ToolsChoice{Components: &[]cdx.Component{{
			Type: cdx.ComponentTypeApplication, Name: "slugfile", Version: in.Version,
		}}},
		Component: &slug,
	}
	bill.Components, bill.Dependencies = &components, &depends
	return bill
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// serial makes a UUID of a slug's digest: of version 8, whose bits are the maker's own (RFC 9562).
func serial(slug digest.Digest) string {
	u := slices.Clone(slug[:16])
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
