package stack

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/examine"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// processTypes finds what each process type starts, and marks what that leads to.
func (c *checker) processTypes() {
	for _, name := range slices.Sorted(maps.Keys(c.ProcessTypes)) {
		s, ok := firstProgram(c.ProcessTypes[name])
		if !ok {
			continue
		}
		c.start(name, s)
	}
}

// started is the program that a command begins with.
type started struct {
	// word is as it stands in the command, with /app for $HOME.
	word string
	// dir is the directory that the command went to before, below ./app.
	dir string
	// unclear says that the command sets where programs are looked for.
	unclear bool
	// args are what follows the word.
	args []*syntax.Word
}

// start checks a program that a process type begins with.
func (c *checker) start(name string, s started) {
	report := func(p, needs, has, message, hint string) {
		c.found = append(c.found, artifact.Finding{
			Code: CodeProgram, Severity: artifact.Error, Path: p, ProcessType: name, Needs: needs, Has: has, Message: message, Hint: hint,
		})
	}
	c.startFile(s, report)
	if !strings.Contains(s.word, "/") {
		c.startByName(name, s, report)
		return
	}
	p := s.word
	if path.IsAbs(p) {
		below, ok := inApp(p)
		if !ok {
			if c.missingCommand(p) == No {
				report("", p, "", fmt.Sprintf("starts %s, which %s does not have", p, c.on()), "put the program into the slug, and name its path below /app")
			}
			return
		}
		p = below
	} else {
		p = path.Join(s.dir, p)
	}
	e, ok := c.resolve(p)
	switch {
	case !ok:
		message := fmt.Sprintf("starts %s, which is not in the slug", s.word)
		if link, dangling := c.Find(p); dangling && link.Kind == tree.Link {
			if c.linked(link) != No {
				return
			}
			where := "is not in the slug"
			if _, below := inApp(link.Target); path.IsAbs(link.Target) && !below {
				where = c.on() + " does not have"
			}
			message = fmt.Sprintf("starts %s, a link to %s, which %s", s.word, link.Target, where)
		}
		hint := "add it with files:, or correct the command"
		if in := c.executable(path.Base(p)); in != "" {
			hint = fmt.Sprintf("%s is there: is that the one?", in)
		}
		report("", s.word, "", message, hint)
	case e.Kind == tree.Dir:
		report(e.Path, s.word, "a directory", fmt.Sprintf("starts %s, which is a directory", s.word), "name the program in it")
	case !e.Exec:
		report(e.Path, s.word, "not executable", fmt.Sprintf("starts %s, which is not executable", s.word),
			fmt.Sprintf("chmod +x %s; in git, git update-index --chmod=+x %s", e.Path, e.Path))
	}
	if ok && e.Kind == tree.File {
		c.reach(e.Path, name, 0)
	}
}

// linked tells whether a program is there to which a link leads that leads nowhere in the slug.
func (c *checker) linked(link tree.Entry) Has {
	if !path.IsAbs(link.Target) {
		return No
	}
	if _, below := inApp(link.Target); below {
		return No
	}
	return c.missingCommand(link.Target)
}

// runner is a program that runs the file that its command names.
type runner struct {
	// ends are how the names of such files end. A shell takes any file: for it a slash will do.
	ends string
	// flags are its letters after one dash that take no value, so that the file may follow.
	flags string
}

var (
	shell  = runner{ends: ".sh .bash", flags: "aefhilmuvxE"}
	python = runner{ends: ".py .pyc", flags: "bBdEiIOPqsSuvx"}
	node   = runner{ends: ".js .mjs .cjs"}
)

var runners = map[string]runner{
	"sh": shell, "bash": shell, "dash": shell, "python": python, "python3": python, "node": node, "nodejs": node,
	"ruby": {ends: ".rb .ru", flags: "wW"}, "perl": {ends: ".pl", flags: "wT"}, "php": {ends: ".php"}, "java": {ends: ".jar"},
}

// file is the one that a command gives to the program that runs it, as server.js in "node server.js".
// It is empty where that cannot be told for sure.
func (s started) file() string {
	name := path.Base(s.word)
	r, ok := runners[name]
	if !ok {
		return ""
	}
	jar := name != "java"
	for _, a := range s.args {
		word, ok := literal(a)
		switch {
		case !ok && name == "java": // $JAVA_OPTS
		case !ok:
			return ""
		case name == "java" && !jar:
			if word[:min(1, len(word))] != "-" {
				return "" // a class
			}
			jar = word == "-jar"
		case strings.HasPrefix(word, "--") && strings.Contains(word, "="):
		case len(word) > 1 && word[0] == '-' && strings.Trim(word[1:], r.flags) == "":
		case strings.HasSuffix(word, ".") || strings.HasPrefix(word, "-") || path.IsAbs(word) && !strings.HasPrefix(word, "/app/"):
			return ""
		case slices.Contains(strings.Fields(r.ends), path.Ext(word)), r == shell && strings.Contains(word, "/"):
			return word
		default:
			return ""
		}
	}
	return ""
}

