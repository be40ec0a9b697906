package observe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/slugfile/slugfile/config/diag"
	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/disk"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// SourceOptions say what of a directory is no part of the app.
type SourceOptions struct {
	// Outputs are the declared outputs of the steps: paths, or globs. What lies there is made
	// anew, never taken along.
	Outputs []string
	// Exclude are paths relative to the directory, with slashes: slug.yaml, slug.lock, the
	// archives that runtimes name, and where this run writes to.
	Exclude []string
	// IncludeSecrets are exact paths that pass the deny list.
	IncludeSecrets []string
	// Indexes keeps what one run learnt of the files for the next. It may be nil.
	Indexes Indexes
	// Env is the environment, of which git gets what it needs to find itself and its user's
	// configuration.
	Env map[string]string
}

// Indexes keeps documents between runs. They are hints: any of them may be lost, and no fault
// of the keeping is one of the run.
type Indexes interface {
	GetBytes(kind, key string) (b []byte, ok bool, err error)
	PutBytes(kind, key string, b []byte) error
}

// indexKind is the kind of the documents. Their key stands for the directory.
const indexKind = "source"

// ignoreFile is Heroku's name for the list of what stays out of a slug.
const ignoreFile = ".slugignore"

// Source lists the source tree in dir: in a git checkout what git does not ignore, with the
// content on disk; elsewhere every file, and no directory for itself. What the deny list and .slugignore keep out is
// returned apart, and so is a submodule that is not checked out. The diagnostics are faults
// of .slugignore.
func Source(ctx context.Context, dir string, o SourceOptions) (artifact.Source, []tree.Withheld, plan.Git, diag.List, error) {
	var facts plan.Git
	abs, err := filepath.Abs(dir)
	if err != nil {
		return artifact.Source{}, nil, facts, nil, fmt.Errorf("read source tree: %w", err)
	}
	src := artifact.Source{Dir: filepath.ToSlash(abs)}
	text, err := os.ReadFile(filepath.Join(abs, ignoreFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return src, nil, facts, nil, fmt.Errorf("read source tree: %w", err)
	}
	f, faults := newFilter(o, text)
	f.read = func(rel string) ([]byte, error) { return readSmall(filepath.Join(abs, filepath.FromSlash(rel))) }
	key := indexKey(abs)
	scan := tree.ScanOptions{Skip: f.skip}
	repo, err := findRepository(abs)
	if err != nil {
		return src, nil, facts, faults, fmt.Errorf("read source tree: %w", err)
	}
	if repo != nil {
		g, err := newGit(o.Env)
		if err != nil {
			return src, nil, facts, faults, fmt.Errorf("read source tree: %s is a git checkout: %w", abs, err)
		}
		l := &listing{git: g, root: abs}
		p, err := l.start(ctx, repo, "")
		if err != nil {
			return src, nil, facts, faults, fmt.Errorf("read source tree: %w", err)
		}
		defer p.drop()
		scan.Known = known(o.Indexes, key) // while git is starting
		found, err := tree.ScanPaths(ctx, abs, l.paths(ctx, p), scan)
		if l.err != nil {
			err = l.err
		}
		switch {
		case errors.Is(err, errNoRepository): // a .git that is none, as git judges it
		case err != nil:
			return src, nil, facts, faults, fmt.Errorf("read source tree: %w", err)
		default:
			if facts, err = g.head(ctx, abs, repo); err != nil {
				return src, nil, facts, faults, fmt.Errorf("read git commit: %w", err)
			}
			remember(o.Indexes, key, found)
			src.Tree = found.Manifest
			return src, f.done(l.absent), facts, faults, nil
		}
	}
	if scan.Known == nil {
		scan.Known = known(o.Indexes, key)
	}
	found, err := tree.ScanIndexed(ctx, abs, scan)
	if err != nil {
		return src, nil, facts, faults, fmt.Errorf("read source tree: %w", err)
	}
	remember(o.Indexes, key, found)
	// As in git, a directory is there for its files alone: one that is empty, or whose files
	// are all left out, would make another slug than the checkout of the same files.
	src.Tree = slices.DeleteFunc(found.Manifest, func(e tree.Entry) bool { return e.Kind == tree.Dir })
	return src, f.done(nil), facts, faults, nil
}

// known is what an earlier run kept, or nil.
func indexKey(abs string) string { return digest.Of([]byte(abs)).String() }

// ahead is Indexes whose document for one directory is read already, or being read.
type ahead struct {
	Indexes
	key  string
	done chan struct{}
	b    []byte
	ok   bool
	err  error
}

// Ahead begins to read what is known of a directory, while slug.yaml is still being looked at.
func Ahead(from Indexes, dir string) Indexes {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return from
	}
	a := &ahead{Indexes: from, key: indexKey(abs), done: make(chan struct{})}
	go func() {
		defer close(a.done)
		a.b, a.ok, a.err = from.GetBytes(indexKind, a.key)
	}()
	return a
}

