package observe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
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

// run starts git in dir. What a repository's configuration could have it execute is off.
func (g *git) run(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, g.path, append([]string{"-c", "core.fsmonitor=false", "-c", "core.hooksPath=" + os.DevNull}, args...)...)
	cmd.Dir, cmd.Env = dir, g.env
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err == nil {
		return out, nil
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	said := strings.TrimSpace(stderr.String())
	if strings.Contains(said, "not a git repository") {
		return nil, errNoRepository
	}
	line, _, _ := strings.Cut(said, "\n")
	if line == "" {
		line = err.Error()
	}
	return nil, fmt.Errorf("git %s in %s: %s", args[0], dir, strings.TrimPrefix(line, "fatal: "))
}

// listing is what git names.
type listing struct {
	paths []string
	// tracked maps the files of the index to their executable bit.
	tracked map[string]bool
	absent  []tree.Withheld
}

// exec takes the executable bit from the index, for a file system may not have one.
func (l *listing) exec(rel string, mode fs.FileMode) bool {
	if x, ok := l.tracked[rel]; ok {
		return x
	}
	return mode&0o100 != 0
}

const (
	modeExec      = "100755"
	modeSubmodule = "160000"
)

// list is `git ls-files -co --exclude-standard`, and the same in each submodule that is
// checked out: git names a submodule as one path, and its content is what lies on disk.
func (g *git) list(ctx context.Context, dir string) (*listing, error) {
	l := &listing{tracked: map[string]bool{}}
	return l, g.listInto(ctx, l, dir, "")
}

func (g *git) listInto(ctx context.Context, l *listing, root, below string) error {
	out, err := g.run(ctx, filepath.Join(root, filepath.FromSlash(below)), "ls-files", "-co", "--exclude-standard", "-t", "-s", "-z")
	if err != nil {
		return err
	}
	for line := range strings.SplitSeq(string(out), "\x00") {
		if line == "" {
			continue
		}
		tag, name, ok := strings.Cut(line, " ")
		if !ok {
			return fmt.Errorf("git ls-files in %s: line %q has no tag", root, line)
		}
		mode := ""
		if tag != "?" {
			stage, rest, ok := strings.Cut(name, "\t")
			if !ok {
				return fmt.Errorf("git ls-files in %s: line %q has no path", root, line)
			}
			mode, _, _ = strings.Cut(stage, " ")
			name = rest
		}
		foreign := strings.HasSuffix(name, "/") // an untracked directory that is a repository
		name = path.Join(below, name)
		switch {
		case foreign:
			l.absent = append(l.absent, tree.Withheld{Path: name, Rule: "another git repository"})
		case mode == modeSubmodule:
			if err := g.submodule(ctx, l, root, name); err != nil {
				return err
			}
		default:
			l.paths = append(l.paths, name)
			if mode != "" {
				l.tracked[name] = mode == modeExec
			}
		}
	}
	return nil
}

func (g *git) submodule(ctx context.Context, l *listing, root, name string) error {
	// Without .git of its own git would answer for the repository around it.
	_, err := os.Lstat(filepath.Join(root, filepath.FromSlash(name), ".git"))
	if errors.Is(err, fs.ErrNotExist) {
		l.absent = append(l.absent, tree.Withheld{Path: name, Rule: "submodule: not checked out"})
		return nil
	}
	if err != nil {
		return err
	}
	return g.listInto(ctx, l, root, name)
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
