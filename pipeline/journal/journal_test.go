package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/slugfile/slugfile/pipeline/journal"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// options count the applies and stop the clock.
func options() journal.Options {
	n := 0
	return journal.Options{
		Now:     func() time.Time { return noon },
		ApplyID: func() string { n++; return fmt.Sprintf("01JD000000000000000000%04d", n) },
	}
}

func open(t testing.TB, f journal.File) *journal.Journal {
	t.Helper()
	j, err := journal.Open(f, options())
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func write(t testing.TB, j *journal.Journal, ops ...journal.Operation) {
	t.Helper()
	for _, o := range ops {
		if err := j.Write(o); err != nil {
			t.Fatal(err)
		}
	}
}

// deploy is one operation, step by step.
func deploy(id string) []journal.Operation {
	o := journal.Operation{
		Apply: id, App: "a7e1", AppName: "example", PlanKey: strings.Repeat("0", 64),
		Checksum: "SHA256:" + strings.Repeat("1", 64), Size: 48_100_000,
	}
	var all []journal.Operation
	add := func(s journal.Step) { o.Step = s; all = append(all, o) }
	add(journal.BuildDone)
	add(journal.SlugIntent)
	o.SlugID = "5f1d"
	add(journal.SlugCreated)
	add(journal.BlobVerified)
	o.Baseline, o.Unanswered = journal.Release{ID: "r12", Version: 12}, 1
	add(journal.ReleaseIntent)
	o.Release, o.Unanswered = journal.Release{ID: "r13", Version: 13}, 0
	add(journal.ReleaseCreated)
	add(journal.Done)
	return all
}

// at is an operation as the journal hands it out: with its time.
func at(o journal.Operation) journal.Operation { o.At = noon; return o }

// Another process reads what was written, after every step.
func TestJournal_remembersEveryStep(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "apps", "key", "journal.jsonl")
	j := open(t, journal.Disk(path))
	if d := cmp.Diff(journal.State{}, j.State()); d != "" {
		t.Errorf("before the first: %s", d)
	}
	for _, o := range deploy("01JD") {
		write(t, j, o)
		want := at(o)
		state := journal.State{Open: &want}
		if o.Ended() {
			state = journal.State{Past: []journal.Operation{want}}
		}
		if d := cmp.Diff(state, open(t, journal.Disk(path)).State()); d != "" {
			t.Errorf("after %s: %s", o.Step, d)
		}
		if d := cmp.Diff(state, j.State()); d != "" {
			t.Errorf("after %s, in the process itself: %s", o.Step, d)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %s", info.Mode())
	}
	if info.Size() > 1000 {
		t.Errorf("%d bytes are left after the end", info.Size())
	}
	names, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(names) != 1 {
		t.Errorf("%v, %v: a file is left over", names, err)
	}
}

func TestJournal_isPlainJSONLines(t *testing.T) {
	t.Parallel()
	f := &journal.Memory{}
	write(t, open(t, f), deploy("01JD")[:2]...)
	text, _ := f.Read()
	want := `{"crc":"........","record":{"v":1,"step":"build.done","at":"2026-11-22T12:00:00Z","apply":"01JD","app":"a7e1","app_name":"example",`
	if line := string(text); len(line) < len(want) || line[:8] != want[:8] || line[16:len(want)] != want[16:] || strings.Count(line, "\n") != 2 {
		t.Errorf("%s\nwant %s…", line, want)
	}
}

// A crash may cut the last line at every byte. It is ignored then, and gone before the next one comes.
func TestOpen_ignoresATornLastLine(t *testing.T) {
	t.Parallel()
	ops := deploy("01JD")
	f := &journal.Memory{}
	j := open(t, f)
	write(t, j, ops[:4]...)
	before, _ := f.Read()
	write(t, j, ops[4])
	after, _ := f.Read()
	zeros := bytes.Repeat([]byte{0}, len(after)-len(before))
	for cut := len(before); cut < len(after); cut++ {
		for name, text := range map[string][]byte{
			"cut":          after[:cut],
			"never landed": append(append([]byte(nil), after[:cut]...), zeros[:len(after)-cut]...),
			"hole":         append(append(append([]byte(nil), before...), zeros[:cut-len(before)]...), after[cut:]...),
		} {
			if name == "hole" && cut == len(before) {
				continue // that is the whole line
			}
			torn := &journal.Memory{}
			if err := torn.Replace(text); err != nil {
				t.Fatal(err)
			}
			j := open(t, torn)
			if got := j.State().Open; got == nil || got.Step != journal.BlobVerified {
				t.Fatalf("%s at byte %d: %+v", name, cut, got)
			}
			write(t, j, ops[5])
			if got := open(t, torn).State().Open; got == nil || got.Step != journal.ReleaseCreated {
				t.Fatalf("%s at byte %d, after another line: %+v", name, cut, got)
			}
		}
	}
}

// One bit anywhere before the last line, or in what is whole of it, and nothing is guessed.
func TestOpen_refusesWhatWasDamaged(t *testing.T) {
	t.Parallel()
	f := &journal.Memory{}
	write(t, open(t, f), deploy("01JD")[:3]...)
	text, _ := f.Read()
	for i := range text[:len(text)-1] { // without its end, the last line is a torn one
		bad := append([]byte(nil), text...)
		bad[i] ^= 1 << (i % 7)
		damaged := &journal.Memory{}
		if err := damaged.Replace(bad); err != nil {
			t.Fatal(err)
		}
		_, err := journal.Open(damaged, options())
		var e *journal.DamagedError
		if !errors.As(err, &e) || e.Line < 1 || e.Line > 4 || e.Hint() == "" {
			t.Fatalf("byte %d, %q for %q: %v", i, bad[i], text[i], err)
		}
	}
}

func TestOpen_saysWhatIsWrongWithAFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal.jsonl")
	f := journal.Disk(path)
	write(t, open(t, f), deploy("01JD")[:1]...)
	line, err := f.Read()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ text, want string }{
		"newer":    {string(journal.Line(t, `{"v":2,"step":"done","apply":"01JD"}`)), "line 1: it has version 2, and this slugfile knows version 1"},
		"a step":   {string(line) + string(journal.Line(t, `{"v":1,"step":"dance","apply":"01JD"}`)), `line 2: it has the apply id "01JD" and the step "dance"`},
		"no id":    {string(journal.Line(t, `{"v":1,"step":"done"}`)), `line 1: it has the apply id ""`},
		"no JSON":  {string(journal.Line(t, `{"v":1,]`)), "line 1: it cannot be read: "},
		"no line":  {"hello\n" + string(line), "line 1: it is no line of a journal"},
		"empty":    {string(line) + "\n" + string(line), "line 2: it is no line of a journal"},
		"too long": {strings.Repeat("x", 1<<20+1), "line 1: the file has 1048577 bytes"},
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := journal.Open(f, options())
		if err == nil || !strings.Contains(err.Error(), path+": "+c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestJournal_hasOneOpenOperation(t *testing.T) {
	t.Parallel()
	f := &journal.Memory{}
	j := open(t, f)
	first, err := j.Begin(journal.Operation{Checksum: "one"})
	if err != nil {
		t.Fatal(err)
	}
	second, err := j.Begin(journal.Operation{Checksum: "two"})
	if err != nil {
		t.Fatal(err)
	}
	if first.Apply == second.Apply || first.Step != journal.BuildDone {
		t.Errorf("%+v and %+v", first, second)
	}
	state := open(t, f).State()
	if state.Open == nil || state.Open.Apply != second.Apply || len(state.Past) != 1 || state.Past[0].Step != journal.Abandoned || state.Past[0].Why == "" {
		t.Errorf("%+v", state)
	}
	if err := j.Abandon("nothing is to be released"); err != nil {
		t.Fatal(err)
	}
	size := func() int { text, _ := f.Read(); return len(text) }
	before := size()
	if err := j.Abandon("again"); err != nil || size() != before {
		t.Errorf("nothing is open, and %v: %d bytes, then %d", err, before, size())
	}
	if state := j.State(); state.Open != nil || len(state.Past) != 2 || state.Past[1].Why != "nothing is to be released" {
		t.Errorf("%+v", state)
	}
}

// What is handed out is a copy.
func TestJournal_keepsItsStateToItself(t *testing.T) {
	t.Parallel()
	j := open(t, &journal.Memory{})
	write(t, j, append(deploy("01JA"), deploy("01JB")[0])...)
	got := j.State()
	got.Open.Apply, got.Past[0].Apply = "mine", "mine"
	if again := j.State(); again.Open.Apply != "01JB" || again.Past[0].Apply != "01JA" {
		t.Errorf("%+v", again)
	}
}

func TestState_findsTheLatestSlugOfTheseBytes(t *testing.T) {
	t.Parallel()
	op := func(apply, checksum, slug string, s journal.Step) journal.Operation {
		return journal.Operation{Apply: apply, Checksum: checksum, SlugID: slug, Step: s}
	}
	s := journal.Fold([]journal.Operation{
		op("a", "one", "s1", journal.Done), op("b", "one", "s2", journal.Abandoned), op("c", "two", "s3", journal.Done), op("d", "one", "", journal.BuildDone),
	})
	if id, ok := s.Slug("one"); id != "s2" || !ok {
		t.Errorf("%q, %t", id, ok)
	}
	if id, ok := s.Slug("three"); id != "" || ok {
		t.Errorf("%q, %t", id, ok)
	}
}

func TestJournal_forgetsWhatNoPlatformCanStillDo(t *testing.T) {
	t.Parallel()
	now := noon
	j, err := journal.Open(&journal.Memory{}, journal.Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []journal.Operation{{Apply: "a", Step: journal.Done}, {Apply: "b", Step: journal.Done, Unanswered: 1}, {Apply: "c", Step: journal.ReleaseIntent, Unanswered: 1}} {
		write(t, j, o)
	}
	for after, want := range map[time.Duration]int{0: 1, 23 * time.Hour: 1, -time.Hour: 1, 25 * time.Hour: 0} {
		now = noon.Add(after)
		if got := j.Unsettled(); len(got) != want || want == 1 && got[0].Apply != "b" {
			t.Errorf("after %s: %+v", after, got)
		}
	}
}

// Whatever is written, in whatever order, the file stays small and says the same when it is read.
func TestJournal_staysSmallAndSaysTheSame(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := &journal.Memory{}
		j, err := journal.Open(f, options())
		if err != nil {
			t.Fatal(err)
		}
		steps := []journal.Step{journal.BuildDone, journal.SlugIntent, journal.SlugCreated, journal.BlobVerified, journal.ReleaseIntent, journal.ReleaseCreated, journal.Done, journal.Abandoned}
		long := strings.Repeat("x", rapid.SampledFrom([]int{0, 100, 3000, 5000}).Draw(t, "length"))
		for range rapid.IntRange(1, 300).Draw(t, "writes") {
			o := journal.Operation{
				Apply: fmt.Sprint(rapid.IntRange(1, 6).Draw(t, "apply")), Step: rapid.SampledFrom(steps).Draw(t, "step"), SlugID: long,
			}
			if err := j.Write(o); (err != nil) != (len(long) == 5000) {
				t.Fatalf("%d bytes: %v", len(long), err)
			}
			text, _ := f.Read()
			if len(text) > 64<<10 {
				t.Fatalf("%d bytes", len(text))
			}
			again, err := journal.Open(f, options())
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(j.State(), again.State()); d != "" {
				t.Fatalf("the process and the file differ: %s", d)
			}
		}
	})
}

// full is a file on a disk that is full for a while: it takes a part of what is written.
type full struct {
	journal.Memory
	part int
}

func (f *full) Append(size int64, b []byte) error {
	if f.part < 0 {
		return f.Memory.Append(size, b)
	}
	_ = f.Memory.Append(size, b[:min(f.part, len(b))]) // never fails
	return errors.New("no space left on device")
}

func TestJournal_cutsOffWhatAFullDiskTook(t *testing.T) {
	t.Parallel()
	ops := deploy("01JD")
	for _, part := range []int{0, 1, 100, 1 << 20} {
		f := &full{part: -1}
		j := open(t, f)
		write(t, j, ops[0])
		f.part = part
		if err := j.Write(ops[1]); err == nil || !strings.Contains(err.Error(), "no space left") {
			t.Fatalf("%v", err)
		}
		if got := j.State().Open.Step; got != journal.BuildDone {
			t.Errorf("it says %s, which was not written", got)
		}
		f.part = -1
		write(t, j, ops[2])
		text, _ := f.Read()
		if got := open(t, f).State().Open.Step; got != journal.SlugCreated || bytes.Count(text, []byte("\n")) != 2 {
			t.Errorf("%d bytes of the line before: it says %s\n%s", part, got, text)
		}
	}
}

func TestDisk_saysWhichFileCannotBeWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "file", "journal.jsonl")
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := journal.Open(journal.Disk(path), options()); runtime.GOOS != "windows" && err == nil {
		t.Error("a file was taken for a directory")
	}
	f := journal.Disk(path)
	var named *fs.PathError
	for what, err := range map[string]error{"append": f.Append(0, []byte("x")), "replace": f.Replace([]byte("x"))} {
		if !errors.As(err, &named) || !strings.HasPrefix(named.Path, dir) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A run that is killed while it replaces the file leaves a part of one, which nobody reads.
func TestDisk_removesWhatAKilledRunLeft(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := journal.Disk(filepath.Join(dir, "journal.jsonl"))
	write(t, open(t, f), deploy("01JD")...)
	left := filepath.Join(dir, ".slugfile-ABC.tmp")
	for _, name := range []string{left, filepath.Join(dir, "lock")} {
		if err := os.WriteFile(name, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if past := open(t, f).State().Past; len(past) != 1 {
		t.Errorf("%+v", past)
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 2 {
		t.Errorf("%v, %v", names, err)
	}
}

// FuzzOpen reads whatever is there: it never panics, and what it accepts it writes again.
func FuzzOpen(f *testing.F) {
	m := &journal.Memory{}
	j := open(f, m)
	write(f, j, append(deploy("01JA"), deploy("01JB")[:5]...)...)
	text, _ := m.Read()
	f.Add(text)
	f.Add(text[:len(text)-3])
	f.Add(text[10:])
	f.Add(bytes.Replace(text, []byte(`"v":1`), []byte(`"v":2`), 1))
	f.Add([]byte("\n"))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, text []byte) {
		m := &journal.Memory{}
		if err := m.Replace(text); err != nil {
			t.Fatal(err)
		}
		j, err := journal.Open(m, options())
		if err != nil {
			if e := (*journal.DamagedError)(nil); !errors.As(err, &e) {
				t.Fatal(err)
			}
			return
		}
		before := j.State()
		o, err := j.Begin(journal.Operation{Checksum: "new"})
		if err != nil {
			return // an old line that is too long to be kept
		}
		again, err := journal.Open(m, options())
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if got := again.State(); got.Open == nil || got.Open.Apply != o.Apply || before.Open != nil && len(got.Past) == 0 {
			t.Fatalf("%+v, before %+v", got, before)
		}
	})
}
