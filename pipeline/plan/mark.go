package plan

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/slugfile/slugfile/pipeline/digest"
)

// descriptionPrefix opens the commit_description of every slug made here. The number
// changes with the meaning of the plan key.
const descriptionPrefix = "slugfile/1 plan="

// maxDescription is the longest description of a release, in characters. Heroku tells no
// limit; longer ones have been cut.
const maxDescription = 200

// CommitDescription is the commit_description of a slug: it carries the plan key, so that
// any machine can say later that nothing has changed.
func CommitDescription(key digest.Digest) string { return descriptionPrefix + key.String() }

// ParseCommitDescription reads the plan key out of what CommitDescription wrote. It
// reports false for anything that another tool wrote.
func ParseCommitDescription(s string) (digest.Digest, bool) {
	rest, ok := strings.CutPrefix(s, descriptionPrefix)
	if !ok || len(rest) != 2*digest.Size {
		return digest.Digest{}, false
	}
	d, err := digest.Parse(rest)
	if err != nil || d.IsZero() || d.String() != rest {
		return digest.Digest{}, false
	}
	return d, true
}

const (
	markOpen  = "[slugfile "
	markClose = "]"
)

// Mark is the description of a release: the user's text on one line and, last, the mark of
// the apply that made it, by which that apply finds its release again. A long text is cut,
// the mark never.
func Mark(description, applyID string) string {
	mark := markOpen + applyID + markClose
	text := strings.Join(strings.FieldsFunc(description, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r)
	}), " ")
	if text == "" {
		return mark
	}
	room := maxDescription - utf8.RuneCountInString(mark) - 1
	if room < 1 {
		return mark
	}
	if utf8.RuneCountInString(text) > room {
		text = strings.TrimRight(string([]rune(text)[:room-1]), " ") + "…"
	}
	return text + " " + mark
}

// ParseMark takes the mark off a release's description. It reports false when another tool
// made the release.
func ParseMark(description string) (text, applyID string, ok bool) {
	body, ok := strings.CutSuffix(description, markClose)
	if !ok {
		return description, "", false
	}
	i := strings.LastIndex(body, markOpen)
	if i < 0 {
		return description, "", false
	}
	id := body[i+len(markOpen):]
	if id == "" || strings.ContainsAny(id, " []") {
		return description, "", false
	}
	return strings.TrimRight(body[:i], " "), id, true
}
