//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/slugfile/slugfile/pipeline/pipetest"
	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/platform/local"
)

// herokuVersion is the release of the heroku command that these outputs were read from;
// .ci/run installs it.
const herokuVersion = "11.10.0"

// shopSource is an app whose code can be told from its answers. Its writer has no port.
const shopSource = `package main

import (
	"fmt"
	"net/http"
	"os"
	"time"
)

const version = "VERSION"

func main() {
	if len(os.Args) > 1 {
		fmt.Println("working")
		time.Sleep(time.Hour)
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Println("served", r.URL.Path)
		fmt.Fprintf(w, "version %s, greeting %q\n", version, os.Getenv("GREETING"))
	})
	fmt.Println(http.ListenAndServe(":"+os.Getenv("PORT"), nil))
}
`

const shopFile = `app: shop
stack: heroku-24
files:
  - from: web
    into: web
process_types:
  web: ./web
  writer: ./web work
  release: echo migrating the database; echo migrated
release:
  description: Sell VERSION
`

// TestHerokuCommand_worksUnpatched runs the real heroku command against the embedded platform.
// It needs Linux: all of it happens in a network namespace with a loopback device and nothing
// else, so that a command which does not find the platform cannot reach heroku.com either.
func TestHerokuCommand_worksUnpatched(t *testing.T) {
	pipetest.Need(t, "heroku", "go")
	if os.Getenv(onLoopback) == "" {
		t.Parallel()
		againOnLoopback(t)
		return
	}
	raiseLoopback(t)
	h := newHerokuCommand(t)

	// The second warning comes once for each home directory.
	h.want(t, step{
		args: "version", out: "heroku/" + herokuVersion + " linux-<word> node-v<word>",
		err: "Warning: HEROKU_API_KEY set to [REDACTED] Warning: Our terms of service have changed: https://dashboard.heroku.com/terms-of-service",
	})
	h.want(t, step{
		args: "create shop --stack heroku-24", out: "http://127.0.0.1:<n>/ | https://127.0.0.1:<n>/shop.git",
		err: "Creating shop... done, stack is heroku-24", asks: "POST /apps",
	})
	one := h.deploy(t, "shop", "one")
	if one.Release.Version != 3 {
		t.Errorf("the first release is v%d, not v3", one.Release.Version)
	}

	t.Run("looks", func(t *testing.T) {
		for _, s := range looks {
			t.Run(s.args, func(t *testing.T) {
				t.Parallel()
				h.want(t, s)
			})
		}
		t.Run("a wrong token", func(t *testing.T) {
			t.Parallel()
			h.with("HEROKU_API_KEY=wrong").want(t, step{
				args: "ps -a shop", code: 1,
				err: "Error: The token provided to HEROKU_API_KEY is invalid. Please double-check that you have the correct token, " +
					"or run `heroku login` without HEROKU_API_KEY set.",
				asks: "GET /apps/shop/dynos",
			})
		})
	})
	t.Run("stories", func(t *testing.T) {
		t.Run("an app that runs", func(t *testing.T) { t.Parallel(); h.runningApp(t, one.WebURL) })
		t.Run("an app without code", func(t *testing.T) { t.Parallel(); h.emptyApps(t) })
		t.Run("a pipeline", func(t *testing.T) { t.Parallel(); h.pipeline(t) })
		t.Run("the variables that are printed", func(t *testing.T) { t.Parallel(); h.printedVariables(t) })
	})
}

