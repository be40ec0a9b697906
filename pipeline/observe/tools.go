package observe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/slugfile/slugfile/config"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/store"
)

// Tools finds and hashes the tools of this machine that `host:` runtimes name and the
// archives that `path:` runtimes name, both by the runtime's name. A tool that is not on
// pathEnv is left out; plan.Build says so. An archive that is not what slug.yaml or
// slug.lock promises is a *digest.MismatchError. The store, which may be nil, remembers the
// digests of files that did not change.
func Tools(ctx context.Context, in *plan.Inputs, pathEnv string, s *store.Store) (tools, archives map[string]plan.Tool, err error) {
	return files(ctx, in, in.File.Runtimes, pathEnv, s)
}

// hostTools are the tools alone.
func hostTools(ctx context.Context, in *plan.Inputs, pathEnv string, s *store.Store) (map[string]plan.Tool, error) {
	hosts := slices.DeleteFunc(slices.Clone(in.File.Runtimes), func(r config.Runtime) bool { return r.Host == "" })
	tools, _, err := files(ctx, in, hosts, pathEnv, s)
	return tools, err
}

func files(ctx context.Context, in *plan.Inputs, runtimes config.Runtimes, pathEnv string, s *store.Store) (tools, archives map[string]plan.Tool, err error) {
	tools, archives = map[string]plan.Tool{}, map[string]plan.Tool{}
	type found struct {
		into map[string]plan.Tool
		name string
		tool plan.Tool
	}
	var all []*found
	for _, r := range runtimes {
		f := &found{name: r.Name}
		switch {
		case r.Host != "":
			at, err := hostTool(r.Host, pathEnv)
			if err != nil {
				continue
			}
			f.into, f.tool.Path = tools, at
		case r.Path != "":
			f.into, f.tool.Path = archives, filepath.Join(in.Source.Dir, filepath.FromSlash(r.Path))
		default:
			continue
		}
		all = append(all, f)
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, f := range all {
		g.Go(func() error {
			var err error
			f.tool.Digest, f.tool.Size, err = fileDigest(ctx, f.tool.Path, s)
			if err != nil {
				return fmt.Errorf("read runtime %s: %w", f.name, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, nil, err
	}
	for _, f := range all {
		f.into[f.name] = f.tool
	}
	for _, r := range plan.Runtimes(*in, plan.Observed{Tools: tools}) { // without archives: what is promised
		a, ok := archives[r.Name]
		if ok && !r.Digest.IsZero() && r.Digest != a.Digest {
			return nil, nil, fmt.Errorf("read runtime %s: %w", r.Name, &digest.MismatchError{
				Subject: a.Path, Want: r.Digest, Got: a.Digest, WantSize: -1, GotSize: a.Size,
			})
		}
	}
	return tools, archives, nil
}

// hostTool is the absolute path of a tool, with all links resolved.
func hostTool(name, pathEnv string) (string, error) {
	at, err := lookPath(name, pathEnv)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(at)
}

// lookPath finds a program on a PATH. The directory of the app and empty parts, which mean
// it, are never searched: a checkout must not bring its own git.
func lookPath(name, pathEnv string) (string, error) {
	if name == "" || strings.ContainsAny(name, `/\`) {
		return "", fmt.Errorf("%q is not the name of a program", name)
	}
	suffixes := []string{""}
	if runtime.GOOS == "windows" {
		suffixes = []string{".exe"}
	}
	for _, dir := range filepath.SplitList(pathEnv) {
		if !filepath.IsAbs(dir) {
			continue
		}
		for _, suffix := range suffixes {
			at := filepath.Join(dir, name+suffix)
			fi, err := os.Stat(at)
			if err == nil && fi.Mode().IsRegular() && (runtime.GOOS == "windows" || fi.Mode()&0o111 != 0) {
				return at, nil
			}
		}
	}
	return "", fmt.Errorf("there is no program %s on PATH", name)
}

// settled is how old a change must be before a digest is remembered: within one tick of the
// file system's clock a second change would leave the same times.
const settled = 2 * time.Second

// fileDigest hashes a file, or takes the digest that the store remembers for the very same
// file: device, inode, size and both times.
func fileDigest(ctx context.Context, name string, s *store.Store) (digest.Digest, int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return digest.Digest{}, 0, err
	}
	defer func() { _ = f.Close() }() // read only: nothing is lost
	fi, err := f.Stat()
	if err != nil {
		return digest.Digest{}, 0, err
	}
	if !fi.Mode().IsRegular() {
		return digest.Digest{}, 0, &fs.PathError{Op: "read", Path: name, Err: errors.New("is not a file")}
	}
	note, changed, ok := identity(name, fi)
	remember := ok && s != nil
	var known struct {
		SHA256 digest.Digest `json:"sha256"`
	}
	if remember {
		if ok, err := s.GetRef("file", note, &known); err == nil && ok && !known.SHA256.IsZero() {
			return known.SHA256, fi.Size(), nil
		}
	}
	h := digest.New()
	n, err := io.Copy(h, readerFunc(func(p []byte) (int, error) {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		return f.Read(p)
	}))
	if err != nil {
		return digest.Digest{}, 0, err
	}
	known.SHA256 = digest.Sum(h)
	again, err := f.Stat()
	if err != nil {
		return digest.Digest{}, 0, err
	}
	if after, _, _ := identity(name, again); after != note {
		return digest.Digest{}, 0, &fs.PathError{Op: "read", Path: name, Err: errors.New("changed while it was read")}
	}
	if remember && time.Since(changed) > settled {
		_ = s.PutRef("file", note, known) // a note is worth no failure
	}
	return known.SHA256, n, nil
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
