package view

import (
	"fmt"
	"io"
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
