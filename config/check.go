package config

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"mvdan.cc/sh/v3/syntax"

	"github.com/slugfile/slugfile/config/diag"
	"github.com/slugfile/slugfile/config/yamlnode"
)

// check finds what the schema cannot say. It never changes what the user wrote.
func (l *loader) check() {
	if l.root.Kind != yamlnode.MappingNode {
		return
	}
	if app := l.f.App; strings.Contains(app, "${") {
		l.fault("app", fmt.Sprintf("%q is no name of an app", app), "")
	}
	l.checkRuntimes()
	l.checkBuild()
	l.checkFiles()
	l.checkLimits()
	l.checkProcessTypes()
}

// exactlyOne reports a mapping that has none of names, or several of them.
func (l *loader) exactlyOne(p, what string, names ...string) {
	var has []string
	for _, name := range names {
		if l.has(yamlnode.Key(p, name)) {
			has = append(has, name)
		}
	}
	choice := strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
	switch {
	case len(has) == 0 && !l.misspelt(p, names...):
		l.fault(p, fmt.Sprintf("%s needs one of %s", what, choice), "")
	case len(has) > 1:
		l.keyFault(yamlnode.Key(p, has[1]), fmt.Sprintf("%s has both %s and %s: only one of %s can stand", what, has[0], has[1], choice), "remove one of them")
	}
}

func (l *loader) checkRuntimes() {
	first := map[string]string{}
	for _, name := range l.keys("runtimes") {
		p := yamlnode.Key("runtimes", name)
		if l.node(p, mapping) == nil {
			continue
		}
		l.exactlyOne(p, "a runtime", "url", "path", "host")
		if l.has(yamlnode.Key(p, "host")) {
			l.checkHost(p)
			continue
		}
		l.checkURL(p, name)
		l.relative(yamlnode.Key(p, "path"), "the directory of slug.yaml", false)
		for _, item := range l.items(yamlnode.Key(p, "only")) {
			l.relative(item, "the runtime", true)
		}
		l.checkInto(p, name, first)
	}
}

// checkHost reports keys that mean nothing for a tool of this machine.
func (l *loader) checkHost(p string) {
	for _, key := range []string{"sha256", "strip", "into", "only"} {
		if at := yamlnode.Key(p, key); l.has(at) && !l.has(yamlnode.Key(p, "url")) && !l.has(yamlnode.Key(p, "path")) {
			l.keyFault(at, fmt.Sprintf("a tool of this machine takes no %s", key), "it is never unpacked, and never in the slug")
		}
	}
	if at := yamlnode.Key(p, "build_only"); l.has(at) {
		if v, ok := l.text(at); ok && v == "false" {
			l.fault(at, "a tool of this machine is never in the slug", "remove the line")
		}
	}
}

func (l *loader) checkInto(p, name string, first map[string]string) {
	at, into := yamlnode.Key(p, "into"), name
	if l.has(at) {
		if !l.inApp(at) {
			return
		}
		into, _ = l.text(at)
	}
	into = path.Clean(into)
	if into == "." {
		l.fault(at, "must name a directory below ./app", "")
		return
	}
	if other, ok := first[into]; ok {
		l.fault(at, fmt.Sprintf("%q is the directory of the runtime %s already", into, other), "every runtime needs a directory of its own")
		return
	}
	first[into] = name
}