// GetBytes hands the document out once, for its reader keeps it.
func (a *ahead) GetBytes(kind, key string) ([]byte, bool, error) {
	if kind != indexKind || key != a.key {
		return a.Indexes.GetBytes(kind, key)
	}
	<-a.done
	return a.b, a.ok, a.err
}

func known(from Indexes, key string) *tree.Index {
	if from == nil {
		return nil
	}
	b, ok, err := from.GetBytes(indexKind, key)
	if err != nil || !ok {
		return nil
	}
	x, err := tree.ParseIndex(b)
	if err != nil {
		return nil // of another version
	}
	return x
}

// remember keeps what this run learnt, where that can be done: a cache may be read-only.
func remember(in Indexes, key string, found tree.Scanned) {
	if in == nil || !found.Learnt {
		return
	}
	if b, err := found.Index.AppendBinary(nil); err == nil {
		_ = in.PutBytes(indexKind, key, b) // the next run reads the files again
	}
}

// filter decides what of the listing is part of the app, and remembers what was withheld.
type filter struct {
	// read is for files whose content tells whether they are secret.
	read    func(rel string) ([]byte, error)
	exclude []string // with all below them
	globs   []string
	ignore  tree.Ignore
	secrets map[string]bool

	mu       sync.Mutex
	withheld []tree.Withheld
}

func newFilter(o SourceOptions, ignore []byte) (*filter, diag.List) {
	rules, faults := tree.ParseIgnore(ignoreFile, ignore)
	f := &filter{ignore: rules, secrets: map[string]bool{}}
	for _, p := range slices.Concat(o.Exclude, o.Outputs) {
		f.exclude = append(f.exclude, path.Clean(p))
	}
	for _, p := range o.Outputs {
		if strings.ContainsAny(p, `*?[{\`) {
			f.globs = append(f.globs, path.Clean(p))
		}
	}
	for _, p := range o.IncludeSecrets {
		f.secrets[path.Clean(p)] = true
	}
	return f, faults
}

// skip is called for every path of the tree, from several goroutines.
func (f *filter) skip(rel string, isDir bool) bool {
	base := rel[strings.LastIndexByte(rel, '/')+1:]
	if isDir && base == ".git" {
		return true // nobody expects it in the slug, so it is not worth a line
	}
	if !isDir && disk.IsTemp(base) {
		return true // a run of this program was killed while it wrote
	}
	for _, x := range f.exclude {
		if tree.Under(rel, x) {
			return true
		}
	}
	for _, x := range f.globs {
		if tree.Glob(x, rel) {
			return true
		}
	}
	ask := rel
	if isDir {
		ask += "/"
	}
	rule, denied := tree.Denied(ask, func() ([]byte, error) { return f.read(rel) })
	if denied && !f.asked(rel, isDir) {
		f.withhold(rel, rule)
		return true
	}
	if rule, ignored := f.ignore.Match(rel, isDir); ignored {
		f.withhold(rel, rule)
		return true
	}
	return false
}

func (f *filter) withhold(rel, rule string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.withheld = append(f.withheld, tree.Withheld{Path: rel, Rule: rule})
}

// asked reports whether include_secrets names the path, or something in the directory.
func (f *filter) asked(rel string, isDir bool) bool {
	if !isDir {
		return f.secrets[rel]
	}
	for s := range f.secrets {
		if tree.Under(s, rel) {
			return true
		}
	}
	return false
}

func (f *filter) done(more []tree.Withheld) []tree.Withheld {
	all := slices.Concat(f.withheld, more)
	slices.SortStableFunc(all, func(a, b tree.Withheld) int { return tree.Compare(a.Path, b.Path) })
	return slices.CompactFunc(all, func(a, b tree.Withheld) bool { return a.Path == b.Path })
}

// largestSecret is more than any text with a key in it has.
const largestSecret = 1 << 20

// readSmall reads a file that is text with a key or a password if it is what its name says.
func readSmall(name string) ([]byte, error) {
	fi, err := os.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, nil // a link has no content of its own
	}
	if fi.Size() > largestSecret {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, largestSecret)
	}
	return os.ReadFile(name)
}

// withoutLineEnd is the line that git prints.
func withoutLineEnd(b []byte) string { return strings.TrimRight(string(b), "\r\n") }
