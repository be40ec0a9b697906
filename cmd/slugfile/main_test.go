package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
	"github.com/sebdah/goldie/v2"

	"github.com/slugfile/slugfile/cmd/slugfile/internal/view"
	"github.com/slugfile/slugfile/config/diag"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/platform/local"
	"github.com/slugfile/slugfile/pipeline/release"
	"github.com/slugfile/slugfile/pipeline/sandbox"
	"github.com/slugfile/slugfile/pipeline/transport"
)

func TestMain(m *testing.M) {
	if code, handled := sandbox.Main(os.Args); handled {
		os.Exit(code)
	}
	if os.Getenv(asProgram) != "" {
		program()
	}
	// Tests wait for processes and for what these wait for, more than they compute.
	flag.Parse()
	asked := false
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "test.parallel" })
	if !asked {
		_ = flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0))) // it is a number
	}
	code := m.Run()
	if err := closeFaultTable(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// patienceVariable scales down what would make a test wait for a minute. It holds three
// durations: to settle, for an answer, idle.
const patienceVariable = "SLUGFILE_TEST_PATIENCE"

// program is main, with the settings that only tests change.
func program() {
	text := os.Getenv(patienceVariable)
	if text == "" {
		main()
	}
	var p patience
	for i, field := range strings.Fields(text) {
		d, err := time.ParseDuration(field)
		if err != nil {
			panic(err)
		}
		*[]*time.Duration{&p.Settle, &p.Answer, &p.Idle}[i] = d
	}
	ctx, stop := withSignals(context.Background(), os.Exit)
	app, err := newApp(os.Environ(), streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	if err != nil {
		panic(err)
	}
	app.Patience = p
	code := app.run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// testApp is an App of its own world, with buffers for its streams.
func testApp(t *testing.T, env map[string]string) (app *App, out, errs *bytes.Buffer) {
	t.Helper()
	out, errs = &bytes.Buffer{}, &bytes.Buffer{}
	redactor := transport.NewRedactor()
	if env == nil {
		env = map[string]string{}
	}
	return &App{
		In: strings.NewReader(""), Out: redactor.Writer(out), Err: redactor.Writer(errs), Redactor: redactor,
		Env:   env,
		Now:   func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) },
		Dir:   t.TempDir(),
		Width: func() int { return 80 }, Version: "v1.2.3",
	}, out, errs
}

// leaves are the commands of the grammar.
func leaves(t *testing.T) []*kong.Node {
	t.Helper()
	app, _, _ := testApp(t, nil)
	parser, err := app.parser(t.Context(), &grammar{})
	if err != nil {
		t.Fatal(err)
	}
	return parser.Model.Leaves(false)
}

// TestHelp_isEightyColumnsWide holds every --help; GOLDIE_UPDATE=true rewrites them.
func TestHelp_isEightyColumnsWide(t *testing.T) {
	t.Parallel()
	commands := [][]string{nil}
	for _, leaf := range leaves(t) {
		commands = append(commands, []string{leaf.Name})
	}
	for _, command := range commands {
		app, out, errs := testApp(t, nil)
		if code := app.run(t.Context(), append(command, "--help")); code != exitDone || errs.Len() > 0 {
			t.Errorf("%v --help: exit code %d, %s", command, code, errs)
		}
		for l := range strings.Lines(out.String()) {
			if len(strings.TrimSuffix(l, "\n")) > 80 {
				t.Errorf("%v --help: more than 80 columns: %s", command, l)
			}
		}
		goldie.New(t).Assert(t, strings.Join(append([]string{"help"}, command...), "-"), out.Bytes())
	}
}

// TestHelp_goldensBelongToCommands finds files that no test claims.
func TestHelp_goldensBelongToCommands(t *testing.T) {
	t.Parallel()
	want := map[string]bool{"help.golden": true}
	for _, leaf := range leaves(t) {
		want["help-"+leaf.Name+".golden"] = true
	}
	files, err := filepath.Glob("testdata/help*.golden")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !want[filepath.Base(f)] {
			t.Errorf("%s belongs to no command", f)
		}
	}
}

