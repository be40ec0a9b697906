package main

import (
	"context"
	"slices"
	"time"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/event"
	"github.com/slugfile/slugfile/pipeline/store"
)

const (
	// storeLimit is how large the store may stay, in bytes.
	storeLimit = 10e9
	// storeRest is how long a thing was not used when it may go, and how often that is looked at.
	storeRest = 24 * time.Hour
	// rollbacks is how many released slugs of an app stay in any case.
	rollbacks = 5
)

// released is the document that names the newest released slugs of an app, the newest first.
type released struct {
	Slugs []digest.Digest `json:"slugs"`
	// Releases are what this machine released, the newest first: enough to release it again when the
	// platform has removed the slug.
	Releases []keptRelease `json:"releases,omitempty"`
}

// keptRelease is one release and how its slug was asked for.
type keptRelease struct {
	AppID        string            `json:"app_id"`
	ID           string            `json:"id"`
	Version      int               `json:"version"`
	Description  string            `json:"description"`
	SlugID       string            `json:"slug_id"`
	Slug         digest.Digest     `json:"slug"`
	Size         int64             `json:"size"`
	PlanKey      digest.Digest     `json:"plan_key"`
	ProcessTypes map[string]string `json:"process_types"`
	Stack        string            `json:"stack"`
	Commit       string            `json:"commit,omitempty"`
	// CommitDescription carries the plan key, so that a plan knows the slug again.
	CommitDescription string `json:"commit_description,omitempty"`
}

// keptReleases is how many are remembered; the platform itself keeps the slugs of 20.
const keptReleases = 50

// prunedNote says when the store was last looked through, in seconds since 1970.
type prunedNote struct {
	At int64 `json:"at"`
}

// The names of both in the store.
const (
	releasedKind          = "released"
	prunedKind, prunedKey = "store", "pruned"
)

// keep notes that a slug was released, so that it stays in the store for a rollback.
func (s *session) keep(k keptRelease) {
	if err := s.addReleased(k); err != nil {
		s.warnStore(err)
	}
}

// kept is what this machine released of the app.
func (s *session) kept() (r released, err error) {
	if ok, err := s.store.GetRef(releasedKind, s.key, &r); !ok {
		return released{}, err
	}
	return r, nil
}

func (s *session) addReleased(k keptRelease) error {
	r, err := s.kept()
	if err != nil {
		return err
	}
	r.Releases = slices.DeleteFunc(r.Releases, func(old keptRelease) bool { return old.ID == k.ID })
	r.Releases = slices.Insert(r.Releases, 0, k)
	r.Releases = r.Releases[:min(len(r.Releases), keptReleases)]
	slug := k.Slug
	r.Slugs = slices.DeleteFunc(r.Slugs, func(d digest.Digest) bool { return d == slug })
	r.Slugs = slices.Insert(r.Slugs, 0, slug)
	r.Slugs = r.Slugs[:min(len(r.Slugs), rollbacks)]
	return s.store.PutRef(releasedKind, s.key, r)
}

// tidy looks once a day whether the store has grown too large. That it cannot be tidied is no
// reason to fail: everything that was asked for is done.
func (s *session) tidy(ctx context.Context) {
	if err := s.prune(ctx); err != nil && ctx.Err() == nil {
		s.warnStore(err)
	}
}

func (s *session) warnStore(err error) {
	s.view.Emit(event.Warning{Stage: event.Archive, Subject: "store", Message: err.Error(), Hint: "it is in " + s.dirs.Cache + ", and may be removed as a whole"})
}

func (s *session) prune(ctx context.Context) error {
	now := s.app.Now()
	var last prunedNote
	ok, err := s.store.GetRef(prunedKind, prunedKey, &last)
	if err != nil || ok && last.At <= now.Unix() && now.Unix()-last.At < int64(storeRest/time.Second) {
		return err
	}
	if err := s.store.PutRef(prunedKind, prunedKey, prunedNote{At: now.Unix()}); err != nil {
		return err
	}
	keep := map[digest.Digest]bool{}
	apps, err := s.store.Keys(releasedKind)
	if err != nil {
		return err
	}
	for _, key := range apps {
		var r released
		if _, err := s.store.GetRef(releasedKind, key, &r); err != nil {
			return err
		}
		for _, d := range r.Slugs {
			keep[d] = true
		}
	}
	_, err = s.store.Prune(ctx, store.PruneOptions{Limit: storeLimit, Rest: storeRest, Keep: keep, Now: now})
	return err
}
