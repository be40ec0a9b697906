package view

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/platform"
)

// RollbackPlan is what a rollback is about to do.
type RollbackPlan struct {
	App      string
	From, To platform.Release
	// Checksum and Size are of the slug that comes back, zero when they are not known.
	Checksum digest.Digest
	Size     int64
	// SameSlug says that the slug runs already, and Again that it has to be uploaded again.
	SameSlug, Again bool
	// Added and Removed are the names of config vars that come back and that go.
	Added, Removed []string
}

// Rollback tells what a rollback would do, with ages as seen at now.
func Rollback(w io.Writer, p RollbackPlan, now time.Time, s Style) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  now v%d, released %s\n\n", s.bold(Clean(p.App)), p.From.Version, Age(now.Sub(p.From.CreatedAt)))
	row := func(symbol, kind, text string) {
		for i, l := range wrapped(text, columns-rowStart-2, 4) {
			if i > 0 {
				symbol, kind = " ", ""
			} else {
				symbol = s.symbol(symbol)
			}
			fmt.Fprintf(&b, "  %s %s  %s\n", symbol, pad(kind, kindWidth), l)
		}
	}
	row("~", "release", fmt.Sprintf("v%d → v%d  %s", p.From.Version, p.To.Version, releaseText(p.To, now)))
	var slug []string
	if !p.Checksum.IsZero() {
		slug = append(slug, "sha256 "+p.Checksum.Short())
	}
	if p.Size > 0 {
		slug = append(slug, Size(p.Size))
	}
	switch {
	case p.SameSlug:
		row("=", "slug", strings.Join(append(slug, "runs already"), "  "))
	case p.Again:
		row("~", "slug", strings.Join(append(slug, "uploaded again from here"), "  "))
	default:
		row("~", "slug", strings.Join(slug, "  "))
	}
	if p.Again {
		row("=", "config", "stays as it is now: it goes with the release that expired")
	} else {
		text := fmt.Sprintf("as it was in v%d", p.To.Version)
		for _, c := range []struct {
			symbol string
			names  []string
		}{{"+", p.Added}, {"-", p.Removed}} {
			for _, n := range c.names {
				text += "  " + c.symbol + " " + Clean(n)
			}
		}
		row("~", "config", text)
	}
	b.WriteString("\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// releaseText is how a release describes itself.
func releaseText(r platform.Release, now time.Time) string {
	text, _, _ := plan.ParseMark(r.Description)
	parts := []string{Age(now.Sub(r.CreatedAt))}
	if r.User.Email != "" {
		parts = append(parts, "by "+Clean(r.User.Email))
	}
	if text != "" {
		parts = append([]string{Clean(text)}, parts...)
	}
	return strings.Join(parts, ", ")
}

// WriteRolledBack tells the end of rollback for people.
func WriteRolledBack(w io.Writer, r RolledBack, s Style) error {
	app := s.bold(Clean(r.App))
	var text string
	switch {
	case r.Changed:
		text = fmt.Sprintf("Rolling back %s... %s, v%d\n", app, s.green("done"), r.Release.Version)
	case r.From == r.To:
		text = fmt.Sprintf("No changes. %s runs v%d.\n", app, r.From)
	default:
		text = fmt.Sprintf("No changes. %s runs v%d, a rollback to v%d.\n", app, r.From, r.To)
	}
	if r.WebURL != "" {
		text += Clean(r.WebURL) + "\n"
	}
	_, err := io.WriteString(w, text)
	return err
}

// WriteOpened tells the address of an app.
func WriteOpened(w io.Writer, o Opened) error {
	_, err := io.WriteString(w, Clean(o.WebURL)+"\n")
	return err
}

// NotOpened says why no browser shows it.
func NotOpened(w io.Writer, why error, s Style) error {
	_, err := io.WriteString(w, s.dim("not opened: "+Clean(why.Error()))+"\n")
	return err
}
