package bom_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/slugfile/slugfile/pipeline/bom"
	"github.com/slugfile/slugfile/pipeline/digest"
)

// file is one entry of a slug that a test makes: a file, or a link where text begins with "-> ".
type file struct{ name, text string }

// slugOf packs files as a slug.
func slugOf(t testing.TB, files []file) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.NoCompression)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	put := func(h *tar.Header, body string) {
		h.Format = tar.FormatGNU
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	put(&tar.Header{Name: "./app/", Typeflag: tar.TypeDir, Mode: 0o755}, "")
	for _, f := range files {
		if target, ok := strings.CutPrefix(f.text, "-> "); ok {
			put(&tar.Header{Name: "./app/" + f.name, Typeflag: tar.TypeSymlink, Linkname: target, Mode: 0o777}, "")
			continue
		}
		put(&tar.Header{Name: "./app/" + f.name, Typeflag: tar.TypeReg, Size: int64(len(f.text)), Mode: 0o644}, f.text)
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func contents(t testing.TB, slug []byte) bom.Contents {
	t.Helper()
	c, err := bom.Read(t.Context(), bytes.NewReader(slug), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// check does with a bill what verify does.
func check(doc []byte, slug digest.Digest, c bom.Contents) (bom.Summary, error) {
	b, err := bom.Parse(doc)
	if err == nil {
		err = b.About(slug)
	}
	if err != nil {
		return bom.Summary{}, err
	}
	return b.Check(c)
}

func write(t testing.TB, in bom.Input, c bom.Contents) ([]byte, bom.Summary) {
	t.Helper()
	var b bytes.Buffer
	sum, err := bom.Write(&b, in, c)
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), sum
}

// bill is the bill of a slug of these files, checked against the schema, and its components by
// their references.
func bill(t testing.TB, files []file, runtimes ...bom.Runtime) (map[string]cdx.Component, bom.Summary) {
	t.Helper()
	slug := slugOf(t, files)
	c := contents(t, slug)
	doc, sum := write(t, input(slug, runtimes...), c)
	valid(t, doc)
	if checked, err := check(doc, digest.Of(slug), c); err != nil || checked != sum {
		t.Errorf("its own bill does not hold: %v; %+v, not %+v", err, checked, sum)
	}
	var b cdx.BOM
	if err := cdx.NewBOMDecoder(bytes.NewReader(doc), cdx.BOMFileFormatJSON).Decode(&b); err != nil {
		t.Fatal(err)
	}
	byRef := map[string]cdx.Component{}
	for _, c := range *b.Components {
		byRef[c.BOMRef] = c
	}
	return byRef, sum
}

func input(slug []byte, runtimes ...bom.Runtime) bom.Input {
	return bom.Input{
		Slug: digest.Of(slug), App: "example", Stack: "heroku-24", PlanKey: digest.Of([]byte("plan")), Version: "v1.2.3", Runtimes: runtimes,
	}
}

// schema is CycloneDX's own of version 1.6, which its Go library carries along.
var schema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	for url, name := range map[string]string{
		"http://cyclonedx.org/schema/bom-1.6.schema.json":  "bom-1.6.schema.json",
		"http://cyclonedx.org/schema/spdx.schema.json":     "spdx.schema.json",
		"http://cyclonedx.org/schema/jsf-0.82.schema.json": "jsf-0.82.schemax.json",
	} {
		text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "schema", name))
		if err != nil {
			return nil, err
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			return nil, err
		}
		if err := c.AddResource(url, v); err != nil {
			return nil, err
		}
	}
	return c.Compile("http://cyclonedx.org/schema/bom-1.6.schema.json")
})

func valid(t testing.TB, doc []byte) {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
	if err != nil {
		t.Fatal(err)
	}
	s, err := schema()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(v); err != nil {
		t.Errorf("%v\n%s", err, doc)
	}
	refs := map[string]bool{}
	var b cdx.BOM
	if err := json.Unmarshal(doc, &b); err != nil {
		t.Fatal(err)
	}
	for _, c := range *b.Components {
		if refs[c.BOMRef] {
			t.Errorf("%s stands there twice", c.BOMRef)
		}
		refs[c.BOMRef] = true
	}
	for _, d := range *b.Dependencies {
		for _, to := range *d.Dependencies {
			if !refs[to] {
				t.Errorf("%s depends on %s, which is not there", d.Ref, to)
			}
		}
	}
}

