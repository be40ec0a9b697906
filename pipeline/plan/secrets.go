package plan

import (
	"fmt"
	"strings"

	"github.com/slugfile/slugfile/pipeline/secret"
)

// shownSecrets is how many files with secrets one problem names.
const shownSecrets = 5

// secretsHint is what to do about them.
const secretsHint = `take it out of the file, or keep the file out with .slugignore; where it belongs into the slug, name the file in "include_secrets" of an entry of "files"`

// secrets stops an apply whose source tree holds credentials: they would be in the slug, which
// others can download, for as long as a release has it.
func (b *builder) secrets() {
	if hits := b.in.Secrets; len(hits) > 0 {
		b.problem(partSource, TellSecrets(hits), secretsHint)
	}
}

// TellSecrets names the files with hits in one sentence; there must be some.
func TellSecrets(hits []secret.Hit) string {
	if len(hits) == 1 {
		h := hits[0]
		more := ""
		if h.More > 0 {
			more = fmt.Sprintf(", and %d more", h.More)
		}
		return fmt.Sprintf("%s, line %d, holds what looks like %s%s", h.Path, h.Line, h.Kind, more)
	}
	var list []string
	for _, h := range hits[:min(len(hits), shownSecrets)] {
		list = append(list, fmt.Sprintf("%s, line %d (%s)", h.Path, h.Line, h.Kind))
	}
	if more := len(hits) - len(list); more > 0 {
		list = append(list, fmt.Sprintf("and %d more", more))
	}
	return fmt.Sprintf("%d files hold what looks like credentials: %s", len(hits), strings.Join(list, "; "))
}
