package plan

import (
	"fmt"
	"maps"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/platform"
)

// base is what a plan is compared with: what --against names, else the live release, or nil
// when there is neither.
func base(seen Observed) *Base {
	if seen.Against != nil {
		return seen.Against
	}
	s := currentSlug(seen)
	if s == nil {
		return nil
	}
	b := &Base{
		Kind: BaseRelease, Name: fmt.Sprintf("v%d", seen.Target.Current.Version),
		Stack: s.Stack.Name, ProcessTypes: s.ProcessTypes, Size: s.Size,
		Record: seen.Released, Why: seen.ReleasedWhy, Hint: seen.ReleasedHint,
	}
	b.Key, _ = releasedKey(s)
	if s.Checksum != nil {
		b.Checksum, _ = digest.Parse(*s.Checksum) // a checksum of another kind tells as much as none
	}
	return b
}

// currentSlug is the slug that runs now, or nil.
func currentSlug(seen Observed) *platform.Slug {
	if seen.Target == nil || seen.Target.Current == nil {
		return nil
	}
	return seen.Target.Slug
}

// releasedKey is the plan key in the slug's commit description.
func releasedKey(s *platform.Slug) (digest.Digest, bool) {
	if s == nil || s.CommitDescription == nil {
		return digest.Digest{}, false
	}
	return ParseCommitDescription(*s.CommitDescription)
}

// BaseOf is what in leads to, as something that another plan is compared with. Kind and name
// are those of the Base.
func BaseOf(kind, name string, in Inputs, seen Observed) Base {
	out := Base{Kind: kind, Name: name}
	if in.File == nil {
		out.Why = "there is no slug.yaml in " + name
		return out
	}
	in = Prepare(in)
	b := newBuilder(in, seen)
	out.Stack, out.ProcessTypes, out.Key = b.stack, maps.Clone(in.File.ProcessTypes), b.key
	if r, err := b.record(); err != nil {
		out.Why = err.Error()
	} else {
		out.Record = &r
	}
	if b.slug != nil {
		size := b.slug.Size
		out.Checksum, out.Size = b.slug.Digest, &size
	}
	return out
}

// Base is what the saved plan leads to, as something that another plan is compared with.
func (s Saved) Base(name string) Base {
	b := Base{
		Kind: BaseSaved, Name: name, Stack: s.Plan.Stack, ProcessTypes: map[string]string{},
		Key: s.Plan.Key, Record: &s.Next,
	}
	for _, c := range s.Plan.ProcessTypes {
		if c.Action != Remove {
			b.ProcessTypes[c.Name] = c.After
		}
	}
	if s.Next.Size > 0 {
		b.Size = &s.Next.Size
	}
	return b
}

// tells reports whether the record tells what the slug was made of, and not only what is in it.
func (r *Record) tells() bool { return r != nil && len(r.Parts) == len(r.Tree) }

// runtime returns what the record tells of a runtime, and its part.
func (r *Record) runtime(name string) (RuntimeRecord, int) {
	for i, o := range r.Runtimes {
		if o.Name == name {
			return o, i
		}
	}
	return RuntimeRecord{}, -1
}

// step returns what the record tells of a step, or nil.
func (r *Record) step(name string) *StepRecord {
	for i := range r.Steps {
		if r.Steps[i].Name == name {
			return &r.Steps[i]
		}
	}
	return nil
}