// startFile checks the file that a command gives to the program that runs it.
func (c *checker) startFile(s started, report func(p, needs, has, message, hint string)) {
	word := s.file()
	if word == "" {
		return
	}
	p, below := inApp(word)
	if !below {
		p = path.Join(s.dir, word)
	}
	e, ok := c.resolve(p)
	if !ok {
		if link, dangling := c.Find(p); dangling && link.Kind == tree.Link && c.linked(link) != No {
			return
		}
		report("", word, "", fmt.Sprintf("starts %s with %s, which is not in the slug", path.Base(s.word), word), "add it with files:, or correct the command")
		return
	}
	if f := c.Facts[e.Path]; (f.CR || f.Script != nil && f.Script.CR) && runners[path.Base(s.word)] == shell {
		c.add(CodeLineEnds, artifact.Error, e.Path, "", "", fmt.Sprintf("its lines end as on Windows, and %s takes the carriage returns for a part of its words", path.Base(s.word)),
			`save it with Unix line ends; "* text=auto eol=lf" in .gitattributes keeps them`)
	}
}

// startByName is for a command without a slash, which PATH leads to.
func (c *checker) startByName(name string, s started, report func(p, needs, has, message, hint string)) {
	if in, ok := c.onPath(s.word); ok {
		c.reach(in, name, 0)
		return
	}
	if s.unclear || c.unclear || !c.known || c.stack.HasCommand(s.word) != No {
		return
	}
	in := c.executable(s.word)
	if in == "" {
		report("", s.word, "", fmt.Sprintf("starts %s, which neither the slug nor %s has", s.word, c.stack.Name),
			fmt.Sprintf("put %s into the slug, as a runtime for instance", s.word))
		return
	}
	c.found = append(c.found, artifact.Finding{
		Code: CodeProgram, Severity: artifact.Advice, Path: in, ProcessType: name, Needs: s.word, Has: in,
		Message: fmt.Sprintf("is started as %s, and nothing in the slug puts its directory on PATH", s.word),
		Hint:    fmt.Sprintf("start %s, or add .profile.d/path.sh with: export PATH=\"$HOME/%s:$PATH\"", in, path.Dir(in)),
	})
	c.reach(in, name, 0)
}

// onPath looks for a program where .profile.d says.
func (c *checker) onPath(name string) (string, bool) {
	for i := len(c.path) - 1; i >= 0; i-- {
		below, ok := inApp(c.path[i])
		if !ok {
			continue
		}
		if e, ok := c.resolve(path.Join(below, name)); ok && e.Kind == tree.File && e.Exec {
			return e.Path, true
		}
	}
	return "", false
}

// executable is a program of that name anywhere in the slug, or empty: the one with the shortest path.
func (c *checker) executable(name string) string {
	if in, ok := c.named[name]; ok {
		return in
	}
	best := ""
	for e := range c.Entries {
		if !strings.HasSuffix(e.Path, name) || path.Base(e.Path) != name || e.Kind == tree.Dir {
			continue
		}
		to, ok := c.resolve(e.Path)
		if ok && to.Kind == tree.File && to.Exec && (best == "" || len(e.Path) < len(best)) {
			best = e.Path
		}
	}
	c.named[name] = best
	return best
}

// reach marks a file and those that it cannot run without.
func (c *checker) reach(p, name string, depth int) {
	if c.reached[p] != "" || depth > 20 {
		return
	}
	c.reached[p] = name
	f := c.Facts[p]
	switch {
	case f.Script != nil:
		if in := c.interpreter(f.Script); in.path != "" {
			c.reach(in.path, name, depth+1)
		}
	case f.ELF != nil:
		for _, so := range f.ELF.Needed {
			if in, ok := c.search(p, f.ELF, so); ok {
				c.reach(in, name, depth+1)
			}
		}
	}
}

// wants is what a script begins with, and where that is.
type wants struct {
	// name is the program: a path as it stands there, or a name that env looks for.
	name string
	// path is where it is in the slug, when it is.
	path string
	// has says whether it is there at all.
	has Has
	// why says what is wrong with the line itself.
	why string
}