// looks change nothing.
var looks = []step{
	{args: "apps", out: `=== local@slugfile.localhost Apps

shop`, asks: "GET /users/~/apps"},
	{args: "info -a shop", out: `=== shop

Auto Cert Mgmt: false
Git URL:        https://git.heroku.com/shop.git
Web URL:        http://127.0.0.1:<n>/
Repo Size:      0 B
Slug Size:      <word> MB
Owner:          local@slugfile.localhost
Region:         us
Dynos:          web: 1
Stack:          heroku-24`, asks: "GET /apps/shop"},
	{args: "apps:stacks -a shop", out: `=== shop Available Stacks

  heroku-22
* heroku-24
  heroku-26`, asks: "GET /stacks"},
	{args: "ps -a shop", out: `=== web (Basic): ./web (1)

web.1: up <time> (~ <ago>)`, asks: "GET /apps/shop/dynos"},
	{args: "ps:scale -a shop", out: `release=0:Basic web=1:Basic writer=0:Basic`, asks: "GET /apps/shop/formation"},
	{args: "ps:type -a shop", out: `=== Process Types

  type      size    qty   cost/hour   max cost/month
 ────────────────────────────────────────────────────
  release   Basic   0     ~$0.010     $0
  web       Basic   1     ~$0.010     $7
  writer    Basic   0     ~$0.010     $0


=== Dyno Totals

  type    total
 ───────────────
  Basic   1`, asks: "GET /apps/shop/formation"},
	{args: "releases -a shop", out: `=== shop Releases - Current: v3

  v    description<blank>user<blank>created_at
 <rule>
  v3   Sell one [slugfile <word>]   local@slugfile.localhost   <time> (~ <ago>)
  v2   Enable Logplex<blank>local@slugfile.localhost   <time> (~ <ago>)
  v1   Initial release<blank>local@slugfile.localhost   <time> (~ <ago>)`, asks: "GET /apps/shop/releases"},
	{args: "releases:info v3 -a shop", out: `=== Release v3

By:                     local@slugfile.localhost
Change:                 Sell one [slugfile <word>]
Eligible for Rollback?: Yes
When:                   <stamp>

=== v3 Config vars`, asks: "GET /apps/shop/releases/3"},
	{args: "releases:output v3 -a shop", out: "migrating the database\nmigrated", asks: "GET /apps/shop/releases/3"},
	{args: "config -a shop", out: "=== shop Config Vars", asks: "GET /apps/shop/config-vars"},
	{args: "auth:whoami", out: "local@slugfile.localhost", err: "Warning: HEROKU_API_KEY is set", asks: "GET /account"},
	{args: "labs -a shop", out: `=== User Features local@slugfile.localhost


=== App Features shop

[ ] runtime-dyno-metadata<rest>`, asks: "GET /apps/shop/features"},
	{args: "addons -a shop", out: "No add-ons for app shop.", asks: "GET /addon-attachments"},
	{args: "domains -a shop", out: "=== shop Heroku Domain\n\n127.0.0.1:<n>", asks: "GET /apps/shop/domains"},
	{args: "buildpacks -a shop", out: "shop has no Buildpacks.", asks: "GET /apps/shop/buildpack-installations"},

	{args: "info -a nowhere", code: 2, err: "Error: Couldn't find that app. Error ID: not_found", asks: "GET /apps/nowhere"},
	{args: "releases:info v99 -a shop", code: 2, err: "Error: Couldn't find that release. Error ID: not_found", asks: "GET /apps/shop/releases/99"},
	{args: "ps:scale nothing=1 -a shop", code: 2, err: "Scaling dynos... ! Error: Couldn't find that process type (nothing). Error ID: not_found",
		asks: "PATCH /apps/shop/formation"},
	{args: "ps:scale web=1:huge -a shop", code: 2, err: "Scaling dynos... ! Error: Couldn't find that size: huge. Error ID: invalid_params",
		asks: "PATCH /apps/shop/formation"},
	{args: "create shop", code: 2, err: "Creating shop... ! Error: Name shop is already taken Error ID: invalid_params", asks: "POST /apps"},
	{args: "create Shop_2", code: 2, err: "Creating Shop_2... ! Error: Name must start with a letter, end with a letter or digit and can only contain " +
		"lowercase letters, digits, and dashes. It has 3 to 30 characters. Error ID: invalid_params", asks: "POST /apps"},
	{args: "rollback v1 -a shop", code: 2, err: "Rolling back shop to v1... ! Error: Cannot rollback to v1: it has no slug that went live. Error ID: invalid_params",
		asks: "POST /apps/shop/releases"},
	{args: "config:set HEROKU_X=1 -a shop", code: 2, err: "Setting HEROKU_X and restarting shop... ! Error: Config var \"HEROKU_X\" begins with HEROKU_ or __, " +
		"which are reserved. Error ID: invalid_params", asks: "PATCH /apps/shop/config-vars"},
	{args: "ps:restart -d web.9 -a shop", code: 2, err: "Restarting dyno web.9 on shop... ! Error: Couldn't find that dyno. Error ID: not_found",
		asks: "DELETE /apps/shop/dynos/web.9"},
	{args: "run -a shop -- echo hello", code: 2, err: "Error: The embedded platform runs detached dynos only: use run:detached. Error ID: invalid_params",
		asks: "POST /apps/shop/dynos"},
	{args: "destroy -a shop --confirm other", code: 1, err: "Error: Confirmation other did not match shop. Aborted.", asks: "GET /apps/shop"},
}

