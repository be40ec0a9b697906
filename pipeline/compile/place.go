package compile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/sandbox"
	"github.com/slugfile/slugfile/pipeline/store"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// place is where one step runs: directories of this machine, and the names under which the
// step sees them.
type place struct {
	plain bool
	// work, tmp, tools and home are directories of this machine. scratch is for ourselves.
	work, tmp, tools, home, scratch string
	// root, seenTmp, seenTools and seenHome are what the step calls the first four.
	root, seenTmp, seenTools, seenHome string
	mounts                             []sandbox.Mount
	// copied are the runtimes that had to be copied into the work tree.
	copied []artifact.Runtime
	undo   []func()
}

// release removes what belongs to the step alone and gives up the locks.
func (p *place) release() {
	for i := len(p.undo) - 1; i >= 0; i-- {
		p.undo[i]()
	}
}

// place makes the directories of a step, empty but for its home. waited says that another
// process had to end its work first.
func (r *run) place(ctx context.Context, step plan.Step) (p *place, waited bool, err error) {
	p = &place{plain: r.plain}
	defer func() {
		if err != nil {
			p.release()
		}
	}()
	base, cleanup, err := r.Store.Work("step-")
	if err != nil {
		return p, false, err
	}
	p.undo = append(p.undo, cleanup)
	p.scratch = filepath.Join(base, "scratch")
	p.home = filepath.Join(base, "home")
	if r.Home != "" && !r.Cold {
		// Length and name keep apart what a plain join would not.
		id := digest.Of(fmt.Appendf(nil, "%d:%s%s", len(r.source.Dir), r.source.Dir, step.Name))
		p.home = filepath.Join(r.Home, id.String()[:32])
		w, err := r.lock(ctx, p, step.Name, p.home+".lock", "another slugfile runs this step for this directory; waiting for it")
		if err != nil {
			return p, waited, err
		}
		waited = waited || w
	}
	if p.plain && r.Home != "" {
		// One constant path, because tools write the path where they ran into what they make.
		base = filepath.Join(r.Home, "plain")
		w, err := r.lock(ctx, p, step.Name, base+".lock", "another slugfile runs a step without namespaces; waiting for it")
		if err != nil {
			return p, waited, err
		}
		waited = waited || w
		if err := store.RemoveAll(base); err != nil { // of a run that was killed
			return p, waited, err
		}
		p.undo = append(p.undo, func() { _ = store.RemoveAll(base) }) // else the next run does
	}
	p.work, p.tmp, p.tools = filepath.Join(base, "app"), filepath.Join(base, "tmp"), filepath.Join(base, "tools")
	for _, dir := range []string{p.scratch, p.home, p.work, p.tmp, p.tools} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return p, waited, err
		}
	}
	if err := os.Chmod(p.tmp, 0o777|fs.ModeSticky); err != nil {
		return p, waited, err
	}
	if p.plain {
		p.root, p.seenTmp, p.seenTools, p.seenHome = p.work, p.tmp, p.tools, p.home
		return p, waited, nil
	}
	p.root, p.seenTmp, p.seenTools, p.seenHome = insideApp, "/tmp", insideTools, insideHome
	p.mounts = []sandbox.Mount{
		{Source: p.home, Target: insideHome},
		{Source: p.tools, Target: insideTools, ReadOnly: true},
	}
	return p, waited, nil
}

// lock locks a file for as long as the place is used. The file stays: removing it would take
// it from under somebody who waits for it.
func (r *run) lock(ctx context.Context, p *place, step, path, notice string) (waited bool, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return false, err
	}
	l := flock.New(path)
	ok, err := l.TryLock()
	if err == nil && !ok {
		waited = true
		r.warn(step, notice, "")
		limit := ctx
		if r.LockTimeout > 0 {
			var cancel context.CancelFunc
			limit, cancel = context.WithTimeoutCause(ctx, r.LockTimeout, &BusyError{Step: step, After: r.LockTimeout})
			defer cancel()
		}
		if ok, err = l.TryLockContext(limit, 50*time.Millisecond); limit.Err() != nil && !ok {
			err = context.Cause(limit)
		}
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil || !ok {
		return waited, fmt.Errorf("lock %q: %w", path, errors.Join(err, l.Close()))
	}
	p.undo = append(p.undo, func() { _ = l.Close() }) // the lock ends with the file at the latest
	return waited, nil
}