// interpreter finds the program that runs a script.
func (c *checker) interpreter(s *examine.Script) wants {
	if below, ok := inApp(s.Interpreter); ok {
		w := wants{name: s.Interpreter, has: No}
		e, ok := c.resolve(below)
		link, _ := c.Find(below)
		switch {
		case ok && e.Kind == tree.File && e.Exec:
			w.path, w.has = e.Path, Yes
		case ok && e.Kind == tree.File:
			w.why = fmt.Sprintf("its #! line wants %s, which is not executable", s.Interpreter)
		case !ok && link.Kind == tree.Link:
			w.has = c.linked(link)
		}
		return w
	}
	if !path.IsAbs(s.Interpreter) {
		return wants{name: s.Interpreter}
	}
	if path.Base(s.Interpreter) != "env" {
		return wants{name: s.Interpreter, has: c.missingCommand(s.Interpreter)}
	}
	word, ok := envWord(s.Args)
	if !ok {
		return wants{name: s.Args}
	}
	if strings.ContainsAny(word, " \t") {
		return wants{name: word, has: No, why: fmt.Sprintf("its #! line makes env look for a program called %q", word)}
	}
	if strings.Contains(word, "/") {
		return wants{name: word}
	}
	if in, ok := c.onPath(word); ok {
		return wants{name: word, path: in, has: Yes}
	}
	has := Unknown
	if c.known {
		has = c.stack.HasCommand(word)
	}
	if has == No && (c.unclear || c.executable(word) != "") {
		return wants{name: word, path: c.executable(word)} // PATH may lead there
	}
	return wants{name: word, has: has}
}

// envWord is the program that env starts, of the one argument that it gets. With -S env splits it, else
// all of it is a name.
func envWord(args string) (string, bool) {
	rest, split := strings.CutPrefix(args, "-S")
	if !split {
		if args == "" || args[0] == '-' || strings.Contains(args, "=") {
			return "", false
		}
		return args, true
	}
	for _, word := range strings.Fields(rest) {
		switch {
		case strings.HasPrefix(word, "-"):
			return "", false
		case strings.Contains(word, "="): // a variable
		default:
			return word, true
		}
	}
	return "", false
}

// missingCommand tells whether a program at an absolute path outside /app is in the stack.
func (c *checker) missingCommand(p string) Has {
	if !c.known {
		return Unknown
	}
	p = path.Clean(p)
	base := path.Base(p)
	if slices.Contains(programDirs, path.Dir(p)+"/") {
		return c.stack.HasCommand(base)
	}
	if !systemDir(p) {
		return No // a dyno has nothing there
	}
	if path.Dir(p) == "/usr/local/bin" && c.stack.HasCommand(base) == No {
		return No
	}
	return Unknown
}

// script checks the first line of a script. Of those that no process type leads to, the app's own
// programs count alone: packages are full of scripts for other occasions.
func (c *checker) script(p string, s *examine.Script) {
	e, _ := c.Find(p)
	if c.reached[p] == "" && (!e.Exec || !isProgram(p)) {
		return
	}
	if s.CR {
		c.add(CodeLineEnds, c.severity(p), p, s.Interpreter, "", fmt.Sprintf("its #! line ends as on Windows, so it wants a program called %q", s.Interpreter+"\r"),
			`save it with Unix line ends; "* text=auto eol=lf" in .gitattributes keeps them`)
		return
	}
	w := c.interpreter(s)
	if w.has != No {
		return
	}
	message, hint := w.why, "write #!/usr/bin/env -S in place of #!/usr/bin/env"
	if message != "" && path.IsAbs(w.name) {
		hint = "chmod +x " + strings.TrimPrefix(w.name, "/app/")
	}
	if message == "" {
		message = fmt.Sprintf("its #! line wants %s, which neither the slug nor %s has", w.name, c.on())
		hint = fmt.Sprintf("put %s into the slug, as a runtime for instance, or correct the line", path.Base(w.name))
		if in := c.executable(path.Base(w.name)); in != "" && path.IsAbs(w.name) {
			message = fmt.Sprintf("its #! line wants %s, which %s does not have", w.name, c.on())
			hint = fmt.Sprintf("%s is in the slug: write #!/app/%s, or #!/usr/bin/env %s and put its directory on PATH", in, in, path.Base(w.name))
		}
	}
	c.add(CodeInterpreter, c.severity(p), p, w.name, "", message, hint)
}

