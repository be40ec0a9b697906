package yamlnode

import (
	"fmt"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// walk copies a tree, with copies in the place of aliases. The library does not follow
// aliases when it makes nodes, so the limits that keep an alias bomb small are ours.
type walk struct {
	*parser
	values  int
	stopped bool
	// open holds the nodes between the root and the current one: an alias to one of
	// them would never end.
	open map[*Node]bool
}

// value copies n. at is the alias that led here, or nil: its place counts for all that
// it stands for.
func (w *walk) value(n *Node, path string, at *Node) *Node {
	place := n
	if at != nil {
		place = at
	}
	if w.stopped {
		return nil
	}
	w.values++
	if w.values > MaxValues {
		w.stopped = true
		hint := ""
		if at != nil {
			hint = "write the value out instead of the alias"
		}
		w.fault(place.Line, place.Column, "", fmt.Sprintf("the file has more than %d values, aliases followed", MaxValues), hint)
		return nil
	}
	if n.Kind == yaml.AliasNode {
		if w.open[n.Alias] {
			w.stopped = true
			w.fault(place.Line, place.Column, path, fmt.Sprintf("the alias *%s stands inside the value that it names", n.Value), "")
			return nil
		}
		return w.value(n.Alias, path, place)
	}
	if n.Style&yaml.TaggedStyle != 0 && at == nil {
		w.fault(place.Line, place.Column, path, fmt.Sprintf("the tag %s is not read here", n.Tag), "leave the tag out; a text that looks like a number needs quotes")
	}
	w.open[n] = true
	defer delete(w.open, n)

	c := &Node{Kind: n.Kind, Style: n.Style, Tag: n.Tag, Value: n.Value, Line: place.Line, Column: place.Column}
	if c.Line > len(w.lines) {
		// A value that is missing at the end of the text is placed behind it.
		c.Line = len(w.lines)
		c.Column = utf8.RuneCountInString(w.lines[c.Line-1]) + 1
	}
	switch n.Kind {
	case yaml.MappingNode:
		w.mapping(c, n, path, at)
	case yaml.SequenceNode:
		for i, item := range n.Content {
			c.Content = append(c.Content, w.value(item, Item(path, i), at))
		}
	}
	return c
}

func (w *walk) mapping(c, n *Node, path string, at *Node) {
	first := map[string]*Node{}
	for i := 0; i+1 < len(n.Content) && !w.stopped; i += 2 {
		key := n.Content[i]
		place := key
		if at != nil {
			place = at
		}
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		switch {
		case key.Kind == yaml.ScalarNode && key.Tag == "!!merge":
			w.fault(place.Line, place.Column, path, `the merge key "<<" is not read here`, "write the keys out; an alias can stand for a whole value only")
			continue
		case key.Kind != yaml.ScalarNode || key.Tag == "!!null" && key.Value == "":
			w.fault(place.Line, place.Column, path, "a key must be a plain text", "")
			continue
		}
		if was, ok := first[key.Value]; ok {
			message := fmt.Sprintf("the key %q stands twice: first at %d:%d", key.Value, was.Line, was.Column)
			w.fault(place.Line, place.Column, Key(path, key.Value), message, "remove one of them")
			continue
		}
		first[key.Value] = place
		w.values++
		k := &Node{Kind: yaml.ScalarNode, Style: key.Style, Tag: "!!str", Value: key.Value, Line: place.Line, Column: place.Column}
		c.Content = append(c.Content, k, w.value(n.Content[i+1], Key(path, key.Value), at))
	}
}
