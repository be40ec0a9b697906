package pipeline_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/journal"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/platform"
)

// An explorer that finds nothing proves something only if it finds what is wrong: each of these
// takes one part of the protocol away.
func TestExplorer_findsAProtocolThatLacksAPart(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault fault
		wrong string
		scene scene
	}{
		"the search": {late1, "the platform acted within", scene{settle: time.Nanosecond}},
		"the marks in the descriptions": {late61, "nobody was told", scene{platform: func(p platform.Platform) platform.Platform {
			return &blind{Platform: p}
		}}},
		"one id for one release": {late61, "that is live already", scene{platform: func(p platform.Platform) platform.Platform {
			return &renaming{Platform: p}
		}}},
		"the look before the release": {otherMachine, "was stale", scene{platform: func(p platform.Platform) platform.Platform {
			return &hasty{Platform: p}
		}}},
		"the look at the blob": {killedBefore, "not whole", scene{platform: func(p platform.Platform) platform.Platform {
			return &trusting{Platform: p}
		}}},
		"the journal":                {killedLate20, "that is live already", scene{journal: func(journal.File) journal.File { return &journal.Memory{} }}},
		"the intent before the call": {killedLate20, "the platform acted within", scene{journal: func(f journal.File) journal.File { return &late{File: f} }}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, _, wrong := c.scene.all(t, levels{{c.fault}})
			if wrong == nil || !strings.Contains(wrong.Error(), c.wrong) {
				t.Errorf("%d schedules found %v, want %q", n, wrong, c.wrong)
			}
			c.scene.settle, c.scene.platform, c.scene.journal = 0, nil, nil
			if n, _, wrong = c.scene.all(t, levels{{c.fault}}); wrong != nil || n < 2 {
				t.Errorf("with it, %d schedules found %v", n, wrong)
			}
		})
	}
}

// blind does not see by which apply a release was made.
type blind struct{ platform.Platform }

func (p *blind) Releases(ctx context.Context, app string, limit int) ([]platform.Release, error) {
	list, err := p.Platform.Releases(ctx, app, limit)
	for i := range list {
		list[i].Description = ""
	}
	return list, err
}

// renaming gives each request for a release an id of its own.
type renaming struct {
	platform.Platform
	posts int
}

func (p *renaming) CreateRelease(ctx context.Context, app string, in platform.ReleaseCreate) (platform.Release, error) {
	text, id, _ := plan.ParseMark(in.Description)
	p.posts++
	in.Description = plan.Mark(text, fmt.Sprintf("%s-%d", id, p.posts))
	return p.Platform.CreateRelease(ctx, app, in)
}

// hasty takes the first answer for the state of the app until it has released.
type hasty struct {
	platform.Platform
	first []platform.Release
}

func (p *hasty) CreateSlug(ctx context.Context, app string, in platform.SlugCreate) (_ platform.Slug, err error) {
	if p.first, err = p.Platform.Releases(ctx, app, 0); err != nil {
		return platform.Slug{}, err
	}
	return p.Platform.CreateSlug(ctx, app, in)
}

func (p *hasty) Releases(ctx context.Context, app string, limit int) ([]platform.Release, error) {
	if p.first != nil {
		return p.first, nil
	}
	return p.Platform.Releases(ctx, app, limit)
}

func (p *hasty) CreateRelease(ctx context.Context, app string, in platform.ReleaseCreate) (platform.Release, error) {
	p.first = nil
	return p.Platform.CreateRelease(ctx, app, in)
}

// trusting takes every blob for whole.
type trusting struct{ platform.Platform }

func (p *trusting) StatBlob(ctx context.Context, from platform.Blob) (platform.BlobInfo, error) {
	_, err := p.Platform.StatBlob(ctx, from)
	_ = err // that there is none is what it does not see
	return platform.BlobInfo{Size: int64(len("first"))}, nil
}

// late writes that a release is asked for only with the next line, that is after the call.
type late struct {
	journal.File
	size int64
	held []byte
}

func (f *late) Append(size int64, line []byte) error {
	if held := f.held; held != nil {
		f.held = nil
		if err := f.File.Append(f.size, held); err != nil {
			return err
		}
	}
	if bytes.Contains(line, []byte(journal.ReleaseIntent)) {
		f.size, f.held = size, line
		return nil
	}
	return f.File.Append(size, line)
}

func (f *late) Replace(text []byte) error {
	f.held = nil
	return f.File.Replace(text)
}
