package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/slugfile/slugfile/config"
	"github.com/slugfile/slugfile/config/diag"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/lock"
	"github.com/slugfile/slugfile/pipeline/observe"
	"github.com/slugfile/slugfile/pipeline/plan"
)

// The files that stand beside each other in the directory of an app.
const (
	lockName     = "slug.lock"
	procfileName = "Procfile"
)

// largestText is how much of a text file is read: one byte more than any of them may have,
// so that the reader of the file can say that it is too large.
const largestText = 1<<20 + 1

// project is what the user committed, read and checked.
type project struct {
	// Dir is the directory of slug.yaml, absolute.
	Dir string
	// Path is slug.yaml itself, absolute, and Shown what messages call it.
	Path, Shown string
	// LockPath is slug.lock beside it, absolute; LockShown is what messages call it.
	LockPath, LockShown string
	File                *config.File
	// Lock is nil when there is no slug.lock.
	Lock *lock.File
	// FileDigest and LockDigest are of the two files as they were read; LockDigest is zero when
	// there is no slug.lock.
	FileDigest, LockDigest digest.Digest
	// Git is what git knows of Dir: sha, short and branch. It is nil outside a checkout.
	Git map[string]string
}

// loadOptions are what a command knows beside the file.
type loadOptions struct {
	projectFlags
	// App and Stack override slug.yaml when they are not empty.
	App, Stack string
	// Pinned makes a runtime without sha256 and without a pin in slug.lock a fault. Only
	// the command that writes the pins does without.
	Pinned bool
}

// slugFile is the path of slug.yaml as the user would name it.
func (a *App) slugFile(f projectFlags) string {
	if filepath.IsAbs(f.File) {
		return f.File
	}
	return filepath.Join(a.flags.Chdir, f.File)
}

// load reads slug.yaml and what stands beside it. Faults are a diag.List with all that
// were found in every file.
func (a *App) load(ctx context.Context, o loadOptions) (*project, error) {
	name := a.slugFile(o.projectFlags)
	p := newProject(a.abs(name), filepath.ToSlash(name))
	var err error
	if p.Git, err = a.git(ctx, p.Dir); err != nil {
		return nil, err
	}
	err = p.load(o, func(name string) ([]byte, error) { return readText(filepath.Join(p.Dir, name)) })
	if errors.Is(err, errNoFile) {
		return nil, diag.List{{Pos: diag.Pos{File: p.Shown}, Message: "there is no such file", Hint: missingHint(p)}}
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// newProject is one whose files are not read yet. shown is what messages call slug.yaml.
func newProject(path, shown string) *project {
	p := &project{Shown: shown, Path: path, Dir: filepath.Dir(path)}
	p.LockPath = filepath.Join(p.Dir, lockName)
	p.LockShown = strings.TrimSuffix(shown, filepath.Base(path)) + lockName
	return p
}

// errNoFile says that there is no slug.yaml.
var errNoFile = errors.New("there is no slug.yaml")

// load fills p from its files, which read finds by their names in the directory of slug.yaml.
func (p *project) load(o loadOptions, read func(name string) ([]byte, error)) error {
	text, err := read(filepath.Base(p.Path))
	if errors.Is(err, fs.ErrNotExist) {
		return errNoFile
	}
	if err != nil {
		return err
	}
	p.FileDigest = digest.Of(text)
	var faults diag.List
	lockText, err := read(lockName)
	switch {
	case err == nil:
		p.LockDigest = digest.Of(lockText)
		var found diag.List
		p.Lock, found = lock.Parse(p.LockShown, lockText)
		faults = append(faults, found...)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	procfile, err := read(procfileName)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	in := config.Source{
		Path: p.Shown, Text: text, Procfile: procfile, HasProcfile: err == nil,
		Vars: o.Var, Git: p.Git, App: o.App, Stack: o.Stack,
	}
	// A lock that cannot be read would make every runtime look unpinned.
	if o.Pinned && len(faults) == 0 {
		in.Pins = pins(p.Lock)
	}
	file, found := config.Load(in)
	faults = append(faults, found...)
	if err := faults.Err(); err != nil {
		faults.Sort()
		return faults
	}
	p.File = file
	return nil
}

// git says what ${git.…} stands for in a directory.
func (a *App) git(ctx context.Context, dir string) (map[string]string, error) {
	g, err := observe.Git(ctx, dir, a.Env)
	if err != nil || g.SHA == "" {
		return nil, err
	}
	return gitVars(g), nil
}

func gitVars(g plan.Git) map[string]string {
	return map[string]string{"sha": g.SHA, "short": g.SHA[:7], "branch": g.Branch}
}

// abs puts a path of the command line below the working directory.
func (a *App) abs(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(a.Dir, path)
}

// pins turns the lock into the plain data that config takes. It is never nil.
func pins(f *lock.File) []config.Pin {
	list := []config.Pin{}
	if f == nil {
		return list
	}
	for _, p := range f.Pins {
		list = append(list, config.Pin{Name: p.Name, URL: p.URL})
	}
	return list
}

// missingHint looks for what the user may have meant.
func missingHint(p *project) string {
	for _, other := range []string{"slug.yml", ".slug.yaml", "slugfile.yaml"} {
		if info, err := os.Stat(filepath.Join(p.Dir, other)); err == nil && info.Mode().IsRegular() {
			return fmt.Sprintf("%s is there: rename it to slug.yaml, or name it with -f", other)
		}
	}
	if _, err := os.Stat(p.Dir); errors.Is(err, fs.ErrNotExist) {
		return "the directory does not exist either: check -C and -f"
	}
	return "run slugfile in the directory of the app, or name it with -C; \"slugfile schema\" prints what the file may hold"
}

// readText reads a regular file of bounded size.
func readText(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read %w", unwrapOpen(err))
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read %w", unwrapOpen(err))
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: not a regular file", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, largestText))
	if err != nil {
		return nil, fmt.Errorf("read %w", unwrapOpen(err))
	}
	return text, nil
}

// unwrapOpen drops the name of the system call, which tells a user nothing.
func unwrapOpen(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return fmt.Errorf("%s: %w", p.Path, p.Err)
	}
	return err
}
