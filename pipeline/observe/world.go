package observe

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/slugfile/slugfile/config"
	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/event"
	"github.com/slugfile/slugfile/pipeline/lock"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/store"
)

// Options say where to look.
type Options struct {
	// Platform is nil when none takes part (build).
	Platform platform.Platform
	// App is the name or id of the app; empty for that of slug.yaml.
	App string
	// Local is set for the embedded platform.
	Local bool
	// Store may be nil: then nothing is known of earlier runs.
	Store *store.Store
	// Inputs are what World looks for; their source tree must have been read.
	Inputs *plan.Inputs
	// Revision is set when Inputs are those of a git revision: archives of the repository are
	// then taken from there.
	Revision *Revision
	// Against is what the plan is compared with instead of the live release, or nil.
	Against *plan.Base
	// Stream allows to read a released slug from the platform when this machine does not know
	// what is in it. It is read once: what it holds is kept in the store.
	Stream bool
	// Sink is told how such a reading goes on; it may be nil.
	Sink event.Sink
	// Path is the PATH on which tools are looked for.
	Path string
	// Now is in seconds since 1970.
	Now int64
}

// World looks at the platform, at the tools of this machine and at the store, as far as a
// plan needs it: when the release was made of the same inputs, no step is asked for.
func World(ctx context.Context, o Options) (plan.Observed, error) {
	seen := plan.Observed{Against: o.Against}
	name := o.app()
	if o.Platform != nil && name == "" {
		return seen, errNoApp
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		if o.Revision == nil {
			seen.Tools, seen.Archives, err = Tools(gctx, o.Inputs, o.Path, o.Store)
			return err
		}
		if seen.Tools, err = hostTools(gctx, o.Inputs, o.Path, o.Store); err == nil {
			seen.Archives, err = o.Revision.archives(gctx, o.Inputs, indexes(o.Store))
		}
		return err
	})
	if o.Platform != nil {
		g.Go(func() (err error) {
			seen.Target, err = target(gctx, o.Platform, name, mentionsConfig(o.Inputs.File))
			if err == nil {
				seen.Target.Local, seen.Target.Now = o.Local, o.Now
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return plan.Observed{}, err
	}
	stack := plan.TargetStack(*o.Inputs, seen)
	key := plan.Key(*o.Inputs, stack, seen)
	done := o.Against == nil && releasedAs(seen.Target, key)
	if !done {
		if err := o.released(ctx, &seen); err != nil {
			return plan.Observed{}, err
		}
	}
	if o.Store != nil {
		if err := stored(o, &seen, stack, key, done); err != nil {
			return plan.Observed{}, err
		}
	}
	// A build shows no plan, and so nobody is told.
	if (o.Platform != nil || o.Against != nil) && !done {
		seen.Unpinned = unpinned(o, seen)
	}
	return seen, nil
}

var errNoApp = errors.New(`no app is named: add "app: NAME" to slug.yaml, or give -a`)

func (o Options) app() string {
	if o.App == "" && o.Inputs != nil && o.Inputs.File != nil {
		return o.Inputs.File.App
	}
	return o.App
}

// indexes is a store as Indexes, whose nil is none.
func indexes(s *store.Store) Indexes {
	if s == nil {
		return nil
	}
	return s
}

// mentionsConfig reports whether a command reads a config var, which the app may lack.
func mentionsConfig(f *config.File) bool {
	for _, command := range f.ProcessTypes {
		if len(config.Mentioned(command)) > 0 {
			return true
		}
	}
	return false
}

// fewReleases is nearly always enough to hold the live one; when it is not, all are asked for.
const fewReleases = 20

// target asks the platform. The calls that need no other's answer are made at once.
func target(ctx context.Context, p platform.Platform, name string, config bool) (*plan.Target, error) {
	t := &plan.Target{Name: name}
	var app platform.App
	var stacks []platform.Stack
	var releases []platform.Release
	g, gctx := errgroup.WithContext(ctx)
	missing := false
	g.Go(func() (err error) {
		app, err = p.App(gctx, name)
		if errors.Is(err, platform.ErrNotFound) {
			missing, err = true, nil
		}
		return err
	})
	g.Go(func() (err error) {
		stacks, err = p.Stacks(gctx, name)
		return unlessMissing(err)
	})
	g.Go(func() (err error) {
		releases, err = p.Releases(gctx, name, fewReleases)
		if err != nil {
			return unlessMissing(err)
		}
		if live(releases) == nil && len(releases) == fewReleases {
			if releases, err = p.Releases(gctx, name, 0); err != nil {
				return unlessMissing(err)
			}
		}
		r := live(releases)
		if r == nil || r.Slug == nil {
			return nil
		}
		s, err := p.Slug(gctx, name, r.Slug.ID)
		if err != nil {
			return unlessMissing(err) // a slug that the platform has removed is none
		}
		t.Slug = &s
		return nil
	})
	if config {
		g.Go(func() (err error) {
			t.ConfigNames, err = p.ConfigNames(gctx, name)
			t.ConfigKnown = err == nil
			if errors.Is(err, platform.ErrUnauthorized) { // who may deploy need not be allowed to read them
				return nil
			}
			return unlessMissing(err)
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("look at app %s: %w", name, err)
	}
	if missing {
		all, err := p.Stacks(ctx, "")
		if err != nil {
			return nil, fmt.Errorf("look at the platform's stacks: %w", err)
		}
		return &plan.Target{Name: name, Stacks: all}, nil
	}
	t.App, t.Stacks, t.Current, t.Recent = &app, stacks, live(releases), releases
	for i := range releases {
		if r := &releases[i]; r.Version > t.Latest {
			t.Latest, t.Newest = r.Version, r
		}
	}
	return t, nil
}

func unlessMissing(err error) error {
	if errors.Is(err, platform.ErrNotFound) {
		return nil
	}
	return err
}

func live(releases []platform.Release) *platform.Release {
	for i := range releases {
		if releases[i].Current {
			return &releases[i]
		}
	}
	return nil
}

// releasedAs reports whether the live slug says that it was made of these very inputs.
func releasedAs(t *plan.Target, key digest.Digest) bool {
	if t == nil || t.Slug == nil || t.Slug.CommitDescription == nil || key.IsZero() {
		return false
	}
	have, ok := plan.ParseCommitDescription(*t.Slug.CommitDescription)
	return ok && have == key
}

// stored asks the store, as little as the plan needs: nothing more will be shown or made when all
// is done.
func stored(o Options, seen *plan.Observed, stack string, key digest.Digest, done bool) error {
	s := o.Store
	seen.Stored = map[digest.Digest]bool{}
	for _, r := range plan.Runtimes(*o.Inputs, *seen) {
		if r.URL == "" || r.Digest.IsZero() {
			continue
		}
		has, err := holds(s, r)
		if err != nil {
			return err
		}
		if was, asked := seen.Stored[r.Digest]; asked {
			has = has && was
		}
		seen.Stored[r.Digest] = has
	}
	if key.IsZero() {
		return nil
	}
	var slug artifact.Slug
	ok, err := s.GetRef("slug", key.String(), &slug)
	if err != nil {
		return fmt.Errorf("look for the slug: %w", err)
	}
	if size, has := s.Has(slug.Digest); ok && has && size == slug.Size {
		slug.Path, slug.PlanKey = s.Path(slug.Digest), key
		seen.Slug = &slug
	}
	switch {
	case done:
		return nil
	case seen.Slug == nil:
		return outputs(o, seen, stack)
	case seen.Released != nil || o.Against != nil || o.Revision != nil: // else nothing is compared with it
		seen.Next, err = record(s, slug.Digest)
	}
	return err
}

// holds reports whether nothing of the runtime has to be downloaded: what is left of its
// archive is enough, and that came from this address before. Beside another URL the same
// digest is a claim that was never checked.
func holds(s *store.Store, r plan.Runtime) (bool, error) {
	var note struct {
		SHA256 digest.Digest `json:"sha256"`
	}
	ok, err := s.GetRef("url", lock.SeenKey(r.Name, r.URL), &note)
	if err != nil {
		return false, fmt.Errorf("look for runtime %s: %w", r.Name, err)
	}
	if !ok || note.SHA256 != r.Digest {
		return false, nil
	}
	if _, has := s.Has(r.Digest); has {
		return true, nil
	}
	kinds := []string{"runtime", "pack"}
	if r.Unpack {
		kinds = kinds[:1]
	}
	for _, kind := range kinds {
		if _, _, ok, err := s.Tree(kind, r.TreeKey()); err != nil || ok {
			return ok, err
		}
	}
	return false, nil
}

func record(s *store.Store, slug digest.Digest) (*plan.Record, error) {
	b, ok, err := s.GetBytes("record", slug.String())
	if err != nil {
		return nil, fmt.Errorf("look for the record of slug %s: %w", slug.Short(), err)
	}
	var r plan.Record
	if readable := ok && r.UnmarshalBinary(b) == nil; !readable { // another version may have written it
		return nil, nil
	}
	return &r, nil
}

// outputs asks for the steps' outputs until no question is new: an output that is there
// opens the question for the next step.
func outputs(o Options, seen *plan.Observed, stack string) error {
	seen.Outputs = map[digest.Digest]artifact.Output{}
	asked := map[digest.Digest]bool{}
	for {
		news := false
		for _, key := range plan.Keys(*o.Inputs, stack, *seen) {
			if asked[key] {
				continue
			}
			asked[key], news = true, true
			dir, m, ok, err := o.Store.Tree("output", key)
			if err != nil {
				return err
			}
			if ok {
				seen.Outputs[key] = artifact.Output{Key: key, Dir: dir, Tree: m}
			}
		}
		if !news {
			return nil
		}
	}
}
