package view

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"strings"

	"github.com/slugfile/slugfile/config/diag"
	"github.com/slugfile/slugfile/pipeline/archive"
	"github.com/slugfile/slugfile/pipeline/compile"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/platform/local"
	"github.com/slugfile/slugfile/pipeline/release"
	"github.com/slugfile/slugfile/pipeline/unpack"
)

// Hinter is an error that knows what to do next. Hint is one sentence in lower case, or
// empty when there is nothing to say.
type Hinter interface{ Hint() string }

// Error writes why a command failed, then what to do next:
//
//	slugfile: fetch: node: expected sha256 83bf…, got 0a1b…
//	hint: …
//
// Further lines of the error, such as the last output of a step, are indented.
// Diagnostics are written in their own form.
func Error(w io.Writer, err error, o ErrorOptions) error {
	s := o.Style
	var list diag.List
	if errors.As(err, &list) {
		return Diagnostics(w, list, s)
	}
	var step *compile.StepError
	var b strings.Builder
	for i, l := range strings.Split(strings.TrimRight(err.Error(), "\n"), "\n") {
		switch {
		case i == 0:
			b.WriteString(wrap(s.red("slugfile:"), "slugfile:", Clean(l), o.Width))
		case o.Shown && errors.As(err, &step):
		default:
			b.WriteString("    " + cleanOutput(l, s) + "\n")
		}
	}
	if lines := Output(err); len(lines) > 0 && (!o.Shown || !errors.As(err, new(*release.FailedError))) {
		b.WriteString("    last output:\n")
		for _, l := range lines {
			b.WriteString("        " + cleanOutput(l, s) + "\n")
		}
	}
	if h := Hint(err); h != "" {
		b.WriteString(wrap(s.cyan("hint:"), "hint:", Clean(h), o.Width))
	}
	_, werr := io.WriteString(w, b.String())
	return werr
}

// ErrorOptions are how an error is written.
type ErrorOptions struct {
	Style Style
	// Width is the terminal's in columns, for breaking long lines between words; 0 breaks none.
	Width int
	// Shown says that the output of steps and of the release phase stands on the screen
	// already, so that it is not shown again.
	Shown bool
}

// wrap writes text behind a label (drawn, and as it is measured), with its further lines
// indented. A word that is wider than a line, such as an address, stays whole.
func wrap(drawn, label, text string, columns int) string {
	if columns <= 0 || width(label)+1+width(text) < columns {
		return drawn + " " + text + "\n"
	}
	b := drawn
	used := width(label)
	for i, word := range strings.Split(text, " ") {
		if i > 0 && used+1+width(word) >= columns {
			b += "\n   "
			used = 3
		}
		b += " " + word
		used += 1 + width(word)
	}
	return b + "\n"
}

// Output is what a release phase or a dyno wrote before it failed, as far as it is not
// part of the error's text; nil when there is none.
func Output(err error) []string {
	var phase *release.FailedError
	var boot *local.BootError
	switch {
	case errors.As(err, &phase):
		return phase.Tail
	case errors.As(err, &boot):
		return boot.Lines
	}
	return nil
}

// platformHints holds one next step for each id of the Platform API's errors:
// https://devcenter.heroku.com/articles/platform-api-reference#error-responses
var platformHints = map[string]string{
	"unauthorized":   "the token was not accepted: check HEROKU_API_KEY, or the password in netrc, or run \"heroku login\" again",
	"forbidden":      "the account that is logged in may not do this; ask an owner of the app for access, or check \"heroku auth:whoami\"",
	"two_factor":     "this account needs a second factor; use a token from \"heroku authorizations:create\"",
	"verification":   "verify the account with a payment method at https://heroku.com/verify",
	"delinquency":    "settle the account's open invoice at https://dashboard.heroku.com/account/billing",
	"suspended":      "the account or the app is suspended; Heroku's support can say why",
	"not_found":      "check the name in app: or -a, and that the account that is logged in can see the app",
	"rate_limit":     "wait some minutes before the next try",
	"gone":           "the platform has withdrawn this endpoint; a newer slugfile may know its successor",
	"conflict":       "another change to the app is under way; wait for it and run slugfile again",
	"invalid_params": "the platform refuses a value; the message above names it",
}

// statusHints are for answers whose id is not in the list.
var statusHints = map[int]string{
	401: platformHints["unauthorized"],
	403: platformHints["forbidden"],
	404: platformHints["not_found"],
	409: platformHints["conflict"],
	429: platformHints["rate_limit"],
	503: "the platform is not available; see https://status.heroku.com and try again later",
}

