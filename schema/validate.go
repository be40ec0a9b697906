package schema

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/slugfile/slugfile/config/diag"
	"github.com/slugfile/slugfile/config/yamlnode"
)

// Validate reports every place where a document departs from the schema, sorted by
// position. The snippets are left to the caller, who has the text. The error of a
// schema that does not compile is a fault of the program, and is reported as one.
func Validate(root *yamlnode.Node, file string) diag.List {
	s, err := compiled[Slug]()
	if err != nil {
		return diag.List{{Pos: diag.Pos{File: file}, Message: err.Error()}}
	}
	return s.validate(root, file)
}

func (s *schema) validate(root *yamlnode.Node, file string) diag.List {
	value, faults := yamlnode.Values(file, root)
	m := mapper{schema: s, file: file, root: root, faults: faults}
	for _, f := range faults {
		m.claim(f.Path)
	}
	var v *jsonschema.ValidationError
	if err := s.validator.Validate(value); errors.As(err, &v) {
		m.all(leaves(v))
	}
	m.names(s.doc, "", root)
	m.faults.Sort()
	return m.faults
}

// mapper turns the findings of the validator into diagnostics.
type mapper struct {
	*schema
	file   string
	root   *yamlnode.Node
	faults diag.List
	// claimed are the values whose type is wrong: what else is wrong with them is noise.
	claimed map[string]bool
}

func (m *mapper) claim(path string) {
	if m.claimed == nil {
		m.claimed = map[string]bool{}
	}
	m.claimed[path] = true
}

// leaves are the findings that say something on their own. A union is one finding. Names
// of properties are left to names: the validator's place for them is overwritten by
// later findings (seen in v6.0.3).
func leaves(e *jsonschema.ValidationError) []*jsonschema.ValidationError {
	switch e.ErrorKind.(type) {
	case *kind.PropertyNames:
		return nil
	case *kind.AnyOf, *kind.OneOf:
		return []*jsonschema.ValidationError{e}
	}
	if len(e.Causes) == 0 {
		return []*jsonschema.ValidationError{e}
	}
	var all []*jsonschema.ValidationError
	for _, c := range e.Causes {
		all = append(all, leaves(c)...)
	}
	return all
}

// all reports the findings: wrong types first, for they make others noise, and unknown
// keys before missing ones, since a misspelt key explains the missing one.
func (m *mapper) all(found []*jsonschema.ValidationError) {
	misspelt := map[string]bool{}
	for _, e := range found {
		if k, ok := e.ErrorKind.(*kind.Type); ok {
			path, key, n := m.place(e.InstanceLocation)
			if m.claimed[path] {
				continue
			}
			m.claim(path)
			m.wrongType(path, key, n, k.Want, m.at(e))
		}
	}
	for _, e := range found {
		if k, ok := e.ErrorKind.(*kind.AdditionalProperties); ok {
			m.unknown(e, k.Properties, misspelt)
		}
	}
	for _, e := range found {
		m.other(e, misspelt)
	}
}

// other reports what is neither a wrong type nor an unknown key.
func (m *mapper) other(e *jsonschema.ValidationError, misspelt map[string]bool) {
	path, key, n := m.place(e.InstanceLocation)
	rule := m.at(e)
	switch k := e.ErrorKind.(type) {
	case *kind.Type, *kind.AdditionalProperties:
	case *kind.AnyOf, *kind.OneOf:
		m.union(e, path, key, n)
	case *kind.Required:
		for _, missing := range k.Missing {
			if !misspelt[yamlnode.Key(path, missing)] {
				at := n
				if key != nil {
					at = key
				}
				m.fault(at, path, fmt.Sprintf("the key %q is missing", missing), "")
			}
		}
	default:
		if m.claimed[path] {
			return
		}
		message, hint := m.explain(e.ErrorKind, rule, n)
		m.fault(n, path, message, hint)
	}
}

// names holds the keys of every mapping to the propertyNames of its schema.
func (m *mapper) names(rule map[string]any, path string, n *yamlnode.Node) {
	if ref, ok := rule["$ref"].(string); ok {
		rule = m.pointer(strings.TrimPrefix(ref, "#"))
	}
	switch n.Kind {
	case yamlnode.SequenceNode:
		if items, ok := rule["items"].(map[string]any); ok {
			for i, item := range n.Content {
				m.names(items, yamlnode.Item(path, i), item)
			}
		}
	case yamlnode.MappingNode:
		m.namesOf(rule, path, n)
	}
}

