package archive

import (
	"context"
	"encoding/json"
	"io"
	"slices"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/examine"
	"github.com/slugfile/slugfile/pipeline/slug"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// facts are what files need of the system, by their paths below ./app. Files that need nothing
// are not in it.
type facts map[string]examine.Facts

// factsKind are the documents that say what the files of a slug need. They spare the next slug
// the files that it has too: their segments are copied, and nobody reads them.
const factsKind = "facts"

// knownFacts is such a document. A file of the slug that is not in it needs nothing.
type knownFacts struct {
	V     int         `json:"v"`
	Files []knownFile `json:"files"`
}

type knownFile struct {
	Path   []byte        `json:"path"` // names need not be UTF-8
	Digest digest.Digest `json:"digest"`
	Facts  examine.Facts `json:"facts"`
}

// look examines a file that goes into the slug.
func (w *writing) look(m *artifact.Member, r io.ReaderAt) {
	if !checks {
		return
	}
	if f := examine.File(m.Path, m.Size, r); !f.None() {
		w.facts[m.Path] = f
	}
}

// learn adds what is known of the files that were not read. Where an earlier slug has no document,
// as when another version made it, its files are looked at once.
func (w *writing) learn(ctx context.Context, d *slug.Draft, earlier *cache) error {
	if !checks || len(earlier.slugs) == 0 {
		return nil // all were read
	}
	find := finder(w.members)
	known := map[digest.Digest]bool{}
	for _, s := range earlier.slugs {
		k, ok := earlier.facts(s.Index.Slug)
		known[s.Index.Slug] = ok
		for _, f := range k.Files {
			name := string(f.Path)
			if e, ok := find(name); !ok || e.Digest != f.Digest {
				continue
			}
			if _, fresh := w.facts[name]; !fresh {
				w.facts[name] = f.Facts
			}
		}
	}
	for from, m := range d.Taken() {
		if known[from] {
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		w.lookAgain(m)
	}
	return nil
}

// lookAgain examines a file that nobody reads in this run. That it is what it should be is known by its
// stamp; one that cannot be opened is left out.
func (w *writing) lookAgain(m *artifact.Member) {
	if m.Src == "" {
		return // inline files are small, and always known
	}
	f, err := tree.Open(m.From())
	if err != nil {
		return
	}
	defer f.Close()
	w.look(m, io.NewSectionReader(f, m.At, m.Size))
}

// facts reads the document of an earlier slug.
func (c *cache) facts(d digest.Digest) (k knownFacts, ok bool) {
	b, ok, err := c.store.GetBytes(factsKind, d.String())
	if err != nil || !ok || json.Unmarshal(b, &k) != nil || k.V != examine.Version {
		return knownFacts{}, false
	}
	return k, true
}

// know stores the document of a new slug.
func (c *cache) know(d digest.Digest, members []artifact.Member, all facts) {
	if !checks {
		return
	}
	k := knownFacts{V: examine.Version, Files: []knownFile{}}
	find := finder(members)
	for name, f := range all {
		if e, ok := find(name); ok && !e.Digest.IsZero() {
			k.Files = append(k.Files, knownFile{Path: []byte(name), Digest: e.Digest, Facts: f})
		}
	}
	slices.SortFunc(k.Files, func(a, b knownFile) int { return slices.Compare(a.Path, b.Path) })
	b, err := json.Marshal(k)
	if err == nil {
		err = c.store.PutBytes(factsKind, d.String(), b)
	}
	if err != nil {
		c.warnNext(err)
	}
}

// finder looks members up in the order of a slug: by layer, then by path.
func finder(members []artifact.Member) func(path string) (tree.Entry, bool) {
	var runs [][]artifact.Member
	for i := 0; i < len(members); {
		n := i
		for n < len(members) && members[n].Layer == members[i].Layer {
			n++
		}
		runs = append(runs, members[i:n])
		i = n
	}
	return func(path string) (tree.Entry, bool) {
		for _, run := range runs {
			if i, ok := slices.BinarySearchFunc(run, path, func(m artifact.Member, p string) int { return tree.Compare(m.Path, p) }); ok {
				return run[i].Entry, true
			}
		}
		return tree.Entry{}, false
	}
}
