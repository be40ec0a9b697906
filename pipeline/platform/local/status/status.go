// Package status draws the embedded platform for people: as a page for a browser and as plain
// text for a terminal, both from one value. It knows no platform and no HTTP: its caller
// gathers what there is and decides who may see it.
package status

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed" // the page, its style and its script
	"encoding/base64"
	"fmt"
	"hash/fnv"
	"html/template"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// View is what is to be seen: of all apps, or of one when Detail is set. Its strings may be
// foreign text of any kind.
type View struct {
	// Base is the address of the API, without a final slash.
	Base string
	Now  time.Time
	// Apps are all apps; empty in a view of one.
	Apps   []App
	Detail *Detail
	// Visits are the last requests through the router, Calls those of the API, newest first.
	Visits, Calls []Request
}

// App is one line of the list of apps.
type App struct {
	Name  string
	URL   string
	Stack string
	// Release is the live one, such as v12. Next is a newer one that is not live: "v13 failed".
	Release, Next string
	Released      time.Time
	Created       time.Time
	// State is one word for the whole app: up, starting, crashed, idle or maintenance.
	State string
	// Dynos counts them: "2 up, 1 crashed".
	Dynos       string
	Maintenance bool
}

// ShortURL is the address without what all of them have.
func (a App) ShortURL() string {
	return strings.TrimSuffix(strings.TrimPrefix(a.URL, "http://"), "/")
}

// Detail is all that is shown of one app.
type Detail struct {
	App
	// Config are the names of the config vars. The values are not shown.
	Config   []string
	Types    []Type
	Running  []Dyno
	Releases []Release
	// Older is the number of releases that are left out.
	Older int
	// Lines are the end of the log, oldest first, After the mark from which it goes on.
	Lines []Line
	After string
}

// Type is a process type of the slug that runs.
type Type struct {
	Name, Size, Command string
	Quantity            int
}

// Dyno is one dyno. Command is set when it is not that of a process type.
type Dyno struct {
	Name, State, Release, Command string
	Since                         time.Time
}

// Release is one release.
type Release struct {
	Version, Status, Description string
	Created                      time.Time
	Current                      bool
}

// Request is one that was answered; Status is 0 when the connection was cut before.
type Request struct {
	At                      time.Time
	App, Method, Path, Dyno string
	ID                      string
	Status                  int
	Duration                time.Duration
}

// Clock is the time of the day.
func (r Request) Clock() string { return clock(r.At) }

// ShortID is enough of the id to find it again.
func (r Request) ShortID() string { return r.ID[:min(8, len(r.ID))] }

// Code is the status, or a word where there was none.
func (r Request) Code() string {
	if r.Status == 0 {
		return "cut"
	}
	return strconv.Itoa(r.Status)
}

// Class names the colour of the status.
func (r Request) Class() string {
	switch {
	case r.Status == 0 || r.Status >= 500:
		return "broken"
	case r.Status >= 400:
		return "refused"
	case r.Status >= 300:
		return "redirect"
	}
	return "fine"
}

// Took is the duration in a form whose digits align.
func (r Request) Took() string {
	if r.Duration < 10*time.Second {
		return strconv.FormatInt(r.Duration.Milliseconds(), 10) + " ms"
	}
	return strconv.FormatInt(int64(r.Duration.Round(time.Second)/time.Second), 10) + " s"
}

// Line is a line of the log.
type Line struct {
	Time                  time.Time
	Source, Process, Text string
}

// At is the time for programs.
func (l Line) At() string { return l.Time.UTC().Format("2006-01-02T15:04:05.000Z") }

// Clock is the time of the day.
func (l Line) Clock() string { return clock(l.Time) }

func clock(t time.Time) string { return t.UTC().Format("15:04:05") }

//go:embed page.html
var pageText string

//go:embed style.css
var styleText string

//go:embed script.js
var scriptText string

var templates = template.Must(template.New("").Parse(pageText))

