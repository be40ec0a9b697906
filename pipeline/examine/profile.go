package examine

import (
	"bytes"
	"io"
	"strings"
)

// maxProfile is how much of a profile is read, in bytes.
const maxProfile = 64 << 10

// Profile is what a file that a dyno sources says of the places where programs and libraries
// are looked for. It is read line by line: a profile is a shell program, and nobody runs it here.
type Profile struct {
	// Path and Libraries are the directories that it puts into PATH and LD_LIBRARY_PATH: absolute,
	// with /app for $HOME.
	Path      []string `json:"path,omitempty"`
	Libraries []string `json:"libraries,omitempty"`
	// Unclear says that it may set either in a way that cannot be told without running it.
	Unclear bool `json:"unclear,omitempty"`
	// CR says that lines end as on Windows: every value ends with a carriage return then.
	CR bool `json:"cr,omitempty"`
}

func readProfile(r io.Reader) *Profile {
	text, err := io.ReadAll(r)
	if err != nil || len(text) == 0 {
		return &Profile{}
	}
	p := &Profile{CR: bytes.Contains(text, []byte("\r\n"))}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") {
			continue
		}
		for word := range strings.FieldsFuncSeq(line, func(r rune) bool { return r == ' ' || r == '\t' || r == ';' || r == '&' }) {
			switch name, value, set := strings.Cut(word, "="); {
			case word == "." || word == "source" || word == "eval":
				p.Unclear = true
			case set && name == "PATH":
				p.Path = p.add(p.Path, value)
			case set && name == "LD_LIBRARY_PATH":
				p.Libraries = p.add(p.Libraries, value)
			case set && (name == "PATH+" || name == "LD_LIBRARY_PATH+" || name == "LD_PRELOAD"):
				p.Unclear = true
			}
		}
	}
	return p
}

// add appends the directories of a value such as "$HOME/lib:$LD_LIBRARY_PATH".
func (p *Profile) add(list []string, value string) []string {
	value = strings.Trim(value, `"'`)
	for _, old := range []string{"${PATH:+:$PATH}", "${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}", "${LD_LIBRARY_PATH:+:${LD_LIBRARY_PATH}}"} {
		value = strings.TrimSuffix(value, old)
	}
	for dir := range strings.SplitSeq(value, ":") {
		dir = strings.Trim(dir, `"'`)
		switch dir {
		case "$PATH", "${PATH}", "$LD_LIBRARY_PATH", "${LD_LIBRARY_PATH}", "${LD_LIBRARY_PATH-}", "":
			continue
		}
		for _, home := range []string{"$HOME", "${HOME}", "~", "$PWD", "${PWD}"} {
			if rest, ok := strings.CutPrefix(dir, home); ok && (rest == "" || rest[0] == '/') {
				dir = "/app" + rest
			}
		}
		if dir[0] != '/' || strings.ContainsAny(dir, "$`*?~") {
			p.Unclear = true
			continue
		}
		list = append(list, dir)
	}
	return list
}
