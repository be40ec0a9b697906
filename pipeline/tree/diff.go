package tree

// Change is one path that differs between two manifests: Before is nil for an added path,
// After for a removed one.
type Change struct {
	Path   string `json:"path"`
	Before *Entry `json:"before,omitempty"`
	After  *Entry `json:"after,omitempty"`
}

// Diff lists the paths that differ, in the order of Compare. Both manifests must be sorted.
func Diff(before, after Manifest) []Change {
	var changes []Change
	i, j := 0, 0
	for i < len(before) || j < len(after) {
		var order int
		switch {
		case i == len(before):
			order = 1
		case j == len(after):
			order = -1
		default:
			order = Compare(before[i].Path, after[j].Path)
		}
		switch {
		case order < 0:
			e := before[i]
			changes = append(changes, Change{Path: e.Path, Before: &e})
			i++
		case order > 0:
			e := after[j]
			changes = append(changes, Change{Path: e.Path, After: &e})
			j++
		default:
			if b, a := before[i], after[j]; b != a {
				changes = append(changes, Change{Path: a.Path, Before: &b, After: &a})
			}
			i, j = i+1, j+1
		}
	}
	return changes
}
