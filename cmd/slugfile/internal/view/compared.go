package view

import (
	"fmt"
	"io"
	"strings"

	"github.com/slugfile/slugfile/pipeline/inspect"
	"github.com/slugfile/slugfile/pipeline/plan"
)

// How many files and versions of a comparison are shown without -v.
const (
	maxChanged  = 12
	maxVersions = 12
)

// Comparison writes for people how a slug differs from another.
func Comparison(w io.Writer, d inspect.Comparison, o PlanOptions) error {
	s := o.Style
	var b strings.Builder
	row := func(name, text string) { b.WriteString("  " + pad(name, 9) + " " + text + "\n") }
	name := func(side inspect.Side) string { return s.bold(shorten(quoted(side.Subject), 36)) }
	fmt.Fprintf(&b, "%s → %s\n\n", name(d.Before), name(d.After))
	if d.Before.Checksum == d.After.Checksum && d.Before.Checksum != "" {
		fmt.Fprintf(&b, "%s: both are the same %s.\n%s\n", s.green("Identical"), Size(d.After.Packed), s.dim(d.After.Checksum))
		_, err := io.WriteString(w, b.String())
		return err
	}
	row("slug", fromTo(d.Before.Packed, d.After.Packed))
	row("unpacked", fromTo(d.Before.Size, d.After.Size))
	if d.Limit > 0 {
		row("limit", limitLine(d.After.Packed, d.Limit, s))
	}
	var added, changed, removed int
	for _, f := range d.Files {
		switch f.Action {
		case inspect.Added:
			added++
		case inspect.Removed:
			removed++
		default:
			changed++
		}
	}
	if d.Same {
		row("files", fmt.Sprintf("all %d the same; they are packed in another way", d.After.Files))
		_, err := io.WriteString(w, b.String())
		return err
	}
	row("files", fmt.Sprintf("%d → %d: %s", d.Before.Files, d.After.Files, numbers("added", added, "changed", changed, "removed", removed)))
	versionRows(&b, append(d.Runtimes[:len(d.Runtimes):len(d.Runtimes)], d.Packages...), o)
	if d.Tree != nil {
		differenceTitle(&b, "by directory", s)
		branches(*d.Tree, "", "", func(n inspect.Node, lines string) {
			text, _ := nodeText(n)
			differenceRow(&b, " ", *n.Before, n.Sizes, d.Before.Packed, lines, text, "", s)
		})
	}
	differenceTitle(&b, "files", s)
	shown := len(d.Files)
	if !o.Verbose && shown > maxChanged+1 {
		shown = maxChanged
	}
	var none inspect.Sizes
	sizes := func(f inspect.FileDifference) (before, after inspect.Sizes) {
		if f.Before != nil {
			before = *f.Before
		}
		if f.After != nil {
			after = *f.After
		}
		return before, after
	}
	for _, f := range d.Files[:shown] {
		before, after := sizes(f)
		note := f.What
		if note == "content" {
			note = ""
		}
		differenceRow(&b, actionSymbol(f.Action), before, after, d.Before.Packed, "", quoted(f.Path), note, s)
	}
	if more := d.Files[shown:]; len(more) > 0 {
		sumBefore, sumAfter := none, none
		for _, f := range more {
			before, after := sizes(f)
			sumBefore.Size, sumBefore.Packed = sumBefore.Size+before.Size, sumBefore.Packed+before.Packed
			sumAfter.Size, sumAfter.Packed = sumAfter.Size+after.Size, sumAfter.Packed+after.Packed
		}
		differenceRow(&b, " ", sumBefore, sumAfter, d.Before.Packed, "", fmt.Sprintf("… %d more (-v shows all)", len(more)), "", s)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// fromTo is "48.1 MB → 49.0 MB  +900.0 kB".
func fromTo(before, after int64) string {
	return Size(before) + " → " + Size(after) + "  " + difference(before, after)
}

func actionSymbol(action string) string {
	switch action {
	case inspect.Added:
		return string(plan.Add)
	case inspect.Removed:
		return string(plan.Remove)
	}
	return string(plan.Change)
}

// differenceTitle heads rows of differences.
func differenceTitle(b *strings.Builder, title string, s Style) {
	fmt.Fprintf(b, "\n    %s  %s\n", s.dim(fmt.Sprintf("%9s  %9s  %5s", "packed", "unpacked", "")), s.bold(title))
}

// differenceRow writes how sizes differ; the share is of the slug that it is compared with.
func differenceRow(b *strings.Builder, symbol string, before, after inspect.Sizes, whole int64, lines, text, note string, s Style) {
	packed := after.Packed - before.Packed
	sizes := fmt.Sprintf("  %s %9s  %9s  ", s.symbol(symbol), delta(packed), delta(after.Size-before.Size)) + s.dim(fmt.Sprintf("%5s", percent(max(packed, -packed), whole)))
	sizeText(b, sizes, lines, text, note, s)
}

// versionRows writes which runtimes and packages came, went, or have another version.
func versionRows(b *strings.Builder, list []inspect.VersionChange, o PlanOptions) {
	if len(list) == 0 {
		return
	}
	s := o.Style
	b.WriteString("\n")
	shown := len(list)
	if !o.Verbose && shown > maxVersions+1 {
		shown = maxVersions
	}
	name, kind := 0, 0
	for _, v := range list[:shown] {
		name, kind = max(name, min(width(quoted(v.Name)), 36)), max(kind, width(v.Kind))
	}
	for _, v := range list[:shown] {
		symbol, text := string(plan.Change), versionText(v.Before)+" → "+versionText(v.After)
		switch {
		case len(v.Before) == 0:
			symbol, text = string(plan.Add), versionText(v.After)
		case len(v.After) == 0:
			symbol, text = string(plan.Remove), versionText(v.Before)
		}
		head := pad(v.Kind, kind) + "  " + pad(shorten(quoted(v.Name), name), name) + "  "
		b.WriteString("  " + s.symbol(symbol) + " " + head + shorten(text, columns-5-width(head)) + "\n")
	}
	if more := len(list) - shown; more > 0 {
		fmt.Fprintf(b, "    %s\n", s.dim(fmt.Sprintf("… %d more (-v shows all)", more)))
	}
}

func versionText(list []string) string {
	out := make([]string, len(list))
	for i, v := range list {
		if out[i] = quoted(v); v == "" {
			out[i] = "no version"
		}
	}
	return strings.Join(out, ", ")
}
