package yamlnode

import (
	"regexp"
	"strconv"

	"gopkg.in/yaml.v3"

	"github.com/slugfile/slugfile/config/diag"
)

// Key is the path of a key of the mapping at path: "runtimes" and "node" give
// "runtimes.node". A key that would not be read as one part of a path is quoted:
// process_types["../web"].
func Key(path, key string) string {
	if !plainKey.MatchString(key) {
		return path + "[" + strconv.Quote(key) + "]"
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_$][-A-Za-z0-9_.]*$`)

// Item is the path of an item of the sequence at path: "build" and 0 give "build[0]".
func Item(path string, i int) string {
	return path + "[" + strconv.Itoa(i) + "]"
}

// Place is where a document path stands in the text.
type Place struct {
	// Key is the node of the key; nil for an item of a sequence and for the root.
	Key *Node
	// Value is the node of the value.
	Value *Node
}

// Index finds the nodes of every document path, such as "build[0].run". The root has
// the path "".
func Index(root *Node) map[string]Place {
	places := map[string]Place{}
	var visit func(path string, key, n *Node)
	visit = func(path string, key, n *Node) {
		if n == nil {
			return
		}
		places[path] = Place{Key: key, Value: n}
		switch n.Kind {
		case yaml.MappingNode:
			for i := 0; i+1 < len(n.Content); i += 2 {
				visit(Key(path, n.Content[i].Value), n.Content[i], n.Content[i+1])
			}
		case yaml.SequenceNode:
			for i, item := range n.Content {
				visit(Item(path, i), nil, item)
			}
		}
	}
	visit("", nil, root)
	return places
}

// Pos is where a fault of the whole value is shown: at the key of a block mapping or
// block sequence, which begins on a later line, and at the value of all others.
func (p Place) Pos(file string) diag.Pos {
	if p.Key != nil && (p.Value.Line > p.Key.Line || p.Value.Kind == yaml.ScalarNode && p.Value.Value == "" && p.Value.Style == 0) {
		return At(file, p.Key)
	}
	return At(file, p.Value)
}