func (l *loader) checkURL(p, name string) {
	at := yamlnode.Key(p, "url")
	sum := yamlnode.Key(p, "sha256")
	text, ok := l.text(at)
	if !ok {
		return
	}
	if raw, ok := l.raw[l.places[at].Value]; ok && hasVariable(raw) && l.has(sum) {
		l.keyFault(sum, "a sha256 fixes one archive, but the url has ${} in it", `remove the line and run "slugfile lock" to pin every url`)
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		// The error of url.Parse holds the whole URL, which may hold a password.
		l.fault(at, "is not a URL", "")
	case u.User != nil:
		l.fault(at, "must not hold a user name or a password", "slug.yaml is committed: keep credentials in .netrc")
	case u.Scheme == "http":
		l.fault(at, "must be https, not http", "an archive that is fetched without encryption can be replaced on its way")
	case strings.HasPrefix(u.Scheme, "git") || u.Scheme == "ssh":
		l.fault(at, fmt.Sprintf("%s: is not read, only archives are", u.Scheme), "use the https address of an archive of the repository")
	case u.Scheme == "":
		hint := "begin with https://"
		if !strings.Contains(text, "//") && !strings.Contains(strings.SplitN(text, "/", 2)[0], ".") {
			hint = "for a file of this repository, use path instead of url"
		}
		l.fault(at, "is not a whole URL", hint)
	case u.Scheme == "file" && (u.Host != "" && u.Host != "localhost" || !strings.HasPrefix(u.Path, "/")):
		l.fault(at, "must have the form file:///absolute/path", "for a file of this repository, use path instead of url")
	case u.Scheme != "https" && u.Scheme != "file":
		l.fault(at, fmt.Sprintf("must be https or file, not %s", u.Scheme), "")
	case u.Scheme == "https" && u.Hostname() == "":
		l.fault(at, "has no host name", "")
	default:
		pinned := l.in.Pins == nil || l.has(sum) || slices.Contains(l.in.Pins, Pin{Name: name, URL: text})
		if !pinned && !l.misspelt(p, "sha256") {
			l.fault(p, "is not pinned: it has no sha256, and slug.lock has no entry for its url", `run "slugfile lock" to pin it`)
		}
	}
}

// hasVariable tells whether a text has a ${ that is not escaped.
func hasVariable(s string) bool {
	return strings.Contains(strings.ReplaceAll(s, "$${", ""), "${")
}

// inApp reports a path that does not stay in ./app.
func (l *loader) inApp(p string) bool {
	text, ok := l.text(p)
	if !ok {
		return false
	}
	switch {
	case strings.HasPrefix(text, "/"):
		hint := "write it relative to ./app"
		if rest, ok := strings.CutPrefix(text, "/app/"); ok && rest != "" {
			hint = fmt.Sprintf("write %q: it is relative to ./app", rest)
		}
		l.fault(p, fmt.Sprintf("%q is absolute: it must be relative to ./app", text), hint)
	case leaves(text):
		l.fault(p, fmt.Sprintf("%q leaves ./app", text), `give a path below ./app, without ".."`)
	default:
		return true
	}
	return false
}

func leaves(p string) bool { return slices.Contains(strings.Split(p, "/"), "..") }

// relative reports a path that is absolute or leaves the place where it begins, and a
// glob that cannot be read.
func (l *loader) relative(p, from string, glob bool) bool {
	text, ok := l.text(p)
	if !ok {
		return false
	}
	switch {
	case strings.HasPrefix(text, "/"):
		l.fault(p, fmt.Sprintf("%q is absolute: it must be relative to %s", text, from), "")
	case leaves(text):
		l.fault(p, fmt.Sprintf("%q leaves %s", text, from), `write it without ".."`)
	case strings.HasPrefix(text, "!"):
		l.fault(p, fmt.Sprintf("%q: a pattern cannot be turned round with !", text), "")
	case glob && !doublestar.ValidatePattern(text):
		l.fault(p, fmt.Sprintf("%q is no glob", text), `close every "[" and "{", and write \ before one that is meant literally`)
	default:
		return true
	}
	return false
}

// reserved are the variables that slugfile sets for every step.
var reserved = []string{"PATH", "HOME", "TMPDIR", "LANG", "TZ", "SOURCE_DATE_EPOCH"}

// credentials are never handed to a step.
var credentials = []string{"HEROKU_API_KEY", "HEROKU_API_TOKEN"}

// output is a path that a step leaves behind.
type output struct{ at, step, path string }

