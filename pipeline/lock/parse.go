package lock

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/slugfile/slugfile/config/diag"
	"github.com/slugfile/slugfile/config/yamlnode"
	"github.com/slugfile/slugfile/pipeline/digest"
)

// Parse reads slug.lock and reports every fault of it, with positions. The file is nil
// when there is a fault. file is only shown in positions.
func Parse(file string, text []byte) (*File, diag.List) {
	f, faults := parse(file, text)
	faults.Conceal()
	return f, faults
}

func parse(file string, text []byte) (*File, diag.List) {
	root, faults := yamlnode.Parse(file, text)
	if root == nil {
		return nil, faults
	}
	p := parser{file: file, lines: yamlnode.Lines(text), faults: faults, first: map[[2]string]int{}}
	f := &File{Pins: []Pin{}}
	if root.Kind != yamlnode.SequenceNode {
		p.fault(root, "", "must be a list of pins, each with name, url, sha256 and size")
	} else {
		for i, item := range root.Content {
			f.Pins = append(f.Pins, p.pin(item, yamlnode.Item("", i)))
		}
	}
	if len(p.faults) > 0 {
		p.faults.Sort()
		return nil, p.faults
	}
	return f, nil
}

type parser struct {
	file   string
	lines  []string
	faults diag.List
	first  map[[2]string]int // name and URL -> line
}

func (p *parser) fault(n *yamlnode.Node, path, format string, args ...any) {
	d := diag.Diagnostic{
		Pos:     yamlnode.At(p.file, n),
		Path:    path,
		Message: fmt.Sprintf(format, args...),
		Hint:    `run "slugfile lock" to write the file anew`,
	}
	if n.Line >= 1 && n.Line <= len(p.lines) {
		d.Snippet = p.lines[n.Line-1]
	}
	p.faults.Add(d)
}

func (p *parser) pin(n *yamlnode.Node, path string) Pin {
	var pin Pin
	if n.Kind != yamlnode.MappingNode {
		p.fault(n, path, "must be a mapping with name, url, sha256 and size")
		return pin
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		switch key := n.Content[i]; key.Value {
		case "name", "url", "sha256", "size":
		default:
			p.fault(key, path, "unknown key %q: the keys are name, url, sha256 and size", key.Value)
		}
	}
	named := len(p.faults)
	pin.Name = p.text(n, path, "name")
	pin.URL = p.text(n, path, "url")
	named -= len(p.faults)
	pin.SHA256 = p.sha256(n, path)
	pin.Size = p.size(n, path)
	if named == 0 {
		id := [2]string{pin.Name, Unsigned(pin.URL)}
		if line, ok := p.first[id]; ok {
			p.fault(n, path, "the same name and url stand in line %d already", line)
		} else {
			p.first[id] = n.Line
		}
	}
	return pin
}

// scalar returns the node of a key that must be there, or nil after a fault.
func (p *parser) scalar(n *yamlnode.Node, path, key, want string) *yamlnode.Node {
	_, v := yamlnode.Find(n, key)
	switch {
	case v == nil:
		p.fault(n, path, "%s is missing", key)
		return nil
	case v.Kind != yamlnode.ScalarNode || v.Tag == "!!null":
		p.fault(v, yamlnode.Key(path, key), "must be %s", want)
		return nil
	}
	return v
}

func (p *parser) text(n *yamlnode.Node, path, key string) string {
	v := p.scalar(n, path, key, "a string")
	switch {
	case v == nil:
		return ""
	case v.Tag != "!!str":
		p.fault(v, yamlnode.Key(path, key), "must be a string, not %s; quote it", v.Value)
	case v.Value == "":
		p.fault(v, yamlnode.Key(path, key), "must not be empty")
	}
	return v.Value
}

func (p *parser) sha256(n *yamlnode.Node, path string) digest.Digest {
	v := p.scalar(n, path, "sha256", "64 hex digits")
	if v == nil {
		return digest.Digest{}
	}
	// The tag does not matter: 64 digits without a letter are a number to YAML.
	d, err := digest.Parse(v.Value)
	switch {
	case strings.Contains(v.Value, ":") || err != nil && len(v.Value) == 2*digest.Size:
		p.fault(v, yamlnode.Key(path, "sha256"), "must be 64 hex digits, got %q", v.Value)
	case err != nil:
		p.fault(v, yamlnode.Key(path, "sha256"), "must be 64 hex digits, got %d characters", len([]rune(v.Value)))
	case d.IsZero():
		p.fault(v, yamlnode.Key(path, "sha256"), "must not be all zeros")
	}
	return d
}

func (p *parser) size(n *yamlnode.Node, path string) int64 {
	v := p.scalar(n, path, "size", "a number of bytes")
	if v == nil {
		return 0
	}
	size, err := strconv.ParseInt(v.Value, 10, 64)
	if v.Tag != "!!int" || err != nil || size <= 0 || strconv.FormatInt(size, 10) != v.Value {
		p.fault(v, yamlnode.Key(path, "size"), "must be a number of bytes, such as 27800000, not %s", v.Value)
	}
	return size
}
