package view

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sebdah/goldie/v2"

	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/platform"
)

func stale() *StaleError {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	release := func(version int, by, description string, ago time.Duration) platform.Release {
		return platform.Release{Version: version, User: platform.Owner{Email: by}, Description: description, CreatedAt: now.Add(-ago)}
	}
	return &StaleError{
		Made: now.Add(-2 * time.Hour), Now: now,
		Moves: []plan.Move{
			{What: "source tree", Files: []plan.FileChange{
				{Action: plan.Change, Path: "web.js", Before: file("web.js", 1), After: file("web.js", 2)},
				{Action: plan.Change, Path: "a.js", Before: file("a.js", 1), After: file("a.js", 2)},
			}},
			{What: "stack", Before: "heroku-22", After: "heroku-24"},
			{What: "slug.lock"},
			{What: "release", Releases: []platform.Release{
				release(17, "ops@example.com", "Deploy 1a2b3c4", 5*time.Minute),
				release(16, "ops@example.com", "Set \x1b[31mSECRET\x1b[0m\nconfig vars, in a description that is longer than what is left of a line of 80 columns", 20*time.Minute),
				release(15, "", "", time.Hour),
				release(14, "", "", time.Hour),
				release(13, "", "", time.Hour),
			}},
		},
	}
}

func TestStaleError_saysWhatMovedAndByWhomAndWhen(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := Error(&b, fmt.Errorf("apply plan.json: %w", stale()), ErrorOptions{Style: NewStyle(true), Width: 80}); err != nil {
		t.Fatal(err)
	}
	text := withoutColours(b.String())
	for _, l := range strings.Split(text, "\n") {
		if width(l) > 80 || strings.IndexFunc(l, hostile) >= 0 {
			t.Errorf("%d columns: %q", width(l), l)
		}
	}
	goldie.New(t).Assert(t, "stale", []byte(text))
}

func TestStaleError_isFoundByWhatItIs(t *testing.T) {
	t.Parallel()
	var e *StaleError
	if err := fmt.Errorf("apply: %w", stale()); !errors.As(err, &e) || Hint(err) != e.Hint() {
		t.Errorf("hint %q", Hint(err))
	}
}