// TestCommands_runMethodsGetWhatTheyAskFor walks the grammar: kong finds a missing binding
// only when the command runs.
func TestCommands_runMethodsGetWhatTheyAskFor(t *testing.T) {
	t.Parallel()
	given := []reflect.Type{reflect.TypeFor[context.Context](), reflect.TypeFor[*App]()}
	for _, leaf := range leaves(t) {
		run := leaf.Target.Addr().MethodByName("Run")
		if !run.IsValid() {
			t.Errorf("%s has no Run", leaf.FullPath())
			continue
		}
		var asks []reflect.Type
		for i := range run.Type().NumIn() {
			asks = append(asks, run.Type().In(i))
		}
		if !reflect.DeepEqual(asks, given) || run.Type().NumOut() != 1 || run.Type().Out(0) != reflect.TypeFor[error]() {
			t.Errorf("%s: Run is %s, want func(context.Context, *App) error", leaf.FullPath(), run.Type())
		}
	}
}

// TestFlags_areReadFromTheGivenEnvironmentOnly sets no variable of the process.
func TestFlags_areReadFromTheGivenEnvironmentOnly(t *testing.T) {
	t.Parallel()
	type flags struct {
		globalFlags
		projectFlags
		fetchFlags
		platformFlags
		progressFlags
		jsonFlag
	}
	parse := func(env map[string]string, args ...string) flags {
		app, _, _ := testApp(t, env)
		var f flags
		k, err := kong.New(&f, kong.Resolvers(kong.ResolverFunc(app.resolve)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.Parse(args); err != nil {
			t.Fatal(err)
		}
		return f
	}
	f := parse(map[string]string{
		"SLUGFILE_FILE": "other.yaml", "SLUGFILE_JSON": "1", "SLUGFILE_COLOR": "never", "SLUGFILE_API": "http://127.0.0.1:1",
		"SLUGFILE_MIRRORS": "https://a/=http://m/a/  https://b/=http://m/b/,c",
	})
	if f.File != "other.yaml" || !f.JSON || f.Color != "never" || f.API != "http://127.0.0.1:1" {
		t.Errorf("from the environment: %+v", f)
	}
	if d := cmp.Diff([]string{"https://a/=http://m/a/", "https://b/=http://m/b/,c"}, f.Mirror); d != "" {
		t.Error(d)
	}
	f = parse(map[string]string{"SLUGFILE_FILE": "other.yaml", "SLUGFILE_MIRRORS": "x=y"},
		"-f", "mine.yaml", "--mirror", "a=b,c", "--mirror=d=e", "--var", "greeting=a;b=c,d", "--var", "x=", "-vv")
	if f.File != "mine.yaml" || f.Verbose != 2 {
		t.Errorf("a flag does not win: %+v", f)
	}
	if d := cmp.Diff([]string{"a=b,c", "d=e"}, f.Mirror); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]string{"greeting": "a;b=c,d", "x": ""}, f.Var); d != "" {
		t.Error(d)
	}
	if f = parse(map[string]string{"SLUGFILE_API": "http://127.0.0.1:1"}, "--local"); !f.Local || f.API != "" {
		t.Errorf("--local does not win over SLUGFILE_API: %+v", f)
	}
	if f = parse(map[string]string{"SLUGFILE_FILE": ""}); f.File != "slug.yaml" || f.Progress != "auto" {
		t.Errorf("defaults: %+v", f)
	}
}

