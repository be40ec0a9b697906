package local

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	bolt "go.etcd.io/bbolt"
)

// pageRange is a parsed Range header of a list: `version ]12..; max=10, order=desc`.
type pageRange struct {
	field      string
	start, end string
	after      bool // the start value itself is left out
	before     bool // the end value itself is left out
	max        int
	desc       bool
}

// The size of a page: devcenter.heroku.com/articles/platform-api-reference#ranges.
const (
	defaultPage = 200
	largestPage = 1000
)

// Field and brackets are optional, blanks are allowed everywhere.
var rangeForm = regexp.MustCompile(`^\s*(?:([A-Za-z_]+)\s)?\s*([\[\]]?)\s*([^\s;,.\[\]]*)\s*\.\.\s*([^\s;,.\[\]]*)\s*([\[\]]?)\s*(?:[;,](.*))?$`)

func badRange(format string, args ...any) error {
	return &apiError{status: http.StatusRequestedRangeNotSatisfiable, id: "requested_range_not_satisfiable", message: fmt.Sprintf(format, args...)}
}

// parseRange takes every spelling that clients are known to send. Unknown parameters are
// ignored and numbers are clamped, as on the real platform.
func parseRange(header, field string) (pageRange, error) {
	r := pageRange{field: field, max: defaultPage}
	if strings.TrimSpace(header) == "" {
		return r, nil
	}
	m := rangeForm.FindStringSubmatch(header)
	if m == nil {
		return r, badRange("Range %q could not be read.", header)
	}
	r.field = cmp.Or(m[1], field)
	r.after, r.start, r.end, r.before = m[2] == "]", m[3], m[4], m[5] == "["
	for _, parameter := range strings.FieldsFunc(m[6], func(c rune) bool { return c == ',' || c == ';' }) {
		key, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(key) {
		case "max":
			n, err := strconv.Atoi(value) // at its limit when it is out of range
			if err != nil && !errors.Is(err, strconv.ErrRange) {
				return r, badRange("Range %q has a max that is not a number.", header)
			}
			r.max = min(max(n, 1), largestPage)
		case "order":
			r.desc = strings.EqualFold(value, "desc")
		}
	}
	return r, nil
}

// next is the spelling that goes on after the value last.
func (r pageRange) next(last string) string {
	end := r.end
	if r.before {
		end += "["
	}
	next := fmt.Sprintf("%s ]%s..%s; max=%d", r.field, last, end, r.max)
	if r.desc {
		next += ", order=desc"
	}
	return next
}

// pageRead is page for a list that is read in one transaction.
func pageRead[T any](p *Platform, c *call, names []string, value func(T, string) string, read func(*bolt.Tx) ([]T, error)) (answer, error) {
	var list []T
	err := p.db.View(func(tx *bolt.Tx) (err error) {
		list, err = read(tx)
		return err
	})
	if err != nil {
		return answer{}, err
	}
	return page(c, list, names, value)
}

// either is the value of the field id, or of the only other one.
func either(field, id, other string) string {
	if field == "id" {
		return id
	}
	return other
}

// page answers a list by the Range header of the call. names are the fields that it can be sorted
// by, the first of them unless told otherwise; value gives an item's. A value is unique among
// the items, or a page could begin in the middle of equal ones: see tied.
func page[T any](c *call, items []T, names []string, value func(T, string) string) (answer, error) {
	c.w.Header().Set("Accept-Ranges", strings.Join(names, ", "))
	r, err := parseRange(c.Header.Get("Range"), names[0])
	if err != nil {
		return answer{}, err
	}
	if !slices.Contains(names, r.field) {
		return answer{}, badRange("Lists of this kind sort by %s, not by %q.", strings.Join(names, ", "), r.field)
	}
	compare := func(a, b string) int {
		if r.desc {
			a, b = b, a
		}
		return compareValues(a, b)
	}
	type keyed struct {
		item  T
		value string
	}
	sorted := make([]keyed, len(items))
	for i, item := range items {
		sorted[i] = keyed{item, value(item, r.field)}
	}
	slices.SortStableFunc(sorted, func(a, b keyed) int { return compare(a.value, b.value) })
	list := []T{} // an empty list is [], never null
	status := http.StatusOK
	first, last := "", ""
	for _, k := range sorted {
		if r.start != "" {
			if d := compare(untied(k.value, r.start), r.start); d < 0 || d == 0 && r.after {
				continue
			}
		}
		if r.end != "" {
			if d := compare(untied(k.value, r.end), r.end); d > 0 || d == 0 && r.before {
				break
			}
		}
		if len(list) == r.max {
			c.w.Header().Set("Next-Range", r.next(last))
			status = http.StatusPartialContent
			break
		}
		if len(list) == 0 {
			first = k.value
		}
		last = k.value
		list = append(list, k.item)
	}
	if len(list) > 0 {
		c.w.Header().Set("Content-Range", fmt.Sprintf("%s %s..%s", r.field, untied(first, ""), untied(last, "")))
	}
	return answer{status, list}, nil
}

// tied makes a value that several items may share unique by their id.
func tied(value, id string) string { return value + "~" + id }

// untied is the value as it is compared with a bound: bounds of clients have no id, those of a
// Next-Range do.
func untied(value, bound string) string {
	if strings.Contains(bound, "~") {
		return value
	}
	plain, _, _ := strings.Cut(value, "~")
	return plain
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
