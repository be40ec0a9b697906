package plan

import (
	"cmp"
	"slices"

	"github.com/slugfile/slugfile/config"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/lock"
)

// basis is what the plan is made of; there must be a slug.yaml.
func basis(in Inputs, seen Observed) Basis {
	b := Basis{
		Tool: in.Tool, File: fileDigest(in.File), Lock: lockDigest(in.Lock), Source: in.prepare().reachable.digest,
		Epoch: in.Epoch, Commit: in.Git.SHA,
	}
	for _, r := range in.File.Runtimes {
		tool, there := seen.Tools[r.Name]
		if r.Path != "" {
			tool, there = seen.Archives[r.Name]
		}
		if there && (r.Host != "" || r.Path != "") {
			if b.Tools == nil {
				b.Tools = map[string]digest.Digest{}
			}
			b.Tools[r.Name] = tool.Digest
		}
	}
	if t := seen.Target; t != nil && t.Current != nil {
		r := &ReleaseBasis{ID: t.Current.ID, Version: t.Current.Version, Latest: t.Latest}
		switch {
		case t.Slug != nil:
			r.SlugID = t.Slug.ID
			if t.Slug.Checksum != nil {
				r.Checksum = *t.Slug.Checksum
			}
		case t.Current.Slug != nil:
			r.SlugID = t.Current.Slug.ID
		}
		b.Release = r
	}
	return b
}

// fileDigest is of what slug.yaml says of the slug: what the plan key holds of it, and where
// the bytes of runtimes come from. The app, the stack, limits, time limits and what the release
// says are no part of it.
func fileDigest(f *config.File) digest.Digest {
	type runtime struct {
		Name, URL, Path, Host, SHA256 string
		Strip                         int
		Into                          string
		Only                          []string
		BuildOnly                     bool
	}
	d := struct {
		Compression  string
		Runtimes     []runtime
		Steps        []stepDefinition
		PassEnv      [][]string
		Files        []config.FileEntry
		ProcessTypes map[string]string
	}{Compression: level(f), Files: f.Files, ProcessTypes: f.ProcessTypes}
	for _, r := range f.Runtimes {
		d.Runtimes = append(d.Runtimes, runtime{
			r.Name, lock.Unsigned(r.URL), r.Path, r.Host, r.SHA256, r.Strip, r.Into, append([]string{}, r.Only...), r.BuildOnly,
		})
	}
	for _, s := range f.Build {
		d.Steps = append(d.Steps, definition(f, s))
		d.PassEnv = append(d.PassEnv, append([]string{}, s.PassEnv...))
	}
	return digest.OfJSON(d)
}

// lockDigest is zero when nothing is pinned.
func lockDigest(f *lock.File) digest.Digest {
	if f == nil || len(f.Pins) == 0 {
		return digest.Digest{}
	}
	pins := slices.Clone(f.Pins)
	for i := range pins {
		pins[i].URL = lock.Unsigned(pins[i].URL)
	}
	slices.SortFunc(pins, func(a, b lock.Pin) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.URL, b.URL), cmp.Compare(a.SHA256.String(), b.SHA256.String()), cmp.Compare(a.Size, b.Size))
	})
	return digest.OfJSON(pins)
}