func TestExitCode_followsTheKindOfError(t *testing.T) {
	t.Parallel()
	wrap := func(err error) error { return errors.Join(fmt.Errorf("apply: %w", err)) }
	for _, tt := range []struct {
		name  string
		err   error
		cause error
		want  int
	}{
		{"none", nil, nil, 0},
		{"none, signal too late", nil, signalError{os.Interrupt}, 0},
		{"any", errors.New("x"), nil, 1},
		{"missing app", &platform.Error{Status: 404}, nil, 1},
		{"changes", errChanges, nil, 2},
		{"stale", wrap(&release.StaleError{App: "example"}), nil, 3},
		{"slug.yaml", wrap(diag.List{{Message: "x"}}), nil, 4},
		{"credentials", wrap(&platform.Error{Status: 401}), nil, 5},
		{"forbidden", wrap(&platform.Error{Status: 403}), nil, 5},
		{"no credentials", wrap(platform.ErrUnauthorized), nil, 5},
		{"mismatch", wrap(&digest.MismatchError{}), nil, 6},
		{"rate limit", wrap(&platform.Error{Status: 429}), nil, 7},
		{"usage", wrap(&usageError{msg: "x"}), nil, 64},
		{"interrupt", context.Canceled, signalError{os.Interrupt}, 130},
		{"hangup", wrap(context.Canceled), signalError{syscall.SIGHUP}, 129},
		{"terminate", wrap(errors.New("killed")), signalError{syscall.SIGTERM}, 143},
		{"signal as an error", wrap(signalError{syscall.SIGTERM}), nil, 143},
		{"cancelled by nobody", context.Canceled, context.Canceled, 1},
	} {
		if got := exitCode(tt.err, tt.cause); got != tt.want {
			t.Errorf("%s: exit code %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestRun_hidesWhatTheRedactorKnows(t *testing.T) {
	t.Parallel()
	app, out, errs := testApp(t, nil)
	const token = "HRKU-3f1c9a52-canary"
	app.Redactor.Add(token)
	app.tell(fmt.Errorf("reach https://x/?token=%s", token), exitFailed, true)
	if err := app.flush(); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String()+errs.String(), token) || !strings.Contains(errs.String(), "***") {
		t.Errorf("out %s, err %s", out, errs)
	}
}

func TestFindDirs_followsXDGThenTheSystem(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, goos string
		env        map[string]string
		want       dirs
		fails      bool
	}{
		{name: "home", goos: "linux", env: map[string]string{"HOME": "/home/ann"},
			want: dirs{"/home/ann/.cache/slugfile", "/home/ann/.local/state/slugfile", "/home/ann/.local/share/slugfile"}},
		{name: "variables", goos: "linux", env: map[string]string{"XDG_CACHE_HOME": "/c", "XDG_STATE_HOME": "/s", "XDG_DATA_HOME": "/d"},
			want: dirs{"/c/slugfile", "/s/slugfile", "/d/slugfile"}},
		{name: "a relative variable is ignored", goos: "linux", env: map[string]string{"HOME": "/h", "XDG_CACHE_HOME": "c"},
			want: dirs{"/h/.cache/slugfile", "/h/.local/state/slugfile", "/h/.local/share/slugfile"}},
		{name: "macOS", goos: "darwin", env: map[string]string{"HOME": "/Users/ann", "XDG_DATA_HOME": "/d"},
			want: dirs{"/Users/ann/Library/Caches/slugfile", "/Users/ann/Library/Application Support/slugfile/state", "/d/slugfile"}},
		{name: "nothing", goos: "linux", fails: true},
		{name: "one variable is not enough", goos: "linux", env: map[string]string{"XDG_CACHE_HOME": "/c"}, fails: true},
		{name: "no local application data", goos: "windows", fails: true},
	} {
		got, err := findDirs(tt.env, tt.goos)
		if (err != nil) != tt.fails {
			t.Errorf("%s: error %v", tt.name, err)
		}
		if d := cmp.Diff(tt.want, got); d != "" && filepath.Separator == '/' {
			t.Errorf("%s: %s", tt.name, d)
		}
	}
}

func TestHint_namesTheVariableOfADirectoryThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("plan: %w", &dirError{&fs.PathError{Op: "mkdir", Path: "/ro", Err: syscall.EACCES}, "cache", "XDG_CACHE_HOME"})
	if hint := view.Hint(err); !strings.Contains(hint, "XDG_CACHE_HOME") {
		t.Errorf("hint %q", hint)
	}
	if code := exitCode(err, nil); code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	// Of a directory that another process holds, the platform itself knows more.
	held := &dirError{&local.HeldError{Dir: "/data", PID: 42}, "embedded platform", "XDG_DATA_HOME"}
	if hint := view.Hint(held); !strings.Contains(hint, "platform.json") {
		t.Errorf("hint %q", hint)
	}
}
