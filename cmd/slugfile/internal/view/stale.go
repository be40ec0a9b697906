package view

import (
	"fmt"
	"strings"
	"time"

	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/platform"
)

// StaleError is the refusal of a saved plan that no longer holds, with a line for each thing
// that has moved since.
type StaleError struct {
	Moves []plan.Move
	// Made is when the plan was made, and Now the time from which ages are told.
	Made, Now time.Time
}

const (
	// shownReleases is how many of the releases that were made meanwhile are told.
	shownReleases = 3
	// staleWidth is what Error leaves of a line.
	staleWidth = columns - len("    ")
	// widestAddress is the width of an address beyond which it is shortened.
	widestAddress = 32
)

func (e *StaleError) Error() string {
	var lines []string
	for _, m := range e.Moves {
		if len(m.Releases) == 0 {
			lines = append(lines, m.String())
			continue
		}
		for i, r := range m.Releases {
			if i == shownReleases {
				lines = append(lines, fmt.Sprintf("and %s before", count(len(m.Releases)-i, "release")))
				break
			}
			lines = append(lines, e.release(r))
		}
	}
	text := fmt.Sprintf("the plan is stale: %s moved since it was made %s:", count(len(e.Moves), "thing"), Age(e.Now.Sub(e.Made)))
	for _, l := range lines {
		text += "\n" + shorten(quoted(l), staleWidth)
	}
	return text
}

// release is "v13 was released by ops@example.com 5 min ago (Deploy 1a2b3c4)".
func (e *StaleError) release(r platform.Release) string {
	text := fmt.Sprintf("v%d was released", r.Version)
	if r.User.Email != "" {
		text += " by " + shorten(quoted(r.User.Email), widestAddress)
	}
	text += " " + Age(e.Now.Sub(r.CreatedAt))
	if description, _, _ := plan.ParseMark(r.Description); strings.TrimSpace(description) != "" {
		text += " (" + shorten(quoted(strings.TrimSpace(description)), staleWidth-width(text)-len(" ()")) + ")"
	}
	return text
}

// Hint implements Hinter.
func (*StaleError) Hint() string { return "run slugfile plan again and review it" }