// runningApp is the life of the app shop behind its first release.
func (h *herokuCommand) runningApp(t *testing.T, url string) {
	h.want(t, step{
		args: "config:set GREETING=hello COLOUR=red -a shop", out: "COLOUR:   red\nGREETING: hello",
		err: "Setting GREETING, COLOUR and restarting shop... done, v4", asks: "PATCH /apps/shop/config-vars",
	})
	answers(t, url, `version one, greeting "hello"`)
	h.want(t, step{args: "config:get GREETING -a shop", out: "hello", asks: "GET /apps/shop/config-vars"})
	h.want(t, step{args: "config:unset COLOUR -a shop", err: "Unsetting COLOUR and restarting shop... done, v5", asks: "PATCH /apps/shop/config-vars"})
	h.want(t, step{args: "config -a shop", out: "=== shop Config Vars\n\nGREETING: hello", asks: "GET /apps/shop/config-vars"})

	h.want(t, step{
		args: "ps:scale web=2 writer+1 -a shop", err: "Scaling dynos... done, now running web at 2:Basic, writer at 1:Basic",
		asks: "PATCH /apps/shop/formation",
	})
	h.settle(t, "shop", "web.1 web.2 writer.1")
	h.want(t, step{args: "ps -a shop", out: `=== web (Basic): ./web (2)

web.1: up <time> (~ <ago>)
web.2: up <time> (~ <ago>)

=== writer (Basic): ./web work (1)

writer.1: up <time> (~ <ago>)`, asks: "GET /apps/shop/dynos"})
	h.replaces(t, "web.1 web.2 writer.1", step{args: "ps:restart -a shop", err: "Restarting all dynos on shop... done", asks: "DELETE /apps/shop/dynos"})
	h.replaces(t, "web.1 web.2", step{args: "ps:restart -p web -a shop", err: "Restarting all web dynos on shop... done", asks: "DELETE /apps/shop/formations/web"})
	h.replaces(t, "web.2", step{args: "ps:restart -d web.2 -a shop", err: "Restarting dyno web.2 on shop... done", asks: "DELETE /apps/shop/dynos/web.2"})
	h.replaces(t, "writer.1", step{
		args: "ps:stop -d writer.1 -a shop", err: "Stopping dyno writer.1 on shop... done", asks: "POST /apps/shop/dynos/writer.1/actions/stop",
	})
	h.want(t, step{args: "ps:type web=standard-1x -a shop", out: `=== Process Types

  type      size          qty   cost/hour   max cost/month
 ──────────────────────────────────────────────────────────
  release   Basic         0     ~$0.010     $0
  web       Standard-1X   2     ~$0.069     $50
  writer    Basic         1     ~$0.010     $7


=== Dyno Totals

  type          total
 ─────────────────────
  Basic         1
  Standard-1X   2`, err: "Scaling dynos on shop... done", asks: "PATCH /apps/shop/formation"})

	if two := h.deploy(t, "shop", "two"); two.Release.Version != 6 {
		t.Errorf("the second slug is v%d, not v6", two.Release.Version)
	}
	answers(t, url, `version two, greeting "hello"`)
	h.want(t, step{
		args: "rollback -a shop", out: "<phase>",
		err: "Rolling back shop to v5... done, v7 Warning: Rollback affects code and config vars; it doesn't add or remove addons. " +
			"Warning: To undo, run: heroku rollback v6<starting>",
		asks: "POST /apps/shop/releases",
	})
	answers(t, url, `version one, greeting "hello"`)
	h.want(t, step{
		args: "rollback v6 -a shop", out: "<phase>",
		err: "Rolling back shop to v6... done, v8 Warning: Rollback affects code and config vars; it doesn't add or remove addons. " +
			"Warning: To undo, run: heroku rollback v7<starting>",
		asks: "POST /apps/shop/releases",
	})
	answers(t, url, `version two, greeting "hello"`)
	h.want(t, step{args: "releases:retry -a shop", out: "<phase>", err: "Retrying v8 on shop... done, v9<starting>", asks: "POST /apps/shop/releases"})
	h.live(t, "shop", 9)

	get(t, url+"greeting")
	h.want(t, step{args: "logs -a shop -n 1500", out: `<lines><logtime> heroku[web.1]: Starting process with command ` + "`./web`" + `
<lines><logtime> app[web.<n>]: served /greeting
<lines>`, asks: "POST /apps/shop/log-sessions"})
	h.want(t, step{args: "logs -a shop -n 1 --source app -p writer", out: `<logtime> app[writer.1]: working`, asks: "POST /apps/shop/log-sessions"})
	h.tail(t, url)

	h.want(t, step{args: "open /basket -a shop", out: "Opening " + url + "basket...", err: "<any>", asks: "GET /apps/shop"})
	eventually(t, "the browser is started", func() string {
		b, err := os.ReadFile(h.browsed)
		if want := url + "basket\n"; string(b) != want {
			return fmt.Sprintf("%q, %v instead of %q", b, err, want)
		}
		return ""
	})

	out := h.want(t, step{
		args: "run:detached -a shop -- echo one-off says hello", out: "Run heroku logs --app shop --dyno run.<n> to view the output.",
		err: "Running echo one-off says hello on shop... done, run.<n>", asks: "POST /apps/shop/dynos",
	})
	dyno := regexp.MustCompile(`run\.\d+`).FindString(out.Out)
	eventually(t, "the one-off dyno speaks", func() string {
		log := h.platform.Logs("shop")
		if !slices.ContainsFunc(log, func(l string) bool { return strings.HasSuffix(l, " app["+dyno+"]: one-off says hello") }) {
			return strings.Join(log[max(0, len(log)-5):], "\n")
		}
		return ""
	})

	h.want(t, step{args: "maintenance:on -a shop", err: "Enabling maintenance mode for shop... done", asks: "PATCH /apps/shop"})
	if code, _ := status(t, url); code != http.StatusServiceUnavailable {
		t.Errorf("in maintenance the app answers %d", code)
	}
	h.want(t, step{args: "maintenance:off -a shop", err: "Disabling maintenance mode for shop... done", asks: "PATCH /apps/shop"})
	answers(t, url, `version two, greeting "hello"`)

	h.want(t, step{args: "destroy -a shop --confirm shop", err: "Destroying shop (including all add-ons)... done", asks: "DELETE /apps/shop"})
	if code := h.api(t, "/apps/shop", nil); code != http.StatusNotFound {
		t.Errorf("a destroyed app answers %d", code)
	}
	eventually(t, "the app's address is closed", func() string {
		c := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
		res, err := c.Get(url)
		if err != nil {
			return ""
		}
		_ = res.Body.Close()
		return res.Status
	})
}

