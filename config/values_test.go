package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/config"
)

const web = "process_types: {web: ./web}\n"

func load(t *testing.T, in config.Source) *config.File {
	t.Helper()
	in.Path = "slug.yaml"
	f, faults := config.Load(in)
	if len(faults) > 0 {
		t.Fatal(faults.Text())
	}
	return f
}

func TestLoad_setsDefaults(t *testing.T) {
	t.Parallel()
	f := load(t, config.Source{Text: []byte(web + "runtimes:\n  node: {path: n.tgz}\n  go: {host: go}\nbuild:\n  - {name: a, run: make}\nfiles:\n  - {into: x, content: y}\n")})
	if f.Compression != "default" || f.Limits.Slug != 1_000_000_000 || f.Build[0].Timeout != config.Duration(30*time.Minute) || f.Files[0].Mode != "0644" {
		t.Errorf("%+v", f)
	}
	if f.Runtimes[0].Into != "node" || f.Runtimes[0].BuildOnly {
		t.Errorf("%+v", f.Runtimes[0])
	}
	if f.Runtimes[1].Into != "" || !f.Runtimes[1].BuildOnly {
		t.Errorf("a tool of the machine is never in the slug: %+v", f.Runtimes[1])
	}
}

func TestLoad_keepsTheOrderOfRuntimes(t *testing.T) {
	t.Parallel()
	f := load(t, config.Source{Text: []byte(web + "runtimes: {z: {path: z}, a: {path: a}, m: {path: m}}\n")})
	var names []string
	for _, r := range f.Runtimes {
		names = append(names, r.Name)
	}
	if diff := cmp.Diff([]string{"z", "a", "m"}, names); diff != "" {
		t.Error(diff)
	}
}

func TestLoad_keepsTheSourceTextOfEnv(t *testing.T) {
	t.Parallel()
	f := load(t, config.Source{Text: []byte(web + "build:\n  - name: a\n    run: make\n    env: {A: 1.10, B: 0755, C: true, D: 2024-01-02, E: 1e3, F: no, G: 0x1F}\n")})
	want := map[string]string{"A": "1.10", "B": "0755", "C": "true", "D": "2024-01-02", "E": "1e3", "F": "no", "G": "0x1F"}
	if diff := cmp.Diff(want, f.Build[0].Env); diff != "" {
		t.Error(diff)
	}
}

