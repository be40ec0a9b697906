package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/slugfile/slugfile/cmd/slugfile/internal/view"
	"github.com/slugfile/slugfile/config/diag"
	"github.com/slugfile/slugfile/pipeline/stack"
)

// grammar reads like the help: the commands in the order in which a user meets them.
type grammar struct {
	globalFlags

	Validate validateCmd `cmd:"" help:"Check slug.yaml and show every fault."`
	Schema   schemaCmd   `cmd:"" help:"Print the JSON schema of slug.yaml."`
	Lock     lockCmd     `cmd:"" help:"Resolve the runtimes and pin them in slug.lock."`
	Plan     planCmd     `cmd:"" help:"Show what apply would do."`
	Apply    applyCmd    `cmd:"" help:"Make the slug and release it."`
	Build    buildCmd    `cmd:"" help:"Make the slug, and no more."`
	Inspect  inspectCmd  `cmd:"" help:"Show what is in a slug, how it differs, and if it would run."`
	Verify   verifyCmd   `cmd:"" help:"Check a slug against its provenance and its bill of materials."`
	Run      runCmd      `cmd:"" help:"Boot the slug as a dyno would, on this machine."`
	Releases releasesCmd `cmd:"" help:"List the app's releases, or show one."`
	Rollback rollbackCmd `cmd:"" help:"Release an earlier release again."`
	Logs     logsCmd     `cmd:"" help:"Show the app's log."`
	Open     openCmd     `cmd:"" help:"Open the app in a browser."`
	Platform platformCmd `cmd:"" help:"Serve the embedded platform on this machine."`
	Version  versionCmd  `cmd:"" help:"Print the version."`
}

const description = `Heroku slugs from one committed file, slug.yaml.

Exit codes: 0 done, 1 failed, 2 changes (plan --detailed-exitcode), 3 stale plan, 4 slug.yaml is wrong, 5 not allowed, 6 bytes differ from their digest, 7 rate limited, 64 usage, 130 interrupted.`

// The flag groups below are embedded by the commands for which they do something. A flag's
// variable is read by the resolver from App.Env, never from the process; a flag wins.

// globalFlags stand before or after the command.
type globalFlags struct {
	Chdir string `short:"C" placeholder:"DIR" variable:"SLUGFILE_CHDIR" help:"Run as if started in DIR."`
	Color string `enum:"auto,always,never" default:"auto" placeholder:"WHEN" variable:"SLUGFILE_COLOR" help:"Colour: auto, always or never."`
}

// projectFlags find slug.yaml and what is replaced in it.
type projectFlags struct {
	File string            `short:"f" default:"slug.yaml" placeholder:"FILE" variable:"SLUGFILE_FILE" help:"Read FILE instead of slug.yaml."`
	Var  map[string]string `mapsep:"none" placeholder:"NAME=VALUE" help:"Set a variable that vars: declares. Repeatable."`
}

// appFlag names the app.
type appFlag struct {
	App string `short:"a" placeholder:"APP" variable:"SLUGFILE_APP" help:"Name or id of the app, instead of app: in slug.yaml."`
}

// stackFlag names the stack.
type stackFlag struct {
	Stack string `placeholder:"STACK" variable:"SLUGFILE_STACK" help:"The stack, instead of stack: in slug.yaml."`
}

// fetchFlags say where downloads come from.
type fetchFlags struct {
	Mirror []string `sep:"none" placeholder:"PREFIX=PREFIX" variable:"SLUGFILE_MIRRORS" help:"Download URLs that begin with the first prefix from the second. Repeatable; several in the variable are separated by blanks."`
}

// lockFlag says how long to wait for others.
type lockFlag struct {
	LockTimeout time.Duration `placeholder:"TIME" variable:"SLUGFILE_LOCK_TIMEOUT" help:"How long to wait for another slugfile at the same app or step, such as 30s or 5m. Default: as long as it takes."`
}

// platformFlags choose the platform.
type platformFlags struct {
	Local bool   `variable:"SLUGFILE_LOCAL" xor:"platform" help:"Use the embedded platform on this machine."`
	API   string `name:"api" placeholder:"URL" variable:"SLUGFILE_API" xor:"platform" help:"Base URL of the Platform API. Default: https://api.heroku.com."`
}