// emptyApps are made, changed and destroyed without ever having a slug.
func (h *herokuCommand) emptyApps(t *testing.T) {
	made := h.want(t, step{
		args: "create", out: "http://127.0.0.1:<n>/ | https://127.0.0.1:<n>/<word>.git", err: "Creating app... done, <word>", asks: "POST /apps",
	})
	name := regexp.MustCompile(`([a-z0-9-]+)\.git`).FindStringSubmatch(made.Out)[1]
	h.want(t, step{
		args: "create shelf --stack heroku-22 --region eu", out: "http://127.0.0.1:<n>/ | https://127.0.0.1:<n>/shelf.git",
		err: "Creating shelf... done, region is eu, stack is heroku-22", asks: "POST /apps",
	})
	h.want(t, step{args: "ps -a shelf", out: "No dynos on shelf", asks: "GET /apps/shelf/dynos"})
	// Without code the stack moves at once, and nothing is said about a new build.
	h.want(t, step{args: "stack:set heroku-26 -a shelf", err: "Setting stack to heroku-26... done", asks: "PATCH /apps/shelf"})
	h.want(t, step{
		args: "labs:enable runtime-dyno-metadata -a shelf", err: "Enabling runtime-dyno-metadata for shelf... done",
		asks: "PATCH /apps/shelf/features/runtime-dyno-metadata",
	})
	h.want(t, step{
		args: "run:detached -a shelf -- echo", code: 2, err: "<any>Error: App shelf has no slug to run: release one first. Error ID: invalid_params",
		asks: "POST /apps/shelf/dynos",
	})
	h.want(t, step{
		args: "apps:rename rack -a shelf", out: "http://127.0.0.1:<n>/ | https://127.0.0.1:<n>/rack.git\n<any>",
		err: "Renaming shelf to rack... done Warning: Don't forget to update git remotes for all other local checkouts of the app.", asks: "PATCH /apps/shelf",
	})
	var app platform.App
	if code := h.api(t, "/apps/rack", &app); code != http.StatusOK || app.Region.Name != "eu" || app.Stack.Name != "heroku-26" {
		t.Errorf("rack: %d, region %s, stack %s", code, app.Region.Name, app.Stack.Name)
	}
	h.want(t, step{args: "destroy " + name + " --confirm " + name, err: "Destroying " + name + " (including all add-ons)... done", asks: "DELETE /apps/" + name})
}

