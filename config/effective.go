package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Effective is the file as YAML with every default and every variable written out. It
// is the same for equal files, and Load accepts it.
func (f *File) Effective() []byte {
	var p printer
	p.pair(0, "app", f.App)
	p.pair(0, "stack", f.Stack)
	p.texts(0, "vars", f.Vars, quote)
	if len(f.Runtimes) > 0 {
		p.line(0, "runtimes:")
	}
	for _, r := range f.Runtimes {
		p.runtime(r)
	}
	if len(f.Build) > 0 {
		p.line(0, "build:")
	}
	for _, s := range f.Build {
		p.step(s, f.Runtimes)
	}
	if f.Files != nil && len(f.Files) == 0 {
		p.line(0, "files: []")
	} else if len(f.Files) > 0 {
		p.line(0, "files:")
	}
	for _, e := range f.Files {
		p.entry(e)
	}
	p.texts(0, "process_types", f.ProcessTypes, literalText)
	p.pair(0, "compression", f.Compression)
	p.line(0, "limits:")
	p.line(2, "slug: "+f.Limits.Slug.String())
	if len(f.Checks.Allow) > 0 {
		p.line(0, "checks:")
		p.list(2, "allow", f.Checks.Allow)
	}
	if f.Release.Description != "" {
		p.line(0, "release:")
		p.pair(2, "description", f.Release.Description)
	}
	return []byte(p.b.String())
}

// printer writes the small part of YAML that Effective needs.
type printer struct{ b strings.Builder }

func (p *printer) line(indent int, s string) {
	p.b.WriteString(strings.Repeat(" ", indent) + s + "\n")
}

// pair writes a key and a text in which Load would replace ${}; nothing for no text.
func (p *printer) pair(indent int, key, value string) {
	if value != "" {
		p.line(indent, key+": "+quote(value))
	}
}

// texts writes a mapping, sorted by key.
func (p *printer) texts(indent int, key string, m map[string]string, write func(string) string) {
	if len(m) == 0 {
		return
	}
	p.line(indent, key+":")
	for _, k := range slices.Sorted(maps.Keys(m)) {
		p.line(indent+2, quote(k)+": "+write(m[k]))
	}
}

func (p *printer) list(indent int, key string, items []string) {
	quoted := make([]string, len(items))
	for i, s := range items {
		quoted[i] = quote(s)
	}
	p.line(indent, fmt.Sprintf("%s: [%s]", key, strings.Join(quoted, ", ")))
}

func (p *printer) runtime(r Runtime) {
	p.line(2, quote(r.Name)+":")
	p.pair(4, "url", r.URL)
	p.pair(4, "path", r.Path)
	p.pair(4, "host", r.Host)
	if r.Host != "" {
		return
	}
	p.pair(4, "sha256", r.SHA256)
	p.line(4, "strip: "+strconv.Itoa(r.Strip))
	p.pair(4, "into", r.Into)
	if len(r.Only) > 0 {
		p.list(4, "only", r.Only)
	}
	p.line(4, "build_only: "+strconv.FormatBool(r.BuildOnly))
}

func (p *printer) step(s Step, all Runtimes) {
	p.line(2, "- name: "+quote(s.Name))
	p.block(4, "run", s.Run)
	names := s.Runtimes
	if names == nil {
		for _, r := range all {
			names = append(names, r.Name)
		}
	}
	p.list(4, "runtimes", names)
	if len(s.Inputs) > 0 {
		p.list(4, "inputs", s.Inputs)
	}
	if len(s.Outputs) > 0 {
		p.list(4, "outputs", s.Outputs)
	}
	p.texts(4, "env", s.Env, quote)
	if len(s.PassEnv) > 0 {
		p.list(4, "pass_env", s.PassEnv)
	}
	p.line(4, "timeout: "+s.Timeout.String())
}

func (p *printer) entry(e FileEntry) {
	p.line(2, "- into: "+quote(e.Into))
	if e.From == "" {
		p.line(4, "mode: "+quote(e.Mode))
		p.block(4, "content", e.Content)
		return
	}
	p.pair(4, "from", e.From)
	if len(e.Exclude) > 0 {
		p.list(4, "exclude", e.Exclude)
	}
	if len(e.IncludeSecrets) > 0 {
		p.list(4, "include_secrets", e.IncludeSecrets)
	}
}

// block writes a text in which Load replaces nothing, over several lines where YAML's
// literal style gives it back unchanged.
func (p *printer) block(indent int, key, text string) {
	body, ended := strings.CutSuffix(text, "\n")
	if !strings.Contains(body, "\n") || !blockText.MatchString(body) || !utf8.ValidString(body) {
		p.line(indent, key+": "+literalText(text))
		return
	}
	mark := "|-"
	if ended {
		mark = "|"
	}
	p.line(indent, key+": "+mark)
	for line := range strings.SplitSeq(body, "\n") {
		if line == "" {
			p.b.WriteString("\n")
			continue
		}
		p.line(indent+2, line)
	}
}

// blockText begins and ends with a character that the literal style does not strip,
// and holds none that YAML reads as a line end.
var blockText = regexp.MustCompile(`^[!-~](?s:[\t\n -~¡-\x{2027}\x{2030}-\x{d7ff}]*[!-~])?$`)

// plain is a text that YAML reads as a text without quotes. It is narrower than YAML.
var plain = regexp.MustCompile(`^[A-Za-z/.][A-Za-z0-9/._-]*([ =]?[A-Za-z0-9/._=-]+)*$`)

// words are read as something else than a text by one version of YAML or another.
var words = regexp.MustCompile(`(?i)^(y|n|yes|no|on|off|true|false|null|\.inf|\.nan|[.0-9e_+-]+)$`)

// literalText is a YAML scalar with this text.
func literalText(s string) string {
	if plain.MatchString(s) && !words.MatchString(s) {
		return s
	}
	return strconv.Quote(s)
}

// quote is a YAML scalar that is this text after Load has replaced ${}.
func quote(s string) string { return literalText(strings.ReplaceAll(s, "${", "$${")) }
