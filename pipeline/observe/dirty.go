package observe

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/slugfile/slugfile/pipeline/tree"
)

// Dirty reports whether the checkout in dir differs from its commit in what a slug is made of: a
// file of the source tree or one of also (paths in dir, with slashes) that is changed or new, or
// anything that is gone. Files that are no part of the source tree, such as a slug that was
// written beside it, do not count.
func Dirty(ctx context.Context, dir string, source tree.Manifest, also []string, env map[string]string) (bool, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return false, fmt.Errorf("read git status: %w", err)
	}
	g, err := newGit(env)
	if err != nil {
		return false, fmt.Errorf("read git status: %w", err)
	}
	below, err := g.run(ctx, abs, "rev-parse", "--show-prefix")
	if err != nil {
		return false, fmt.Errorf("read git status: %w", err)
	}
	out, err := g.run(ctx, abs, "status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=all", "--ignore-submodules=none", "--", ".")
	if err != nil {
		return false, fmt.Errorf("read git status: %w", err)
	}
	for line := range strings.SplitSeq(string(out), "\x00") {
		if len(line) < 4 {
			continue
		}
		// Two letters of state, a blank, and the path from the top of the checkout.
		state, name := line[:2], strings.TrimSuffix(strings.TrimPrefix(line[3:], withoutLineEnd(below)), "/")
		start, end := source.Below(name) // a submodule is named by its directory
		if start < end || slices.Contains(also, name) || strings.Contains(state, "D") {
			return true, nil
		}
	}
	return false, nil
}
