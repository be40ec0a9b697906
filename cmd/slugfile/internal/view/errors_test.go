package view

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sebdah/goldie/v2"

	"github.com/slugfile/slugfile/config/diag"
	"github.com/slugfile/slugfile/pipeline/archive"
	"github.com/slugfile/slugfile/pipeline/compile"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/platform/local"
	"github.com/slugfile/slugfile/pipeline/release"
	"github.com/slugfile/slugfile/pipeline/tree"
	"github.com/slugfile/slugfile/pipeline/unpack"
)

type knowing struct{}

func (knowing) Error() string { return "no bash on PATH" }
func (knowing) Hint() string  { return "install bash" }

func TestError_saysWhatFailedAndWhatToDoNext(t *testing.T) {
	t.Parallel()
	api := func(status int, id, msg string) error {
		return fmt.Errorf("release: %w", &platform.Error{Op: "find app example", Status: status, ID: id, Message: msg, RequestID: "8a6f-11"})
	}
	var b bytes.Buffer
	for _, err := range []error{
		errors.New("it broke"),
		fmt.Errorf("compile: %w", knowing{}),
		errors.New("compile: step \"bundle\" exited with 1 after 2.1s\nnpm ERR! missing script\x1b[2J\n\x1b]0;owned\x07npm ERR! see log"),
		api(401, "unauthorized", "Invalid credentials provided."),
		api(403, "forbidden", "You do not have access."),
		api(404, "not_found", "Couldn't find that app."),
		api(429, "rate_limit", "Too many requests."),
		api(422, "invalid_params", "Name is taken."),
		api(500, "", ""),
		api(418, "teapot", "short and stout"),
		fmt.Errorf("fetch: node: %w", &digest.MismatchError{Subject: "runtime node", Want: digest.Of([]byte("a")), Got: digest.Of([]byte("b")), WantSize: -1}),
		fmt.Errorf("release: %w", platform.ErrAmbiguous),
		fmt.Errorf("upload: %w", platform.ErrBlobExpired),
		fmt.Errorf("fetch: node: %w", &net.DNSError{Err: "no such host", Name: "nodejs.org"}),
		fmt.Errorf("fetch: %w", context.DeadlineExceeded),
		fmt.Errorf("open the store: %w", fs.ErrPermission),
		fmt.Errorf("compile: %w", &compile.StepError{Step: "bundle", Code: 127, Elapsed: time.Second, Tail: []string{"npm: command not found"}}),
		fmt.Errorf("compile: %w", &compile.StepError{Step: "bundle", Timeout: time.Minute, Elapsed: time.Minute}),
		fmt.Errorf("compile: %w", &compile.StepError{Step: "bundle", Missing: "dist", Found: []string{"build"}}),
		fmt.Errorf("archive: %w", &plan.ConflictError{Path: "bin/web", First: "files[0]", Second: "step \"bundle\""}),
		fmt.Errorf("archive: %w", &archive.TooLargeError{Limit: 1000, Why: "it has 2.0 kB"}),
		fmt.Errorf("archive: %w", &archive.TooLargeError{Limit: 1000, Why: "more than 2.0 kB", Released: "v12", Largest: []tree.Entry{{Path: "a", Size: 3000}}}),
		fmt.Errorf("fetch: %w", &unpack.Error{Archive: "node", Err: errors.New("it is no archive")}),
		fmt.Errorf("fetch: %w", &unpack.Error{Archive: "node", Entry: "../x", Err: errors.New("it leaves the archive")}),
		fmt.Errorf("release: %w", &release.StaleError{App: "example", BaselineVersion: 11}),
		fmt.Errorf("release: %w", &release.FailedError{App: "example", Version: 12, Status: platform.Failed, Tail: []string{"migrating", "no table\x1b[2J users"}}),
		&local.BootError{App: "example", Release: 12, Dyno: "web.1", Code: "R10", Exit: -1, Reason: "Web process failed to bind to $PORT within 1m0s of launch", Lines: []string{"thinking"}},
		&local.BootError{App: "example", Release: 12, Dyno: "web.1", Code: "H10", Exit: 127, Reason: "the process exited with status 127 before it listened on $PORT", Lines: []string{"bash: node: command not found"}},
		&local.BootError{App: "example", Release: 12, Dyno: "web.1", Code: "H10", Exit: 1, Reason: "the process exited with status 1 before it listened on $PORT"},
		&local.HeldError{Dir: "/data", PID: 42},
	} {
		if err := Error(&b, err, ErrorOptions{}); err != nil {
			t.Fatal(err)
		}
		b.WriteString("\n")
	}
	goldie.New(t).Assert(t, "errors", b.Bytes())
}

