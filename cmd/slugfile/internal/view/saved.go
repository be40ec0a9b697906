package view

import (
	"fmt"
	"io"
)

// Saved says where a plan was saved, and how it is carried out. stray is set when the file lies
// where other plans take it for a part of the app.
func Saved(w io.Writer, file string, stray bool, s Style) error {
	text := fmt.Sprintf("Saved in %s. To carry out exactly this: %s\n", s.bold(Clean(file)), s.bold("slugfile apply "+shellQuote(file)))
	if stray {
		text += s.cyan("hint:") + " other plans take it for a part of the app: add it to .gitignore or .slugignore\n"
	}
	_, err := io.WriteString(w, text)
	return err
}