func property(c cdx.Component, name string) []string {
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

func refs(m map[string]cdx.Component) []string {
	var list []string
	for ref := range m {
		list = append(list, ref)
	}
	slices.Sort(list)
	return list
}

func TestWrite_tellsRuntimesByTheirArchives(t *testing.T) {
	t.Parallel()
	node := bom.Runtime{
		Name: "node", Version: "22.11.0", URL: "https://nodejs.org/dist/v22.11.0/node-v22.11.0-linux-x64.tar.xz",
		Digest: digest.Of([]byte("node")), Into: "node",
	}
	got, sum := bill(t, []file{
		{"node/bin/node", "node"}, {"node/lib/node_modules/npm/package.json", `{"name":"npm","version":"10.9.0"}`}, {"web.js", "serve()"},
	}, node, bom.Runtime{Name: "go", Digest: digest.Of([]byte("go")), BuildOnly: true})
	if d := cmp.Diff([]string{"file:web.js", "runtime:go", "runtime:node"}, refs(got)); d != "" {
		t.Error(d)
	}
	c := got["runtime:node"]
	want := "pkg:generic/node@22.11.0?checksum=sha256:" + node.Digest.String() + "&download_url=https://nodejs.org/dist/v22.11.0/node-v22.11.0-linux-x64.tar.xz"
	if c.PackageURL != want || c.Scope != cdx.ScopeRequired || !slices.Equal(property(c, "slugfile:files"), []string{"2"}) {
		t.Errorf("%+v", c)
	}
	if c := got["runtime:go"]; c.Scope != cdx.ScopeExcluded || property(c, "slugfile:path") != nil {
		t.Errorf("%+v", c)
	}
	if sum != (bom.Summary{Runtimes: 2, Files: 1}) {
		t.Errorf("%+v", sum)
	}
}

// TestWrite_tellsTheModulesOfGoPrograms builds one with modules: the generator of this repository.
func TestWrite_tellsTheModulesOfGoPrograms(t *testing.T) {
	t.Parallel()
	exe := filepath.Join(t.TempDir(), "gen")
	cmd := exec.Command("go", "build", "-o", exe, "../../schema/gen")
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	text, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	slug := slugOf(t, []file{{"bin/web", string(text)}, {"bin/odd", "\x7fELF and no more"}, {"bin/e", "\x7f"}})
	c := contents(t, slug)
	doc, sum := write(t, input(slug), c)
	valid(t, doc)
	var b cdx.BOM
	if err := json.Unmarshal(doc, &b); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(*b.Components, func(c cdx.Component) bool {
		return strings.HasPrefix(c.BOMRef, "pkg:golang/github.com/invopop/jsonschema@v")
	})
	if i < 0 {
		t.Fatalf("a library that the program is linked with is missing:\n%s", doc)
	}
	if c := (*b.Components)[i]; c.Name != "github.com/invopop/jsonschema" || !strings.HasPrefix(property(c, "slugfile:go-sum")[0], "h1:") {
		t.Errorf("%+v", c)
	}
	i = slices.IndexFunc(*b.Dependencies, func(d cdx.Dependency) bool { return d.Ref == "file:bin/web" })
	if i < 0 || !slices.ContainsFunc(*(*b.Dependencies)[i].Dependencies, func(ref string) bool { return strings.HasPrefix(ref, "pkg:golang/stdlib@1.") }) {
		t.Errorf("the standard library is missing: %+v", *b.Dependencies)
	}
	if sum.Programs != 1 || sum.Modules < 3 || sum.Files != 2 {
		t.Errorf("%+v", sum)
	}
}

const hiddenLock = `{"name":"x","lockfileVersion":3,"packages":{
	"node_modules/a":{"version":"1.0.0","resolved":"https://registry.example.com/a.tgz","integrity":"sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==","license":"MIT"},
	"node_modules/@scope/b":{"version":"2.0.0-rc.1","license":"(MIT OR Apache-2.0)"},
	"node_modules/@scope/b/node_modules/a":{"version":"1.0.0","license":"MIT"},
	"node_modules/c":{"name":"real-c","version":"3.0.0","optional":true,"license":"SEE LICENSE IN x"},
	"node_modules/dev":{"version":"9.0.0","dev":true},
	"node_modules/gone":{"version":"9.0.0"},
	"packages/w":{"name":"w","version":"1.0.0"},
	"node_modules/w":{"resolved":"packages/w","link":true}}}`

func TestWrite_tellsTheNpmPackagesThatAreThere(t *testing.T) {
	t.Parallel()
	got, sum := bill(t, []file{
		{"package-lock.json", `{"lockfileVersion":3,"packages":{"node_modules/never":{"version":"1.0.0"}}}`},
		{"node_modules/.package-lock.json", hiddenLock},
		{"node_modules/.bin/a", "-> ../a/cli.js"},
		{"node_modules/a/cli.js", "a"},
		{"node_modules/a/test/fixtures/package-lock.json", `{"packages":{"node_modules/fixture":{"version":"1.0.0"}}}`},
		{"node_modules/@scope/b/index.js", "b"},
		{"node_modules/@scope/b/node_modules/a/cli.js", "a"},
		{"node_modules/c/index.js", "c"},
		{"node_modules/unlocked/package.json", `{"name":"unlocked","version":"0.1.0","license":{"type":"ISC"}}`},
		{"node_modules/unlocked/sub/package.json", `{"name":"sub","version":"0.1.0"}`},
		{"packages/w/index.js", "w"},
	})
	want := []string{
		"file:node_modules/.bin/a", "file:node_modules/.package-lock.json", "file:package-lock.json", "file:packages/w/index.js",
		"pkg:npm/%40scope/b@2.0.0-rc.1", "pkg:npm/a@1.0.0", "pkg:npm/real-c@3.0.0", "pkg:npm/unlocked@0.1.0",
	}
	if d := cmp.Diff(want, refs(got)); d != "" {
		t.Error(d)
	}
	a := got["pkg:npm/a@1.0.0"]
	if d := cmp.Diff([]string{"node_modules/@scope/b/node_modules/a", "node_modules/a"}, property(a, "slugfile:path")); d != "" {
		t.Error(d)
	}
	if h := (*a.Hashes)[0]; h.Algorithm != cdx.HashAlgoSHA512 || !strings.HasPrefix(h.Value, "cf83e1357eefb8bd") {
		t.Errorf("%+v", h)
	}
	b := got["pkg:npm/%40scope/b@2.0.0-rc.1"]
	if b.Group != "@scope" || b.Name != "b" || (*b.Licenses)[0].Expression != "(MIT OR Apache-2.0)" {
		t.Errorf("%+v", b)
	}
	if c := got["pkg:npm/real-c@3.0.0"]; c.Scope != cdx.ScopeOptional || (*c.Licenses)[0].License.Name != "SEE LICENSE IN x" {
		t.Errorf("%+v", c)
	}
	if sum.Packages != 4 {
		t.Errorf("%+v", sum)
	}
}

func TestWrite_readsOldAndForeignLockFiles(t *testing.T) {
	t.Parallel()
	got, _ := bill(t, []file{
		{"api/package-lock.json", `{"lockfileVersion":1,"dependencies":{"a":{"version":"1.0.0","dependencies":{"b":{"version":"2.0.0"}}},"dev":{"version":"1.0.0","dev":true}}}`},
		{"api/node_modules/a/index.js", "a"},
		{"api/node_modules/a/node_modules/b/index.js", "b"},
		{"bundled/npm-shrinkwrap.json", `{"packages":{"node_modules/inlined":{"version":"4.0.0"}}}`},
		{"bundled/all.js", "all"},
		{"broken/package-lock.json", `{"packages":[`},
		{"evil/package-lock.json", `{"packages":{"../../node_modules/x":{"version":"1.0.0"},"/node_modules/y":{"version":"1"}}}`},
	})
	for ref, path := range map[string][]string{
		"pkg:npm/a@1.0.0": {"api/node_modules/a"}, "pkg:npm/b@2.0.0": {"api/node_modules/a/node_modules/b"}, "pkg:npm/inlined@4.0.0": nil,
	} {
		c, ok := got[ref]
		if d := cmp.Diff(path, property(c, "slugfile:path")); d != "" || !ok {
			t.Errorf("%s: %s", ref, d)
		}
	}
	if in := property(got["pkg:npm/inlined@4.0.0"], "slugfile:in-slug"); !slices.Equal(in, []string{"unknown"}) {
		t.Errorf("a package that is nowhere: %v", in)
	}
	for _, ref := range refs(got) {
		if strings.Contains(ref, "pkg:npm/x") || strings.Contains(ref, "pkg:npm/y") || strings.Contains(ref, "dev") {
			t.Errorf("%s is listed", ref)
		}
	}
}

func TestWrite_tellsGemsByTheirLockFile(t *testing.T) {
	t.Parallel()
	lock := `GIT
  remote: https://github.com/example/own.git
  revision: abc
  specs:
    own (0.1.0)
      rack (>= 2)

GEM
  remote: https://rubygems.org/
  specs:
    nokogiri (1.16.0-x86_64-linux)
      racc (~> 1.4)
    rack (3.1.8)

PLATFORMS
  x86_64-linux

DEPENDENCIES
  rack

CHECKSUMS
  rack (3.1.8) sha256=d3fbcbca43dc2b43c9c6d7dfbac01667ae58643c42cea10013d0da970218a1b1

BUNDLED WITH
   2.5.22
`
	got, sum := bill(t, []file{{"Gemfile.lock", lock}, {"config.ru", "run App"}})
	want := []string{"file:Gemfile.lock", "file:config.ru", "gem:nokogiri-1.16.0-x86_64-linux", "gem:own-0.1.0", "gem:rack-3.1.8"}
	if d := cmp.Diff(want, refs(got)); d != "" || sum.Gems != 3 {
		t.Error(d, sum)
	}
	if p := got["gem:nokogiri-1.16.0-x86_64-linux"].PackageURL; p != "pkg:gem/nokogiri@1.16.0?platform=x86_64-linux" {
		t.Error(p)
	}
	if p := got["gem:own-0.1.0"].PackageURL; p != "" {
		t.Errorf("a gem from git is not on the server of gems: %s", p)
	}
	if h := (*got["gem:rack-3.1.8"].Hashes)[0].Value; !strings.HasPrefix(h, "d3fbcbca") {
		t.Error(h)
	}
	got, _ = bill(t, []file{
		{"Gemfile.lock", lock},
		{"vendor/bundle/ruby/3.3.0/gems/rack-3.1.8/lib/rack.rb", "module Rack"},
		{"vendor/bundle/ruby/3.3.0/gems/rack-3.1.8/Gemfile.lock", "GEM\n  specs:\n    inner (1.0)\n"},
		{"vendor/bundle/ruby/3.3.0/gems/other-1.0/x.rb", "x"},
	})
	want = []string{"file:Gemfile.lock", "file:vendor/bundle/ruby/3.3.0/gems/other-1.0/x.rb", "gem:rack-3.1.8"}
	if d := cmp.Diff(want, refs(got)); d != "" {
		t.Error(d)
	}
}

func TestWrite_givesTheSameBytesForTheSameSlug(t *testing.T) {
	t.Parallel()
	files := []file{
		{"node_modules/.package-lock.json", hiddenLock}, {"node_modules/a/cli.js", "a"}, {"node_modules/c/index.js", "c"},
		{"b.txt", "b"}, {"a/x", "x"}, {"link", "-> a/x"}, {"odd \xff name", "odd"}, {"\"quoted\" <&> ✓", "q"}, {"pct%FF", "p"},
	}
	slug := slugOf(t, files)
	one, _ := write(t, input(slug, bom.Runtime{Name: "a", Into: "."}, bom.Runtime{Name: "b", Into: "b"}), contents(t, slug))
	two, _ := write(t, input(slug, bom.Runtime{Name: "b", Into: "b"}, bom.Runtime{Name: "a", Into: "."}), contents(t, slug))
	if !bytes.Equal(one, two) {
		t.Error(cmp.Diff(string(one), string(two)))
	}
	valid(t, one)
	if _, err := check(one, digest.Of(slug), contents(t, slug)); err != nil {
		t.Error(err)
	}
	other := slugOf(t, files[1:])
	three, _ := write(t, input(other), contents(t, other))
	serial := func(doc []byte) string {
		var b cdx.BOM
		if err := json.Unmarshal(doc, &b); err != nil {
			t.Fatal(err)
		}
		return b.SerialNumber
	}
	if serial(one) == serial(three) || bytes.Contains(one, []byte("timestamp")) {
		t.Errorf("serial numbers %s, %s", serial(one), serial(three))
	}
}

// TestCheck_failsClosed holds bills against a slug that they are not, or not wholly, of.
func TestCheck_failsClosed(t *testing.T) {
	t.Parallel()
	files := []file{
		{"node/bin/node", "node"}, {"node_modules/.package-lock.json", hiddenLock}, {"node_modules/a/cli.js", "a"},
		{"web.js", "web"}, {"link", "-> web.js"},
	}
	runtime := bom.Runtime{Name: "node", Into: "node", Digest: digest.Of([]byte("n"))}
	slug := slugOf(t, files)
	doc, _ := write(t, input(slug, runtime), contents(t, slug))
	spoil := func(change func(*cdx.BOM)) []byte {
		var b cdx.BOM
		if err := json.Unmarshal(doc, &b); err != nil {
			t.Fatal(err)
		}
		change(&b)
		out, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	at := func(b *cdx.BOM, ref string) *cdx.Component {
		i := slices.IndexFunc(*b.Components, func(c cdx.Component) bool { return c.BOMRef == ref })
		return &(*b.Components)[i]
	}
	drop := func(ref string) []byte {
		return spoil(func(b *cdx.BOM) {
			*b.Components = slices.DeleteFunc(*b.Components, func(c cdx.Component) bool { return c.BOMRef == ref })
		})
	}
	for _, tt := range []struct {
		name, want string
		doc        []byte
		mismatch   bool
	}{
		{"empty", "empty", nil, false},
		{"blank", "empty", []byte("\n"), false},
		{"text", "no bill", []byte("hello"), false},
		{"half", "no bill", doc[:len(doc)/2], false},
		{"something behind it", "no bill", append(bytes.Clone(doc), "{}"...), false},
		{"another document", "its format", []byte(`{"spdxVersion":"SPDX-2.3"}`), false},
		{"another version", "only 1.6", bytes.Replace(doc, []byte(`"specVersion": "1.6"`), []byte(`"specVersion": "1.5"`), 1), false},
		{"of nothing", "which slug", spoil(func(b *cdx.BOM) { b.Metadata = nil }), false},
		{"of a slug without digest", "which slug", spoil(func(b *cdx.BOM) { b.Metadata.Component.Hashes = nil }), false},
		{"of another slug", "slug of the bill", spoil(func(b *cdx.BOM) { (*b.Metadata.Component.Hashes)[0].Value = digest.Of(nil).String() }), true},
		{"without components", "does not have", spoil(func(b *cdx.BOM) { b.Components = nil }), true},
		{"without a file", "web.js", drop("file:web.js"), true},
		{"without a link", "link", drop("file:link"), true},
		{"without a runtime", "node/bin/node", drop("runtime:node"), true},
		{"with a file too many", "the slug does not have", spoil(func(b *cdx.BOM) {
			*b.Components = append(*b.Components, cdx.Component{BOMRef: "file:more", Type: cdx.ComponentTypeFile, Name: "more"})
		}), true},
		{"other content", `"web.js" in the slug`, spoil(func(b *cdx.BOM) { (*at(b, "file:web.js").Hashes)[0].Value = digest.Of(nil).String() }), true},
		{"no content", `"web.js" in the slug`, spoil(func(b *cdx.BOM) { at(b, "file:web.js").Hashes = nil }), true},
		{"other link", "link in the slug", spoil(func(b *cdx.BOM) { (*at(b, "file:link").Properties)[0].Value = "x" }), true},
		{"runtime of other files", "files of runtime:node", spoil(func(b *cdx.BOM) {
			for i, p := range *at(b, "runtime:node").Properties {
				if p.Name == "slugfile:tree" {
					(*at(b, "runtime:node").Properties)[i].Value = digest.Of(nil).String()
				}
			}
		}), true},
		{"package that says nothing of its files", "files of pkg:npm/a", spoil(func(b *cdx.BOM) {
			c := at(b, "pkg:npm/a@1.0.0")
			*c.Properties = slices.DeleteFunc(*c.Properties, func(p cdx.Property) bool { return p.Name == "slugfile:tree" })
		}), true},
	} {
		_, err := check(tt.doc, digest.Of(slug), contents(t, slug))
		var mismatch *digest.MismatchError
		switch {
		case err == nil:
			t.Errorf("%s: accepted", tt.name)
		case !strings.Contains(err.Error(), tt.want), errors.As(err, &mismatch) != tt.mismatch:
			t.Errorf("%s: %v; want %q", tt.name, err, tt.want)
		}
	}
	for _, f := range []file{{"node/bin/more", "x"}, {"more", "x"}, {"node_modules/a/more", "x"}} {
		changed := slugOf(t, append(slices.Clone(files), f))
		if _, err := check(bytes.ReplaceAll(doc, []byte(digest.Of(slug).String()), []byte(digest.Of(changed).String())), digest.Of(changed), contents(t, changed)); err == nil {
			t.Errorf("a bill that does not know %s is accepted", f.name)
		}
	}
}

func TestRead_leavesNothingBehindAndRefusesDamage(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("large ", 3<<20) // more than is kept in memory
	slug := slugOf(t, []file{{"a", "\x7fELF" + large}})
	dir := t.TempDir()
	if _, err := bom.Read(t.Context(), bytes.NewReader(slug[:len(slug)-6]), dir); err == nil {
		t.Error("a slug that is cut off is accepted")
	}
	if _, err := bom.Read(t.Context(), bytes.NewReader(slug), dir); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
	if _, err := bom.Read(t.Context(), bytes.NewReader(slug), filepath.Join(dir, "none")); err == nil {
		t.Error("there is no such directory")
	}
}