// isProgram reports whether a path is where an app has programs of its own.
func isProgram(p string) bool {
	switch path.Dir(p) {
	case ".", "bin", "sbin", "script", "scripts", "exe":
		return true
	}
	return false
}

// prelude are commands of the shell after which the program still follows.
var prelude = map[string]bool{":": true, "echo": true, "export": true, "set": true, "test": true, "[": true, "true": true, "ulimit": true, "umask": true, "trap": true, "shopt": true, "sleep": true, "mkdir": true, "printf": true}

// firstProgram finds the program that a command begins with. It is false where that cannot be told by reading.
func firstProgram(command string) (started, bool) {
	f, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(command), "")
	if err != nil {
		return started{}, false
	}
	s := started{dir: "."}
	for _, stmt := range f.Stmts {
		if done, ok := s.walk(stmt); done {
			return s, ok
		}
	}
	return s, false
}

// walk looks at one statement. done says that the search is over, and ok that the program was found.
func (s *started) walk(stmt *syntax.Stmt) (done, ok bool) {
	switch cmd := stmt.Cmd.(type) {
	case *syntax.BinaryCmd:
		if done, ok := s.walk(cmd.X); done {
			return done, ok
		}
		if cmd.Op != syntax.AndStmt {
			return true, false
		}
		return s.walk(cmd.Y)
	case *syntax.DeclClause: // export and its like
		s.sets(cmd.Args)
		return false, false
	case *syntax.TestClause:
		return false, false
	case *syntax.CallExpr:
		return s.call(cmd)
	}
	return true, false
}

func (s *started) sets(list []*syntax.Assign) {
	for _, a := range list {
		if a.Name != nil && (a.Name.Value == "PATH" || a.Name.Value == "LD_LIBRARY_PATH") {
			s.unclear = true
		}
	}
}

func (s *started) call(cmd *syntax.CallExpr) (done, ok bool) {
	s.sets(cmd.Assigns)
	args := cmd.Args
	for len(args) > 0 {
		word, ok := literal(args[0])
		if !ok {
			return true, false
		}
		rest := args[1:]
		switch {
		case word == "exec" || word == "nohup" || word == "command" || word == "env":
			if len(rest) > 0 {
				if next, ok := literal(rest[0]); !ok || strings.HasPrefix(next, "-") {
					return true, false
				}
			}
			args = rest
			for word == "env" && len(args) > 0 {
				next, ok := literal(args[0])
				if name, _, set := strings.Cut(next, "="); !ok || !set {
					break
				} else if name == "PATH" || name == "LD_LIBRARY_PATH" {
					s.unclear = true
				}
				args = args[1:]
			}
			continue
		case word == "cd" && len(rest) == 1:
			to, ok := literal(rest[0])
			if !ok {
				return true, false
			}
			if below, abs := inApp(to); abs {
				s.dir = below
			} else if path.IsAbs(to) {
				return true, false
			} else {
				s.dir = path.Join(s.dir, to)
			}
			return false, false
		case prelude[word]:
			return false, false
		case word == "." || word == "source" || word == "eval":
			return true, false
		case word == "":
			return true, false
		}
		s.word, s.args = word, rest
		return true, true
	}
	return false, false // variables alone
}

// literal is a word without anything that the shell replaces, but for $HOME, which is /app.
func literal(w *syntax.Word) (string, bool) {
	var b strings.Builder
	var add func(parts []syntax.WordPart, quoted bool) bool
	add = func(parts []syntax.WordPart, quoted bool) bool {
		for _, part := range parts {
			switch part := part.(type) {
			case *syntax.Lit:
				text := part.Value
				if strings.Contains(text, "\\") || !quoted && text != "[" && strings.ContainsAny(text, "*?[{") {
					return false
				}
				b.WriteString(text)
			case *syntax.SglQuoted:
				if part.Dollar {
					return false
				}
				b.WriteString(part.Value)
			case *syntax.DblQuoted:
				if part.Dollar || !add(part.Parts, true) {
					return false
				}
			case *syntax.ParamExp:
				if part.Param == nil || part.Param.Value != "HOME" || part.Exp != nil || part.Index != nil || part.Slice != nil || part.Repl != nil || part.Length || part.Excl {
					return false
				}
				b.WriteString("/app")
			default:
				return false
			}
		}
		return true
	}
	if !add(w.Parts, false) {
		return "", false
	}
	text := b.String()
	if rest, ok := strings.CutPrefix(text, "~"); ok {
		if rest != "" && rest[0] != '/' {
			return "", false
		}
		text = "/app" + rest
	}
	return text, true
}