// Policy is the Content-Security-Policy of the page: it may use its own style and script, named
// by their digests, and hear from its own server. Nothing else is loaded, sent or framed.
var Policy = strings.Join([]string{
	"default-src 'none'", "style-src " + digest(styleText), "script-src " + digest(scriptText), "img-src data:",
	"connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
}, "; ")

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// Part is a piece of the page that is drawn anew when it changes. The tag tells two forms of it
// apart.
type Part struct {
	ID   string        `json:"id"`
	Tag  string        `json:"tag"`
	HTML template.HTML `json:"html"`
}

// drawn is a view as the templates see it.
type drawn struct {
	*View
	parts map[string]Part
	// App is the name of the app in a view of one.
	App    string
	Events string
	Lines  template.HTML
}

// The parts of the two kinds of page.
var (
	partsOfAll = []string{"apps", "visits", "calls"}
	partsOfApp = []string{"facts", "dynos", "types", "releases", "visits", "calls"}
)

// Parts draws the pieces of the page that change.
func (v *View) Parts() ([]Part, error) {
	scrub(reflect.ValueOf(v))
	names := partsOfAll
	if v.Detail != nil {
		names = partsOfApp
	}
	list := make([]Part, len(names))
	for i, name := range names {
		html, err := draw("part-"+name, drawn{View: v})
		if err != nil {
			return nil, err
		}
		h := fnv.New64a()
		_, _ = h.Write([]byte(html)) // a hash takes everything
		list[i] = Part{ID: name, Tag: strconv.FormatUint(h.Sum64(), 36), HTML: html}
	}
	return list, nil
}

// HTML is the whole page. Events is where its script hears of changes.
func (v *View) HTML(events string) ([]byte, error) {
	parts, err := v.Parts()
	if err != nil {
		return nil, err
	}
	d := drawn{View: v, Events: events, parts: map[string]Part{}}
	for _, p := range parts {
		d.parts[p.ID] = p
	}
	if v.Detail != nil {
		d.App = v.Detail.Name
		if d.Lines, err = Lines(v.Detail.Lines); err != nil {
			return nil, err
		}
	}
	html, err := draw("page", d)
	return []byte(html), err
}

// Lines draws lines of a log.
func Lines(lines []Line) (template.HTML, error) {
	lines = slices.Clone(lines)
	scrub(reflect.ValueOf(lines))
	return draw("lines", lines)
}

func draw(name string, data any) (template.HTML, error) {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, data); err != nil {
		return "", fmt.Errorf("draw %s of the status page: %w", name, err)
	}
	return template.HTML(b.String()), nil // the templates have escaped it
}

// Part is one that Parts has drawn.
func (d drawn) Part(id string) Part { return d.parts[id] }

// Title names the window.
func (d drawn) Title() string { return cmp.Or(d.App, "Apps") + " – slugfile platform" }

// Address is the API's without the scheme.
func (d drawn) Address() string { return strings.TrimPrefix(d.Base, "http://") }

// Clock is when the page was drawn.
func (d drawn) Clock() string { return clock(d.Now) }

// After is where the log goes on.
func (d drawn) After() string { return d.Detail.After }

// Style and Script are the constants that Policy names.
func (drawn) Style() template.CSS { return template.CSS(styleText) }

// Script is empty of values: it reads them from the page.
func (drawn) Script() template.JS { return template.JS(scriptText) }

// when is a time beside its age.
type when struct{ At, Full, Ago string }

// When tells the age of a time.
func (d drawn) When(t time.Time) when {
	t = t.UTC()
	return when{At: t.Format(time.RFC3339), Full: t.Format("2006-01-02 15:04:05 UTC"), Ago: ago(d.Now.Sub(t))}
}

// ago is rough on purpose: a page that shows seconds never rests.
func ago(d time.Duration) string {
	if age := age(d); age != "now" {
		return age + " ago"
	}
	return "just now"
}

// age is ago in few columns.
func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "now"
	case d < time.Hour:
		return strconv.Itoa(int(d/time.Minute)) + " min"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d/time.Hour)) + " h"
	}
	return strconv.Itoa(int(d/(24*time.Hour))) + " d"
}

// Query is the query of the address of an app's page.
func Query(app string) string { return "?app=" + url.QueryEscape(app) }