func (m *mapper) namesOf(rule map[string]any, path string, n *yamlnode.Node) {
	properties, _ := rule["properties"].(map[string]any)
	others, _ := rule["additionalProperties"].(map[string]any)
	name, _ := rule["propertyNames"].(map[string]any)
	var pattern *regexp.Regexp
	if text, ok := name["pattern"].(string); ok {
		// The compiler of the schema has accepted the pattern already.
		pattern = regexp.MustCompile(text)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := yamlnode.Key(path, key.Value)
		if pattern != nil && !pattern.MatchString(key.Value) {
			m.fault(key, at, fmt.Sprintf("the name %s %s", short(key.Value), words(name, "x-message", "must match "+pattern.String())), "")
		}
		if of, ok := properties[key.Value].(map[string]any); ok {
			m.names(of, at, value)
		} else if others != nil {
			m.names(others, at, value)
		}
	}
}

func (m *mapper) fault(n *yamlnode.Node, path, message, hint string) {
	m.faults.Add(diag.Diagnostic{Pos: yamlnode.At(m.file, n), Path: path, Message: message, Hint: hint})
}

// place finds the value that the validator speaks of.
func (m *mapper) place(location []string) (path string, key, n *yamlnode.Node) {
	n = m.root
	for _, token := range location {
		switch n.Kind {
		case yamlnode.MappingNode:
			k, v := yamlnode.Find(n, token)
			if v == nil {
				return path, key, n
			}
			path, key, n = yamlnode.Key(path, token), k, v
		case yamlnode.SequenceNode:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(n.Content) {
				return path, key, n
			}
			path, key, n = yamlnode.Item(path, i), nil, n.Content[i]
		}
	}
	return path, key, n
}

// at is the part of the schema that a finding comes from.
func (m *mapper) at(e *jsonschema.ValidationError) map[string]any {
	_, pointer, _ := strings.Cut(e.SchemaURL, "#")
	return m.pointer(pointer)
}

// pointer follows a JSON pointer into the schema.
func (m *mapper) pointer(pointer string) map[string]any {
	var doc any = m.doc
	for token := range strings.SplitSeq(strings.Trim(pointer, "/"), "/") {
		token = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
		switch d := doc.(type) {
		case map[string]any:
			if token != "" {
				doc = d[token]
			}
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(d) {
				return nil
			}
			doc = d[i]
		}
	}
	rule, _ := doc.(map[string]any)
	return rule
}

func words(rule map[string]any, key, otherwise string) string {
	if s, ok := rule[key].(string); ok {
		return s
	}
	return otherwise
}

// unknown reports keys that the schema does not have.
func (m *mapper) unknown(e *jsonschema.ValidationError, keys []string, misspelt map[string]bool) {
	path, _, n := m.place(e.InstanceLocation)
	properties, _ := m.at(e)["properties"].(map[string]any)
	var known, free []string
	for name := range properties {
		known = append(known, name)
		if k, _ := yamlnode.Find(n, name); k == nil {
			free = append(free, name)
		}
	}
	slices.Sort(known)
	slices.Sort(free)
	for _, name := range keys {
		k, _ := yamlnode.Find(n, name)
		if k == nil {
			k = n
		}
		message, hint := "unknown key "+short(name), "the keys here are "+strings.Join(known, ", ")
		if meant, ok := diag.Nearest(name, free); ok {
			message += fmt.Sprintf(" (did you mean %q?)", meant)
			hint = ""
			misspelt[yamlnode.Key(path, meant)] = true
		}
		m.fault(k, path, message, hint)
	}
}

// wrongType reports a value of another type than those that are wanted.
func (m *mapper) wrongType(path string, key, n *yamlnode.Node, want []string, rule map[string]any) {
	at := n
	hint := ""
	switch {
	case isNull(n):
		if key != nil {
			at = key
		}
		hint = "give it a value, or remove the key"
	case n.Kind == yamlnode.ScalarNode && n.Tag != "!!str" && slices.Contains(want, "string"):
		text := n.Value
		if pad, err := strconv.Atoi(words(rule, "x-pad", "")); err == nil && isDigits(text) {
			text = strings.Repeat("0", max(0, pad-len(text))) + text
		}
		hint = fmt.Sprintf("quote it: %q", text)
		if unit, ok := rule["x-quote"].(string); ok && (n.Tag == "!!int" || n.Tag == "!!float") {
			hint = strings.ReplaceAll(unit, "{}", text)
		}
	case n.Kind == yamlnode.ScalarNode && slices.Contains(want, "array"):
		hint = fmt.Sprintf("write a list: [%s]", n.Value)
		if utf8.RuneCountInString(n.Value) > 40 || strings.ContainsAny(n.Value, "\n[]{},#:") {
			hint = `write a list: each item on a line of its own, after "- "`
		}
	case n.Style&(yamlnode.SingleQuotedStyle|yamlnode.DoubleQuotedStyle) != 0 && len(want) == 1 && (want[0] == "integer" || want[0] == "boolean"):
		hint = "remove the quotes"
	}
	subject := ""
	if path == "" {
		subject = "the document "
	}
	if isNull(n) {
		m.fault(at, path, subject+"is empty: must be "+wanted(want), hint)
		return
	}
	m.fault(at, path, subject+"must be "+wanted(want)+", not "+got(n), hint)
}

