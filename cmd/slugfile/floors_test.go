package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/slugfile/slugfile/"

// floors is the table of CONTRIBUTING.md: a package imports only lower floors.
var floors = [][]string{
	0: {"config/diag", "pipeline/deflate", "pipeline/digest", "pipeline/disk", "pipeline/failpoint", "pipeline/platform/local/status", "pipeline/secret"},
	1: {"pipeline/tree", "pipeline/event", "pipeline/examine", "pipeline/provenance", "pipeline/transport", "pipeline/sandbox", "config/yamlnode"},
	2: {"pipeline/artifact", "pipeline/junk", "pipeline/unpack", "schema"},
	3: {"config", "pipeline/journal", "pipeline/lock", "pipeline/store", "pipeline/slug", "pipeline/stack", "pipeline/platform", "pipeline/platform/dyno"},
	4: {"pipeline/bom", "pipeline/plan", "pipeline/platform/heroku", "pipeline/platform/local"},
	5: {"pipeline/fetch", "pipeline/compile", "pipeline/archive", "pipeline/upload", "pipeline/release", "pipeline/observe", "pipeline/inspect"},
	6: {"pipeline", "cmd/slugfile/internal/view", "schema/gen"},
	7: {"cmd/slugfile"},
}

// kits are imported by tests only, and stand on no floor.
var kits = []string{"pipeline/pipetest", "pipeline/platform/platformtest"}

// only names the rooms that may import a library.
var only = map[string][]string{
	"gopkg.in/yaml.v3":                           {"config/yamlnode"},
	"github.com/invopop/jsonschema":              {"schema/gen"},
	"github.com/santhosh-tekuri/jsonschema/v6":   {"schema", "pipeline/platform/platformtest"},
	"github.com/alecthomas/kong":                 {"cmd/slugfile"},
	"github.com/vbauerster/mpb/v8":               {"cmd/slugfile/internal/view"},
	"github.com/bmatcuk/doublestar/v4":           {"pipeline/tree", "config"},
	"github.com/ulikunitz/xz":                    {"pipeline/unpack"},
	"github.com/gofrs/flock":                     {"pipeline/store", "pipeline/compile", "pipeline/release", "pipeline/platform/local"},
	"go.etcd.io/bbolt":                           {"pipeline/platform/local"},
	"github.com/sebdah/goldie/v2":                {"pipeline/pipetest"},
	"github.com/oklog/ulid/v2":                   {"pipeline/journal", "pipeline/release"},
	"github.com/aymanbagabas/go-udiff":           {"pipeline/observe"},
	"github.com/CycloneDX/cyclonedx-go":          {"pipeline/bom"},
	"github.com/heroku/heroku-go/v6":             {},
	"github.com/rogpeppe/go-internal/testscript": {},
	"mvdan.cc/sh/v3/syntax":                      {"config", "pipeline/observe", "pipeline/stack"},
}

// planMay is all that plan may import: what it needs to be a function of its inputs.
var planMay = []string{
	module + "config", module + "config/diag", module + "pipeline/lock", module + "pipeline/stack", module + "pipeline/platform",
	module + "pipeline/artifact", module + "pipeline/tree", module + "pipeline/digest", module + "pipeline/secret",
}

// planMayNot touches the world.
var planMayNot = []string{"os", "net", "time", "context", "io/fs", "log", "syscall", "math/rand", "math/rand/v2", "crypto/rand", "runtime"}

type listed struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

