package observe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// errNoRepository is git's own answer about a directory.
var errNoRepository = errors.New("not a git repository")

// repository is where git keeps what belongs to a checkout.
type repository struct {
	// dir holds HEAD; common holds the refs, and is another directory in a linked worktree.
	dir, common string
}

// findRepository looks for .git in dir and above it, as git does. It is nil outside a
// checkout, where no git process has to be started.
func findRepository(dir string) (*repository, error) {
	for at := dir; ; at = filepath.Dir(at) {
		name := filepath.Join(at, ".git")
		fi, err := os.Stat(name)
		switch {
		case err == nil && fi.IsDir():
			return openRepository(name), nil
		case err == nil && fi.Mode().IsRegular():
			text, err := os.ReadFile(name)
			if err != nil {
				return nil, err
			}
			if to, ok := strings.CutPrefix(withoutLineEnd(text), "gitdir: "); ok {
				if !filepath.IsAbs(to) {
					to = filepath.Join(at, to)
				}
				return openRepository(to), nil
			}
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
		if at == filepath.Dir(at) {
			return nil, nil
		}
	}
}

func openRepository(dir string) *repository {
	r := &repository{dir: dir, common: dir}
	if text, err := os.ReadFile(filepath.Join(dir, "commondir")); err == nil {
		r.common = withoutLineEnd(text)
		if !filepath.IsAbs(r.common) {
			r.common = filepath.Join(dir, r.common)
		}
	}
	return r
}

// git is the program, found once by its absolute path.
type git struct {
	path string
	env  []string
}

// gitEnv are the variables that git gets: those by which it finds its user's configuration.
// GIT_DIR and GIT_INDEX_FILE are not among them, for inside a hook they name another tree.
var gitEnv = []string{
	"HOME", "XDG_CONFIG_HOME", "USERPROFILE", "HOMEDRIVE", "HOMEPATH", "SYSTEMROOT", "PROGRAMDATA",
	"GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_TEST_DEBUG_UNSAFE_DIRECTORIES",
}

func newGit(env map[string]string) (*git, error) {
	at, err := lookPath("git", env["PATH"])
	if err != nil {
		return nil, err
	}
	g := &git{path: at, env: []string{"LC_ALL=C", "GIT_OPTIONAL_LOCKS=0", "GIT_TERMINAL_PROMPT=0"}}
	for _, k := range gitEnv {
		if v, ok := env[k]; ok {
			g.env = append(g.env, k+"="+v)
		}
	}
	for k, v := range env { // configuration by environment: GIT_CONFIG_COUNT, _KEY_n, _VALUE_n
		if k == "GIT_CONFIG_COUNT" || strings.HasPrefix(k, "GIT_CONFIG_KEY_") || strings.HasPrefix(k, "GIT_CONFIG_VALUE_") {
			g.env = append(g.env, k+"="+v)
		}
	}
	slices.Sort(g.env)
	return g, nil
}

// command is git in dir. What a repository's configuration could have it execute is off.
func (g *git) command(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, g.path, append([]string{"-c", "core.fsmonitor=false", "-c", "core.hooksPath=" + os.DevNull}, args...)...)
	cmd.Dir, cmd.Env = dir, g.env
	cmd.Stderr = &bytes.Buffer{}
	return cmd
}

// fault says what git said about a command that ended with err.
func fault(ctx context.Context, cmd *exec.Cmd, what string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	said := strings.TrimSpace(fmt.Sprint(cmd.Stderr))
	if strings.Contains(said, "not a git repository") {
		return errNoRepository
	}
	line, _, _ := strings.Cut(said, "\n")
	if line == "" {
		line = err.Error()
	}
	return fmt.Errorf("git %s in %s: %s", what, cmd.Dir, strings.TrimPrefix(line, "fatal: "))
}

// run runs git in dir.
func (g *git) run(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := g.command(ctx, dir, args...)
	out, err := cmd.Output()
	if err != nil {
		return nil, fault(ctx, cmd, args[0], err)
	}
	return out, nil
}

// output is a git process whose lines are read while it runs. They end with NUL.
type output struct {
	ctx    context.Context
	cancel context.CancelFunc
	cmd    *exec.Cmd
	what   string
	pipe   io.Reader
	text   string // read, and not yet taken
	buf    []byte
	err    error // why there is no more
}

func (g *git) start(ctx context.Context, dir string, args ...string) (*output, error) {
	inner, cancel := context.WithCancel(ctx)
	o := &output{ctx: ctx, cancel: cancel, cmd: g.command(inner, dir, args...), what: args[0], buf: make([]byte, 64<<10)}
	pipe, err := o.cmd.StdoutPipe()
	if err == nil {
		o.pipe = pipe
		err = o.cmd.Start()
	}
	if err != nil {
		cancel()
		return nil, fault(ctx, o.cmd, o.what, err)
	}
	return o, nil
}

