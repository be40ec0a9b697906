package view

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/platform"
)

// Releases writes an app's history as a table, newest first as given, with ages as seen at
// now: version, age, status, description without the mark of an apply, user. The live
// release is marked with "*".
func Releases(w io.Writer, app string, list []platform.Release, now time.Time, s Style) error {
	if len(list) == 0 {
		_, err := fmt.Fprintf(w, "%s has no releases.\n", Clean(app))
		return err
	}
	type row struct{ mark, version, age, status, description, user string }
	rows := make([]row, len(list))
	var wVersion, wAge, wStatus, wUser int
	for i, r := range list {
		text, _, _ := plan.ParseMark(r.Description)
		rows[i] = row{
			mark:        " ",
			version:     fmt.Sprintf("v%d", r.Version),
			age:         Age(now.Sub(r.CreatedAt)),
			status:      Clean(r.Status),
			description: Clean(text),
			user:        Clean(r.User.Email),
		}
		if r.Current {
			rows[i].mark = "*"
		}
		wVersion = max(wVersion, width(rows[i].version))
		wAge = max(wAge, width(rows[i].age))
		wStatus = max(wStatus, width(rows[i].status))
		wUser = max(wUser, width(rows[i].user))
	}
	wUser = min(wUser, 24)
	room := max(columns-2-wVersion-wAge-wStatus-wUser-4*2, 16)
	wDescription := 0
	for _, r := range rows {
		wDescription = max(wDescription, min(width(r.description), room))
	}
	var b strings.Builder
	for _, r := range rows {
		text := fmt.Sprintf("%s %s  %s  ", r.mark, pad(r.version, wVersion), pad(r.age, wAge))
		status := pad(r.status, wStatus)
		switch r.status {
		case platform.Failed:
			status = s.red(status)
		case platform.Pending:
			status = s.yellow(status)
		case platform.Expired:
			status = s.dim(status)
		}
		if r.mark == "*" {
			text = s.bold(text)
		}
		text += status + "  " + pad(shorten(r.description, room), wDescription) + "  " + shorten(r.user, wUser)
		b.WriteString(strings.TrimRight(text, " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// ReleaseDetails is one release with its slug.
type ReleaseDetails struct {
	Release platform.Release
	// Slug is nil when the release has none, or the platform has removed it.
	Slug *platform.Slug
	// Config are the names of its config vars, when they are known.
	Config      []string
	ConfigKnown bool
}

// Release writes one release in full. The values of config vars are never shown.
func Release(w io.Writer, d ReleaseDetails, now time.Time, s Style) error {
	r := d.Release
	var b strings.Builder
	row := func(kind, text string) {
		for i, l := range wrapped(Clean(text), columns-17, 8) {
			if i > 0 {
				kind = ""
			}
			b.WriteString(strings.TrimRight("  "+s.dim(pad(kind, 13))+"  "+l, " ") + "\n")
		}
	}
	fmt.Fprintf(&b, "%s  %s\n", s.bold(fmt.Sprintf("%s v%d", Clean(r.App.Name), r.Version)), releaseState(r, s))
	text, mark, marked := plan.ParseMark(r.Description)
	row("description", text)
	row("by", r.User.Email)
	row("when", r.CreatedAt.UTC().Format(time.RFC3339)+", "+Age(now.Sub(r.CreatedAt)))
	if marked {
		row("apply", mark)
	}
	switch {
	case d.Slug != nil:
		row("slug", d.Slug.ID)
		row("stack", d.Slug.Stack.Name)
		if d.Slug.Checksum != nil {
			row("checksum", strings.Replace(*d.Slug.Checksum, ":", " ", 1))
		}
		if d.Slug.Size != nil {
			row("size", Size(*d.Slug.Size))
		}
		if d.Slug.Commit != nil {
			row("commit", *d.Slug.Commit)
		}
		for _, t := range slices.Sorted(maps.Keys(d.Slug.ProcessTypes)) {
			row("process", t+": "+d.Slug.ProcessTypes[t])
		}
	case r.Slug != nil:
		row("slug", r.Slug.ID+" (the platform removed it)")
	default:
		row("slug", "none")
	}
	if d.ConfigKnown {
		names := "none"
		if len(d.Config) > 0 {
			names = strings.Join(d.Config, " ")
		}
		row("config vars", names)
	}
	if r.OutputStreamURL != nil {
		row("output", fmt.Sprintf("slugfile releases v%d --output", r.Version))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func releaseState(r platform.Release, s Style) string {
	state := Clean(r.Status)
	switch r.Status {
	case platform.Failed:
		state = s.red(state)
	case platform.Pending:
		state = s.yellow(state)
	case platform.Expired:
		state = s.dim(state)
	}
	if r.Current {
		state += ", " + s.green("current")
	}
	return state
}
