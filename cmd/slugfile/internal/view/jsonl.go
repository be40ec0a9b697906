package view

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/slugfile/slugfile/config/diag"
	"github.com/slugfile/slugfile/pipeline/bom"
	"github.com/slugfile/slugfile/pipeline/event"
	"github.com/slugfile/slugfile/pipeline/fetch"
	"github.com/slugfile/slugfile/pipeline/junk"
	"github.com/slugfile/slugfile/pipeline/lock"
	"github.com/slugfile/slugfile/pipeline/platform"
)

// Types lists every "type" of the JSON lines, as the package documentation does.
var Types = []string{
	"stage_started", "stage_finished", "stage_skipped", "stage_failed",
	"task_started", "progress", "task_finished", "task_failed",
	"output", "warning", "retry",
	"planned", "applied", "built", "locked", "released", "release", "rolled_back", "log", "opened", "diagnostic", "error",
}

// Line is what can stand on a line of its own: an event or one of the results below.
type Line interface{ Type() string }

// Planned carries the plan, in the form of plan --json.
type Planned struct {
	Plan any `json:"plan"`
}

// Applied is the last line of apply.
type Applied struct {
	App     string         `json:"app"`
	Release AppliedRelease `json:"release"`
	Slug    AppliedSlug    `json:"slug"`
	WebURL  string         `json:"web_url"`
	Changed bool           `json:"changed"`
}

// AppliedRelease names a release.
type AppliedRelease struct {
	ID      string `json:"id"`
	Version int    `json:"version"`
}

// AppliedSlug names a slug on the platform. Checksum is "SHA256:" and 64 hex digits, Size is in
// bytes, compressed; they are empty and 0 when the platform does not know them.
type AppliedSlug struct {
	ID       string `json:"id"`
	Checksum string `json:"checksum"`
	Size     int64  `json:"size"`
}

// RolledBack is the last line of rollback. From and To are versions, Release is the one that runs
// now, and Uploaded says that the slug had to be uploaded again.
type RolledBack struct {
	App      string         `json:"app"`
	From     int            `json:"from"`
	To       int            `json:"to"`
	Release  AppliedRelease `json:"release"`
	Slug     AppliedSlug    `json:"slug"`
	WebURL   string         `json:"web_url"`
	Changed  bool           `json:"changed"`
	Uploaded bool           `json:"uploaded"`
}

// Opened is the line of open.
type Opened struct {
	App    string `json:"app"`
	WebURL string `json:"web_url"`
	// Browser says that one was started.
	Browser bool `json:"browser"`
}

// ReleaseDetail is one release in full. What the platform has removed, or may not be read, is null.
type ReleaseDetail struct {
	Released
	Stack        string            `json:"stack,omitempty"`
	Checksum     *string           `json:"checksum"`
	Size         *int64            `json:"size"`
	Commit       *string           `json:"commit"`
	ProcessTypes map[string]string `json:"process_types"`
	ConfigNames  []string          `json:"config_names"`
}

// NewReleaseDetail draws the line of one release.
func NewReleaseDetail(d ReleaseDetails) ReleaseDetail {
	out := ReleaseDetail{Released: NewReleased(d.Release)}
	if s := d.Slug; s != nil {
		out.Stack, out.Checksum, out.Size, out.Commit, out.ProcessTypes = s.Stack.Name, s.Checksum, s.Size, s.Commit, s.ProcessTypes
	}
	if d.ConfigKnown {
		out.ConfigNames = append([]string{}, d.Config...)
	}
	return out
}

// Built is the last line of build.
type Built struct {
	Slug BuiltSlug `json:"slug"`
	// SBOM and Provenance are nil when they were not asked for.
	SBOM       *BuiltSBOM       `json:"sbom,omitempty"`
	Provenance *BuiltProvenance `json:"provenance,omitempty"`
	// Advice is what the slug could do without. It is empty when what is in it is not known.
	Advice []junk.Advice `json:"advice,omitempty"`
}

// BuiltSBOM is a bill of materials that was written, or checked, and what it tells.
type BuiltSBOM struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
	bom.Summary
}

// BuiltProvenance is a statement that was written, or checked. KeyID is empty when it is not
// signed, Commit outside a git checkout.
type BuiltProvenance struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
	KeyID  string `json:"key_id,omitempty"`
	Commit string `json:"commit,omitempty"`
	Dirty  bool   `json:"dirty,omitempty"`
}

// Verified is the document of verify.
type Verified struct {
	V          int              `json:"v"`
	Verified   bool             `json:"verified"`
	Slug       BuiltSlug        `json:"slug"`
	Provenance *BuiltProvenance `json:"provenance,omitempty"`
	SBOM       *BuiltSBOM       `json:"sbom,omitempty"`
}

// BuiltSlug is a slug on this machine. Size is in bytes, compressed.
type BuiltSlug struct {
	Checksum string `json:"checksum"`
	Size     int64  `json:"size"`
	Path     string `json:"path"`
}

// Locked is the last line of lock.
type Locked struct {
	// File is slug.lock as messages call it; Changed says that it was written anew.
	File    string `json:"file"`
	Changed bool   `json:"changed"`
	Pins    []Pin  `json:"pins"`
}