// pipeline promotes the slug of one app to another.
func (h *herokuCommand) pipeline(t *testing.T) {
	for _, app := range []string{"draft", "print"} {
		h.want(t, step{
			args: "create " + app, out: "http://127.0.0.1:<n>/ | https://127.0.0.1:<n>/" + app + ".git",
			err: "Creating " + app + "... done", asks: "POST /apps",
		})
	}
	h.deploy(t, "draft", "three")
	h.want(t, step{
		args: "pipelines:create press -a draft -s staging",
		err:  "Creating press pipeline... done Adding draft to press pipeline as staging... done", asks: "POST /pipeline-couplings",
	})
	h.want(t, step{
		args: "pipelines:add press -a print -s production", err: "Adding print to press pipeline as production... done", asks: "POST /pipeline-couplings",
	})
	h.want(t, step{args: "pipelines:info press", out: `=== press

owner: local@slugfile.localhost

  app name   stage
 <rule>
  draft      staging
  print      production`, asks: "GET /pipelines"})
	h.want(t, step{args: "pipelines:promote -a draft", out: `Fetching app info...
Fetching apps from press...
Starting promotion to production...
Waiting for promotion to complete...
Fetching release info...
Running release command...
migrating the database
migrated

Promotion successful
print: succeeded`, asks: "POST /pipeline-promotions"})
	h.live(t, "print", 3)
	var app platform.App
	if code := h.api(t, "/apps/print", &app); code != http.StatusOK || app.WebURL == nil {
		t.Fatalf("GET /apps/print: %d, %+v", code, app)
	}
	answers(t, *app.WebURL, `version three, greeting ""`)
}

// printedVariables pastes what slugfile platform prints into a shell.
func (h *herokuCommand) printedVariables(t *testing.T) {
	w := newWorld(t)
	exports := w.startPlatform(t)
	cmd := exec.Command("sh", "-c", strings.Join(exports, "\n")+"\nheroku create pasted && heroku apps && heroku logs -a pasted")
	for _, v := range h.env {
		if name, _, _ := strings.Cut(v, "="); !slices.Contains([]string{"HEROKU_HOST", "HEROKU_PARTICLEBOARD_URL", "HEROKU_API_KEY"}, name) {
			cmd.Env = append(cmd.Env, v)
		}
	}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("%s: %v\n%s", strings.Join(exports, "\n"), err, errs.String())
	}
	if !like("<any>\n=== local@slugfile.localhost Apps\n\npasted", tidied(string(out))) {
		t.Errorf("with the printed variables:\n%s\n%s", out, errs.String())
	}
}

