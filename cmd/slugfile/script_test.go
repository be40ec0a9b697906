//go:build unix

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/slugfile/slugfile/pipeline/pipetest"
	"github.com/slugfile/slugfile/pipeline/platform/local"
)

// TestScript runs testdata/script: whole commands with what they print, one file a theme.
// UPDATE_SCRIPTS=true rewrites the expected output.
func TestScript(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(exe, filepath.Join(bin, name)); err != nil {
		t.Fatal(err)
	}
	viewDoc, err := filepath.Abs("internal/view/view.go")
	if err != nil {
		t.Fatal(err)
	}
	greeter := filepath.Join(bin, "greeter")
	pipetest.NeedTools(t, "go")
	if err := os.WriteFile(greeter, buildGreeter(t), 0o755); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			// The script's environment is bare already; these make it a user's machine.
			for _, d := range []string{"cache", "state", "data"} {
				env.Setenv("XDG_"+strings.ToUpper(d)+"_HOME", filepath.Join(env.WorkDir, ".xdg", d))
			}
			env.Setenv(asProgram, "1")
			env.Setenv("GREETER", greeter)
			env.Setenv("PATH", bin+string(filepath.ListSeparator)+env.Getenv("PATH"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"call": scriptCall, "code": scriptCode, "discover": scriptDiscover, "fault": scriptFault, "last": scriptLast(viewDoc), "netrc": scriptNetrc,
		},
	})
}

// scriptDiscover is the script command "discover": it waits for the embedded platform that
// the script has started, and sets API, HOST and TOKEN.
func scriptDiscover(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: discover")
	}
	dir := filepath.Join(ts.Getenv("XDG_DATA_HOME"), "slugfile", "platform")
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if info, running := local.Discover(dir); running {
			ts.Setenv("API", info.API)
			ts.Setenv("HOST", strings.TrimPrefix(info.API, "http://"))
			ts.Setenv("TOKEN", info.Token.Reveal())
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("no platform runs in %s", dir)
		}
	}
}

// scriptCall is the script command "call METHOD PATH [BODY]": one call of the platform that
// discover has found. The answer goes nowhere; it must be a success.
func scriptCall(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: call method path [body]")
	}
	body := ""
	if len(args) == 3 {
		body = args[2]
	}
	_ = callPlatform(ts, args[0], args[1], body)
}

// scriptFault is the script command "fault [RULE]": it gives the platform that discover has
// found a rule, and without one waits until every rule has done all its hits.
func scriptFault(ts *testscript.TestScript, neg bool, args []string) {
	switch {
	case neg || len(args) > 1:
		ts.Fatalf("usage: fault [rule]")
	case len(args) == 1:
		_ = callPlatform(ts, http.MethodPost, "/_fault", args[0])
		return
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		left := strings.TrimSpace(callPlatform(ts, http.MethodGet, "/_fault", ""))
		var state local.FaultState
		ts.Check(json.Unmarshal([]byte(left), &state))
		if !slices.ContainsFunc(state.Rules, func(r local.FaultCount) bool { return r.Left == nil || *r.Left > 0 }) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("faults that nothing hit: %s", left)
		}
	}
}

func callPlatform(ts *testscript.TestScript, method, path, body string) string {
	req, err := http.NewRequest(method, ts.Getenv("API")+path, strings.NewReader(body))
	ts.Check(err)
	req.Header.Set("Authorization", "Bearer "+ts.Getenv("TOKEN"))
	req.Header.Set("Accept", "application/vnd.heroku+json; version=3")
	c := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := c.Do(req)
	ts.Check(err)
	text, err := io.ReadAll(res.Body)
	ts.Check(errors.Join(err, res.Body.Close()))
	if res.StatusCode >= 300 {
		ts.Fatalf("%s %s: %s: %s", method, path, res.Status, text)
	}
	return string(text)
}

// lineTypes are those that the documentation of --json lists.
var lineTypes = regexp.MustCompile(`(?m)^//\t([a-z]+(?:_[a-z]+)*) {2,}`)

// scriptLast is the script command "last TYPE": every line of standard output is an object
// with "v":1 and a documented "type", and that of the last line is TYPE.
func scriptLast(viewDoc string) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) != 1 {
			ts.Fatalf("usage: last type")
		}
		doc, err := os.ReadFile(viewDoc)
		ts.Check(err)
		var known []string
		for _, m := range lineTypes.FindAllStringSubmatch(string(doc), -1) {
			known = append(known, m[1])
		}
		last := ""
		for l := range strings.Lines(ts.ReadFile("stdout")) {
			var head struct {
				V    int
				Type string
			}
			if err := json.Unmarshal([]byte(l), &head); err != nil || head.V != 1 || !slices.Contains(known, head.Type) {
				ts.Fatalf("%v: v %d, type %q in line %s", err, head.V, head.Type, l)
			}
			last = head.Type
		}
		if last != args[0] {
			ts.Fatalf("the last line is %q, want %q", last, args[0])
		}
	}
}

// scriptNetrc is the script command "netrc FILE MACHINE TOKEN": a file as it must be, 0600.
func scriptNetrc(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: netrc file machine token")
	}
	text := "machine " + args[1] + "\n  login me@example.com\n  password " + args[2] + "\n"
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

// scriptCode is the script command "code N slugfile …": the command must exit with N.
func scriptCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N command...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var exit interface{ ExitCode() int }
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}