// checkFlags let findings pass.
type checkFlags struct {
	Allow []string `placeholder:"CODE" enum:"${codes}" variable:"SLUGFILE_ALLOW" help:"Let findings of this code pass, such as glibc: the slug may not run on its stack then. Repeatable."`
}

// progressFlags choose how much is shown while a command works.
type progressFlags struct {
	Progress string `enum:"auto,plain,none" default:"auto" placeholder:"HOW" variable:"SLUGFILE_PROGRESS" help:"Progress: auto (live on a terminal), plain (lines) or none."`
	Verbose  int    `short:"v" type:"counter" xor:"loud" help:"Show reasons, timings and the output of steps."`
	Quiet    bool   `short:"q" xor:"loud" help:"Show results, warnings and errors only."`
}

// jsonFlag switches to output for programs.
type jsonFlag struct {
	JSON bool `name:"json" variable:"SLUGFILE_JSON" help:"Write JSON to standard output."`
}

// yesFlag answers the question before the fact.
type yesFlag struct {
	Yes bool `short:"y" variable:"SLUGFILE_YES" help:"Do not ask."`
}

// The flags of single commands.
type (
	planFlags struct {
		Against          string `placeholder:"REV|FILE|vN" variable:"SLUGFILE_AGAINST" help:"Compare with the plan of a git revision, with a saved plan, or with an earlier release, instead of the live one."`
		Diff             bool   `variable:"SLUGFILE_DIFF" help:"Show what changes in small text files."`
		Format           string `enum:"text,markdown,json" default:"text" placeholder:"FORM" variable:"SLUGFILE_FORMAT" help:"Form of the plan: text, markdown (for a comment on a pull request) or json."`
		Out              string `placeholder:"FILE" variable:"SLUGFILE_OUT" help:"Save the plan in FILE, for apply FILE."`
		DetailedExitcode bool   `variable:"SLUGFILE_DETAILED_EXITCODE" help:"Exit with 2 when there are changes."`
	}
	applyFlags struct {
		Create bool `variable:"SLUGFILE_CREATE" help:"Create the app when there is none of that name."`
		Stay   bool `variable:"SLUGFILE_STAY" help:"With --local: stay up until interrupted, as on a terminal."`
	}
	buildFlags struct {
		Output     string `short:"o" placeholder:"FILE" variable:"SLUGFILE_OUTPUT" help:"Write the slug to FILE too."`
		SBOM       string `name:"sbom" placeholder:"FILE" variable:"SLUGFILE_SBOM" help:"Write what is in the slug to FILE: a bill of materials, CycloneDX 1.6 in JSON."`
		Provenance string `placeholder:"FILE" variable:"SLUGFILE_PROVENANCE" help:"Write what the slug was made of to FILE: an in-toto statement with SLSA provenance."`
		SignKey    string `placeholder:"FILE" variable:"SLUGFILE_SIGN_KEY" help:"Sign the provenance with the ed25519 private key in FILE: PKCS#8 PEM or OpenSSH."`
	}
	inspectFlags struct {
		Diff  string  `placeholder:"OTHER" xor:"form" help:"Show what is different from another slug instead: a file, a release, or tree."`
		Tree  bool    `xor:"form" help:"Show the sizes of directories and files as a tree instead."`
		Depth int     `placeholder:"N" help:"Show at most N levels of the tree. Default: as many as there are."`
		Share float64 `default:"1" placeholder:"PERCENT" help:"Leave out of the tree what takes less than PERCENT of the whole. Default: 1."`
	}
	verifyFlags struct {
		Provenance string `placeholder:"FILE" variable:"SLUGFILE_PROVENANCE" help:"The signed provenance."`
		Key        string `placeholder:"FILE" variable:"SLUGFILE_VERIFY_KEY" help:"The public key that must have signed it: PEM, or one line as in OpenSSH's .pub files."`
		SBOM       string `name:"sbom" placeholder:"FILE" variable:"SLUGFILE_SBOM" help:"The bill of materials."`
	}
	runFlags struct {
		Slug        string        `placeholder:"FILE" variable:"SLUGFILE_SLUG" help:"Run the slug in FILE instead of building one. Its process types are those of slug.yaml beside it, else of its Procfile."`
		EnvFile     []string      `sep:"none" placeholder:"FILE" variable:"SLUGFILE_ENV_FILE" help:"Set the config vars in FILE, lines of KEY=VALUE. Repeatable."`
		Port        int           `placeholder:"N" variable:"SLUGFILE_PORT" help:"The port of web. Default: a free one."`
		BootTimeout time.Duration `default:"60s" placeholder:"TIME" variable:"SLUGFILE_BOOT_TIMEOUT" help:"How long web may take until it listens. Default: 60s."`
	}
	lockFlags struct {
		Sums   string `placeholder:"URL" help:"Check the downloads against a published list of sha256 sums."`
		Update bool   `help:"Pin again what is pinned already."`
	}
	releasesFlags struct {
		Number int  `short:"n" default:"15" placeholder:"N" help:"Show at most N releases; 0 shows all."`
		Output bool `help:"Show what the release phase of the release wrote."`
	}
	logsFlags struct {
		Number int    `short:"n" default:"100" placeholder:"N" help:"Begin with the last N lines. Default: 100."`
		Tail   bool   `short:"t" help:"Go on with the lines to come."`
		Source string `short:"s" placeholder:"SOURCE" help:"Lines of this source only: app or heroku."`
		Dyno   string `short:"d" placeholder:"DYNO" help:"Lines of this dyno only, such as web.1, or of all dynos of a process type, such as web."`
	}
	openFlags struct {
		Print bool `help:"Print the address, and start no browser."`
	}
	serveFlags struct {
		Listen string `default:"127.0.0.1:5999" placeholder:"ADDR" variable:"SLUGFILE_LISTEN" help:"Listen on ADDR. Default: 127.0.0.1:5999."`
		Data   string `placeholder:"DIR" variable:"SLUGFILE_DATA" help:"Keep apps, slugs and releases in DIR."`

		BootTimeout time.Duration `default:"60s" placeholder:"TIME" variable:"SLUGFILE_BOOT_TIMEOUT" help:"Give web dynos TIME to listen, for instance 90s. Default: 60s."`
		AllowRemote bool          `variable:"SLUGFILE_ALLOW_REMOTE" help:"Let --listen name an address that other machines can reach."`
	}
	testFlags struct {
		Fault     []string `sep:"none" split:";" placeholder:"SPEC" variable:"SLUGFILE_PLATFORM_FAULTS" help:"Let something go wrong, for instance 'status=503 rate=3%' or 'lost on=\"POST /apps/*/releases\" times=1'. Repeatable; several in the variable are separated by semicolons."`
		FaultSeed uint64   `placeholder:"N" variable:"SLUGFILE_PLATFORM_FAULT_SEED" help:"Repeat the chances of an earlier run. Default: a random seed, which is printed."`
		RateLimit int      `default:"4500" placeholder:"N" variable:"SLUGFILE_PLATFORM_RATE_LIMIT" help:"Let the account have N calls of the API in hand, of which 75 a minute come back; 0 is no limit. Default: 4500."`
	}
)

