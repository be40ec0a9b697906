package view

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/slug"
)

// Inspected is what inspect found. It is the document of inspect --json.
type Inspected struct {
	V    int    `json:"v"`
	Type string `json:"type"`
	// Subject is what was looked at, as the user named it: a file, a release, or "tree".
	Subject string `json:"subject"`
	// Checksum is "SHA256:" and 64 hex digits, Size in bytes, compressed; empty and 0 when they are
	// not known.
	Checksum string `json:"checksum,omitempty"`
	Size     int64  `json:"size"`
	Layout   Layout `json:"layout"`
	// Present is the stack that the slug is for, Checked the one that it was looked at for; null
	// when nobody names one.
	Present      *StackFacts       `json:"present"`
	Checked      *StackFacts       `json:"checked"`
	ProcessTypes map[string]string `json:"process_types"`
	// Summary is null when the layout is wrong.
	Summary  *slug.Summary      `json:"contents"`
	Findings []artifact.Finding `json:"findings"`
}

// Layout says whether the bytes are laid out as a slug.
type Layout struct {
	OK  bool   `json:"ok"`
	Why string `json:"why,omitempty"`
}

// StackFacts are what is known of a stack.
type StackFacts struct {
	Name  string `json:"name"`
	Known bool   `json:"known"`
	// EndOfLife is a day or a month; Expected says that it is Ubuntu's and not announced.
	Ubuntu    string `json:"ubuntu,omitempty"`
	State     string `json:"state,omitempty"`
	EndOfLife string `json:"end_of_life,omitempty"`
	Expected  bool   `json:"expected,omitempty"`
	Support   string `json:"support,omitempty"`
	GLIBC     string `json:"glibc,omitempty"`
	GLIBCXX   string `json:"glibcxx,omitempty"`
	OpenSSL   string `json:"openssl,omitempty"`
}

// count is how many findings are of a severity.
func (r Inspected) count(s artifact.Severity) (n int) {
	for _, f := range r.Findings {
		if f.Severity == s {
			n++
		}
	}
	return n
}

// Runs reports whether nothing is known that would keep the slug from running.
func (r Inspected) Runs() bool { return r.Layout.OK && r.count(artifact.Error) == 0 }

// maxDirs and maxSame are how many directories, and how many files with one finding, are shown
// without -v.
const (
	maxDirs = 8
	maxSame = 3
)

