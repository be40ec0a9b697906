package local

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/slugfile/slugfile/pipeline/platform"
)

// retain does what Heroku does since October 2025: a release that is older than KeepFor and not
// among the last KeepReleases of its app expires, and a slug goes when no release keeps it:
// devcenter.heroku.com/articles/releases. The live release and its slug stay. With an app, only
// that app's releases are looked at.
func (p *Platform) retain(app string) error {
	p.retention.Lock() // one at a time: two would find the same slugs
	defer p.retention.Unlock()
	now := p.now()
	tooOld := func(s slugRecord, wasReleased bool) bool {
		return wasReleased || p.opts.SlugLife > 0 && now.Sub(s.UpdatedAt) > p.opts.SlugLife
	}
	// Most looks find nothing, and a look alone holds up no write.
	found := false
	err := p.db.View(func(tx *bolt.Tx) error {
		due, err := p.expiring(tx, app, now)
		if err != nil || len(due) > 0 || app != "" {
			found = len(due) > 0
			return err
		}
		unused, err := unusedSlugs(tx, tooOld)
		if err != nil || len(unused) > 0 {
			found = true
			return err
		}
		return each(tx, bucketPromotions, nil, func(m promotionRecord) error {
			found = found || p.outdated(m, now)
			return nil
		})
	})
	if err != nil || !found {
		return err
	}
	var files, streams []string
	err = p.db.Update(func(tx *bolt.Tx) error {
		files, streams = nil, nil
		due, err := p.expiring(tx, app, now)
		if err != nil {
			return err
		}
		for _, d := range due {
			var r releaseRecord
			if _, err := get(tx, bucketReleases, releaseKey(d.App, d.Version), &r); err != nil {
				return err
			}
			if r.Stream != "" {
				streams = append(streams, r.Stream)
			}
			r.Status, r.Stream, r.UpdatedAt = platform.Expired, "", now
			if err := put(tx, bucketReleases, releaseKey(r.App, r.Version), r); err != nil {
				return err
			}
		}
		if files, err = p.dropSlugs(tx, tooOld); err != nil {
			return err
		}
		return dropPromotions(tx, func(m promotionRecord) bool { return p.outdated(m, now) })
	})
	if err != nil {
		return err
	}
	p.removeFiles(files)
	p.removeStreams(streams)
	return nil
}

// dueRelease is what decides about a release. The rest of the record, the config vars above all,
// is most of its bytes.
type dueRelease struct {
	App       string    `json:"app"`
	Version   int       `json:"version"`
	Status    string    `json:"status"`
	Slug      string    `json:"slug"`
	CreatedAt time.Time `json:"created_at"`
}

// expiring lists the releases that are due, of one app or of all.
func (p *Platform) expiring(tx *bolt.Tx, only string, now time.Time) (due []dueRelease, err error) {
	if p.opts.KeepFor < 0 {
		return nil, nil
	}
	look := func(app appRecord) error {
		last := max(0, app.Version-p.opts.KeepReleases)
		if last == 0 {
			return nil
		}
		return each(tx, bucketReleases, []byte(app.ID), func(r dueRelease) error {
			switch {
			case r.Version > last:
				return errEnough
			case r.Slug == "" || r.Version == app.Current || r.Status == platform.Pending || r.Status == platform.Expired:
			case now.Sub(r.CreatedAt) > p.opts.KeepFor:
				due = append(due, r)
			}
			return nil
		})
	}
	if only != "" {
		app, err := appIn(tx, only)
		if isNotFound(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return due, look(app)
	}
	err = each(tx, bucketApps, nil, look)
	return due, err
}

// errEnough ends a walk that has seen what it needs.
var errEnough = errors.New("enough")

// unusedSlugs lists the slugs that no release keeps and that gone agrees to.
func unusedSlugs(tx *bolt.Tx, gone func(s slugRecord, wasReleased bool) bool) (list []slugRecord, err error) {
	// The slug's id, and whether a release keeps it: an expired one does not.
	used := map[string]bool{}
	type use struct {
		Slug   string `json:"slug"`
		Status string `json:"status"`
	}
	if err := each(tx, bucketReleases, nil, func(u use) error {
		used[u.Slug] = used[u.Slug] || u.Status != platform.Expired
		return nil
	}); err != nil {
		return nil, err
	}
	err = each(tx, bucketSlugs, nil, func(s slugRecord) error {
		if kept, released := used[s.ID]; !kept && gone(s, released) {
			list = append(list, s)
		}
		return nil
	})
	return list, err
}

// dropSlugs removes the unused slugs, and answers the files that are to be removed after the
// transaction.
func (p *Platform) dropSlugs(tx *bolt.Tx, gone func(s slugRecord, wasReleased bool) bool) (files []string, err error) {
	drop, err := unusedSlugs(tx, gone)
	if err != nil {
		return nil, err
	}
	for _, s := range drop {
		if err := tx.Bucket(bucketSlugs).Delete([]byte(s.ID)); err != nil {
			return nil, err
		}
		if err := tx.Bucket(bucketKeys).Delete([]byte(s.Key)); err != nil {
			return nil, err
		}
		if s.File != "" {
			files = append(files, p.blobPath(s.File))
		}
	}
	return files, nil
}

// outdated says that nobody asks about a promotion any more.
func (p *Platform) outdated(m promotionRecord, now time.Time) bool {
	return p.opts.KeepFor > 0 && now.Sub(m.CreatedAt) > p.opts.KeepFor
}

// keepRetaining looks again from time to time: releases grow old without any call.
func (p *Platform) keepRetaining() {
	timer := time.NewTicker(p.opts.RetainEvery)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			_ = p.retain("") // the next round tries again
		case <-p.run.Done():
			return
		}
	}
}

// removeStreams drops the output of release phases that no release names any more.
func (p *Platform) removeStreams(keys []string) {
	p.mu.Lock()
	for _, key := range keys {
		delete(p.streams, key)
	}
	p.mu.Unlock()
	for _, key := range keys {
		_ = os.Remove(p.streamPath(key)) // swept at the next start
	}
}

// sweep removes the files that no record names: uploads that were cut by a kill, and what a kill
// left between a transaction and the removal of its files.
func (p *Platform) sweep() error {
	blobs, outputs := map[string]bool{}, map[string]bool{}
	err := p.db.View(func(tx *bolt.Tx) error {
		if err := each(tx, bucketSlugs, nil, func(s slugRecord) error {
			blobs[s.File] = true
			return nil
		}); err != nil {
			return err
		}
		type output struct {
			Stream string `json:"stream"`
		}
		return each(tx, bucketReleases, nil, func(o output) error {
			outputs[o.Stream+".log"] = true
			return nil
		})
	})
	if err != nil {
		return err
	}
	for folder, known := range map[string]map[string]bool{"blobs": blobs, "outputs": outputs} {
		entries, err := os.ReadDir(filepath.Join(p.dir, folder))
		if err != nil {
			return err
		}
		for _, e := range entries {
			if known[e.Name()] {
				continue
			}
			if err := os.Remove(filepath.Join(p.dir, folder, e.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}
