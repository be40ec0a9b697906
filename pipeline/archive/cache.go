package archive

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/event"
	"github.com/slugfile/slugfile/pipeline/failpoint"
	"github.com/slugfile/slugfile/pipeline/slug"
	"github.com/slugfile/slugfile/pipeline/store"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// maxCached is how many earlier slugs segments are taken from: those of a few branches, or of
// a few apps that are deployed in turn.
const maxCached = 4

// stamp says which file a path leads to, and that nobody has written to it. Times are in
// nanoseconds since 1970. The zero stamp says nothing.
type stamp struct {
	Size     int64  `json:"size"`
	Inode    uint64 `json:"inode"`
	Device   uint64 `json:"device"`
	Modified int64  `json:"modified"`
	Changed  int64  `json:"changed"`
}

// recent is the document that names the newest slugs of the store, the newest first.
type recent struct {
	Slugs []recentSlug `json:"slugs"`
}

type recentSlug struct {
	Slug digest.Digest `json:"slug"`
	// Stamp is of its file when its bytes were last known to be right.
	Stamp stamp `json:"stamp"`
}

// The documents in the store: which slugs there are, and an index for each.
const (
	recentKind, recentKey = "archive", "recent"
	indexKind             = "segments"
)

// cache is the earlier slugs that this run takes segments from. All it knows are hints: with
// nothing of it the slug is the same.
type cache struct {
	store *store.Store
	sink  event.Sink
	slugs []slug.Cached
	// stamps are of the slugs when their bytes were last known to be right.
	stamps map[digest.Digest]stamp
}

func newCache(st *store.Store, sink event.Sink) *cache {
	return &cache{store: st, sink: sink, stamps: map[digest.Digest]stamp{}}
}

// load opens the newest slugs of the store. A file whose stamp is another than it was,
// as after a cache was copied, is hashed; a damaged one is removed, and said.
func (c *cache) load() {
	var r recent
	if ok, err := c.store.GetRef(recentKind, recentKey, &r); err != nil || !ok {
		return
	}
	for _, known := range r.Slugs {
		if err := c.open(known); err != nil && !errors.Is(err, os.ErrNotExist) {
			c.warn(known.Slug, err)
		}
	}
}

// open opens an earlier slug and reads its index. An os.ErrNotExist says that the slug is not
// there any more.
func (c *cache) open(known recentSlug) error {
	path := c.store.Path(known.Slug)
	if _, err := os.Lstat(path); err != nil {
		return err
	}
	index, err := c.index(known.Slug)
	if err != nil {
		return err
	}
	f, err := tree.Open(path)
	if err != nil {
		return err
	}
	fi, err := f.Stat()
	if err != nil || known.Stamp == (stamp{}) || stampOf(fi) != known.Stamp {
		f.Close()
		if f, err = c.store.Open(known.Slug); err != nil {
			return err
		}
		if fi, err = f.Stat(); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	earlier := slug.Cached{Index: index, File: f}
	if err := earlier.Check(); err != nil {
		return errors.Join(err, f.Close())
	}
	c.slugs = append(c.slugs, earlier)
	c.stamps[known.Slug] = stampOf(fi)
	return nil
}

// index reads the index of a slug that is there.
func (c *cache) index(d digest.Digest) (*slug.Index, error) {
	b, ok, err := c.store.GetBytes(indexKind, d.String())
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errors.New("its index is damaged, or gone")
	}
	x, err := slug.ParseIndex(b)
	if err == nil && x.Slug != d {
		err = errors.New("its index is of another slug")
	}
	return x, err
}

func (c *cache) warn(d digest.Digest, why error) {
	c.sink.Emit(event.Warning{
		Stage: event.Archive, Subject: subject,
		Message: fmt.Sprintf("nothing is taken from the earlier slug %s: %v", d.Short(), why),
	})
}

func (c *cache) warnNext(why error) {
	c.sink.Emit(event.Warning{
		Stage: event.Archive, Subject: subject,
		Message: fmt.Sprintf("the next run takes longer, for this one is not remembered: %v", why),
	})
}

// close closes the files.
func (c *cache) close() {
	for _, s := range c.slugs {
		_ = s.File.Close() // it was only read
	}
	c.slugs = nil
}

// remember stores the index of a new slug and puts it before the others. What cannot be
// stored costs the next run time, and nothing else.
func (c *cache) remember(x *slug.Index) {
	b, err := x.AppendBinary(nil)
	if err == nil {
		err = c.store.PutBytes(indexKind, x.Slug.String(), b)
	}
	if err != nil {
		c.warnNext(err)
		return
	}
	failpoint.Hit("archive.indexed")
	if fi, err := os.Lstat(c.store.Path(x.Slug)); err == nil {
		c.stamps[x.Slug] = stampOf(fi)
	}
	c.first(x.Slug)
}

// first puts a slug before the others.
func (c *cache) first(d digest.Digest) {
	newest := recentSlug{Slug: d, Stamp: c.stamps[d]}
	r := recent{Slugs: []recentSlug{newest}}
	for _, s := range c.slugs {
		if s.Index.Slug != d && len(r.Slugs) < maxCached {
			r.Slugs = append(r.Slugs, recentSlug{Slug: s.Index.Slug, Stamp: c.stamps[s.Index.Slug]})
		}
	}
	if err := c.store.PutRef(recentKind, recentKey, r); err != nil {
		c.warnNext(err)
	}
	failpoint.Hit("archive.listed")
}

// forget drops an earlier slug that turned out not to be what it should.
func (c *cache) forget(e *slug.CacheError) {
	c.warn(e.Slug, errors.New(e.Why))
	c.slugs = slices.DeleteFunc(c.slugs, func(s slug.Cached) bool {
		if s.Index.Slug != e.Slug {
			return false
		}
		_ = s.File.Close() // it was only read
		return true
	})
}