func (l *loader) checkBuild() {
	runtimes := l.keys("runtimes")
	first := map[string]string{}
	var outputs []output
	for _, p := range l.items("build") {
		name, ok := l.text(yamlnode.Key(p, "name"))
		if other, twice := first[name]; ok && twice {
			l.fault(yamlnode.Key(p, "name"), fmt.Sprintf("the step name %q stands twice: first at %s", name, other), "give every step a name of its own")
		} else if ok {
			first[name] = p
		}
		l.checkRun(yamlnode.Key(p, "run"))
		for _, item := range l.items(yamlnode.Key(p, "runtimes")) {
			l.checkUse(item, runtimes)
		}
		for _, item := range l.items(yamlnode.Key(p, "inputs")) {
			l.relative(item, "the source tree", true)
		}
		for _, item := range l.items(yamlnode.Key(p, "outputs")) {
			outputs = l.checkOutput(item, name, outputs)
		}
		l.checkEnv(p)
		if at := yamlnode.Key(p, "timeout"); l.has(at) {
			l.checkTimeout(at)
		}
	}
}

func (l *loader) checkUse(p string, runtimes []string) {
	name, ok := l.text(p)
	if !ok || slices.Contains(runtimes, name) {
		return
	}
	message, hint := fmt.Sprintf("no runtime %q", name), ""
	switch meant, near := diag.Nearest(name, runtimes); {
	case near:
		message += fmt.Sprintf(" (did you mean %q?)", meant)
	case len(runtimes) == 0:
		hint = "this file has no runtimes"
	default:
		hint = "the runtimes of this file are " + strings.Join(runtimes, ", ")
	}
	l.fault(p, message, hint)
}

func (l *loader) checkOutput(p, step string, outputs []output) []output {
	if !l.relative(p, "/app", false) {
		return outputs
	}
	text, _ := l.text(p)
	text = path.Clean(text)
	if text == "." {
		l.fault(p, "the whole work tree cannot be an output", "name what the step makes")
		return outputs
	}
	if strings.ContainsAny(text, "*?[") {
		l.fault(p, fmt.Sprintf("%q is a glob: an output is one path", text), "name the file or the directory that holds the files")
		return outputs
	}
	for _, o := range outputs {
		switch {
		case o.path == text:
			l.fault(p, fmt.Sprintf("%q is an output of the step %q already", text, o.step), "")
		case within(text, o.path):
			l.fault(p, fmt.Sprintf("%q lies in %q, an output of the step %q", text, o.path, o.step), "outputs cannot hold each other")
		case within(o.path, text):
			l.fault(p, fmt.Sprintf("%q holds %q, an output of the step %q", text, o.path, o.step), "outputs cannot hold each other")
		default:
			continue
		}
		return outputs
	}
	for _, r := range l.f.Runtimes {
		if r.Host == "" && r.Into != "" && (text == r.Into || within(text, r.Into) || within(r.Into, text)) {
			l.fault(p, fmt.Sprintf("%q and the runtime %s, in %q, would be in each other's way", text, r.Name, r.Into), "runtimes cannot be written to: choose another path, or another into")
			return outputs
		}
	}
	return append(outputs, output{p, step, text})
}

func within(p, dir string) bool { return strings.HasPrefix(p, dir+"/") }

func (l *loader) checkEnv(p string) {
	env := yamlnode.Key(p, "env")
	set := l.keys(env)
	for _, name := range set {
		at := yamlnode.Key(env, name)
		switch {
		case l.broken[at]:
		case slices.Contains(credentials, name):
			l.keyFault(at, name+" is never handed to a step", "a step needs no access to the platform")
		case slices.Contains(reserved, name):
			l.keyFault(at, name+" is set by slugfile", "slugfile sets "+strings.Join(reserved, ", "))
		}
	}
	pass := map[string]bool{}
	for _, item := range l.items(yamlnode.Key(p, "pass_env")) {
		name, ok := l.text(item)
		switch {
		case !ok:
		case slices.Contains(credentials, name):
			l.fault(item, name+" is never handed to a step", "a step needs no access to the platform")
		case slices.Contains(reserved, name):
			l.fault(item, name+" is set by slugfile", "slugfile sets "+strings.Join(reserved, ", "))
		case slices.Contains(set, name):
			l.fault(item, fmt.Sprintf("%s stands in env too", name), "remove one of them")
		case pass[name]:
			l.fault(item, fmt.Sprintf("%s stands twice", name), "")
		}
		pass[name] = true
	}
}

