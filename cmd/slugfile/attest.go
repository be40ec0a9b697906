package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/slugfile/slugfile/cmd/slugfile/internal/view"
	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/bom"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/disk"
	"github.com/slugfile/slugfile/pipeline/observe"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/provenance"
)

// attestation is what build is asked to tell of a slug.
type attestation struct {
	slug artifact.Slug
	plan plan.Plan
	// name is what the slug's file is called.
	name string
	// bom and provenance are the files to write, as the user named them; empty for none.
	bom, provenance string
	// key is nil when nothing is to be signed.
	key *provenance.PrivateKey
}

// signKey reads the key before any work is done.
func (c *buildCmd) signKey(app *App) (*provenance.PrivateKey, error) {
	if c.SignKey == "" {
		return nil, nil
	}
	if c.Provenance == "" {
		return nil, &usageError{msg: "--sign-key: there is nothing to sign; name a file with --provenance", command: "slugfile build"}
	}
	text, err := readText(app.abs(c.SignKey))
	if err != nil {
		return nil, fmt.Errorf("--sign-key: %w", err)
	}
	key, err := provenance.ParsePrivateKey(text)
	if err != nil {
		return nil, fmt.Errorf("--sign-key %s: %w", c.SignKey, err)
	}
	return key, nil
}

// attest writes the documents that were asked for. The bill is of the bytes in the store, which
// are checked while they are read.
func (s *session) attest(ctx context.Context, a attestation) (*view.BuiltSBOM, *view.BuiltProvenance, error) {
	var bill *view.BuiltSBOM
	var billDigest digest.Digest
	runtimes := plan.Runtimes(s.inputs, s.seen)
	if a.bom != "" {
		text, sum, err := s.bill(ctx, a, runtimes)
		if err != nil {
			return nil, nil, err
		}
		path := s.app.abs(a.bom)
		if err := disk.WriteFile(path, text, 0o666); err != nil {
			return nil, nil, fmt.Errorf("write bill of materials: %w", err)
		}
		billDigest = digest.Of(text)
		bill = &view.BuiltSBOM{Path: path, SHA256: billDigest.String(), Summary: sum}
	}
	if a.provenance == "" {
		return bill, nil, nil
	}
	in := provenance.Input{
		Name: a.name, Slug: a.slug.Digest, App: s.project.File.App, Stack: a.plan.Stack, Vars: s.vars,
		File: s.project.FileDigest, Lock: s.project.LockDigest,
		PlanKey: a.plan.Key, Source: a.plan.Basis.Source, Epoch: s.inputs.Epoch,
		Commit: s.inputs.Git.SHA, BOM: billDigest, Version: s.app.Version,
	}
	for _, r := range runtimes {
		in.Runtimes = append(in.Runtimes, provenance.Runtime{Name: r.Name, URL: r.Address(), Digest: r.Digest, BuildOnly: r.BuildOnly})
	}
	if in.Commit != "" {
		also := []string{filepath.Base(s.project.Path), lockName, procfileName, ".slugignore"}
		var err error
		if in.Dirty, err = observe.Dirty(ctx, s.project.Dir, s.inputs.Source.Tree, also, s.app.Env); err != nil {
			return nil, nil, err
		}
	}
	told := &view.BuiltProvenance{Path: s.app.abs(a.provenance), Commit: in.Commit, Dirty: in.Dirty}
	statement := provenance.New(in)
	text, err := statement.Text()
	if a.key != nil && err == nil {
		text, err = provenance.Seal(statement, a.key)
		told.KeyID = a.key.Public().ID()
	}
	if err != nil {
		return nil, nil, err
	}
	if err := disk.WriteFile(told.Path, text, 0o666); err != nil {
		return nil, nil, fmt.Errorf("write provenance: %w", err)
	}
	told.SHA256 = digest.Of(text).String()
	return bill, told, nil
}

// bill is the bill of materials of a slug in the store.
func (s *session) bill(ctx context.Context, a attestation, runtimes []plan.Runtime) ([]byte, bom.Summary, error) {
	f, err := s.store.Open(a.slug.Digest)
	if err != nil {
		return nil, bom.Summary{}, err
	}
	defer f.Close()
	contents, err := bom.Read(ctx, f, s.dirs.Cache)
	if err != nil {
		return nil, bom.Summary{}, err
	}
	in := bom.Input{Slug: a.slug.Digest, App: s.project.File.App, Stack: a.plan.Stack, PlanKey: a.plan.Key, Version: s.app.Version}
	for _, r := range runtimes {
		in.Runtimes = append(in.Runtimes, bom.Runtime{
			Name: r.Name, Version: r.Version(), URL: r.Address(), Digest: r.Digest, Into: r.Into, BuildOnly: r.BuildOnly,
		})
	}
	var b bytes.Buffer
	sum, err := bom.Write(&b, in, contents)
	return b.Bytes(), sum, err
}

// overridden names the variables that --var has set.
func (f projectFlags) overridden() []string {
	var names []string
	for name := range f.Var {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// readDocument reads a file of bounded size that verify is given.
func readDocument(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read %w", unwrapOpen(err))
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %w", unwrapOpen(err))
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("read %s: not a regular file", path)
	case info.Size() > most:
		return nil, fmt.Errorf("read %s: it has more than %d bytes", path, most)
	}
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, fmt.Errorf("read %w", unwrapOpen(err))
	}
	return text, nil
}