// view returns the view for progress: live lines on a terminal, plain lines elsewhere, both
// on Err; JSON lines on Out when lines is set.
func (f progressFlags) view(app *App, lines bool) view.View {
	kind := view.Choose(view.Request{
		Progress: f.Progress, JSON: lines, Quiet: f.Quiet, Terminal: app.ErrTerminal, Env: app.Env,
	})
	app.live = kind == view.KindTerminal
	w := app.Err
	if kind == view.KindJSON {
		w = app.Out
	}
	return view.New(kind, w, view.Options{
		Style: app.errStyle(), Now: app.Now, Width: app.Width, Verbose: f.Verbose > 0,
	})
}

// run is the whole program, apart from the process: arguments in, exit code out.
func run(ctx context.Context, args, environ []string, s streams) int {
	app, err := newApp(environ, s)
	if err != nil {
		_ = view.Error(s.Err, err, view.ErrorOptions{}) // there is no other place to say it
		return exitFailed
	}
	return app.run(ctx, args)
}

// run parses, runs the command, and tells its error.
func (a *App) run(ctx context.Context, args []string) int {
	asJSON, err := a.command(ctx, args)
	code := exitCode(err, causeOf(ctx))
	if s := interrupted(err, causeOf(ctx)); s != nil && !is[*processExit](err) {
		err = &stoppedError{signal: *s, err: err}
	}
	if err != nil && code != exitChanges && !is[*processExit](err) {
		a.tell(err, code, asJSON && !is[*wouldNotRunError](err)) // whose document has said why
	}
	if ferr := a.flush(); ferr != nil && code == exitDone {
		return exitFailed
	}
	return code
}

