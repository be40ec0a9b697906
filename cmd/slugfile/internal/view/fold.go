package view

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// folded is one line of a list of files: a file, or what changes below a directory.
type folded struct {
	// path ends with a slash when it is of a directory. It is empty for what found no line.
	path string
	// files are those that the line stands for.
	files []plan.FileChange
	// inside are the lines for the names right below a directory.
	inside []folded
}

// one reports whether the line is of a single file.
func (f folded) one() bool { return len(f.files) == 1 && len(f.inside) == 0 }

// fold shortens a list of files to at most that many lines, at least 2. Directories with many
// entries become one line and those with few are told file by file, so that what is rare is
// not lost among what is common. A file with a diff is never folded, so the list can become
// longer. What has no line even so is the rest.
func fold(files []plan.FileChange, most int) (lines []folded, rest folded) {
	if len(files) <= most {
		for _, f := range files {
			lines = append(lines, lineOf(f))
		}
		return lines, rest
	}
	var pinned, loose []plan.FileChange
	for _, f := range files {
		if !utf8.ValidString(f.Path) {
			f.Path = string([]rune(f.Path)) // sorted as in JSON, whose names are text
		}
		if f.Diff != "" {
			pinned = append(pinned, f)
		} else {
			loose = append(loose, f)
		}
	}
	if byPath := func(a, b plan.FileChange) int { return tree.Compare(a.Path, b.Path) }; !slices.IsSortedFunc(loose, byPath) {
		slices.SortStableFunc(loose, byPath)
	}
	lines = unfold(loose, max(most-len(pinned), 2))
	if room := max(most-len(pinned), 2); len(lines) > room {
		lines, rest = keep(lines, room-1)
	}
	for _, f := range pinned {
		lines = append(lines, lineOf(f))
	}
	slices.SortStableFunc(lines, func(a, b folded) int {
		return tree.Compare(strings.TrimSuffix(a.path, "/"), strings.TrimSuffix(b.path, "/"))
	})
	return lines, rest
}

// lineOf is the line of a single file.
func lineOf(f plan.FileChange) folded { return folded{path: f.Path, files: []plan.FileChange{f}} }

// unfold begins with one line for each name at the top, and opens the smallest directory as
// long as there is room for what is in it.
func unfold(files []plan.FileChange, most int) []folded {
	lines := below("", files)
	for {
		at := -1
		for i, l := range lines {
			if len(l.inside) > 0 && len(lines)-1+len(l.inside) <= most && (at < 0 || len(l.files) < len(lines[at].files)) {
				at = i
			}
		}
		if at < 0 {
			return lines
		}
		lines = slices.Replace(lines, at, at+1, lines[at].inside...)
	}
}

// below are the names right below a directory, of sorted files in it. A directory with a single
// name in it gives way to that name.
func below(dir string, files []plan.FileChange) []folded {
	var out []folded
	for len(files) > 0 {
		l, n := lineOf(files[0]), 1
		if slash := strings.IndexByte(l.path[len(dir):], '/'); slash >= 0 {
			l.path = l.path[:len(dir)+slash+1]
			for n < len(files) && strings.HasPrefix(files[n].Path, l.path) {
				n++
			}
			l.files = files[:n:n]
			if l.inside = below(l.path, l.files); len(l.inside) == 1 {
				l = l.inside[0]
			}
		}
		out = append(out, l)
		files = files[n:]
	}
	return out
}

// keep keeps the n lines that stand for most files, in their order.
func keep(lines []folded, n int) (kept []folded, rest folded) {
	order := make([]int, len(lines))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(len(lines[b].files), len(lines[a].files)) })
	slices.Sort(order[:n])
	for _, i := range order[:n] {
		kept = append(kept, lines[i])
	}
	for _, i := range order[n:] {
		rest.files = append(rest.files, lines[i].files...)
	}
	return kept, rest
}

// action is that of all files of a line, or a change when they differ.
func (f folded) action() plan.Action {
	for _, c := range f.files {
		if c.Action != f.files[0].Action {
			return plan.Change
		}
	}
	return f.files[0].Action
}

// amount says how many files change in which way, and how many bytes that makes: "3 added, 214
// changed, +3.1 MB".
func (f folded) amount() string {
	var added, changed, removed int
	var bytes int64
	for _, c := range f.files {
		switch c.Action {
		case plan.Add:
			added++
		case plan.Remove:
			removed++
		default:
			changed++
		}
		if c.After != nil {
			bytes += c.After.Size
		}
		if c.Before != nil {
			bytes -= c.Before.Size
		}
	}
	text := numbers("added", added, "changed", changed, "removed", removed)
	if bytes != 0 {
		text += ", " + delta(bytes)
	}
	return text
}