// tail follows the log, sees what is written meanwhile, and is interrupted.
func (h *herokuCommand) tail(t *testing.T, url string) {
	cmd := exec.Command(h.exe, "logs", "--tail", "-n", "1", "-a", "shop")
	cmd.Env, cmd.Dir = h.env, h.dir
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	deadline := time.After(2 * time.Minute)
	asked := false
	for found := false; !found; {
		select {
		case l, open := <-lines:
			if !open {
				t.Fatalf("logs --tail ended by itself: %v\n%s", cmd.Wait(), errs.String())
			}
			// The line that was there already shows that the stream is open.
			if !asked {
				get(t, url+"written/later")
				asked = true
			}
			found = like("<logtime> app[web.<n>]: served /written/later", l)
		case <-deadline:
			_ = cmd.Process.Kill()
			t.Fatalf("logs --tail does not show a line that was written while it ran\n%s", errs.String())
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	for range lines { // until the pipe closes, which Wait would do too early
		continue
	}
	_ = cmd.Wait() // the state tells
	state := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if state.Signal() != syscall.SIGINT && state.ExitStatus() != 130 || errs.Len() > 0 {
		t.Errorf("interrupted, logs --tail ended with %s\n%s", cmd.ProcessState, errs.String())
	}
}

// step is one command and what must come of it.
type step struct {
	args string
	code int
	// out is the whole of standard output and err of standard error, with <…> for what varies.
	// err is on one line: the command breaks it by the width of the terminal.
	out, err string
	// asks is a request that it must make.
	asks string
}

// varying are the parts of an output that differ from run to run.
var varying = strings.NewReplacer(
	"<any>", `[\s\S]*?`,
	"<rest>", `[^\n]*`,
	"<lines>", `(?:[^\n]*\n?)*?`,
	"<n>", `\d+`,
	"<word>", `[\w.-]+`,
	"<blank>", ` +`,
	"<rule>", `─+`,
	"<time>", `\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \+0000`,
	"<stamp>", `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`,
	"<logtime>", `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00`,
	"<ago>", `\d+[sm] ago`,
	// A release phase is shown when it has said something by the time that it is looked at.
	"<phase>", `Running release command\.\.\.(?:\n+migrating the database\nmigrated)?`,
	"<starting>", `(?: Warning: Release command starting\. Use .?heroku releases:output.* to view the log\.)?`,
)

// absent is what JavaScript prints in the place of a field that is not there.
var absent = regexp.MustCompile(`\b(?:undefined|null|NaN|Invalid date)\b|\[object `)

// like says whether text is what the pattern says, all of it.
func like(pattern, text string) bool {
	return regexp.MustCompile(`^(?:` + varying.Replace(regexp.QuoteMeta(pattern)) + `)$`).MatchString(text)
}

// tidied has no blanks at the end of a line, and no empty lines around it.
func tidied(text string) string {
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
	}
	return strings.Trim(strings.Join(lines, "\n"), "\n")
}

// unfolded takes back how warnings and errors are broken and marked.
func unfolded(text string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(text, "›", "")), " ")
}

// herokuCommand is the heroku command with a home of its own, pointed at a platform in this
// process that counts what it is asked.
type herokuCommand struct {
	exe, dir string
	env      []string
	world    *world
	platform *local.Platform
	asked    *asked
	browsed  string
	builds   string
}

// asked holds the requests of each command, by a header that the command is told to send.
type asked struct {
	last atomic.Int64
	mu   sync.Mutex
	by   map[string][]string
}

// commandHeader carries the number of the command.
const commandHeader = "X-Test-Command"

func (a *asked) hook(r *http.Request) *local.Fault {
	if n := r.Header.Get(commandHeader); n != "" && strings.HasPrefix(r.UserAgent(), "heroku-cli/"+herokuVersion+" ") {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.by[n] = append(a.by[n], r.Method+" "+r.URL.Path)
	}
	return nil
}

