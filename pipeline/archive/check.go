package archive

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/event"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/slug"
	"github.com/slugfile/slugfile/pipeline/stack"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// check says what of the members would not run on the stack.
func check(step plan.Archive, members []artifact.Member, all facts) []artifact.Finding {
	return stack.Check(stack.Subject{
		Stack: step.Stack, ProcessTypes: step.ProcessTypes, Facts: all, Find: finder(members),
		Entries: func(yield func(*tree.Entry) bool) {
			for i := range members {
				if !yield(&members[i].Entry) {
					return
				}
			}
		},
	})
}

// Subject is what a check of a slug looks at that was read.
func Subject(c slug.Contents, onStack string, types map[string]string) stack.Subject {
	return stack.Subject{
		Stack: onStack, ProcessTypes: types, Facts: c.Facts, Modes: c.Modes, Find: c.Tree.Find,
		Entries: func(yield func(*tree.Entry) bool) {
			for i := range c.Tree {
				if !yield(&c.Tree[i]) {
					return
				}
			}
		},
	}
}

// Check tells what was found in a slug, and fails with a *RefusedError when something in it would
// not run on its stack and nobody allows it. A slug of the store that this version has not checked
// is read for it, once. One that was made under another limit may be a *TooLargeError.
func (s *Stage) Check(ctx context.Context, step plan.Archive, out artifact.Slug) (artifact.Slug, error) {
	sink := s.Sink
	if sink == nil {
		sink = event.Discard
	}
	if step.Limit > 0 && out.Size > step.Limit {
		return out, &TooLargeError{Limit: step.Limit, Why: "it has " + decimal(out.Size)}
	}
	if checks && out.Checked != stack.CheckVersion {
		f, err := s.Store.Open(out.Digest)
		if err != nil {
			return out, err
		}
		defer f.Close()
		c, err := slug.Examine(ctx, f, slug.ExamineOptions{})
		if err != nil {
			return out, err
		}
		out.Findings, out.Checked = stack.Check(Subject(c, step.Stack, step.ProcessTypes)), stack.CheckVersion
		if err := s.Store.PutRef("slug", step.Key.String(), out); err != nil {
			return out, err
		}
	}
	refused := &RefusedError{Stack: step.Stack}
	var told []artifact.Finding
	for _, f := range out.Findings {
		switch allowed := slices.Contains(step.Allow, f.Code); {
		case f.Severity == artifact.Error && !allowed:
			refused.Findings = append(refused.Findings, f)
		case f.Severity == artifact.Error || !allowed: // an error is told all the same
			told = append(told, f)
		}
	}
	warn(told, sink)
	if len(refused.Findings) > 0 {
		return out, refused
	}
	return out, nil
}

// maxTold is how many kinds of findings are told, and how many are named in an error.
const maxTold = 10

// warn tells findings; those that say the same of several files together.
func warn(list []artifact.Finding, sink event.Sink) {
	type kind struct{ code, needs, message string }
	var order []kind
	groups := map[kind][]artifact.Finding{}
	for _, f := range list {
		k := kind{f.Code, f.Needs, f.Message}
		if groups[k] == nil {
			order = append(order, k)
		}
		groups[k] = append(groups[k], f)
	}
	for i, k := range order {
		if i == maxTold {
			sink.Emit(event.Warning{Stage: event.Archive, Subject: subject, Message: fmt.Sprintf("there are %d more findings like these", len(order)-i), Hint: `"slugfile inspect" lists all of them`})
			return
		}
		first, message := groups[k][0], k.message
		if more := len(groups[k]) - 1; more == 1 {
			message += "; the same goes for another file"
		} else if more > 1 {
			message += fmt.Sprintf("; the same goes for %d other files", more)
		}
		sink.Emit(event.Warning{Stage: event.Archive, Subject: place(first), Message: message, Hint: first.Hint})
	}
}

// RefusedError says that a slug would not run on its stack.
type RefusedError struct {
	Stack string
	// Findings are those that stop it, at least one.
	Findings []artifact.Finding
}

func (e *RefusedError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the slug would not run on %s:", cmp.Or(e.Stack, "a dyno"))
	hints := e.hints()
	for i, f := range e.Findings {
		if i == maxTold {
			fmt.Fprintf(&b, "\nand %d more", len(e.Findings)-i)
			break
		}
		name := place(f)
		if f.Path != "" && f.ProcessType != "" {
			name += ", of process type " + f.ProcessType
		}
		fmt.Fprintf(&b, "\n%s [%s]\n  %s", name, f.Code, f.Message)
		if len(hints) > 1 && f.Hint != "" {
			fmt.Fprintf(&b, "\n  %s", f.Hint)
		}
	}
	return b.String()
}

// place is where something was found.
func place(f artifact.Finding) string {
	if f.Path == "" {
		return "process type " + f.ProcessType
	}
	return quoted(f.Path)
}

// hints are those of the findings, each once.
func (e *RefusedError) hints() []string {
	var list []string
	for _, f := range e.Findings {
		if f.Hint != "" && !slices.Contains(list, f.Hint) {
			list = append(list, f.Hint)
		}
	}
	return list
}

// Hint says what to do, and how to let it pass.
func (e *RefusedError) Hint() string {
	var codes []string
	for _, f := range e.Findings {
		if !slices.Contains(codes, f.Code) {
			codes = append(codes, f.Code)
		}
	}
	pass := "--allow " + strings.Join(codes, " --allow ") + " lets it pass"
	if hints := e.hints(); len(hints) == 1 {
		return hints[0] + "; " + pass
	}
	return pass
}
