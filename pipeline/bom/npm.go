package bom

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"path"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"github.com/slugfile/slugfile/pipeline/tree"
)

// npmPackage is a package of npm's kind, in one place.
type npmPackage struct {
	dir, name, version, license, integrity string
	optional                               bool
	// found says that the slug has its directory.
	found bool
}

// npmLock is a lock file: packages by directory since npm 7, a tree of names before.
type npmLock struct {
	Packages     map[string]npmEntry `json:"packages"`
	Dependencies map[string]npmEntry `json:"dependencies"`
}

type npmEntry struct {
	Name         string              `json:"name"`
	Version      string              `json:"version"`
	Integrity    string              `json:"integrity"`
	License      any                 `json:"license"`
	Dev          bool                `json:"dev"`
	Optional     bool                `json:"optional"`
	Link         bool                `json:"link"`
	Dependencies json.RawMessage     `json:"dependencies"`
	nested       map[string]npmEntry // of Dependencies, in the old form
}

// findNPM takes the packages from lock files, of which the one that npm leaves in node_modules
// tells what is really there. Packages that no lock file names tell of themselves.
func (c *Contents) findNPM(texts map[string][]byte) {
	known := map[string]bool{}
	for _, name := range sorted(texts) {
		base, dir := path.Base(name), path.Dir(name)
		switch base {
		case ".package-lock.json":
			dir = path.Dir(dir)
		case "package-lock.json", "npm-shrinkwrap.json":
			if _, better := texts[path.Join(dir, modules, ".package-lock.json")]; better {
				continue
			}
		default:
			continue
		}
		list, ok := parseNPM(texts[name], dir)
		if !ok {
			c.unread = append(c.unread, name)
			continue
		}
		some := false
		for i := range list {
			list[i].found = c.hasDir(list[i].dir)
			some = some || list[i].found
		}
		for _, p := range list {
			// A bundler may have put everything into one file: then nothing is found.
			if (p.found || !some) && !known[p.dir] {
				known[p.dir] = true
				c.npm = append(c.npm, p)
			}
		}
	}
	for _, name := range sorted(texts) {
		dir := path.Dir(name)
		if path.Base(name) != "package.json" || known[dir] {
			continue
		}
		var e npmEntry
		if json.Unmarshal(texts[name], &e) == nil && e.Name != "" && e.Version != "" {
			c.npm = append(c.npm, npmPackage{dir: dir, name: e.Name, version: e.Version, license: licenseOf(e.License), found: true})
		}
	}
	slices.SortFunc(c.npm, func(a, b npmPackage) int { return tree.Compare(a.dir, b.dir) })
}

// hasDir reports whether the slug has something at dir.
func (c *Contents) hasDir(dir string) bool {
	start, end := c.Files.Below(dir)
	return start < end
}

func parseNPM(text []byte, root string) ([]npmPackage, bool) {
	var lock npmLock
	if json.Unmarshal(text, &lock) != nil {
		return nil, false
	}
	var out []npmPackage
	add := func(dir, name string, e npmEntry) {
		if e.Version != "" && !e.Dev && !e.Link {
			out = append(out, npmPackage{
				dir: path.Join(root, dir), name: name, version: e.Version, license: licenseOf(e.License), integrity: e.Integrity, optional: e.Optional,
			})
		}
	}
	for _, dir := range sorted(lock.Packages) {
		e := lock.Packages[dir]
		_, name, ok := cutLast(dir, modules+"/")
		if !ok || path.IsAbs(dir) || path.Clean(dir) != dir || strings.HasPrefix(dir, "../") {
			continue // the app itself, or a workspace of it
		}
		if e.Name != "" {
			name = e.Name // an alias
		}
		add(dir, name, e)
	}
	if lock.Packages == nil {
		var walk func(in string, list map[string]npmEntry, depth int)
		walk = func(in string, list map[string]npmEntry, depth int) {
			for _, name := range sorted(list) {
				e := list[name]
				dir := path.Join(in, modules, name)
				add(dir, name, e)
				if depth < 64 && json.Unmarshal(e.Dependencies, &e.nested) == nil {
					walk(dir, e.nested, depth+1)
				}
			}
		}
		walk("", lock.Dependencies, 0)
	}
	return out, true
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// licenseOf reads both forms: a text, and the older object with a type.
func licenseOf(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case map[string]any:
		text, _ := v["type"].(string)
		return text
	}
	return ""
}

