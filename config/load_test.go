package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/sebdah/goldie/v2"

	"github.com/slugfile/slugfile/config"
	"github.com/slugfile/slugfile/config/diag"
	"github.com/slugfile/slugfile/config/yamlnode"
)

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// source is a test file as a user has it: a Procfile may stand beside it as NAME.Procfile,
// and slug.lock pins nothing.
func source(t testing.TB, path string) config.Source {
	t.Helper()
	in := config.Source{Path: "slug.yaml", Text: read(t, path), Pins: []config.Pin{}}
	if b, err := os.ReadFile(strings.TrimSuffix(path, ".yaml") + ".Procfile"); err == nil {
		in.Procfile, in.HasProcfile = b, true
	}
	return in
}

func files(t testing.TB, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("no file %s (%v)", pattern, err)
	}
	return paths
}

func TestLoad_saysWhatIsWrongAndWhere(t *testing.T) {
	t.Parallel()
	paths := files(t, "testdata/bad/*.yaml")
	if len(paths) < 60 {
		t.Errorf("%d bad files, want at least 60", len(paths))
	}
	g := goldie.New(t, goldie.WithFixtureDir("testdata/bad"), goldie.WithNameSuffix(".txt"))
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			in := source(t, path)
			f, faults := config.Load(in)
			if f != nil || len(faults) == 0 {
				t.Fatal("accepted")
			}
			lines := map[string][]string{"slug.yaml": yamlnode.Lines(in.Text), config.Procfile: yamlnode.Lines(in.Procfile)}
			for _, d := range faults {
				inside(t, d, lines[d.Pos.File])
			}
			g.Assert(t, strings.TrimSuffix(filepath.Base(path), ".yaml"), []byte(faults.Text()))
		})
	}
}

// inside holds a fault to the text: its place is there, and its snippet is that line.
func inside(t *testing.T, d diag.Diagnostic, lines []string) {
	t.Helper()
	if d.Pos.Line < 1 || d.Pos.Line > len(lines) {
		t.Fatalf("line %d of %d: %v", d.Pos.Line, len(lines), d)
	}
	line := lines[d.Pos.Line-1]
	if d.Pos.Column < 1 || d.Pos.Column > len([]rune(line))+1 {
		t.Errorf("column %d of %d: %v", d.Pos.Column, len([]rune(line)), d)
	}
	if d.Snippet != diag.Conceal(line) {
		t.Errorf("snippet %q, line %q", d.Snippet, line)
	}
}

func TestLoad_acceptsGoodFiles(t *testing.T) {
	t.Parallel()
	g := goldie.New(t, goldie.WithFixtureDir("testdata/good"), goldie.WithNameSuffix(".effective"))
	for _, path := range files(t, "testdata/good/*.yaml") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			in := source(t, path)
			in.Git = map[string]string{"sha": "0123456789abcdef0123456789abcdef01234567", "short": "0123456", "branch": "main"}
			f, faults := config.Load(in)
			if len(faults) > 0 {
				t.Fatal(faults.Text())
			}
			effective := f.Effective()
			g.Assert(t, strings.TrimSuffix(filepath.Base(path), ".yaml"), effective)
			reload(t, f, effective)
		})
	}
}

// reload holds Effective to its promise: it is accepted, means the same, and is stable.
func reload(t *testing.T, f *config.File, effective []byte) {
	t.Helper()
	again, faults := config.Load(config.Source{Path: "slug.yaml", Text: effective})
	if len(faults) > 0 {
		t.Fatalf("the effective file is refused:\n%s\n%s", faults.Text(), effective)
	}
	if diff := cmp.Diff(string(effective), string(again.Effective())); diff != "" {
		t.Error(diff)
	}
	ignore := cmp.Options{
		cmpopts.IgnoreUnexported(config.File{}), cmpopts.IgnoreFields(config.File{}, "Schema"),
		cmpopts.IgnoreFields(config.Step{}, "Runtimes"), cmpopts.EquateEmpty(),
	}
	if diff := cmp.Diff(f, again, ignore); diff != "" {
		t.Errorf("the effective file means something else:\n%s", diff)
	}
}
