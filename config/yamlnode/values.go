package yamlnode

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"gopkg.in/yaml.v3"

	"github.com/slugfile/slugfile/config/diag"
)

// Values turns nodes into the plain values that a JSON schema validator takes:
// map[string]any, []any, string, bool, nil and json.Number. A timestamp is its source
// text. Numbers that JSON does not have (.inf, .nan) are faults.
func Values(file string, root *Node) (any, diag.List) {
	var faults diag.List
	var value func(n *Node, path string) any
	value = func(n *Node, path string) any {
		switch n.Kind {
		case yaml.MappingNode:
			m := make(map[string]any, len(n.Content)/2)
			for i := 0; i+1 < len(n.Content); i += 2 {
				key := n.Content[i].Value
				m[key] = value(n.Content[i+1], Key(path, key))
			}
			return m
		case yaml.SequenceNode:
			s := make([]any, len(n.Content))
			for i, item := range n.Content {
				s[i] = value(item, Item(path, i))
			}
			return s
		}
		v, ok := scalar(n)
		if !ok {
			faults.Add(diag.Diagnostic{
				Pos:     At(file, n),
				Path:    path,
				Message: fmt.Sprintf("%s is not a number that can be used here", n.Value),
				Hint:    fmt.Sprintf("if it is a text, quote it: %q", n.Value),
			})
		}
		return v
	}
	return value(root, ""), faults
}

// scalar is false for a number that JSON does not have.
func scalar(n *Node) (any, bool) {
	switch n.Tag {
	case "!!null":
		return nil, true
	case "!!bool", "!!int", "!!float":
		var v any
		if err := n.Decode(&v); err != nil {
			return n.Value, true
		}
		switch v := v.(type) {
		case bool:
			return v, true
		case float64:
			if math.IsInf(v, 0) || math.IsNaN(v) {
				return n.Value, false
			}
			return json.Number(strconv.FormatFloat(v, 'g', -1, 64)), true
		case string:
			return v, true
		}
		return json.Number(fmt.Sprint(v)), true
	}
	return n.Value, true
}