// layOut fills a place: the step's inputs, the outputs of earlier steps, the runtimes and the
// tools.
func (r *run) layOut(ctx context.Context, p *place, step plan.Step, seen []artifact.Runtime) error {
	if err := tree.Copy(ctx, step.Inputs, r.source.Dir, p.work); err != nil {
		return err
	}
	for _, out := range r.outputs {
		if err := p.add(ctx, out.Tree, out.Dir, p.work); err != nil {
			return fmt.Errorf("output of step %q: %w", out.Step, err)
		}
	}
	for _, a := range seen {
		if a.Tool != "" {
			if err := p.addTool(a); err != nil {
				return err
			}
			continue
		}
		if err := p.addRuntime(ctx, a, seen); err != nil {
			return fmt.Errorf("runtime %q: %w", a.Name, err)
		}
	}
	return nil
}

// add copies a tree to a directory that may hold something already. What is new wins.
func (p *place) add(ctx context.Context, m tree.Manifest, from, to string) error {
	fresh, err := os.MkdirTemp(p.scratch, "")
	if err != nil {
		return err
	}
	if err := tree.Copy(ctx, m, from, fresh); err != nil {
		return err
	}
	return merge(fresh, to)
}

// merge moves what is in from into to, and leaves from behind in part.
func merge(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		src, dst := filepath.Join(from, e.Name()), filepath.Join(to, e.Name())
		fi, err := os.Lstat(dst)
		switch {
		case err == nil && fi.IsDir() && e.IsDir():
			if err := merge(src, dst); err != nil {
				return err
			}
			continue
		case err == nil:
			if err := store.RemoveAll(dst); err != nil {
				return err
			}
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		if err := os.Rename(src, dst); err != nil {
			return err
		}
	}
	return nil
}

// addRuntime shows a runtime to the step, read-only. Where that cannot be done, without
// namespaces or inside another runtime, it is copied: the step must not change the store.
func (p *place) addRuntime(ctx context.Context, a artifact.Runtime, all []artifact.Runtime) error {
	nested := a.Into == "." || a.Into == ""
	for _, b := range all {
		nested = nested || b.Name != a.Name && b.Tool == "" && (tree.Under(a.Into, b.Into) || tree.Under(b.Into, a.Into))
	}
	if !p.plain && !nested {
		p.mounts = append(p.mounts, sandbox.Mount{Source: a.Dir, Target: runtimeDir(insideApp, a), ReadOnly: true})
		return nil
	}
	dir := runtimeDir(p.work, a)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	p.copied = append(p.copied, a)
	return p.add(ctx, a.Tree, a.Dir, dir)
}

// addTool links a tool of this machine, under the name it is called by, into a directory of
// its own: what lies beside it is not pinned.
func (p *place) addTool(a artifact.Runtime) error {
	dir := filepath.Join(p.tools, a.Name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	if err := os.Symlink(a.Tool, filepath.Join(dir, a.Command)); err != nil {
		return err
	}
	// The step's own /tmp hides the machine's, where the tool may be.
	if dir := filepath.Dir(a.Tool); !p.plain && strings.HasPrefix(dir, "/tmp/") {
		p.mounts = append(p.mounts, sandbox.Mount{Source: dir, Target: dir, ReadOnly: true})
	}
	return nil
}

// systemPath is PATH after the runtimes and tools, the same on every machine.
const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// findBash finds bash in the usual places, else in the absolute directories of list, a PATH.
func findBash(list string) (string, error) {
	dirs := append([]string{"/bin"}, filepath.SplitList(systemPath)...)
	for _, dir := range append(dirs, filepath.SplitList(list)...) {
		if !filepath.IsAbs(dir) {
			continue
		}
		exe := filepath.Join(dir, "bash")
		if fi, err := os.Stat(exe); err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0 {
			return exe, nil
		}
	}
	return "", fmt.Errorf("this machine has no bash, which runs the steps (looked in %s)", cmp.Or(list, systemPath))
}