func isNull(n *yamlnode.Node) bool { return n.Kind == yamlnode.ScalarNode && n.Tag == "!!null" }

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

var typeWords = map[string]string{
	"string": "a string", "number": "a number", "integer": "a whole number", "boolean": "true or false",
	"array": "a list", "object": "a mapping", "null": "empty",
}

func wanted(types []string) string {
	var w []string
	for _, t := range types {
		w = append(w, typeWords[t])
	}
	if len(w) < 2 || types[len(w)-1] == "boolean" {
		return strings.Join(w, ", ")
	}
	return strings.Join(w[:len(w)-1], ", ") + " or " + w[len(w)-1]
}

// got describes a value that has the wrong type, in the words of its source text.
func got(n *yamlnode.Node) string {
	switch n.Kind {
	case yamlnode.MappingNode:
		return "a mapping"
	case yamlnode.SequenceNode:
		return "a list"
	}
	switch n.Tag {
	case "!!bool":
		return "the word " + n.Value
	case "!!int", "!!float":
		return "the number " + n.Value
	case "!!timestamp":
		return "the date " + n.Value
	}
	return short(n.Value)
}

// short quotes a text, and cuts a long one.
func short(s string) string {
	r := []rune(s)
	if len(r) <= 40 {
		return strconv.Quote(s)
	}
	return fmt.Sprintf("%q… (%d characters)", string(r[:20]), len(r))
}

// union reports a value that fits no branch of anyOf or oneOf. Branches that want
// another type are merged to one wish; a branch of the right type is explained.
func (m *mapper) union(e *jsonschema.ValidationError, path string, key, n *yamlnode.Node) {
	var want []string
	var rest []*jsonschema.ValidationError
	for _, branch := range e.Causes {
		found := leaves(branch)
		noise := false
		for _, f := range found {
			if k, ok := f.ErrorKind.(*kind.Type); ok && len(f.InstanceLocation) == len(e.InstanceLocation) {
				want = append(want, k.Want...)
				noise = true
			}
		}
		if !noise {
			rest = append(rest, found...)
		}
	}
	if len(rest) > 0 {
		m.all(rest)
		return
	}
	m.claim(path)
	m.wrongType(path, key, n, want, m.at(e))
}

// explain says in words what a rule of the schema wants.
func (m *mapper) explain(k jsonschema.ErrorKind, rule map[string]any, n *yamlnode.Node) (message, hint string) {
	switch k := k.(type) {
	case *kind.Enum:
		var known []string
		for _, w := range k.Want {
			known = append(known, fmt.Sprint(w))
		}
		message = fmt.Sprintf("%s is not one of %s", short(n.Value), strings.Join(known, ", "))
		if meant, ok := diag.Nearest(n.Value, known); ok {
			message += fmt.Sprintf(" (did you mean %q?)", meant)
		}
		return message, ""
	case *kind.Pattern:
		message = words(rule, "x-message", "must match "+k.Want)
		if count := utf8.RuneCountInString(k.Got); rule["x-got"] == "length" && message != "" && !strings.Contains(message, fmt.Sprint(count)+" ") {
			return message + fmt.Sprintf(", got %d", count), ""
		}
		return message + ", not " + short(k.Got), ""
	case *kind.MinLength:
		return "must not be empty", ""
	case *kind.MaxLength:
		return fmt.Sprintf("must have at most %d characters, got %d", k.Want, k.Got), ""
	case *kind.MinItems:
		if k.Want == 1 {
			return "must not be an empty list", "remove the key, or name something"
		}
		return fmt.Sprintf("must have at least %d items, got %d", k.Want, k.Got), ""
	case *kind.Minimum:
		return fmt.Sprintf("must be at least %s, not %s", k.Want.RatString(), n.Value), ""
	case *kind.Maximum:
		return fmt.Sprintf("must be at most %s, not %s", k.Want.RatString(), n.Value), ""
	}
	return fmt.Sprintf("breaks the rule %s", strings.Join(k.KeywordPath(), "/")), ""
}
