package view

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sebdah/goldie/v2"

	"github.com/slugfile/slugfile/config/diag"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/event"
	"github.com/slugfile/slugfile/pipeline/fetch"
	"github.com/slugfile/slugfile/pipeline/lock"
)

// clock advances by step with every look.
func clock(step time.Duration) func() time.Time {
	var mu sync.Mutex
	now := time.Date(2026, 3, 1, 12, 3, 0, 0, time.UTC)
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(step)
		return now
	}
}

// story is a run in which everything happens once.
var story = []event.Event{
	event.StageStarted{Stage: event.Fetch},
	event.TaskStarted{Stage: event.Fetch, Subject: "node 22.11.0", Total: 27_800_000},
	event.Progress{Stage: event.Fetch, Subject: "node 22.11.0", Done: 13_900_000, Total: 27_800_000},
	event.Retry{Stage: event.Fetch, Subject: "node 22.11.0", Attempt: 1, Wait: 1500 * time.Millisecond, Error: "connection reset"},
	event.TaskFinished{Stage: event.Fetch, Subject: "node 22.11.0", Bytes: 27_800_000, Why: "sha256 ok", Elapsed: 2100 * time.Millisecond},
	event.StageFinished{Stage: event.Fetch, Elapsed: 2200 * time.Millisecond},
	event.TaskFinished{Stage: event.Compile, Subject: "dependencies", Reused: true, Why: "inputs unchanged"},
	event.TaskStarted{Stage: event.Compile, Subject: "bundle"},
	event.Output{Stage: event.Compile, Subject: "bundle", Line: "\x1b[32mdone\x1b[0m\x1b]0;owned\x07"},
	event.Warning{Stage: event.Compile, Subject: "bundle", Message: "no namespaces here", Hint: "steps are not kept apart"},
	event.TaskFailed{Stage: event.Compile, Subject: "bundle", Error: "exited with 1\nlast line", Elapsed: 64 * time.Second},
	event.StageFailed{Stage: event.Compile, Error: "exited with 1", Elapsed: 64 * time.Second},
	event.StageSkipped{Stage: event.Archive, Why: "the slug is in the store"},
	event.Output{Stage: event.Release, Subject: "release", Line: "migrated"},
}

func tell(v View, events []event.Event) {
	for _, e := range events {
		v.Emit(e)
	}
}

func TestPlain_isOneLineForEachThingThatHappened(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{
		"plain":         {},
		"plain-verbose": {Verbose: true},
		"plain-colour":  {Style: NewStyle(true)},
	} {
		var b bytes.Buffer
		o.Now = clock(time.Second)
		v := NewPlain(&b, o)
		tell(v, story)
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		goldie.New(t).Assert(t, name, b.Bytes())
	}
}

func TestPlain_showsASignOfLifeInLongTasksAndNoMore(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	v := NewPlain(&b, Options{Now: clock(time.Second)})
	v.Emit(event.TaskStarted{Stage: event.Upload, Subject: "slug", Total: 1000})
	for i := range 65 {
		v.Emit(event.Progress{Stage: event.Upload, Subject: "slug", Done: int64(i), Total: 1000})
	}
	want := "12:03:31 upload  slug  29 B of 1.0 kB\n12:04:01 upload  slug  59 B of 1.0 kB\n"
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Error(d)
	}
}

func TestNone_showsWarningsOnly(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	v := New(KindNone, &b, Options{})
	tell(v, story)
	want := "warning: bundle: no namespaces here\nhint: steps are not kept apart\n"
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Error(d)
	}
}

// liveCodes is all that the live view may send beside colours: to the first column, cursor
// up, and clear below.
var liveCodes = regexp.MustCompile(`\r\x1b\[[0-9]+A\x1b\[J`)

// screen is what stays on a terminal after b was written to it.
func screen(b string) string {
	var rows []string
	row := ""
	for b != "" {
		if m := liveCodes.FindString(b); m != "" && strings.HasPrefix(b, m) {
			up, _ := strconv.Atoi(m[3:strings.IndexByte(m, 'A')])
			rows = rows[:max(len(rows)-up, 0)]
			b = b[len(m):]
			continue
		}
		if b[0] == '\n' {
			rows, row = append(rows, row), ""
		} else {
			row += b[:1]
		}
		b = b[1:]
	}
	return strings.Join(append(rows, row), "\n")
}

func TestTerminal_leavesTheStoryAndNoLiveLine(t *testing.T) {
	t.Parallel()
	for _, verbose := range []bool{false, true} {
		var b bytes.Buffer
		v := NewTerminal(&b, Options{Now: clock(time.Millisecond), Verbose: verbose})
		tell(v, story)
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		v.Emit(event.Output{Stage: event.Release, Subject: "web.1", Line: "GET /"})
		name := "terminal"
		if verbose {
			name += "-verbose"
		}
		goldie.New(t).Assert(t, name, []byte(screen(b.String())))
	}
}