func TestLoad_replacesVariablesEverywhereButInTheShellsText(t *testing.T) {
	t.Parallel()
	text := `
vars: {a: x, b: "${a}y"}
runtimes: {r: {path: "${a}.tgz", into: "${b}"}}
build: [{name: "${a}", run: 'echo ${a}', env: {E: "$${a} ${b} $a $$ ${a}"}}]
files: [{into: "${a}", content: "${a}"}]
process_types: {web: "run ${a}"}
release: {description: "${git.short}/${git.branch}/${git.sha}"}
`
	f := load(t, config.Source{Text: []byte(text), Vars: map[string]string{"a": "${z}"}, Git: map[string]string{"short": "abc", "branch": ""}})
	got := []string{f.Runtimes[0].Path, f.Runtimes[0].Into, f.Build[0].Name, f.Build[0].Run, f.Build[0].Env["E"], f.Files[0].Into, f.Files[0].Content, f.ProcessTypes["web"], f.Release.Description}
	want := []string{"${z}.tgz", "${z}y", "${z}", "echo ${a}", "${a} ${z}y $a $$ ${z}", "${z}", "${a}", "run ${a}", "abc/unknown/unknown"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLoad_neverReadsAVariableAsYAML(t *testing.T) {
	t.Parallel()
	f := load(t, config.Source{Text: []byte("vars: {a: x}\nbuild: [{name: n, run: make, env: {A: \"${a}\"}}]\n" + web), Vars: map[string]string{"a": "1\nstack: heroku-42 # \" '"}})
	if got := f.Build[0].Env["A"]; got != "1\nstack: heroku-42 # \" '" || f.Stack != "" {
		t.Errorf("%q, stack %q", got, f.Stack)
	}
}

func TestLoad_refusesAVarThatIsNotDeclared(t *testing.T) {
	t.Parallel()
	_, faults := config.Load(config.Source{Path: "slug.yaml", Text: []byte(web + "vars: {greeting: hello}\n"), Vars: map[string]string{"greting": "hi"}})
	want := `slug.yaml:2:7: vars: --var greting: vars has no "greting" (did you mean "greeting"?)`
	if got := faults.Error(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestLoad_takesAppAndStackFromTheCommandLine(t *testing.T) {
	t.Parallel()
	f := load(t, config.Source{Text: []byte("app: one-app\nstack: heroku-22\n" + web), App: "other", Stack: "heroku-24"})
	if f.App != "other" || f.Stack != "heroku-24" {
		t.Errorf("%s on %s", f.App, f.Stack)
	}
	_, faults := config.Load(config.Source{Path: "slug.yaml", Text: []byte(web), Stack: "heroku-42"})
	if got := faults.Error(); !strings.Contains(got, `--stack: "heroku-42" is not one of heroku-22, heroku-24, heroku-26`) {
		t.Error(got)
	}
}

func TestLoad_acceptsAPinOfTheExpandedURL(t *testing.T) {
	t.Parallel()
	text := []byte(web + "vars: {v: \"22\"}\nruntimes:\n  node:\n    url: https://example.org/n-${v}.tgz\n")
	load(t, config.Source{Text: text, Pins: []config.Pin{{Name: "node", URL: "https://example.org/n-22.tgz"}}})
	load(t, config.Source{Text: text})
	for _, pin := range []config.Pin{{Name: "nodejs", URL: "https://example.org/n-22.tgz"}, {Name: "node", URL: "https://example.org/n-${v}.tgz"}} {
		if _, faults := config.Load(config.Source{Path: "slug.yaml", Text: text, Pins: []config.Pin{pin}}); !strings.Contains(faults.Error(), "is not pinned") {
			t.Errorf("%v: %v", pin, faults)
		}
	}
}

func TestFile_diagnosesAtItsPlaces(t *testing.T) {
	t.Parallel()
	f := load(t, config.Source{
		Text:     []byte("# c\nruntimes:\n  node:\n    path: n.tgz\nfiles:\n  - from: .\n    into: .\n"),
		Procfile: []byte("# p\n web: x\n"), HasProcfile: true,
	})
	for path, want := range map[string]string{
		"runtimes.node":        "slug.yaml:3:3",
		"runtimes.node.path":   "slug.yaml:4:11",
		"runtimes.node.sha256": "slug.yaml:3:3",
		"files[0].into":        "slug.yaml:7:11",
		"files[0].exclude[3]":  "slug.yaml:6:5",
		"nothing":              "slug.yaml:1:1",
		"process_types.web":    "Procfile:2:2",
	} {
		if got := f.Pos(path).String(); got != want {
			t.Errorf("%s is at %s, want %s", path, got, want)
		}
	}
	if d := f.Diagnose("files[0].into", "m", "h"); d.Snippet != "    into: ." || d.Hint != "h" {
		t.Errorf("%+v", d)
	}
	if d := f.Diagnose("process_types.web", "m", ""); d.Snippet != " web: x" {
		t.Errorf("%+v", d)
	}
}

func TestSizes_areDecimalAndBinary(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]config.Size{
		"500MB": 500_000_000, "1GB": 1_000_000_000, "300MiB": 300 << 20, "1.5GiB": 3 << 29, "12 kB": 12_000, "1KB": 1000, "7KiB": 7 << 10, "9B": 9, "0.5kB": 500,
	} {
		f := load(t, config.Source{Text: []byte(web + "limits: {slug: " + text + "}\n")})
		if f.Limits.Slug != want {
			t.Errorf("%s = %d, want %d", text, f.Limits.Slug, want)
		}
	}
	for size, want := range map[config.Size]string{1_000_000_000: "1GB", 1536 << 20: "1536MiB", 1: "1B", 1500: "1500B", 12_000: "12kB", 1 << 40: "1024GiB"} {
		if got := size.String(); got != want {
			t.Errorf("%d = %s, want %s", int64(size), got, want)
		}
	}
	for span, want := range map[time.Duration]string{30 * time.Minute: "30m", 90 * time.Second: "1m30s", 2 * time.Hour: "2h", 90 * time.Minute: "1h30m", 5 * time.Second: "5s", 36000*time.Second + 10*time.Second: "10h0m10s", 10 * time.Hour: "10h"} {
		if got := config.Duration(span).String(); got != want {
			t.Errorf("%v = %s, want %s", span, got, want)
		}
	}
}

func TestLoad_quotesTheSourceOfValuesThatLookLikeNumbers(t *testing.T) {
	t.Parallel()
	for _, v := range []string{"1.10", "0123", "1e3", "0o17", "0x1F", "1_000", "+1", "-0", "true", "False", "1.", ".5", "12:30:45x"} {
		_, faults := config.Load(config.Source{Path: "f", Text: []byte(web + "runtimes:\n  a:\n    path: " + v + "\n")})
		text := faults.Text()
		if v == "12:30:45x" {
			if text != "" {
				t.Errorf("%s: %s", v, text)
			}
			continue
		}
		if !strings.Contains(text, "f:4:11: runtimes.a.path: must be a string, not the ") || !strings.Contains(text, `hint: quote it: "`+v+`"`) {
			t.Errorf("%s: %s", v, text)
		}
	}
	for _, v := range []string{"no", "on", "yes", "off", "y", "2024-01-02", "1.2.3", "v1", "12e"} {
		f := load(t, config.Source{Text: []byte(web + "runtimes:\n  a:\n    path: " + v + "\n")})
		if f.Runtimes[0].Path != v {
			t.Errorf("%s became %s", v, f.Runtimes[0].Path)
		}
	}
}

func TestLoad_takesOnlyASCIIProcessTypes(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{
		"web": true, "-": true, "A_1-b": true, strings.Repeat("x", 128): true,
		strings.Repeat("x", 129): false, "..": false, "a/b": false, "wörker": false, "a\\nb": false, "\\e[31m": false, "a b": false, "": false, "web\\n": false,
	} {
		_, faults := config.Load(config.Source{Path: "f", Text: []byte("process_types: {\"" + name + "\": x}\n")})
		if (len(faults) == 0) != ok || len(faults) > 1 {
			t.Errorf("%q: %v", name, faults)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	text := read(b, "../slug.yaml.example")
	for b.Loop() {
		if _, faults := config.Load(config.Source{Path: "slug.yaml", Text: text}); len(faults) > 0 {
			b.Fatal(faults)
		}
	}
}

func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"testdata/bad/*.yaml", "testdata/good/*.yaml"} {
		for _, path := range files(f, pattern) {
			f.Add(string(read(f, path)), "web: x\n")
		}
	}
	f.Add("{}", "a: b\nc\n")
	f.Fuzz(func(t *testing.T, text, procfile string) {
		in := config.Source{Path: "slug.yaml", Text: []byte(text), Procfile: []byte(procfile), HasProcfile: procfile != "", Pins: []config.Pin{}}
		file, faults := config.Load(in)
		_ = faults.Text()
		if (file == nil) != (len(faults) > 0) {
			t.Fatalf("a file beside faults, or neither: %v", faults)
		}
		for _, d := range faults {
			if d.Pos.Line < 1 || d.Pos.Column < 1 {
				t.Errorf("no place: %v", d)
			}
		}
		if file == nil {
			return
		}
		effective := file.Effective()
		again, faults := config.Load(config.Source{Path: "slug.yaml", Text: effective})
		if len(faults) > 0 {
			t.Fatalf("the effective file is refused: %s\n%s", faults.Text(), effective)
		}
		if diff := cmp.Diff(string(effective), string(again.Effective())); diff != "" {
			t.Error(diff)
		}
	})
}