// Inspection writes what was found for people.
func Inspection(w io.Writer, r Inspected, o PlanOptions) error {
	s := o.Style
	var b strings.Builder
	row := func(name, text string) { b.WriteString("  " + pad(name, 9) + " " + text + "\n") }
	b.WriteString(s.bold(Clean(r.Subject)) + "  " + Size(r.Size))
	if c := r.Summary; c != nil {
		fmt.Fprintf(&b, ", %s unpacked", Size(c.Size))
	}
	b.WriteString("\n")
	if r.Checksum != "" {
		b.WriteString(s.dim(r.Checksum) + "\n")
	}
	b.WriteString("\n")
	if !r.Layout.OK {
		row("layout", s.red("wrong")+": "+Clean(r.Layout.Why))
		_, err := io.WriteString(w, b.String())
		return err
	}
	row("layout", s.green("right")+": one gzip member, everything under ./app")
	if r.Present != nil {
		row("stack", stackLine(*r.Present, s))
	}
	switch {
	case r.Checked == nil:
		row("checked", "for no stack: name one with --stack")
	case r.Checked.Name != r.Present.name():
		row("checked", "for "+stackLine(*r.Checked, s))
	}
	c := r.Summary
	row("entries", fmt.Sprintf("%s, %s, %s", count(c.Files, "file"), plural(c.Dirs, "directory", "directories"), count(c.Links, "link")))
	row("", fmt.Sprintf("%s, %s, %s", count(c.Programs, "program"), plural(c.Libraries, "library", "libraries"), count(c.Scripts, "script")))
	if len(r.ProcessTypes) == 0 {
		row("processes", s.dim("not known: a slug does not say how it is started"))
	}
	name := 0
	for n := range r.ProcessTypes {
		name = max(name, width(n))
	}
	for i, n := range slices.Sorted(maps.Keys(r.ProcessTypes)) {
		head := ""
		if i == 0 {
			head = "processes"
		}
		row(head, pad(Clean(n), name)+"  "+shorten(Clean(r.ProcessTypes[n]), max(columns-14-name, 24)))
	}
	shares(&b, "\n  Size by directory\n", c.Top, o)
	if o.Verbose {
		shares(&b, "\n  Largest files\n", c.Largest, o)
	}
	findings(&b, r, o)
	b.WriteString("\n" + verdict(r, s) + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func (f *StackFacts) name() string {
	if f == nil {
		return ""
	}
	return f.Name
}

// stackLine says what a stack is and until when.
func stackLine(f StackFacts, s Style) string {
	if !f.Known {
		return Clean(f.Name) + ", of which nothing is known here"
	}
	end := "end of life " + f.EndOfLife
	if f.Expected {
		end = "end of life about " + f.EndOfLife
	}
	switch f.Support {
	case "ended":
		end = s.red(end + ", which is over")
	case "ending":
		end = s.yellow(end)
	}
	return fmt.Sprintf("%s: Ubuntu %s, glibc %s, %s", f.Name, f.Ubuntu, f.GLIBC, end)
}

// shares writes a table of sizes.
func shares(b *strings.Builder, title string, list []slug.Share, o PlanOptions) {
	b.WriteString(title)
	shown := len(list)
	if !o.Verbose && shown > maxDirs+1 {
		shown = maxDirs
	}
	for _, d := range list[:shown] {
		line := fmt.Sprintf("    %9s  %s", Size(d.Size), shorten(Clean(d.Path), 40))
		if d.Files > 1 {
			line += o.Style.dim("  " + count(d.Files, "file"))
		}
		b.WriteString(line + "\n")
	}
	if more := list[shown:]; len(more) > 0 {
		var size int64
		for _, d := range more {
			size += d.Size
		}
		fmt.Fprintf(b, "    %9s  %s\n", Size(size), o.Style.dim(fmt.Sprintf("in %d more", len(more))))
	}
}

// findings writes what was found, the same of several files together.
func findings(b *strings.Builder, r Inspected, o PlanOptions) {
	s := o.Style
	list := r.Findings
	if len(list) > 0 {
		b.WriteString("\n")
	}
	for len(list) > 0 {
		first := list[0]
		n := 1
		for n < len(list) && list[n].Code == first.Code && list[n].Message == first.Message && list[n].Severity == first.Severity && first.Path != "" {
			n++
		}
		word := s.yellow(string(first.Severity))
		if first.Severity == artifact.Error {
			word = s.red(string(first.Severity))
		}
		fmt.Fprintf(b, "  %s [%s] %s\n", word, first.Code, broken(Clean(first.Message), 6+len(first.Severity)+len(first.Code), "    "))
		for i, f := range list[:n] {
			if i == maxSame && n > maxSame+1 && !o.Verbose {
				fmt.Fprintf(b, "    %s\n", s.dim(fmt.Sprintf("and %d more files", n-i)))
				break
			}
			where := shorten(Clean(f.Path), columns-4)
			if f.ProcessType != "" {
				where = strings.TrimPrefix(where+", process type "+Clean(f.ProcessType), ", ")
			}
			fmt.Fprintf(b, "    %s\n", where)
		}
		if first.Hint != "" {
			fmt.Fprintf(b, "    %s %s\n", s.cyan("hint:"), broken(Clean(first.Hint), 10, "    "))
		}
		list = list[n:]
	}
}

// broken breaks a text between words that begins at a column, so that it fits.
func broken(text string, at int, indent string) string {
	var b strings.Builder
	for i, word := range strings.Split(text, " ") {
		switch {
		case i == 0:
		case at+1+width(word) > columns:
			b.WriteString("\n" + indent)
			at = len(indent)
		default:
			b.WriteString(" ")
			at++
		}
		b.WriteString(word)
		at += width(word)
	}
	return b.String()
}

// verdict is the last line.
func verdict(r Inspected, s Style) string {
	errs, warnings := r.count(artifact.Error), r.count(artifact.Advice)
	on := r.Checked.name()
	switch {
	case errs > 0:
		return fmt.Sprintf("It would %s on %s: %s, %s.", s.red("not run"), on, count(errs, "error"), count(warnings, "warning"))
	case on == "":
		return fmt.Sprintf("Nothing else was looked for: %s.", count(warnings, "warning"))
	case !r.Checked.Known:
		return fmt.Sprintf("Nothing is known of %s: %s.", Clean(on), count(warnings, "warning"))
	case warnings > 0:
		return fmt.Sprintf("Nothing keeps it from running on %s: %s.", on, count(warnings, "warning"))
	}
	return fmt.Sprintf("Nothing keeps it from running on %s.", s.green(on))
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
