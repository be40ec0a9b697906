package bom

import (
	"path"
	"runtime/debug"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"github.com/slugfile/slugfile/pipeline/tree"
)

// programs tells which modules each Go program was built from.
func (b *builder) programs(list []program, files tree.Manifest) {
	for _, p := range list {
		e, _ := files.Find(p.path)
		c := cdx.Component{Type: cdx.ComponentTypeApplication, Name: printable(p.path), BOMRef: "file:" + printable(p.path)}
		addHash(&c, cdx.HashAlgoSHA256, e.Digest.String())
		addProperty(&c, propBuilt, p.info.GoVersion)
		if m := p.info.Main; m.Path != "" {
			c.Version = released(m.Version)
			c.PackageURL = modulePURL(m.Path, c.Version)
		}
		b.add(c)
		b.sum.Programs++
		needs := []string{b.module("stdlib", strings.TrimPrefix(goVersion(p.info.GoVersion), "go"), "")}
		for _, d := range p.info.Deps {
			needs = append(needs, b.module(built(d)))
		}
		b.needs[c.BOMRef] = needs
	}
}

// goVersion is the version alone, where a build of one's own has more words.
func goVersion(text string) string {
	version, _, _ := strings.Cut(text, " ")
	return version
}

// built is the module that was really built: the one that replaces another, if there is one. A
// directory that replaces it has no version.
func built(m *debug.Module) (name, version, sum string) {
	switch r := m.Replace; {
	case r == nil:
		return m.Path, m.Version, m.Sum
	case r.Version != "":
		return r.Path, r.Version, r.Sum
	}
	return m.Path, "", ""
}

// module adds a Go module and returns its reference.
func (b *builder) module(name, version, sum string) string {
	version = released(version)
	c := cdx.Component{
		Type: cdx.ComponentTypeLibrary, Name: name, Version: version, Scope: cdx.ScopeRequired, PackageURL: modulePURL(name, version),
	}
	c.BOMRef = c.PackageURL
	if sum != "" {
		addProperty(&c, propGoSum, sum)
	}
	if _, fresh := b.add(c); fresh {
		b.sum.Modules++
	}
	return c.BOMRef
}

// released is empty for what is no version.
func released(version string) string {
	if version == "(devel)" {
		return ""
	}
	return version
}

// modulePURL is in lower case, as package URLs of Go want it.
func modulePURL(name, version string) string {
	dir, base := path.Split(strings.ToLower(name))
	return purl("golang", strings.TrimSuffix(dir, "/"), base, version, "")
}