func TestTerminal_foldsTheOutputOfAStepThatSucceedsAndShowsAllWhenItFails(t *testing.T) {
	t.Parallel()
	for _, fails := range []bool{false, true} {
		var b bytes.Buffer
		v := NewTerminal(&b, Options{})
		v.Emit(event.TaskStarted{Stage: event.Compile, Subject: "bundle"})
		for i := range 50 {
			v.Emit(event.Output{Stage: event.Compile, Subject: "bundle", Line: "line " + strconv.Itoa(i)})
		}
		time.Sleep(3 * refresh) // live lines are drawn by mpb's own clock
		if fails {
			v.Emit(event.TaskFailed{Stage: event.Compile, Subject: "bundle", Error: "exited with 1"})
		} else {
			v.Emit(event.TaskFinished{Stage: event.Compile, Subject: "bundle"})
		}
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), "      line 47\n      line 48\n      line 49\n") {
			t.Errorf("the last lines were not shown live:\n%q", b.String())
		}
		for i := range 50 {
			shown := strings.Contains(screen(b.String()), "      line "+strconv.Itoa(i)+"\n")
			if shown != fails {
				t.Errorf("step fails: %v, line %d stays: %v", fails, i, shown)
			}
		}
	}
}

func TestTerminal_showsAGaugeInEightyColumns(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for columns, want := range map[int]string{
		79:  "  | fetch   node          [===    ]  13.9 MB of 27.8 MB  1.9 MB/s  7s left",
		120: "  | fetch   node          [==========          ]  13.9 MB of 27.8 MB  1.9 MB/s  7s left",
		60:  "  | fetch   node          13.9 MB of 27.8 MB  7s left",
	} {
		task := &liveTask{task: task{event.Fetch, "node"}, start: now, done: 13_900_000, total: 27_800_000}
		task.samples = []sample{{now.Add(-time.Second), 12_000_000}, {now, 13_900_000}}
		got := task.draw(time.UnixMilli(0), columns, Style{})
		if d := cmp.Diff(want, strings.TrimRight(got, " ")); d != "" || width(got) > columns {
			t.Errorf("%d columns: %s", columns, d)
		}
	}
}

func TestTerminal_endsTasksThatNobodyFinished(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	v := NewTerminal(&b, Options{})
	for i := range 30 {
		v.Emit(event.TaskStarted{Stage: event.Fetch, Subject: "runtime" + strconv.Itoa(i), Total: 10})
	}
	done := make(chan error, 1)
	go func() { done <- v.Close() }()
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("Close hangs while tasks are open")
	}
	if got := strings.Count(screen(b.String()), "stopped"); got != 30 {
		t.Errorf("%d of 30 open tasks are said to be stopped", got)
	}
	if err := v.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
}

func TestViews_sendNoControlSequenceButTheirOwn(t *testing.T) {
	t.Parallel()
	for _, kind := range []Kind{KindTerminal, KindPlain, KindJSON, KindNone} {
		for _, colour := range []bool{false, true} {
			var b bytes.Buffer
			v := New(kind, &b, Options{Style: NewStyle(colour), Verbose: true})
			for _, tt := range hostileTexts {
				s := tt.in
				tell(v, []event.Event{
					event.StageStarted{Stage: s}, event.StageFinished{Stage: s}, event.StageSkipped{Stage: s, Why: s},
					event.StageFailed{Stage: s, Error: s}, event.TaskStarted{Stage: s, Subject: s},
					event.Progress{Stage: s, Subject: s, Done: 1}, event.Output{Stage: event.Compile, Subject: s, Line: s},
					event.Output{Stage: s, Subject: s, Line: s}, event.Warning{Stage: s, Subject: s, Message: s, Hint: s},
					event.Retry{Stage: s, Subject: s, Error: s}, event.TaskFailed{Stage: s, Subject: s, Error: s},
					event.TaskStarted{Stage: s, Subject: s},
				})
			}
			time.Sleep(2 * refresh) // so that live lines are drawn too
			if err := v.Close(); err != nil {
				t.Fatal(err)
			}
			rest := withoutColours(liveCodes.ReplaceAllString(b.String(), ""))
			if i := strings.IndexFunc(strings.ReplaceAll(rest, "\n", ""), hostile); i >= 0 {
				t.Errorf("view %d, colour %v: a control character got through", kind, colour)
			}
			if !colour && strings.Contains(liveCodes.ReplaceAllString(b.String(), ""), "\x1b") {
				t.Errorf("view %d: an escape sequence without colour", kind)
			}
		}
	}
}

