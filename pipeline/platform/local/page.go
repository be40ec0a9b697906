package local

import (
	"cmp"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// pageRange is a parsed Range header of a list: `version ]12..; max=10, order=desc`.
type pageRange struct {
	field      string
	start, end string
	after      bool // the start value itself is left out
	max        int
	desc       bool
}

// Field and brackets are optional, blanks are allowed everywhere.
var rangeForm = regexp.MustCompile(`^\s*(?:([A-Za-z_]+)\s)?\s*([\[\]]?)\s*([^\s;,.\[\]]*)\s*\.\.\s*([^\s;,.\[\]]*)\s*[\[\]]?\s*(?:[;,](.*))?$`)

// parseRange takes every spelling that clients are known to send. Unknown parameters are
// ignored and numbers are clamped, as on the real platform.
func parseRange(header, field string) (pageRange, error) {
	r := pageRange{field: field, max: 200}
	if strings.TrimSpace(header) == "" {
		return r, nil
	}
	m := rangeForm.FindStringSubmatch(header)
	if m == nil {
		return r, &apiError{status: http.StatusRequestedRangeNotSatisfiable, id: "requested_range_not_satisfiable", message: fmt.Sprintf("Range %q could not be read.", header)}
	}
	if m[1] != "" {
		r.field = m[1]
	}
	r.after, r.start, r.end = m[2] == "]", m[3], m[4]
	for _, parameter := range strings.FieldsFunc(m[5], func(c rune) bool { return c == ',' || c == ';' }) {
		key, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
		switch strings.TrimSpace(key) {
		case "max":
			n, err := strconv.Atoi(strings.TrimSpace(value))
			if err != nil {
				return r, &apiError{status: http.StatusRequestedRangeNotSatisfiable, id: "requested_range_not_satisfiable", message: fmt.Sprintf("Range %q has a max that is not a number.", header)}
			}
			r.max = min(max(n, 1), 1000)
		case "order":
			r.desc = strings.EqualFold(strings.TrimSpace(value), "desc")
		}
	}
	return r, nil
}

// page answers a list by the Range header of the call. fields give the sortable values of an
// item; the first is the default.
func page[T any](c *call, items []T, names []string, value func(T, string) string) (answer, error) {
	c.w.Header().Set("Accept-Ranges", strings.Join(names, ", "))
	r, err := parseRange(c.Header.Get("Range"), names[0])
	if err != nil {
		return answer{}, err
	}
	if !slices.Contains(names, r.field) {
		return answer{}, &apiError{status: http.StatusRequestedRangeNotSatisfiable, id: "requested_range_not_satisfiable", message: fmt.Sprintf("Lists of this kind sort by %s, not by %q.", strings.Join(names, ", "), r.field)}
	}
	compare := func(a, b string) int {
		if r.desc {
			a, b = b, a
		}
		return compareValues(a, b)
	}
	sorted := slices.Clone(items)
	slices.SortStableFunc(sorted, func(a, b T) int { return compare(value(a, r.field), value(b, r.field)) })
	list := []T{} // an empty list is [], never null
	status := http.StatusOK
	for _, item := range sorted {
		v := value(item, r.field)
		if r.start != "" {
			if d := compare(v, r.start); d < 0 || d == 0 && r.after {
				continue
			}
		}
		if r.end != "" && compare(v, r.end) > 0 {
			break
		}
		if len(list) == r.max {
			last := value(list[len(list)-1], r.field)
			next := fmt.Sprintf("%s ]%s..%s; max=%d", r.field, last, r.end, r.max)
			if r.desc {
				next += ", order=desc"
			}
			c.w.Header().Set("Next-Range", next)
			status = http.StatusPartialContent
			break
		}
		list = append(list, item)
	}
	if len(list) > 0 {
		c.w.Header().Set("Content-Range", fmt.Sprintf("%s %s..%s", r.field, value(list[0], r.field), value(list[len(list)-1], r.field)))
	}
	return answer{status, list}, nil
}

// compareValues compares numbers as numbers.
func compareValues(a, b string) int {
	x, errX := strconv.Atoi(a)
	y, errY := strconv.Atoi(b)
	if errX == nil && errY == nil {
		return cmp.Compare(x, y)
	}
	return cmp.Compare(a, b)
}