// Pin is what became of one runtime's pin: "+" new, "~" other bytes, "=" as it was, "-" gone.
// SHA256 is 64 hex digits, and Size in bytes; of a pin that is gone both are what they were.
type Pin struct {
	Action string `json:"action"`
	Name   string `json:"name"`
	URL    string `json:"url"`
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

// NewLocked draws the last line of lock.
func NewLocked(file string, changes []fetch.Change) Locked {
	l := Locked{File: file, Pins: []Pin{}}
	for _, c := range changes {
		action, pin := pinAction(c)
		if pin == nil {
			continue
		}
		l.Changed = l.Changed || action != "="
		l.Pins = append(l.Pins, Pin{Action: action, Name: c.Name, URL: c.URL, SHA256: pin.SHA256.String(), Size: pin.Size})
	}
	return l
}

// pinAction says what a change does, and gives the pin that it is about; nil when there is none.
func pinAction(c fetch.Change) (action string, pin *lock.Pin) {
	switch {
	case c.New == nil:
		return "-", c.Old
	case c.Old == nil:
		return "+", c.New
	case *c.Old != *c.New:
		return "~", c.New
	}
	return "=", c.New
}

// Released is one release of an app's history.
type Released struct {
	ID          string    `json:"id"`
	Version     int       `json:"version"`
	Status      string    `json:"status"`
	Current     bool      `json:"current"`
	Description string    `json:"description"`
	User        string    `json:"user"`
	CreatedAt   time.Time `json:"created_at"`
	// SlugID is empty when the release has no slug.
	SlugID string `json:"slug_id,omitempty"`
}

// NewReleased draws the line of a release.
func NewReleased(r platform.Release) Released {
	out := Released{
		ID: r.ID, Version: r.Version, Status: r.Status, Current: r.Current,
		Description: r.Description, User: r.User.Email, CreatedAt: r.CreatedAt,
	}
	if r.Slug != nil {
		out.SlugID = r.Slug.ID
	}
	return out
}

// Diagnostic is one fault of slug.yaml.
type Diagnostic struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Path    string `json:"path,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	Snippet string `json:"snippet,omitempty"`
}

// NewDiagnostic draws the line of a fault.
func NewDiagnostic(d diag.Diagnostic) Diagnostic {
	return Diagnostic{d.Pos.File, d.Pos.Line, d.Pos.Column, d.Path, d.Message, d.Hint, d.Snippet}
}

// Failure is why a command failed. It is the last line then.
type Failure struct {
	Message string `json:"message"`
	// Output is the last lines of the release phase or the dyno that failed.
	Output   []string `json:"output,omitempty"`
	Hint     string   `json:"hint,omitempty"`
	ExitCode int      `json:"exit_code"`
}

// The names of the results in JSON lines.
func (Planned) Type() string       { return "planned" }
func (Applied) Type() string       { return "applied" }
func (Built) Type() string         { return "built" }
func (Locked) Type() string        { return "locked" }
func (Released) Type() string      { return "released" }
func (ReleaseDetail) Type() string { return "release" }
func (RolledBack) Type() string    { return "rolled_back" }
func (LogLine) Type() string       { return "log" }
func (Opened) Type() string        { return "opened" }
func (Diagnostic) Type() string    { return "diagnostic" }
func (Failure) Type() string       { return "error" }

// JSON writes every event as one line of JSON.
type JSON struct {
	mu  sync.Mutex
	w   io.Writer
	err error
}

// NewJSON returns a JSON that writes to w.
func NewJSON(w io.Writer) *JSON { return &JSON{w: w} }

// Emit implements event.Sink.
func (v *JSON) Emit(e event.Event) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.err == nil {
		v.err = WriteLine(v.w, e)
	}
}

// Close implements View.
func (v *JSON) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.err
}

func (*JSON) view() {}

// WriteLine writes one event or result as a line of JSON, in one write.
func WriteLine(w io.Writer, l Line) error {
	if !slices.Contains(Types, l.Type()) {
		return fmt.Errorf("write JSON line: %q is no type of a line", l.Type())
	}
	body, err := encode(l)
	if err != nil {
		return fmt.Errorf("write JSON line %s: %w", l.Type(), err)
	}
	out := []byte(`{"v":1,"type":"` + l.Type() + `"`)
	if len(body) > len("{}") {
		out = append(out, ',')
	}
	out = append(out, body[1:]...)
	_, err = w.Write(append(out, '\n'))
	return err
}

// WriteDocument writes one JSON document, for commands whose result is one: indented, with
// a final line end.
func WriteDocument(w io.Writer, v any) error {
	body, err := encode(v)
	if err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, body, "", "  "); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	b.WriteByte('\n')
	_, err = w.Write(b.Bytes())
	return err
}

// encode writes JSON that a terminal may show: encoding/json leaves DEL, the 8-bit
// controls and the characters that turn the direction of writing as they are, so these are
// escaped too. "&", "<" and ">" stay readable.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	in := bytes.TrimRight(b.Bytes(), "\n")
	out := make([]byte, 0, len(in))
	for len(in) > 0 {
		r, n := utf8.DecodeRune(in)
		if hostile(r) {
			if r >= 0x10000 {
				out = append(out, escapePair(r)...)
			} else {
				out = append(out, fmt.Sprintf(`\u%04x`, r)...)
			}
		} else {
			out = append(out, in[:n]...)
		}
		in = in[n:]
	}
	return out, nil
}

// escapePair writes a character outside the basic plane as two JSON escapes.
func escapePair(r rune) string {
	r -= 0x10000
	return `\u` + strconv.FormatInt(int64(0xd800+r>>10), 16) + `\u` + strconv.FormatInt(int64(0xdc00+r&0x3ff), 16)
}
