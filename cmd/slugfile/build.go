package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/slugfile/slugfile/cmd/slugfile/internal/view"
	"github.com/slugfile/slugfile/pipeline"
	"github.com/slugfile/slugfile/pipeline/archive"
	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/junk"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/tree"
)

type buildCmd struct {
	planningFlags
	lockFlag
	checkFlags
	buildFlags
}

// Run makes the slug and asks no platform.
func (c *buildCmd) Run(ctx context.Context, app *App) (err error) {
	outputs, err := c.written(app)
	if err != nil {
		return err
	}
	key, err := c.signKey(app)
	if err != nil {
		return err
	}
	// The key is no output, and just as little a part of the app.
	s, err := c.open(ctx, app, append(outputs, slices.DeleteFunc([]string{c.SignKey}, isEmpty)...)...)
	if err != nil {
		return err
	}
	s.view, s.lockTimeout, s.allow = c.view(app, c.JSON), c.LockTimeout, c.Allow
	p, err := s.plan(ctx, nil)
	if err == nil {
		err = problems(p)
	}
	if err != nil {
		return firstError(err, s.view.Close())
	}
	var done view.Built
	err = s.deliver(ctx, s.pipeline(nil), nil, p, func(b pipeline.Built) error {
		path := b.Slug.Path
		if c.Output != "" {
			path = app.abs(c.Output)
			if err := archive.Export(ctx, s.store, b.Slug, path); err != nil {
				return err
			}
		}
		if c.JSON || c.Verbose > 0 {
			held, err := s.contents(b.Slug)
			if err != nil {
				return err
			}
			done.Advice = junk.Advise(held)
		}
		done.Slug = view.BuiltSlug{Checksum: b.Slug.Digest.Checksum(), Size: b.Slug.Size, Path: path}
		var err error
		done.SBOM, done.Provenance, err = s.attest(ctx, attestation{
			slug: b.Slug, plan: p, name: filepath.Base(cmp.Or(c.Output, "slug.tgz")),
			bom: c.SBOM, provenance: c.Provenance, key: key,
		})
		return err
	})
	if err = firstError(err, s.view.Close()); err != nil {
		return err
	}
	if c.JSON {
		return view.WriteLine(app.Out, done)
	}
	return view.WriteBuilt(app.Out, done, app.outStyle())
}

// contents is what a slug holds, or nothing when the store has forgotten it.
func (s *session) contents(slug artifact.Slug) (tree.Manifest, error) {
	if slug.Members == nil {
		b, ok, err := s.store.GetBytes("record", slug.Digest.String())
		var r plan.Record
		if err != nil || !ok || r.UnmarshalBinary(b) != nil {
			return nil, err
		}
		return r.Tree, nil
	}
	m := make(tree.Manifest, len(slug.Members))
	for i := range slug.Members {
		m[i] = slug.Members[i].Entry
	}
	return m, nil
}

// written are the files that this run writes, as the user named them.
func (c *buildCmd) written(app *App) ([]string, error) {
	var names []string
	seen := map[string]string{}
	for _, f := range []struct{ flag, name string }{{"--output", c.Output}, {"--sbom", c.SBOM}, {"--provenance", c.Provenance}} {
		if f.name == "" {
			continue
		}
		if err := canBeWritten(f.flag, "slugfile build", f.name, app.abs(f.name)); err != nil {
			return nil, err
		}
		if other, ok := seen[app.abs(f.name)]; ok {
			return nil, &usageError{msg: fmt.Sprintf("%s and %s name one file: %s", other, f.flag, f.name), command: "slugfile build"}
		}
		seen[app.abs(f.name)] = f.flag
		names = append(names, f.name)
	}
	return names, nil
}

func isEmpty(s string) bool { return s == "" }

// canBeWritten finds out before the work what would spoil its end. shown is how the user
// named the file that a flag of a command names.
func canBeWritten(flag, command, shown, path string) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return &usageError{msg: fmt.Sprintf("%s %s: there is something that is no regular file; name a file that does not exist", flag, shown), command: command}
	}
	dir := filepath.Dir(path)
	switch info, err := os.Stat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return &usageError{msg: fmt.Sprintf("%s %s: the directory %s does not exist; make it first", flag, shown, dir), command: command}
	case err != nil:
		return fmt.Errorf("%s %s: %w", flag, shown, unwrapOpen(err))
	case !info.IsDir():
		return &usageError{msg: fmt.Sprintf("%s %s: %s is no directory", flag, shown, dir), command: command}
	}
	return nil
}
