package diag

import "strings"

// Nearest is the known word that a misspelt one most likely stands for. It is false
// when none is near enough: within 1 + a third of the word's length in edits, after
// case and the two dashes are made equal.
func Nearest(word string, known []string) (string, bool) {
	w := fold(word)
	limit := 1 + len(w)/3
	best, distance := "", limit+1
	for _, k := range known {
		if d := edits(w, fold(k), limit); d < distance {
			best, distance = k, d
		}
	}
	return best, distance <= limit
}

func fold(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "_") }

// edits is the number of characters to insert, delete or replace; more than limit is
// only said to be more.
func edits(a, b string, limit int) int {
	x, y := []rune(a), []rune(b)
	if len(x)-len(y) > limit || len(y)-len(x) > limit {
		return limit + 1
	}
	row := make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i := range x {
		diagonal := row[0]
		row[0] = i + 1
		for j := range y {
			cost := diagonal
			if x[i] != y[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal = row[j+1]
			row[j+1] = cost
		}
	}
	return row[len(y)]
}