// tell writes an error for people on Err, and with --json for programs on Out as well.
func (a *App) tell(err error, code int, asJSON bool) {
	// When these writes fail there is nobody left to tell.
	o := view.ErrorOptions{Style: a.errStyle(), Shown: a.live}
	if a.ErrTerminal {
		o.Width = a.Width()
	}
	_ = view.Error(a.Err, err, o)
	if !asJSON {
		return
	}
	message := err.Error()
	var list diag.List
	if errors.As(err, &list) {
		for _, d := range list {
			_ = view.WriteLine(a.Out, view.NewDiagnostic(d))
		}
		message = view.Faults(list)
	}
	_ = view.WriteLine(a.Out, view.Failure{Message: message, Output: view.Output(err), Hint: view.Hint(err), ExitCode: code})
}

// parse parses args. What stands behind "--" is a command when it is run that is called: the
// parser would take its first word for a process type.
func (a *App) parse(parser *kong.Kong, args []string) (*kong.Context, error) {
	if at := slices.Index(args, "--"); at >= 0 && slices.Contains(args[:at], "run") {
		parsed, err := parser.Parse(args[:at])
		if err != nil || parsed.Selected() != nil && parsed.Selected().Name == "run" {
			a.Rest, a.Dashed = args[at+1:], true
			return parsed, err
		}
	}
	return parser.Parse(args)
}

// exitRequest is what kong's call for an exit panics with, for --help: were it to return,
// parsing would go on and fail.
type exitRequest int

// command parses args and runs what they name. It reports whether --json was among them.
func (a *App) command(ctx context.Context, args []string) (asJSON bool, err error) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(exitRequest); !ok {
				panic(r)
			}
			asJSON, err = false, nil
		}
	}()
	var g grammar
	parser, err := a.parser(ctx, &g)
	if err != nil {
		return false, err
	}
	parsed, err := a.parse(parser, args)
	if err != nil {
		a.flags.Color = "auto"
		return false, newUsageError(err)
	}
	a.flags = g.globalFlags
	return jsonOf(parsed), parsed.RunNode(parsed.Selected(), a)
}

// parser builds the grammar for this App.
func (a *App) parser(ctx context.Context, g *grammar) (*kong.Kong, error) {
	return kong.New(g,
		kong.Name(name),
		kong.Description(description),
		kong.Vars{"codes": strings.Join(stack.Codes(), ",")},
		kong.Writers(a.Out, a.Err),
		kong.Exit(func(code int) { panic(exitRequest(code)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true, WrapUpperBound: 80}),
		kong.ValueFormatter(flagHelp),
		kong.Resolvers(kong.ResolverFunc(a.resolve)),
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
}

// flagHelp adds the flag's variable to its help.
func flagHelp(v *kong.Value) string {
	variable := v.Tag.Get("variable")
	if variable == "" {
		return v.Help
	}
	return v.Help + " [" + variable + "]"
}

// resolve gives a flag that is not on the command line the value of its variable. A flag
// that excludes it, such as --local for --api, wins over the variable too.
func (a *App) resolve(c *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	value := a.Env[flag.Tag.Get("variable")]
	if value == "" {
		return nil, nil
	}
	for _, p := range c.Path {
		if p.Flag != nil && slices.ContainsFunc(p.Flag.Xor, func(x string) bool { return slices.Contains(flag.Xor, x) }) {
			return nil, nil
		}
	}
	if flag.IsSlice() {
		parts := strings.Fields(value)
		if sep := flag.Tag.Get("split"); sep != "" {
			parts = strings.Split(value, sep)
		}
		var list []any
		for _, v := range parts {
			if v = strings.TrimSpace(v); v != "" {
				list = append(list, v)
			}
		}
		return list, nil
	}
	return value, nil
}

// newUsageError makes one line of what kong says, and names the command whose help tells more.
func newUsageError(err error) error {
	u := &usageError{msg: err.Error(), command: name}
	var parse *kong.ParseError
	if errors.As(err, &parse) && parse.Context != nil {
		if node := parse.Context.Selected(); node != nil {
			u.command = node.FullPath()
		}
	}
	return u
}

// jsonOf finds --json among the flags of the command that was called.
func jsonOf(c *kong.Context) bool {
	for _, f := range c.Flags() {
		if f.Name == "json" {
			on, ok := c.FlagValue(f).(bool)
			return ok && on
		}
	}
	return false
}