func newHerokuCommand(t *testing.T) *herokuCommand {
	t.Helper()
	h := &herokuCommand{world: newWorld(t), dir: t.TempDir(), asked: &asked{by: map[string][]string{}}, builds: t.TempDir()}
	var err error
	if h.exe, err = exec.LookPath("heroku"); err != nil {
		t.Fatal(err)
	}
	p, err := local.Open(t.TempDir(), local.Options{Listen: "127.0.0.1:0", Fault: h.asked.hook, StopGrace: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	h.platform = p
	h.world.Env["SLUGFILE_API"], h.world.Env["HEROKU_API_KEY"] = p.URL(), p.Token().Reveal()

	home := t.TempDir()
	browser := filepath.Join(home, "browser")
	h.browsed = filepath.Join(home, "browsed")
	write(t, browser, "#!/bin/sh\necho \"$@\" >>'"+h.browsed+"'\n")
	if err := os.Chmod(browser, 0o755); err != nil {
		t.Fatal(err)
	}
	h.env = []string{
		"HEROKU_HOST=" + p.URL(), "HEROKU_PARTICLEBOARD_URL=" + p.URL(), "HEROKU_API_KEY=" + p.Token().Reveal(),
		"HOME=" + home, "PATH=" + os.Getenv("PATH"), "BROWSER=" + browser, "TZ=UTC", "LANG=C.UTF-8", "NO_COLOR=1",
		"DISABLE_TELEMETRY=true", "HEROKU_SKIP_NEW_VERSION_CHECK=true", "IS_HEROKU_TEST_ENV=true", "HEROKU_DISABLE_AUTOUPDATE=true", "HIDE_HEROKU_RELEASE_NOTES=1",
	}
	return h
}

// with is the same command with other variables.
func (h *herokuCommand) with(env ...string) *herokuCommand {
	other := *h
	other.env = append(slices.Clone(h.env), env...) // the last one of a name counts
	return &other
}

// want runs a command and holds it to what was expected of it.
func (h *herokuCommand) want(t *testing.T, s step) result {
	t.Helper()
	number := strconv.FormatInt(h.asked.last.Add(1), 10)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, h.exe, strings.Fields(s.args)...)
	cmd.Dir = h.dir
	cmd.Env = append(slices.Clone(h.env), `HEROKU_HEADERS={"`+commandHeader+`":"`+number+`"}`)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); cmd.ProcessState == nil || ctx.Err() != nil {
		t.Fatalf("heroku %s: %v\n%s%s", s.args, errors.Join(err, ctx.Err()), out.String(), errs.String())
	}
	r := result{tidied(out.String()), unfolded(errs.String()), cmd.ProcessState.ExitCode()}
	h.asked.mu.Lock()
	requests := h.asked.by[number]
	h.asked.mu.Unlock()
	if r.Code != s.code || !like(s.out, r.Out) || !like(s.err, r.Err) {
		t.Errorf("heroku %s\nexit code %d, want %d\n--- standard output\n%s\n--- want\n%s\n--- standard error\n%s\n--- want\n%s\n--- requests\n%s",
			s.args, r.Code, s.code, r.Out, s.out, r.Err, s.err, strings.Join(requests, "\n"))
	}
	if missing := absent.FindString(r.Out + "\n" + r.Err); missing != "" {
		t.Errorf("heroku %s: shows %q for something that the platform did not say:\n%s\n%s", s.args, missing, r.Out, r.Err)
	}
	if s.asks != "" && !slices.Contains(requests, s.asks) {
		t.Errorf("heroku %s: did not ask %s of the platform, but:\n%s", s.args, s.asks, strings.Join(requests, "\n"))
	}
	return r
}

// deploy releases a version of the shop with slugfile, to the app of a name.
func (h *herokuCommand) deploy(t *testing.T, app, version string) applied {
	t.Helper()
	dir := t.TempDir()
	program := buildProgram(t, strings.ReplaceAll(shopSource, "VERSION", version))
	if err := os.WriteFile(filepath.Join(dir, "web"), program, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "slug.yaml"), strings.ReplaceAll(shopFile, "VERSION", version))
	return h.world.apply(t, dir, "apply", "--yes", "--json", "--app", app)
}

// api asks the platform without the command, and returns the status.
func (h *herokuCommand) api(t *testing.T, path string, v any) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.platform.URL()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+h.platform.Token().Reveal())
	code, b := exchange(t, req)
	if v != nil && code < 300 {
		if err := json.Unmarshal(b, v); err != nil {
			t.Fatalf("GET %s: %v\n%s", path, err, b)
		}
	}
	return code
}

