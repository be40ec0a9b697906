// Package yamlnode turns the text of slug.yaml or slug.lock into nodes with positions.
//
// It is for the packages that read those two files, and the only importer of the YAML
// library. Parse refuses what would hurt or surprise: text that is too large, that
// explodes when its aliases are followed, that says one thing twice, or that uses parts
// of YAML which no reader of these files expects. It knows no key of either file, and
// it never writes YAML.
package yamlnode

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"github.com/slugfile/slugfile/config/diag"
)

// Node is one value of a document. Line and Column are those of its first character:
// they start at 1, and a column counts characters. Parse has put copies in the place
// of aliases, so that Kind is MappingNode, SequenceNode or ScalarNode.
type Node = yaml.Node

// The kinds of a Node that Parse returns.
const (
	MappingNode  = yaml.MappingNode
	SequenceNode = yaml.SequenceNode
	ScalarNode   = yaml.ScalarNode
)

// The styles of a scalar that tell how its source text must be read.
const (
	LiteralStyle      = yaml.LiteralStyle
	FoldedStyle       = yaml.FoldedStyle
	SingleQuotedStyle = yaml.SingleQuotedStyle
	DoubleQuotedStyle = yaml.DoubleQuotedStyle
	FlowStyle         = yaml.FlowStyle
)

// Limits of a file. They are far above what a person writes.
const (
	// MaxBytes is the size of a file.
	MaxBytes = 1 << 20
	// MaxValues is the number of keys, values and collections, aliases followed.
	MaxValues = 10_000
)

// Parse reads one YAML document and returns its top value. The root is nil when the
// text cannot be read at all; faults beside a root (a key that stands twice, a merge
// key, a tag) leave the rest of the tree usable, so that a caller can go on and report
// every fault of the file at once. file is only shown in positions.
//
// A place in the text is Line and Column of a node (see At); Find leads from a mapping
// to the nodes of a key and its value, Index from a document path to both.
func Parse(file string, text []byte) (*Node, diag.List) {
	p := parser{file: file, lines: Lines(text)}
	if len(text) > MaxBytes {
		p.fault(1, 1, "", fmt.Sprintf("the file is larger than 1 MiB (%d bytes)", len(text)), "")
		return nil, p.faults
	}
	if !p.readable(text) {
		return nil, p.faults
	}
	docs, err := decode(text)
	if err != nil {
		p.syntax(text, err)
		return nil, p.faults
	}
	if len(docs) == 0 || empty(docs[0]) && len(docs) == 1 {
		p.fault(1, 1, "", "the file is empty", "")
		return nil, p.faults
	}
	if len(docs) > 1 {
		line := p.separator(docs[1].Line)
		p.fault(line, 1, "", "a second document begins here: one document a file", `remove the line "---" and what follows it`)
	}
	if len(docs[0].Content) == 0 {
		p.fault(1, 1, "", "the first document is empty", "")
		return nil, p.faults
	}
	w := walk{parser: &p, open: map[*Node]bool{}}
	root := w.value(docs[0].Content[0], "", nil)
	p.faults.Sort()
	if w.stopped {
		return nil, p.faults
	}
	return root, p.faults
}

// empty tells a document without a value, such as a file of comments.
func empty(doc *Node) bool {
	if len(doc.Content) == 0 {
		return true
	}
	n := doc.Content[0]
	return n.Kind == yaml.ScalarNode && n.Tag == "!!null" && n.Value == ""
}

// At is the place of a node.
func At(file string, n *Node) diag.Pos {
	return diag.Pos{File: file, Line: n.Line, Column: n.Column}
}

// Find returns the nodes of a key of a mapping and of its value; nil when n is no
// mapping or has no such key. Of a key that stands twice, the first counts.
func Find(n *Node, key string) (k, v *Node) {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i], n.Content[i+1]
		}
	}
	return nil, nil
}

// Lines splits text where YAML does, so that Lines(text)[n.Line-1] is the line of n.
func Lines(text []byte) []string {
	s := string(bytes.TrimPrefix(text, []byte("\ufeff")))
	var lines []string
	for len(s) > 0 {
		i := strings.IndexAny(s, "\n\r\u0085\u2028\u2029")
		if i < 0 {
			break
		}
		lines = append(lines, s[:i])
		_, size := utf8.DecodeRuneInString(s[i:])
		if strings.HasPrefix(s[i:], "\r\n") {
			size = 2
		}
		s = s[i+size:]
	}
	return append(lines, s)
}

// parser collects the faults of one text.
type parser struct {
	file   string
	lines  []string
	faults diag.List
}

func (p *parser) fault(line, column int, path, message, hint string) {
	d := diag.Diagnostic{
		Pos:     diag.Pos{File: p.file, Line: line, Column: column},
		Path:    path,
		Message: message,
		Hint:    hint,
	}
	if line >= 1 && line <= len(p.lines) {
		d.Snippet = p.lines[line-1]
	}
	p.faults.Add(d)
}

// separator finds the line "---" at or above the line of a document's first value.
func (p *parser) separator(line int) int {
	for i := min(line, len(p.lines)); i >= 1; i-- {
		if strings.HasPrefix(p.lines[i-1], "---") {
			return i
		}
	}
	return line
}

// readable refuses bytes that YAML does not allow: the library reports them without a
// position.
func (p *parser) readable(text []byte) bool {
	if bytes.HasPrefix(text, []byte{0xfe, 0xff}) || bytes.HasPrefix(text, []byte{0xff, 0xfe}) {
		p.fault(1, 1, "", "the file is UTF-16, not UTF-8", "save it as UTF-8")
		return false
	}
	line := 1
	column := 1
	rest := bytes.TrimPrefix(text, []byte("\ufeff"))
	for len(rest) > 0 {
		r, size := utf8.DecodeRune(rest)
		switch {
		case r == utf8.RuneError && size == 1:
			p.fault(line, column, "", fmt.Sprintf("the byte 0x%02x is not UTF-8", rest[0]), "save the file as UTF-8")
			return false
		case r == 0:
			p.fault(line, column, "", "a NUL byte cannot stand in YAML", "")
			return false
		case !allowed(r):
			p.fault(line, column, "", fmt.Sprintf("the control character U+%04X cannot stand in YAML", r),
				fmt.Sprintf(`in a text in double quotes, write "\u%04X"`, r))
			return false
		}
		if r == '\r' && size < len(rest) && rest[size] == '\n' {
			size++
		}
		if strings.ContainsRune("\n\r\u0085\u2028\u2029", r) {
			line++
			column = 1
		} else {
			column++
		}
		rest = rest[size:]
	}
	return true
}

// allowed is YAML's c-printable: https://yaml.org/spec/1.2.2/#51-character-set
func allowed(r rune) bool {
	switch {
	case r == '\t', r == '\n', r == '\r', r == 0x85:
		return true
	case r >= 0x20 && r <= 0x7e:
		return true
	case r == 0xfeff:
		return false
	}
	return r >= 0xa0 && r <= 0xd7ff || r >= 0xe000 && r <= 0xfffd || r >= 0x10000
}

// DecodeError is the error that an UnmarshalYAML method returns so that decoding goes on
// with the rest of the document, and collects more of them.
func DecodeError(n *Node, message string) error {
	return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: %s", n.Line, message)}}
}