// Hint says what to do next about err, or nothing. An error that implements Hinter knows
// best; otherwise the kinds of errors below have one hint each.
func Hint(err error) string {
	var own Hinter
	if errors.As(err, &own) {
		if h := own.Hint(); h != "" {
			return h
		}
	}
	var api *platform.Error
	if errors.As(err, &api) {
		return platformHint(api)
	}
	if h := stageHint(err); h != "" {
		return h
	}
	var mismatch *digest.MismatchError
	var dns *net.DNSError
	switch {
	case errors.As(err, &mismatch):
		return "the bytes are not those that were pinned: do not use them. If upstream changed them on purpose, run \"slugfile lock --update\" and review the change"
	case errors.Is(err, platform.ErrUnauthorized):
		return "check HEROKU_API_KEY, or run \"heroku login\""
	case errors.Is(err, platform.ErrRateLimited):
		return platformHints["rate_limit"]
	case errors.Is(err, platform.ErrAmbiguous):
		return "look at \"slugfile releases\" first; running apply again finishes the work and makes no second release"
	case errors.Is(err, platform.ErrBlobExpired):
		return "run slugfile again: it asks for a new address, and reuses what was built"
	case errors.As(err, &dns):
		return "check the host name and the network; in a closed network use --mirror, or HTTPS_PROXY"
	case errors.Is(err, context.DeadlineExceeded):
		return "it took too long; run it again, and reuse what was done"
	case errors.Is(err, fs.ErrPermission):
		return "check who owns the file and its directory"
	}
	return systemHint(err)
}

// stageHint is for what went wrong in a stage, or in a dyno.
func stageHint(err error) string {
	var step *compile.StepError
	var conflict *plan.ConflictError
	var large *archive.TooLargeError
	var archived *unpack.Error
	var stale *release.StaleError
	var phase *release.FailedError
	var boot *local.BootError
	var held *local.HeldError
	switch {
	case errors.As(err, &step):
		return stepHint(step)
	case errors.As(err, &conflict):
		return "use \"exclude\" or another \"into\" in one of them"
	case errors.As(err, &large):
		return largeHint(large)
	case errors.As(err, &boot):
		return bootHint(boot)
	case errors.As(err, &archived) && archived.Entry == "":
		return "look at the file itself: a page to log in or an error page may stand where the archive was"
	case errors.As(err, &archived):
		return "such an archive is never unpacked; tell whoever made it, or use another one"
	case errors.As(err, &stale):
		return "run \"slugfile plan\" and look at what was released in the meantime, then apply again"
	case errors.As(err, &phase):
		return "mend what the process type \"release\" runs, and apply again; \"slugfile releases\" shows what is live"
	case errors.As(err, &held):
		return "\"slugfile platform\" that runs already can be used: see platform.json in that directory"
	}
	return ""
}

func largeHint(e *archive.TooLargeError) string {
	look := "\"slugfile inspect\" shows what takes the room, with --diff vN what is more than in a release"
	if e.Released != "" {
		look = "\"slugfile inspect\" shows what takes the room, \"slugfile inspect --diff " + e.Released + "\" what is more than in the live release"
	}
	return look + "; leave out what the app does not need at run time, with \"only\" of a runtime, \"exclude\" of files or .slugignore"
}

func stepHint(e *compile.StepError) string {
	switch {
	case e.Missing != "":
		return "outputs are paths below /app, where the step runs; correct \"outputs:\" or what the step writes"
	case e.Timeout > 0:
		return "give the step more time with \"timeout:\", or find out what it waits for"
	case e.Code == 127:
		return "a command was not found: name a runtime that has it, or install it on this machine"
	case e.Code == 137:
		return "something killed it, perhaps for its use of memory"
	}
	return "a step sees its inputs, earlier outputs and runtimes only, and of the environment what env: and pass_env: name"
}

func bootHint(e *local.BootError) string {
	switch {
	case e.Code == "R10":
		return "the process type \"web\" must listen on 0.0.0.0 at the port in $PORT"
	case e.Exit == 127:
		return "a command was not found: the slug holds what runtimes: and files: put into it, and PATH must name its directory"
	case e.Code == "H10":
		return "the process type \"web\" must keep running; its output says why it did not"
	}
	return ""
}

func platformHint(e *platform.Error) string {
	if e.ID == "not_found" && strings.Contains(e.Op, "app ") {
		return "check the name in app: or -a for a typo; if the app is new, \"slugfile apply --create\" makes it"
	}
	if h, ok := platformHints[e.ID]; ok {
		return h
	}
	if h, ok := statusHints[e.Status]; ok {
		return h
	}
	if e.Status >= 500 && e.RequestID != "" {
		return "the fault is on the platform's side; try again, and give its support the request id"
	}
	return ""
}