// line returns the next line, and false after the last one.
func (o *output) line() (string, bool) {
	for {
		if line, rest, ok := strings.Cut(o.text, "\x00"); ok {
			o.text = rest
			return line, true
		}
		if o.err != nil {
			return "", false
		}
		var n int
		n, o.err = o.pipe.Read(o.buf)
		o.text += string(o.buf[:n]) // what is left of before is less than a line
	}
}

// end waits for the process, whose lines have been taken.
func (o *output) end() error {
	defer o.cancel()
	err := o.cmd.Wait()
	if err == nil && (!errors.Is(o.err, io.EOF) || o.text != "") {
		err = errors.New("its list of files is cut off")
	}
	if err != nil {
		return fault(o.ctx, o.cmd, o.what, err)
	}
	return nil
}

// drop ends a process that nobody reads any more, if it has not ended.
func (o *output) drop() {
	o.cancel()
	_ = o.cmd.Wait() // it was killed, or has been waited for
}

// listing is what git names.
type listing struct {
	git    *git
	root   string
	absent []tree.Withheld
	err    error // why the paths ended early
}

const (
	modeExec      = "100755"
	modeLink      = "120000"
	modeSubmodule = "160000"
)

// submoduleAbsent is the rule by which a submodule is no part of the source tree.
const submoduleAbsent = "submodule: not checked out"

// paths are what `git ls-files -co --exclude-standard` lists, and the same in each submodule
// that is checked out: git names a submodule as one path, and its content is what lies on
// disk. The executable bit is that of git's index, for a file system may not have one.
//
// Git looks for untracked files while its caller looks at the tracked ones: two processes,
// which see two states when somebody changes git's index meanwhile. Then a third one makes
// sure that no file fell between them.
func (l *listing) paths(ctx context.Context, p *pair) iter.Seq2[string, tree.Exec] {
	return func(yield func(string, tree.Exec) bool) {
		l.err = l.list(ctx, p, yield)
	}
}

// pair is the two git processes that list one repository.
type pair struct {
	repository      *repository
	dir, below      string
	before          indexState
	tracked, others *output
}

func (l *listing) start(ctx context.Context, r *repository, below string) (*pair, error) {
	p := &pair{repository: r, dir: filepath.Join(l.root, filepath.FromSlash(below)), below: below, before: r.index()}
	var err error
	if p.others, err = l.git.start(ctx, p.dir, "ls-files", "-o", "--exclude-standard", "-z"); err != nil {
		return nil, err
	}
	if p.tracked, err = l.git.index(ctx, p.dir); err != nil {
		p.others.drop()
		return nil, err
	}
	return p, nil
}

// drop ends what has not ended.
func (p *pair) drop() {
	p.tracked.drop()
	p.others.drop()
}

func (l *listing) list(ctx context.Context, p *pair, yield func(string, tree.Exec) bool) error {
	defer p.drop()
	if more, err := l.tracked(ctx, p, p.tracked, yield); err != nil || !more {
		return err
	}
	for name, ok := p.others.line(); ok; name, ok = p.others.line() {
		if dir, foreign := strings.CutSuffix(name, "/"); foreign { // an untracked directory that is a repository
			l.absent = append(l.absent, tree.Withheld{Path: path.Join(p.below, dir), Rule: "another git repository"})
		} else if !yield(path.Join(p.below, name), tree.ByMode) {
			return nil
		}
	}
	if err := p.others.end(); err != nil || p.before.same(p.repository.index()) {
		return err
	}
	again, err := l.git.index(ctx, p.dir)
	if err != nil {
		return err
	}
	defer again.drop()
	_, err = l.tracked(ctx, p, again, yield)
	return err
}

// index lists git's index.
func (g *git) index(ctx context.Context, dir string) (*output, error) {
	return g.start(ctx, dir, "ls-files", "-c", "-s", "-z")
}

// tracked yields the files of git's index. There is to be no more when yield says so.
func (l *listing) tracked(ctx context.Context, p *pair, out *output, yield func(string, tree.Exec) bool) (more bool, err error) {
	for line, ok := out.line(); ok; line, ok = out.line() {
		stage, name, ok := strings.Cut(line, "\t")
		if !ok {
			return false, fmt.Errorf("git ls-files in %s: line %q has no path", p.dir, line)
		}
		if p.below != "" {
			name = p.below + "/" + name
		}
		exec := tree.NotExecutable
		switch mode, _, _ := strings.Cut(stage, " "); mode {
		case modeSubmodule:
			if more, err := l.submodule(ctx, name, yield); err != nil || !more {
				return false, err
			}
			continue
		case modeExec:
			exec = tree.Executable
		}
		if !yield(name, exec) {
			return false, nil
		}
	}
	return true, out.end()
}

