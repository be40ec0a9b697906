package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// faultTable has a row for every fault test that ran: what was tried, and what came of it. It
// is printed after the last test, and written to the file that SLUGFILE_FAULTS_TABLE names.
var faultTable = struct {
	sync.Mutex
	rows map[string]*faultRow // by the name of the test
	// seed takes the random cases back.
	seed string
}{rows: map[string]*faultRow{}}

// faultRow is filled while its test runs, by several worlds at once.
type faultRow struct {
	// id is that of the fault matrix: K for kills, N for the network, C for several at once.
	id, what string

	mu sync.Mutex
	// runs met a fault. kills were sent on the way there too, and landed came before the end.
	runs, kills, landed int
	// changes were to be released, and releases were made for them.
	changes, releases int
	invariants        map[string]bool
	took              time.Duration
	failed            bool
}

// inTable gives a test its row.
func inTable(t *testing.T, id, what string) *faultRow {
	t.Helper()
	faultTable.Lock()
	defer faultTable.Unlock()
	row := faultTable.rows[t.Name()]
	if row == nil {
		row = &faultRow{id: id, what: what, invariants: map[string]bool{}}
		faultTable.rows[t.Name()] = row
	}
	start := time.Now()
	t.Cleanup(func() {
		row.mu.Lock()
		defer row.mu.Unlock()
		row.took += time.Since(start)
		row.failed = row.failed || t.Failed()
	})
	return row
}

// rowOf finds the row of a test or of one of its parts. Every test of faults has one; for what
// else uses their worlds it is nil, which counts nothing.
func rowOf(t testing.TB) *faultRow {
	t.Helper()
	root, _, _ := strings.Cut(t.Name(), "/")
	faultTable.Lock()
	defer faultTable.Unlock()
	row := faultTable.rows[root]
	if row == nil && strings.HasPrefix(root, "TestFault") {
		t.Fatalf("%s has no row in the fault table: begin it with inTable", root)
	}
	return row
}

// add counts.
func (f *faultRow) add(count func(*faultRow)) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	count(f)
}

// kill counts a run that was to be killed.
func (f *faultRow) kill(got result) {
	f.add(func(f *faultRow) {
		f.kills++
		if got.Code == -1 {
			f.landed++
		}
	})
}

// local counts runs with --local, each of them about one change that was released once: their
// tests look at that themselves, for the platform ends with the run.
func (f *faultRow) local(runs int) {
	f.add(func(f *faultRow) {
		f.runs += runs
		f.changes++
		f.releases++
	})
}

// holds notes that an invariant was looked at. Whether it held is whether the test failed.
func (f *faultRow) holds(names ...string) {
	f.add(func(f *faultRow) {
		for _, n := range names {
			f.invariants[n] = true
		}
	})
}

func (f *faultRow) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	runs := strconv.Itoa(f.runs)
	if f.kills > 0 {
		runs += fmt.Sprintf("; %d of %d kills landed", f.landed, f.kills)
	}
	held := strings.Join(slices.Sorted(maps.Keys(f.invariants)), ", ")
	if held == "I1, I2, I3, I4, I5" {
		held = "I1-I5"
	}
	if f.failed {
		held = "**broken**"
	}
	return fmt.Sprintf("| %s | %s | %s | %d for %d changes | %s | %.1f s |", f.id, f.what, runs, f.releases, f.changes, held, f.took.Seconds())
}

// writeFaultTable writes the rows of all tests that ran, as markdown.
func writeFaultTable(w io.Writer) error {
	faultTable.Lock()
	defer faultTable.Unlock()
	if len(faultTable.rows) == 0 {
		return nil
	}
	text := "| id | case | faulty runs | releases | invariants held | time |\n| --- | --- | --- | --- | --- | --- |\n"
	names := slices.SortedFunc(maps.Keys(faultTable.rows), func(a, b string) int {
		x, y := faultTable.rows[a].id, faultTable.rows[b].id
		return cmp.Or(strings.Compare(x[:1], y[:1]), cmp.Compare(len(x), len(y)), strings.Compare(x, y), strings.Compare(a, b))
	})
	for _, name := range names {
		text += faultTable.rows[name].String() + "\n"
	}
	if faultTable.seed != "" {
		text += "\nrandom cases: " + faultTable.seed + "\n"
	}
	_, err := io.WriteString(w, text)
	return err
}

// closeFaultTable is for TestMain, after the last test.
func closeFaultTable() error {
	file := os.Getenv("SLUGFILE_FAULTS_TABLE")
	if file == "" {
		return writeFaultTable(os.Stdout)
	}
	var b strings.Builder
	if err := writeFaultTable(io.MultiWriter(&b, os.Stdout)); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(b.String()), 0o644)
}