// inRuntime reports whether a directory belongs to a runtime, which stands for all it holds.
func (b *builder) inRuntime(dir string) bool {
	ref, ok := b.owners.of(dir)
	return ok && strings.HasPrefix(ref, "runtime:")
}

func (b *builder) npm(list []npmPackage) {
	for _, p := range list {
		if b.inRuntime(p.dir) {
			continue
		}
		scope, name, scoped := strings.Cut(p.name, "/")
		if !scoped {
			scope, name = "", p.name
		}
		c := cdx.Component{
			Type: cdx.ComponentTypeLibrary, Group: scope, Name: name, Version: p.version, Scope: cdx.ScopeRequired,
			PackageURL: purl("npm", scope, name, p.version, ""),
		}
		c.BOMRef = c.PackageURL
		if p.optional {
			c.Scope = cdx.ScopeOptional
		}
		at, fresh := b.add(c)
		// One package may lie in several places, and each lock entry may know more of it.
		if alg, value, ok := integrity(p.integrity); ok && at.Hashes == nil {
			addHash(at, alg, value)
		}
		if p.license != "" && at.Licenses == nil {
			at.Licenses = licenses(p.license)
		}
		if fresh {
			b.sum.Packages++
		}
		if p.found {
			b.own(at, p.dir)
		} else if fresh {
			addProperty(at, propNotFound, "unknown")
		}
	}
}

// integrity reads the strongest hash of a Subresource Integrity text. It is of the package's
// archive, not of what was unpacked.
func integrity(text string) (alg cdx.HashAlgorithm, value string, ok bool) {
	for _, want := range []struct {
		name string
		alg  cdx.HashAlgorithm
		size int
	}{
		{"sha512", cdx.HashAlgoSHA512, 64}, {"sha384", cdx.HashAlgoSHA384, 48}, {"sha256", cdx.HashAlgoSHA256, 32}, {"sha1", cdx.HashAlgoSHA1, 20},
	} {
		for part := range strings.FieldsSeq(text) {
			name, sum, _ := strings.Cut(part, "-")
			b, err := base64.StdEncoding.DecodeString(sum)
			if name == want.name && err == nil && len(b) == want.size {
				return want.alg, hex.EncodeToString(b), true
			}
		}
	}
	return "", "", false
}

// spdx are the identifiers of nearly all packages. CycloneDX takes an identifier that SPDX
// lists and no other; what is not among these is written as a name.
var spdx = []string{
	"0BSD", "AFL-2.1", "AGPL-3.0-only", "AGPL-3.0-or-later", "Apache-2.0", "Artistic-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0",
	"BlueOak-1.0.0", "CC-BY-3.0", "CC-BY-4.0", "CC0-1.0", "EPL-2.0", "GPL-2.0-only", "GPL-2.0-or-later", "GPL-3.0-only", "GPL-3.0-or-later",
	"ISC", "LGPL-2.1-only", "LGPL-2.1-or-later", "LGPL-3.0-only", "LGPL-3.0-or-later", "MIT", "MIT-0", "MPL-2.0", "OFL-1.1", "PSF-2.0",
	"Python-2.0", "Ruby", "Unicode-3.0", "Unlicense", "WTFPL", "Zlib",
}

func licenses(text string) *cdx.Licenses {
	if slices.Contains(spdx, text) {
		return &cdx.Licenses{{License: &cdx.License{ID: text}}}
	}
	words := strings.Fields(strings.NewReplacer("(", " ", ")", " ").Replace(text))
	joined := len(words)%2 == 1 && len(words) > 1
	for i, w := range words {
		if i%2 == 0 {
			joined = joined && slices.Contains(spdx, w)
		} else {
			joined = joined && (w == "AND" || w == "OR")
		}
	}
	if joined {
		return &cdx.Licenses{{Expression: text}}
	}
	return &cdx.Licenses{{License: &cdx.License{Name: text}}}
}