func (l *loader) checkTimeout(p string) {
	text, ok := l.text(p)
	if !ok {
		return
	}
	if d, err := parseDuration(text); err != nil || d <= 0 {
		l.fault(p, fmt.Sprintf("%q is not a span that a step can take", text), "give a span above zero, such as 90s or 10m")
	}
}

// checkRun parses the command of a step. Nothing is run.
func (l *loader) checkRun(p string) {
	n := l.node(p, scalar)
	if n == nil || n.Tag != "!!str" {
		return
	}
	prog, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(n.Value), "")
	var parse syntax.ParseError
	var lang syntax.LangError
	switch {
	case err == nil && len(prog.Stmts) == 0:
		l.fault(p, "holds no command", "")
	case errors.As(err, &parse):
		l.faultAt(l.inside(n, int(parse.Pos.Offset())), p, "the shell cannot read this: "+parse.Text, "")
	case errors.As(err, &lang):
		l.faultAt(l.inside(n, int(lang.Pos.Offset())), p, "bash cannot read this: "+lang.Feature, "")
	case err != nil:
		l.fault(p, "the shell cannot read this: "+err.Error(), "")
	}
}

func (l *loader) checkFiles() {
	for _, p := range l.items("files") {
		if l.node(p, mapping) == nil {
			continue
		}
		at := func(key string) string { return yamlnode.Key(p, key) }
		l.exactlyOne(p, "an entry", "from", "content")
		inline := l.has(at("content"))
		if l.inApp(at("into")) && inline && !l.has(at("from")) {
			if into, _ := l.text(at("into")); path.Clean(into) == "." || strings.HasSuffix(into, "/") {
				l.fault(at("into"), fmt.Sprintf("%q names no file: content needs the path of one", into), "")
			}
		}
		if !inline && l.has(at("mode")) && l.has(at("from")) {
			l.keyFault(at("mode"), "mode can stand beside content only", "files of the source tree keep their own executable bit")
		}
		for _, key := range []string{"exclude", "include_secrets"} {
			if inline && !l.has(at("from")) && l.has(at(key)) {
				l.keyFault(at(key), key+" can stand beside from only", "")
			}
		}
		l.relative(at("from"), "the source tree", true)
		for _, item := range l.items(at("exclude")) {
			l.relative(item, "from", true)
		}
		for _, item := range l.items(at("include_secrets")) {
			if text, _ := l.text(item); l.relative(item, "the source tree", false) && strings.ContainsAny(text, "*?[{") {
				l.fault(item, fmt.Sprintf("%q is a glob: a file that may hold credentials is named by its exact path", text), "")
			}
		}
	}
}

func (l *loader) checkLimits() {
	p := "limits.slug"
	text, ok := l.text(p)
	if !ok {
		return
	}
	if z, err := parseSize(text); err != nil || z <= 0 {
		l.fault(p, fmt.Sprintf("%q is not a size that a slug can have", text), "give a size above zero, such as 500MB")
	}
}

func (l *loader) checkProcessTypes() {
	const p = "process_types"
	if !l.has(p) {
		switch {
		case l.misspelt("", p):
		case l.in.HasProcfile:
			l.faults = append(l.faults, l.f.parseProcfile(l.in.Procfile)...)
		default:
			l.fault("", "no process types: there is nothing that a dyno could run", `add process_types, or a Procfile with a line such as "web: node web.js"`)
		}
		return
	}
	keys := l.keys(p)
	if l.node(p, mapping) != nil && len(keys) == 0 {
		l.fault(p, "must name at least one process type", `such as "web: node web.js"; without process_types, Procfile is read`)
	}
	for _, name := range keys {
		at := yamlnode.Key(p, name)
		if text, ok := l.text(at); ok && strings.TrimSpace(text) == "" {
			l.fault(at, "must not be empty", "")
		}
	}
}