func TestHint_existsForEveryIDOfThePlatform(t *testing.T) {
	t.Parallel()
	for id, want := range platformHints {
		got := Hint(&platform.Error{Op: "release slug", Status: 400, ID: id})
		if got != want || got == "" {
			t.Errorf("%s: hint %q", id, got)
		}
		if strings.ToLower(got[:1]) != got[:1] || strings.HasSuffix(got, ".") {
			t.Errorf("%s: hint %q must be a sentence in lower case without a stop", id, got)
		}
	}
}

var threeFaults = diag.List{
	{Pos: diag.Pos{File: "slug.yaml", Line: 2, Column: 8}, Path: "stack", Message: `"heroku-42" is not one of heroku-22, heroku-24 (did you mean "heroku-22"?)`, Snippet: "stack: heroku-42"},
	{Pos: diag.Pos{File: "slug.yaml", Line: 14, Column: 13}, Path: "files[1].mode", Message: "must be a string, not the number 755", Snippet: "      mode: 755", Hint: `quote it: "0755"`},
	{Pos: diag.Pos{File: "slug.yaml"}, Message: "no process types", Hint: "add a Procfile\x1b[2J"},
}

func TestDiagnostics_showEveryFaultAndCountThem(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]Style{"diagnostics": {}, "diagnostics-colour": NewStyle(true)} {
		var b bytes.Buffer
		if err := Error(&b, fmt.Errorf("plan: %w", threeFaults), ErrorOptions{Style: s}); err != nil {
			t.Fatal(err)
		}
		goldie.New(t).Assert(t, name, b.Bytes())
	}
}

func TestFaults_namesTheFileOnlyWhenThereIsOne(t *testing.T) {
	t.Parallel()
	lock := diag.Diagnostic{Pos: diag.Pos{File: "slug.lock"}}
	for _, tt := range []struct {
		list diag.List
		want string
	}{
		{threeFaults, "3 faults in slug.yaml"},
		{threeFaults[:1], "1 fault in slug.yaml"},
		{diag.List{threeFaults[0], lock}, "2 faults"},
		{diag.List{{Message: "x"}}, "1 fault"},
	} {
		if got := Faults(tt.list); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestReleases_areATableWithinEightyColumns(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	list := []platform.Release{
		{Version: 103, CreatedAt: now.Add(-3 * time.Minute), Status: platform.Pending, Description: "Deploy 1a2b3c4", User: platform.Owner{Email: "ops@example.com"}},
		{Version: 102, CreatedAt: now.Add(-2 * time.Hour), Status: platform.Failed, Description: "Deploy with a description that is much longer than any line of a terminal [slugfile 01HZX]", User: platform.Owner{Email: "somebody.with.a.long.name@department.example.com"}},
		{Version: 9, CreatedAt: now.Add(-50 * time.Hour), Status: platform.Succeeded, Current: true, Description: "Initial\x1b[2J release", User: platform.Owner{Email: "ops@example.com"}},
	}
	for name, s := range map[string]Style{"releases": {}, "releases-colour": NewStyle(true)} {
		var b bytes.Buffer
		if err := Releases(&b, "example", list, now, s); err != nil {
			t.Fatal(err)
		}
		for l := range strings.Lines(withoutColours(b.String())) {
			if w := width(strings.TrimSuffix(l, "\n")); w > 80 {
				t.Errorf("%d columns: %s", w, l)
			}
		}
		goldie.New(t).Assert(t, name, b.Bytes())
	}
	var b bytes.Buffer
	if err := Releases(&b, "example", nil, now, Style{}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff("example has no releases.\n", b.String()); d != "" {
		t.Error(d)
	}
}

func TestError_breaksLinesBetweenWordsOnATerminal(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	err := fmt.Errorf("fetch: %w", &net.DNSError{Err: "no such host, whatever was tried to find it", Name: "a-host-with-a-very-long-name.example.com"})
	if err := Error(&b, err, ErrorOptions{Width: 40}); err != nil {
		t.Fatal(err)
	}
	want := `slugfile: fetch: lookup
    a-host-with-a-very-long-name.example.com:
    no such host, whatever was tried to
    find it
hint: check the host name and the
    network; in a closed network use
    --mirror, or HTTPS_PROXY
`
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Error(d)
	}
}

func TestError_doesNotRepeatOutputThatStandsOnTheScreen(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		fmt.Errorf("compile: %w", &compile.StepError{Step: "bundle", Code: 1, Tail: []string{"npm ERR!"}}),
		fmt.Errorf("release: %w", &release.FailedError{App: "example", Version: 12, Tail: []string{"npm ERR!"}}),
	} {
		for _, shown := range []bool{false, true} {
			var b bytes.Buffer
			if err := Error(&b, err, ErrorOptions{Shown: shown}); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(b.String(), "npm ERR!") == shown || strings.Contains(b.String(), "last output") == shown || !strings.Contains(b.String(), "\nhint: ") {
				t.Errorf("shown before: %v\n%s", shown, b.String())
			}
		}
	}
}
