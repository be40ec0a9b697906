package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/slugfile/slugfile/cmd/slugfile/internal/view"
	"github.com/slugfile/slugfile/pipeline/disk"
	"github.com/slugfile/slugfile/pipeline/plan"
)

// largestPlan is how much of a saved plan is read.
const largestPlan = 64 << 20

// readSaved reads a saved plan. shown is how the user named the file.
func (a *App) readSaved(shown string) (plan.Saved, error) {
	var s plan.Saved
	f, err := os.Open(a.abs(shown))
	if err != nil {
		return s, fmt.Errorf("read saved plan: %w", unwrapOpen(err))
	}
	defer func() { _ = f.Close() }() // it was only read
	text, err := io.ReadAll(io.LimitReader(f, largestPlan+1))
	if err != nil {
		return s, fmt.Errorf("read saved plan: %w", unwrapOpen(err))
	}
	if s, err = plan.ReadSaved(text); err != nil {
		return s, fmt.Errorf("read saved plan %s: %w", shown, err)
	}
	return s, nil
}

// writeSaved writes a saved plan, whole or not at all.
func (a *App) writeSaved(shown string, s plan.Saved) error {
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("save the plan: %w", err)
	}
	if err := disk.WriteFile(a.abs(shown), append(text, '\n'), 0o666); err != nil {
		return fmt.Errorf("save the plan in %s: %w", shown, unwrapOpen(err))
	}
	return nil
}

// adopt reads the saved plan, and takes the flags that it was made with. One that is given again
// must not differ.
func (c *applyCmd) adopt(app *App) (*plan.Saved, error) {
	saved, err := app.readSaved(c.Saved)
	if err != nil {
		return nil, err
	}
	o := saved.Options
	for _, f := range []struct{ flag, given, saved string }{
		{"--app", c.App, o.App}, {"--stack", c.Stack, o.Stack}, {"--api", c.API, o.API},
		{"--local", onOff(c.Local), onOff(o.Local)}, {"--var", varList(c.Var), varList(o.Vars)},
	} {
		if f.given != "" && f.given != f.saved {
			with := "without it"
			if f.saved != "" {
				with = "with " + f.saved
			}
			return nil, &usageError{msg: fmt.Sprintf("%s is %s, but %s was made %s", f.flag, f.given, c.Saved, with), command: "slugfile apply"}
		}
	}
	c.App, c.Stack, c.Var, c.API, c.Local = o.App, o.Stack, o.Vars, o.API, o.Local
	return &saved, nil
}

func onOff(on bool) string {
	if on {
		return "yes"
	}
	return ""
}

// varList is a mapping in one line.
func varList(vars map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(vars)) {
		out = append(out, k+"="+vars[k])
	}
	return strings.Join(out, " ")
}

// holds checks that a saved plan is still the plan, whose release is then described as it was
// reviewed. When what it leads to is live already, there is nothing to do: an apply of it was
// killed at its very end, or it is applied twice.
func (s *session) holds(saved *plan.Saved, now *plan.Plan) error {
	if !now.Changed && !now.Key.IsZero() && now.Key == saved.Plan.Key {
		return nil
	}
	if moves := saved.Moved(*now, s.inputs, s.seen); len(moves) > 0 {
		return &view.StaleError{Moves: moves, Made: time.Unix(saved.Made, 0), Now: s.app.Now()}
	}
	if saved.Plan.Release != nil && now.Release != nil {
		now.Release.Description = saved.Plan.Release.Description
		now.Work.Release.Description = saved.Plan.Release.Description
	}
	return nil
}

// isSaved says whether a file looks like a saved plan: a regular file that begins like JSON.
func (a *App) isSaved(shown string) (bool, error) {
	if info, err := os.Stat(a.abs(shown)); err != nil || !info.Mode().IsRegular() {
		return false, nil // whatever it is, no saved plan
	}
	f, err := os.Open(a.abs(shown))
	if err != nil {
		return false, fmt.Errorf("read saved plan: %w", unwrapOpen(err))
	}
	defer func() { _ = f.Close() }() // it was only read
	var first [1]byte
	_, err = io.ReadFull(f, first[:])
	return err == nil && first[0] == '{', nil
}