func TestJSON_linesHaveVersionTypeAndTheFieldsOfTheEvent(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	v := NewJSON(&b)
	tell(v, story)
	for _, l := range []Line{
		Planned{Plan: map[string]any{"v": 1}},
		Applied{App: "example", Release: AppliedRelease{"01234567", 12}, Slug: AppliedSlug{"89abcdef", "SHA256:00", 48}, WebURL: "http://127.0.0.1:1/", Changed: true},
		Built{Slug: BuiltSlug{"SHA256:00", 48, "slug.tgz"}},
		NewLocked("slug.lock", []fetch.Change{
			{Name: "node", URL: "https://example.com/node.tar.gz", New: &lock.Pin{SHA256: digest.Of([]byte("a")), Size: 1}},
			{Name: "ruby", URL: "https://example.com/ruby.tar.gz", Old: &lock.Pin{Size: 1}, New: &lock.Pin{Size: 1}},
			{Name: "none", URL: "https://example.com/none.tar.gz"},
		}),
		Released{ID: "01234567", Version: 12, CreatedAt: time.Unix(0, 0).UTC()},
		NewDiagnostic(diag.Diagnostic{Pos: diag.Pos{File: "slug.yaml", Line: 2, Column: 8}, Path: "stack", Message: "unknown", Hint: "look", Snippet: "stack: x\u202e"}),
		Failure{Message: "boom", ExitCode: 1},
	} {
		if err := WriteLine(&b, l); err != nil {
			t.Fatal(err)
		}
	}
	for l := range strings.Lines(b.String()) {
		var head struct {
			V    int
			Type string
		}
		if err := json.Unmarshal([]byte(l), &head); err != nil || head.V != 1 || !slices.Contains(Types, head.Type) {
			t.Errorf("line %s: v %d, type %q, %v", l, head.V, head.Type, err)
		}
	}
	goldie.New(t).Assert(t, "jsonl", b.Bytes())
}

func TestJSON_keepsForeignTextWordForWord(t *testing.T) {
	t.Parallel()
	for _, tt := range hostileTexts {
		var b bytes.Buffer
		v := NewJSON(&b)
		v.Emit(event.Output{Stage: "compile", Subject: "x", Line: tt.in})
		var got struct{ Line string }
		if err := json.Unmarshal(b.Bytes(), &got); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if want := strings.ToValidUTF8(tt.in, "\ufffd"); got.Line != want {
			t.Errorf("%s: %q came back as %q", tt.name, want, got.Line)
		}
	}
}

// TestJSON_typesAreTheDocumentedOnes holds three lists together: the events and results
// that exist, Types, and the table in the package documentation.
func TestJSON_typesAreTheDocumentedOnes(t *testing.T) {
	t.Parallel()
	var exist []string
	for _, file := range []string{"../../../../pipeline/event/event.go", "jsonl.go"} {
		exist = append(exist, typeNames(t, file)...)
	}
	slices.Sort(exist)
	listed := slices.Sorted(slices.Values(Types))
	if d := cmp.Diff(exist, listed); d != "" {
		t.Errorf("Types differ from the events and results (-exist +listed):\n%s", d)
	}
	source, err := os.ReadFile("view.go")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, m := range regexp.MustCompile(`(?m)^//\t([a-z_]+) `).FindAllStringSubmatch(string(source), -1) {
		documented = append(documented, m[1])
	}
	slices.Sort(documented)
	if d := cmp.Diff(documented, listed); d != "" {
		t.Errorf("the package documentation differs from Types (-documented +listed):\n%s", d)
	}
}

// typeNames lists what the Type methods of a file return.
func typeNames(t *testing.T, file string) []string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range parsed.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Name.Name != "Type" || f.Recv == nil {
			continue
		}
		lit := f.Body.List[0].(*ast.ReturnStmt).Results[0].(*ast.BasicLit)
		name, err := strconv.Unquote(lit.Value)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		t.Fatalf("%s has no Type methods", file)
	}
	return names
}

type unknownLine struct{}

func (unknownLine) Type() string { return "surprise" }

func TestWriteLine_refusesTypesOutsideTheList(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := WriteLine(&b, unknownLine{}); err == nil || b.Len() > 0 {
		t.Errorf("error %v, written %q", err, b.String())
	}
}

type brokenWriter struct{}

var errBroken = errors.New("broken pipe")

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestViews_reportAWriterThatFailsOnClose(t *testing.T) {
	t.Parallel()
	for _, kind := range []Kind{KindTerminal, KindPlain, KindJSON, KindNone} {
		v := New(kind, brokenWriter{}, Options{})
		v.Emit(event.Warning{Message: "x"})
		if err := v.Close(); !errors.Is(err, errBroken) {
			t.Errorf("view %d: Close returns %v", kind, err)
		}
	}
}

func TestViews_takeEventsFromManyGoroutines(t *testing.T) {
	t.Parallel()
	for _, kind := range []Kind{KindTerminal, KindPlain, KindJSON, KindNone} {
		var b bytes.Buffer
		v := New(kind, &b, Options{})
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				name := "runtime" + strconv.Itoa(i)
				v.Emit(event.TaskStarted{Stage: event.Fetch, Subject: name, Total: 100})
				for n := range 100 {
					v.Emit(event.Progress{Stage: event.Fetch, Subject: name, Done: int64(n), Total: 100})
				}
				v.Emit(event.TaskFinished{Stage: event.Fetch, Subject: name, Bytes: 100})
			})
		}
		wg.Wait()
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(screen(b.String()), "100 B"); kind <= KindPlain && got != 8 {
			t.Errorf("view %d tells the end of %d of 8 tasks", kind, got)
		}
	}
}