// settle waits until these dynos are up, and no others are there, and returns their ids.
func (h *herokuCommand) settle(t *testing.T, app, names string) map[string]string {
	t.Helper()
	ids := map[string]string{}
	eventually(t, names+" are up", func() string {
		var dynos []platform.Dyno
		h.api(t, "/apps/"+app+"/dynos", &dynos)
		clear(ids)
		var have []string
		for _, d := range dynos {
			ids[d.Name] = d.ID
			have = append(have, d.Name)
			if d.State != "up" {
				have[len(have)-1] += " " + d.State
			}
		}
		if got := strings.Join(have, " "); got != names {
			return got
		}
		return ""
	})
	return ids
}

// replaces runs a command that must put others in the place of the named dynos, and leave the
// other dynos alone.
func (h *herokuCommand) replaces(t *testing.T, names string, s step) {
	t.Helper()
	const all = "web.1 web.2 writer.1"
	old := h.settle(t, "shop", all)
	h.want(t, s)
	eventually(t, s.args+" replaces "+names, func() string {
		now := h.settle(t, "shop", all)
		var replaced []string
		for _, name := range strings.Fields(all) {
			if now[name] != old[name] {
				replaced = append(replaced, name)
			}
		}
		if got := strings.Join(replaced, " "); got != names {
			return "replaced: " + got
		}
		return ""
	})
}

// live waits until a version is the current release.
func (h *herokuCommand) live(t *testing.T, app string, version int) {
	t.Helper()
	eventually(t, fmt.Sprintf("v%d is current", version), func() string {
		var r platform.Release
		if h.api(t, fmt.Sprintf("/apps/%s/releases/%d", app, version), &r); !r.Current {
			return r.Status
		}
		return ""
	})
}

// answers waits until every dyno of an app that is asked answers so: a switch of releases is over
// when the old ones do not answer any more.
func answers(t *testing.T, url, want string) {
	t.Helper()
	eventually(t, url+" answers "+want, func() string {
		for range 4 {
			if code, body := status(t, url); code != http.StatusOK || body != want+"\n" {
				return fmt.Sprintf("%d %s", code, body)
			}
		}
		return ""
	})
}

func status(t *testing.T, url string) (code int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	code, b := exchange(t, req)
	return code, string(b)
}

// exchange sends a request on a connection of its own and reads the whole answer.
func exchange(t *testing.T, req *http.Request) (code int, body []byte) {
	t.Helper()
	c := http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err = io.ReadAll(res.Body); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, body
}

// eventually waits for what the platform does in its own time. fn says what is still missing.
func eventually(t *testing.T, what string, fn func() string) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		missing := fn()
		if missing == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within two minutes: %s\n%s", what, missing)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// onLoopback is set in the process that has the network namespace.
const onLoopback = "SLUGFILE_TEST_ON_LOOPBACK"

// againOnLoopback runs the test a second time, in a network namespace of its own.
func againOnLoopback(t *testing.T) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "-test.run", "^"+t.Name()+"$", "-test.v", "-test.timeout", "10m")
	cmd.Env = append(os.Environ(), onLoopback+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if uid, gid := os.Getuid(), os.Getgid(); uid != 0 {
		// An ordinary user gets the namespace inside a user namespace, and keeps the one
		// capability that switching the device on takes.
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}}
		cmd.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_NET_ADMIN}
	}
	// Shown as it comes: this is most of the time that the end-to-end tests take.
	var out bytes.Buffer
	shown := io.MultiWriter(&out, t.Output())
	cmd.Stdout, cmd.Stderr = shown, shown
	err = cmd.Run()
	if cmd.Process == nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("CI must allow network namespaces: %v", err)
		}
		t.Skipf("no network namespace for the heroku command: %v", err)
	}
	if err != nil || !bytes.Contains(out.Bytes(), []byte("--- PASS: "+t.Name()+" ")) {
		t.Errorf("on loopback alone: %v", err)
	}
}

// raiseLoopback switches the loopback device on, and makes sure that there is no other.
func raiseLoopback(t *testing.T) {
	t.Helper()
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(s) }()
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, lo); err != nil {
		t.Fatalf("switch the loopback device on: %v", err)
	}
	devices, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range devices {
		if d.Name != "lo" && d.Flags&net.FlagUp != 0 {
			t.Fatalf("the device %s is there: the heroku command could reach another machine", d.Name)
		}
	}
}
