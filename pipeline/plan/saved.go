package plan

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/slugfile/slugfile/pipeline/tree"
)

// SavedType is the type of a saved plan's document, and SavedVersion the version of its form.
const (
	SavedType    = "saved_plan"
	SavedVersion = 1
)

// maxSaved is the longest document of a saved plan, in bytes: that of some 150,000 files.
const maxSaved = 64 << 20

// Saved is a plan in a file, with all that is needed to tell later whether it still holds and,
// when it does not, what moved. It holds no credential and no config var.
type Saved struct {
	V    int    `json:"v"`
	Type string `json:"type"`
	// Made is when the plan was made, in seconds since 1970.
	Made int64 `json:"made"`
	// Options are the flags that the plan was made with; apply takes them from here.
	Options SavedOptions `json:"options"`
	Plan    Plan         `json:"plan"`
	// Next is the slug that the plan leads to, as far as it was known.
	Next Record `json:"next"`
}

// SavedOptions are the flags that a plan depends on.
type SavedOptions struct {
	App   string            `json:"app,omitempty"`
	Stack string            `json:"stack,omitempty"`
	Vars  map[string]string `json:"vars,omitempty"`
	// API is the base address of the platform; Local is set for the embedded one, whose
	// address is not kept.
	API   string `json:"api,omitempty"`
	Local bool   `json:"local,omitempty"`
}

// Save is a plan as it is written to a file; made is the time, in seconds since 1970.
func Save(p Plan, in Inputs, seen Observed, o SavedOptions, made int64) Saved {
	p.Work = Work{}
	o.API = withoutSecrets(o.API)
	return Saved{V: SavedVersion, Type: SavedType, Made: made, Options: o, Plan: p, Next: NextRecord(in, seen)}
}

// SavedError says why bytes are no saved plan that can be used.
type SavedError struct {
	// Reason is what is wrong with them.
	Reason string
	hint   string
}

func (e *SavedError) Error() string { return e.Reason }

// Hint says what to do next.
func (e *SavedError) Hint() string { return e.hint }

const makeSaved = `make one with "slugfile plan --out FILE"`

// ReadSaved reads what the JSON form of a Saved is. It takes no other form, of another version
// either: a plan that is half understood must not be carried out. Every error is a *SavedError.
func ReadSaved(b []byte) (Saved, error) {
	fail := func(hint, format string, args ...any) (Saved, error) {
		return Saved{}, &SavedError{fmt.Sprintf(format, args...), hint}
	}
	if len(b) > maxSaved {
		return fail(makeSaved, "it has %d bytes, and no saved plan has more than %d", len(b), maxSaved)
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return fail(makeSaved, "it is empty")
	}
	s, err := decodeSaved(b)
	if s.Type != SavedType || s.V != SavedVersion {
		// It is of another form, whose first fields tell more than the first fault.
		var head struct {
			V    int    `json:"v"`
			Type string `json:"type"`
		}
		headErr := json.Unmarshal(b, &head)
		switch {
		case headErr != nil:
			return fail(makeSaved, "%s", whyNotJSON(headErr))
		case head.Type == "plan":
			return fail(makeSaved, "it is what plan --json prints, which is for other programs to read")
		case head.Type != SavedType:
			return fail(makeSaved, "its type is %q, not %q", head.Type, SavedType)
		case head.V != SavedVersion:
			return fail("make it again with this version, or apply it with that one", "it has the form %d of another version of slugfile; this one knows %d", head.V, SavedVersion)
		}
	}
	if err != nil {
		return fail(makeSaved, "%s", whyNotJSON(err))
	}
	if s.Plan.V != Version || s.Plan.Type != "plan" {
		return fail("make it again with this version", "the plan in it has the form %d; this version knows %d", s.Plan.V, Version)
	}
	for name, m := range map[string]tree.Manifest{"files of the slug": s.Next.Tree, "source tree": s.Next.Source} {
		for i := 1; i < len(m); i++ {
			if tree.Compare(m[i-1].Path, m[i].Path) >= 0 {
				return fail(makeSaved, "the list of the %s is not in order", name)
			}
		}
	}
	if !s.Next.tells() {
		return fail(makeSaved, "it names %d files of the slug, and where %d of them come from", len(s.Next.Tree), len(s.Next.Parts))
	}
	return s, nil
}

// decodeSaved takes one document without a field that it does not know. On an error, what came
// before it may be filled in.
func decodeSaved(b []byte) (s Saved, err error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return s, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return s, fmt.Errorf("something stands behind its end, at byte %d", d.InputOffset())
	}
	return s, nil
}

// whyNotJSON puts an error of encoding/json in words of the document.
func whyNotJSON(err error) string {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "it ends too early"
	case errors.As(err, &syntax) && syntax.Error() == "unexpected end of JSON input":
		return "it ends too early"
	case errors.As(err, &syntax):
		return fmt.Sprintf("it is no JSON: at byte %d: %v", syntax.Offset, err)
	case errors.As(err, &kind):
		return fmt.Sprintf("%s is a %s and should not be", kind.Field, kind.Value)
	}
	return err.Error()
}