func (l *listing) submodule(ctx context.Context, name string, yield func(string, tree.Exec) bool) (more bool, err error) {
	dir := filepath.Join(l.root, filepath.FromSlash(name))
	// Without .git of its own git would answer for the repository around it.
	_, err = os.Lstat(filepath.Join(dir, ".git"))
	if errors.Is(err, fs.ErrNotExist) {
		l.absent = append(l.absent, tree.Withheld{Path: name, Rule: submoduleAbsent})
		return true, nil
	}
	if err != nil {
		return false, err
	}
	r, err := findRepository(dir)
	if err != nil {
		return false, err
	}
	p, err := l.start(ctx, r, name)
	if err != nil {
		return false, err
	}
	more = true
	err = l.list(ctx, p, func(path string, x tree.Exec) bool {
		more = more && yield(path, x)
		return more
	})
	return more, err
}

// indexState tells one state of git's index from the next: git replaces the file.
type indexState struct{ fi fs.FileInfo }

func (r *repository) index() indexState {
	fi, err := os.Stat(filepath.Join(r.dir, "index"))
	if err != nil {
		return indexState{} // there is none before the first file is added
	}
	return indexState{fi}
}

func (s indexState) same(t indexState) bool {
	if s.fi == nil || t.fi == nil {
		return s.fi == nil && t.fi == nil
	}
	return tree.Same(s.fi, t.fi)
}

// head reads the commit and the branch from the files of the repository, as git lays them
// out, and asks git when they are laid out in another way.
func (g *git) head(ctx context.Context, dir string, r *repository) (plan.Git, error) {
	text, err := os.ReadFile(filepath.Join(r.dir, "HEAD"))
	if err != nil {
		return plan.Git{}, err
	}
	head := withoutLineEnd(text)
	ref, symbolic := strings.CutPrefix(head, "ref: ")
	if !symbolic {
		if isCommit(head) {
			return plan.Git{SHA: head}, nil
		}
		return g.ask(ctx, dir)
	}
	branch, ok := strings.CutPrefix(ref, "refs/heads/")
	if !ok || !filepath.IsLocal(filepath.FromSlash(ref)) || branch == ".invalid" { // .invalid: a reftable
		return g.ask(ctx, dir)
	}
	if text, err := os.ReadFile(filepath.Join(r.common, filepath.FromSlash(ref))); err == nil {
		if sha := withoutLineEnd(text); isCommit(sha) {
			return plan.Git{SHA: sha, Branch: branch}, nil
		}
		return g.ask(ctx, dir)
	}
	packed, err := os.ReadFile(filepath.Join(r.common, "packed-refs"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return plan.Git{}, err
	}
	for line := range strings.Lines(string(packed)) {
		sha, name, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		if name == ref && isCommit(sha) {
			return plan.Git{SHA: sha, Branch: branch}, nil
		}
	}
	return plan.Git{Branch: branch}, nil // no commit yet
}

func (g *git) ask(ctx context.Context, dir string) (plan.Git, error) {
	sha, err := g.run(ctx, dir, "rev-parse", "--verify", "--quiet", "HEAD")
	if err != nil {
		return plan.Git{}, err
	}
	branch, err := g.run(ctx, dir, "rev-parse", "--abbrev-ref", "HEAD")
	if err != nil {
		return plan.Git{}, err
	}
	facts := plan.Git{SHA: withoutLineEnd(sha), Branch: withoutLineEnd(branch)}
	if facts.Branch == "HEAD" {
		facts.Branch = ""
	}
	return facts, nil
}

// isCommit accepts the ids of both object formats, sha1 and sha256.
func isCommit(s string) bool {
	if len(s) != 40 && len(s) != 64 {
		return false
	}
	return strings.Trim(s, "0123456789abcdef") == ""
}

// Git says which commit and branch are checked out in dir; it is zero outside a checkout.
func Git(ctx context.Context, dir string, env map[string]string) (plan.Git, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return plan.Git{}, fmt.Errorf("read git commit: %w", err)
	}
	r, err := findRepository(abs)
	if err != nil || r == nil {
		return plan.Git{}, err
	}
	g, err := newGit(env)
	if err != nil {
		return plan.Git{}, fmt.Errorf("read git commit: %w", err)
	}
	facts, err := g.head(ctx, abs, r)
	if errors.Is(err, errNoRepository) || errors.Is(err, fs.ErrNotExist) {
		return plan.Git{}, nil
	}
	if err != nil {
		return plan.Git{}, fmt.Errorf("read git commit: %w", err)
	}
	return facts, nil
}
