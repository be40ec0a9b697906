package view

import (
	"bytes"
	"testing"

	"github.com/sebdah/goldie/v2"

	"github.com/slugfile/slugfile/pipeline/bom"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/fetch"
	"github.com/slugfile/slugfile/pipeline/junk"
	"github.com/slugfile/slugfile/pipeline/lock"
	"github.com/slugfile/slugfile/pipeline/platform/local"
	"github.com/slugfile/slugfile/pipeline/tree"
)

func TestResults_areToldToPeople(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	done := Applied{App: "example", Release: AppliedRelease{"01234567", 13}, WebURL: "http://127.0.0.1:5001/", Changed: true}
	must(WriteApplied(&b, done, true, Style{}))
	done.WebURL = ""
	must(WriteApplied(&b, done, false, Style{}))
	done.Changed = false
	must(WriteApplied(&b, done, false, Style{}))
	built := Built{Slug: BuiltSlug{digest.Of([]byte("slug")).Checksum(), 48_100_000, "/srv/app/slug.tgz"}}
	must(WriteBuilt(&b, built, Style{}))
	built.Advice = junk.Advise(tree.Manifest{
		{Path: "node/include/node/v8.h", Kind: tree.File, Size: 12_000_000},
		{Path: "node_modules/a/index.js.map", Kind: tree.File, Size: 99_999},
		{Path: "node_modules/a/test/x", Kind: tree.File, Size: 400_000},
		{Path: "node_modules/b/test/x", Kind: tree.File, Size: 300_000},
		{Path: "node_modules/c/test/x", Kind: tree.File, Size: 200_000},
		{Path: "node_modules/d/test/x", Kind: tree.File, Size: 100_000},
	})
	must(WriteBuilt(&b, built, Style{}))
	built.Advice = nil
	built.SBOM = &BuiltSBOM{Path: "/srv/app/sbom.json", SHA256: digest.Of([]byte("bom")).String(), Summary: bom.Summary{Runtimes: 1, Modules: 12, Files: 3}}
	built.Provenance = &BuiltProvenance{Path: "/srv/app/provenance.json", Commit: "1a2b3c4d5e6f", Dirty: true}
	must(WriteBuilt(&b, built, Style{}))
	built.Provenance.KeyID, built.Provenance.Dirty = "SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8", false
	must(WriteVerified(&b, Verified{Slug: built.Slug, SBOM: built.SBOM, Provenance: built.Provenance}, Style{}))
	must(WriteVerified(&b, Verified{Slug: built.Slug, SBOM: built.SBOM}, Style{}))

	pin := func(text string) *lock.Pin {
		return &lock.Pin{Name: "node", SHA256: digest.Of([]byte(text)), Size: 27_812_345}
	}
	const url = "https://nodejs.org/dist/v22.11.0/node-v22.11.0-linux-x64.tar.xz"
	must(Pinned(&b, "slug.lock", nil, Style{}))
	must(Pinned(&b, "app/slug.lock", []fetch.Change{
		{Name: "node", URL: url, New: pin("new")},
		{Name: "ruby", URL: url, Old: pin("old"), New: pin("new")},
		{Name: "go", URL: url, Old: pin("same"), New: pin("same")},
		{Name: "gone", URL: url, Old: pin("old")},
	}, Style{}))
	must(Pinned(&b, "slug.lock", []fetch.Change{{Name: "go", URL: url, Old: pin("same"), New: pin("same")}}, Style{}))
	must(Platform(&b, local.Info{API: "http://127.0.0.1:5999", Token: "a token's"}, "http://127.0.0.1:5999/?key=0123456789012345678901234567890123456789", "/home/ann/data", Style{}))
	goldie.New(t).Assert(t, "results", b.Bytes())
}