func list(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "GOFLAGS=")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); d.More(); {
		var p listed
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

func room(importPath string) string { return strings.TrimPrefix(importPath, module) }

func floorOf(r string) int {
	return slices.IndexFunc(floors, func(rooms []string) bool { return slices.Contains(rooms, r) })
}

func TestHouse_importsOnlyLowerFloors(t *testing.T) {
	t.Parallel()
	for _, p := range list(t) {
		r := room(p.ImportPath)
		if slices.Contains(kits, r) || strings.HasPrefix(r, "examples/") {
			continue
		}
		at := floorOf(r)
		if at < 0 {
			t.Errorf("%s stands on no floor: add it to the table here and in CONTRIBUTING.md", r)
			continue
		}
		for _, i := range p.Imports {
			if !strings.HasPrefix(i, module) {
				continue
			}
			to := room(i)
			if slices.Contains(kits, to) {
				t.Errorf("%s imports the test kit %s outside its tests", r, to)
			} else if below := floorOf(to); below >= at {
				t.Errorf("%s (floor %d) imports %s (floor %d)", r, at, to, below)
			}
		}
	}
}

func TestHouse_keepsItsBans(t *testing.T) {
	t.Parallel()
	for _, p := range list(t) {
		r := room(p.ImportPath)
		for _, i := range p.Imports {
			if rooms, limited := only[i]; limited && !slices.Contains(rooms, r) {
				t.Errorf("%s imports %s, which is for %v", r, i, rooms)
			}
			if r == "pipeline/plan" {
				if strings.HasPrefix(i, module) && !slices.Contains(planMay, i) {
					t.Errorf("plan imports %s: it would not be pure any more", room(i))
				}
				if slices.ContainsFunc(planMayNot, func(no string) bool { return i == no || strings.HasPrefix(i, no+"/") }) {
					t.Errorf("plan imports %s: it would not be pure any more", i)
				}
			}
			if (strings.HasPrefix(r, "config") || r == "schema") && strings.HasPrefix(i, module+"pipeline") {
				t.Errorf("%s imports %s: what config must know is handed to it", r, room(i))
			}
		}
		for _, i := range slices.Concat(p.TestImports, p.XTestImports) {
			if i == "testing/quick" {
				t.Errorf("%s tests with testing/quick: properties use rapid", r)
			}
		}
	}
}

// Standard streams, exit and the environment belong to the program, not to its rooms.
func TestHouse_leavesStreamsAndEnvironmentToTheProgram(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("git", "-C", "../..", "ls-files", "-co", "--exclude-standard", "--", "*.go").Output()
	if err != nil {
		t.Skipf("this is not a git checkout: %v", err)
	}
	banned := []string{"os.Stdout", "os.Stderr", "os.Stdin", "os.Exit(", "os.Getenv(", "os.LookupEnv(", "os.Environ("}
	for _, f := range strings.Fields(string(out)) {
		dir := path.Dir(f)
		if strings.HasSuffix(f, "_test.go") || dir == "cmd/slugfile" || dir == "schema/gen" || strings.HasPrefix(f, "examples/") ||
			slices.Contains(kits, dir) || f == "pipeline/sandbox/main_linux.go" { // the first process of a sandbox is a program of its own
			continue
		}
		text, err := os.ReadFile("../../" + f)
		if err != nil {
			continue // deleted, and not committed yet
		}
		for n, line := range strings.Split(string(text), "\n") {
			code, _, _ := strings.Cut(line, "//")
			for _, b := range banned {
				if strings.Contains(code, b) {
					t.Errorf("%s:%d uses %s: hand it in from cmd/slugfile", f, n+1, strings.TrimSuffix(b, "("))
				}
			}
		}
	}
}

// Go 1.26.6 has the security fixes of os.Root, archive/tar and net/http that slugfile relies on.
func TestHouse_asksForASafeGo(t *testing.T) {
	t.Parallel()
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mod)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "go "); ok {
			if !slices.Contains([]string{"1.26.6", "1.26.7", "1.26.8"}, v) && v < "1.27" {
				t.Errorf("go.mod asks for go %s; 1.26.6 is the floor", v)
			}
			return
		}
	}
	t.Error("go.mod has no go line")
}

func TestHouse_hasOnlyTheseFoldersAtTheTop(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("git", "-C", "../..", "ls-files").Output()
	if err != nil {
		t.Skipf("this is not a git checkout: %v", err)
	}
	may := []string{"cmd", "config", "pipeline", "schema", "examples", ".ci", ".github"}
	for _, f := range strings.Fields(string(out)) {
		top, _, inside := strings.Cut(f, "/")
		if inside && !slices.Contains(may, top) {
			t.Errorf("%s: no folder %s at the top", f, top)
		}
		if !inside && strings.HasSuffix(f, ".go") {
			t.Errorf("%s: no Go file at the root", f)
		}
	}
}
