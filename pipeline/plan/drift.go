package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/slugfile/slugfile/config"
	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/stack"
)

// age is in seconds, since a release was made.
func (t *Target) age(r platform.Release) int64 { return max(0, t.Now-r.CreatedAt.Unix()) }

// recent are the releases that are known, newest first.
func (t *Target) recent() []platform.Release {
	list := slices.Clone(t.Recent)
	if len(list) == 0 && t.Current != nil {
		list = []platform.Release{*t.Current}
	}
	slices.SortFunc(list, func(a, b platform.Release) int {
		return cmp.Or(cmp.Compare(b.Version, a.Version), cmp.Compare(a.ID, b.ID))
	})
	return list
}

func (b *builder) drift() {
	if b.seen.Target == nil || b.seen.Target.App == nil {
		return
	}
	if d := b.releaseDrift(); d != nil {
		b.p.Drift = append(b.p.Drift, *d)
	}
	if d := b.stackDrift(); d != nil {
		b.p.Drift = append(b.p.Drift, *d)
	}
	if d := b.configDrift(); d != nil {
		b.p.Drift = append(b.p.Drift, *d)
	}
}

// releaseDrift finds out whether the slug that runs is one that this program did not mean to
// run: another tool's, or an earlier one of ours.
func (b *builder) releaseDrift() *Drift {
	t, s := b.seen.Target, currentSlug(b.seen)
	if s == nil || !b.p.Changed && b.seen.Against == nil { // however it came there, it is what slug.yaml says
		return nil
	}
	recent := t.recent()
	began := slugSince(recent, *t.Current)
	d := &Drift{
		Kind: DriftRelease, Version: began.Version, By: began.User.Email, Age: t.age(began), Description: began.Description,
	}
	if _, ours := releasedKey(s); !ours {
		return d
	}
	i := slices.IndexFunc(recent, func(r platform.Release) bool {
		_, _, marked := ParseMark(r.Description)
		return marked && r.Slug != nil && (r.Status == platform.Succeeded || r.Status == platform.Expired) && r.Version < t.Current.Version
	})
	if _, _, marked := ParseMark(t.Current.Description); marked || i < 0 || sameSlug(recent[i], *t.Current) {
		return nil
	}
	// The newest release of ours had another slug. A slug of ours that this app never had came
	// from another app, by a promotion.
	to, rolledBack := rolledBackTo(began.Description)
	if e := slices.IndexFunc(recent, func(r platform.Release) bool {
		return r.Version < began.Version && r.Status != platform.Failed && sameSlug(r, *t.Current)
	}); e >= 0 {
		to, rolledBack = recent[e].Version, true
	}
	if rolledBack {
		d.Kind, d.To = DriftRollback, to
	}
	return d
}

// slugSince is the release that brought the live slug: config changes after it keep the slug.
func slugSince(recent []platform.Release, current platform.Release) platform.Release {
	for _, r := range recent {
		switch {
		case r.Version >= current.Version || r.Status == platform.Failed || r.Status == platform.Pending:
		case !sameSlug(r, current):
			return current
		default:
			current = r
		}
	}
	return current
}

func sameSlug(a, b platform.Release) bool {
	return a.Slug != nil && b.Slug != nil && a.Slug.ID == b.Slug.ID
}

// rolledBackTo reads what the platform writes of a rollback: "Rollback to v11".
func rolledBackTo(description string) (version int, ok bool) {
	_, err := fmt.Sscanf(description, "Rollback to v%d", &version)
	return version, err == nil
}

// stackDrift finds out whether somebody chose another stack for the app than slug.yaml names.
//
// An app keeps the stack of its next build when a slug of a newer stack is released, so an
// older one there was chosen by nobody. What the released slug is made for is no drift either:
// there slug.yaml moved, and that is a change.
func (b *builder) stackDrift() *Drift {
	app, s := b.seen.Target.App.BuildStack.Name, currentSlug(b.seen)
	want := b.in.File.Stack
	if s == nil || app == "" || want == "" || app == want || app == s.Stack.Name {
		return nil
	}
	if _, ours := releasedKey(s); !ours {
		return nil
	}
	names := stack.Names() // the oldest first
	if i, j := slices.Index(names, app), slices.Index(names, want); i >= 0 && i < j {
		return nil
	}
	return &Drift{Kind: DriftStack, Stack: app, Want: want}
}

// configDrift finds out which config vars the process types of slug.yaml need and the app lacks.
func (b *builder) configDrift() *Drift {
	t := b.seen.Target
	if !t.ConfigKnown {
		return nil
	}
	missing, types := map[string]bool{}, map[string]bool{}
	for name, command := range b.in.File.ProcessTypes {
		if !strings.Contains(command, "$") {
			continue
		}
		for _, v := range config.Mentioned(command) {
			if !slices.Contains(t.ConfigNames, v) {
				missing[v], types[name] = true, true
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return &Drift{Kind: DriftConfig, Missing: slices.Sorted(maps.Keys(missing)), Types: slices.Sorted(maps.Keys(types))}
}
