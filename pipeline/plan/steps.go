package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/slugfile/slugfile/pipeline/digest"
)

func (b *builder) showSteps() {
	for i, s := range b.steps {
		c := StepChange{Name: s.Name}
		var differs []string
		c.Action, differs = b.compareStep(i)
		done := ""
		switch {
		case b.done() != "":
			c.State, done = Reused, b.done()
		case s.Known != nil && c.Action == Keep:
			c.State, done = Reused, "inputs unchanged"
		case s.Known != nil:
			c.State, done = Reused, "built here before"
		case s.after != "":
			c.State, c.After, done = Open, s.after, "after step "+s.after
		case c.Action == Keep:
			c.State, done = Runs, "its output is no longer in the store"
		case len(differs) > 0:
			c.State = Runs // that is reason enough
		default:
			c.State, done = Runs, "never built here"
		}
		if b.seen.Against != nil && c.Action == Keep {
			differs = []string{"unchanged"}
			switch c.State {
			case Reused:
				done = ""
			case Runs:
				done = "its output is not in the store"
			}
		}
		if done != "" {
			differs = append(differs, done)
		}
		c.Why = strings.Join(differs, "; ")
		b.p.Steps = append(b.p.Steps, c)
	}
	if b.base == nil || b.base.Record == nil || !b.p.Changed {
		return
	}
	for _, o := range b.base.Record.Steps {
		if !slices.ContainsFunc(b.steps, func(s plannedStep) bool { return s.Name == o.Name }) {
			b.p.Steps = append(b.p.Steps, StepChange{Action: Remove, Name: o.Name, State: Removed, Why: "no longer in slug.yaml"})
		}
	}
}

// compareStep says what becomes of the i-th step beside what the plan is compared with, and in
// words what differs. A step that only may differ, after an earlier one, has no words.
func (b *builder) compareStep(i int) (Action, []string) {
	switch {
	case b.base == nil:
		return Add, nil
	case !b.p.Changed:
		return Keep, nil
	case !b.base.Record.tells():
		return Unknown, nil
	}
	s, old := b.steps[i], b.base.Record.step(b.steps[i].Name)
	if old == nil {
		return Add, nil
	}
	known := !s.key.IsZero() && !old.Key.IsZero()
	if known && s.key == old.Key {
		return Keep, nil
	}
	why := b.whatDiffers(i, *old)
	if len(why) > 0 || !known {
		earlier := slices.ContainsFunc(b.p.Steps[:i], func(c StepChange) bool { return c.Action != Keep })
		if len(why) == 0 && !earlier {
			return Keep, nil
		}
		return Change, why
	}
	if i > 0 {
		return Change, []string{"an earlier step's output changed"}
	}
	return Change, []string{"SOURCE_DATE_EPOCH changed"}
}

// whatDiffers names what is different from the step as it was.
func (b *builder) whatDiffers(i int, old StepRecord) []string {
	s, c, was := b.steps[i], b.in.File.Build[i], b.base.Record
	var why []string
	defined := old.Definition.IsZero() || old.Definition == digest.OfJSON(definition(b.in.File, c))
	if !defined {
		why = append(why, "its definition changed")
	}
	if was.Stack != b.stack {
		why = append(why, "stack changed")
	}
	for _, name := range s.Runtimes {
		n := slices.IndexFunc(b.runtimes, func(r Runtime) bool { return r.Name == name })
		o, part := was.runtime(name)
		if n < 0 || part < 0 {
			continue // the definition tells
		}
		switch r := b.runtimes[n]; {
		case r.Digest != o.Digest:
			why = append(why, partRuntime(name)+" changed")
		case !o.Layout.IsZero() && o.Layout != r.layout():
			why = append(why, partRuntime(name)+" is unpacked in another way")
		}
	}
	if old.Inputs == s.InputsDigest {
		return why
	}
	files := fileChanges(entries(stepInputs(c, was.Source, namedSecrets(b.in.File.Files))), entries(s.Inputs))
	switch {
	case len(files) > 0:
		noun := "input"
		if len(files) > 1 {
			noun = "inputs"
		}
		why = append(why, fmt.Sprintf("%s %s: %s", noun, became(files), firstOf(files)))
	case defined && !old.Inputs.IsZero():
		why = append(why, "inputs changed")
	}
	return why
}

// became is added, removed or changed, whichever is true of all.
func became(files []FileChange) string {
	words := map[Action]string{Add: "added", Remove: "removed"}
	for _, f := range files {
		if words[f.Action] == "" || f.Action != files[0].Action {
			return "changed"
		}
	}
	return words[files[0].Action]
}

// firstOf names the first of some files: "lib/a.js and 2 more".
func firstOf(files []FileChange) string {
	if len(files) == 1 {
		return files[0].Path
	}
	return fmt.Sprintf("%s and %d more", files[0].Path, len(files)-1)
}

// leftStep is a step whose files are not compared.
type leftStep struct {
	name    string
	outputs []string
	// later is set when its outputs are known after it ran, and missing when those that it
	// left behind in what the plan is compared with are not known.
	later, missing bool
	// same is set when there is nothing to tell: both slugs have what it leaves behind.
	same bool
}

// left are the steps whose files cannot be compared.
func (b *builder) left(next contents) []leftStep {
	var out []leftStep
	for i, s := range b.steps {
		l := leftStep{name: s.Name, outputs: s.Outputs, later: next.whole == nil && s.Known == nil}
		if b.base != nil && b.base.Record.tells() {
			old := b.base.Record.step(s.Name)
			l.missing = old != nil && old.Unknown
		}
		l.same = b.seen.Against != nil && b.p.Steps[i].Action == Keep
		if l.later || l.missing {
			out = append(out, l)
		}
	}
	return out
}
