package schema

import (
	"encoding/json"
	"fmt"
	"strings"
)

// object is the part of the schema that the reference shows. Properties keep their order
// in the file, which is that of the types in config.
type object struct {
	Ref         string            `json:"$ref"`
	Type        string            `json:"type"`
	Description string            `json:"description"`
	Default     json.RawMessage   `json:"default"`
	Enum        []string          `json:"enum"`
	Required    []string          `json:"required"`
	Items       *object           `json:"items"`
	AnyOf       []object          `json:"anyOf"`
	Additional  json.RawMessage   `json:"additionalProperties"`
	Properties  properties        `json:"properties"`
	Defs        map[string]object `json:"$defs"`
}

// properties are in the order of the file.
type properties []property

type property struct {
	name string
	object
}

// UnmarshalJSON keeps the order of the keys.
func (p *properties) UnmarshalJSON(b []byte) error {
	dec := json.NewDecoder(strings.NewReader(string(b)))
	if _, err := dec.Token(); err != nil {
		return err
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return err
		}
		one := property{name: fmt.Sprint(key)}
		if err := dec.Decode(&one.object); err != nil {
			return err
		}
		*p = append(*p, one)
	}
	return nil
}

// Markdown is the reference of slug.yaml, made from the schema: one table for the top
// level and one for each kind of entry. It panics when the embedded schema is not the
// one that gen writes: that is a fault of the program.
func Markdown() []byte {
	var root object
	if err := json.Unmarshal(JSON(), &root); err != nil {
		panic(fmt.Sprintf("read %s: %v", local, err))
	}
	var b strings.Builder
	root.table(&b)
	for _, section := range []struct{ title, def string }{
		{"`runtimes.<name>`", "Runtime"},
		{"`build[]`", "Step"},
		{"`files[]`", "FileEntry"},
		{"`limits`", "Limits"},
		{"`checks`", "Checks"},
		{"`release`", "Release"},
	} {
		def, ok := root.Defs[section.def]
		if !ok {
			panic(fmt.Sprintf("read %s: no definition %q", local, section.def))
		}
		fmt.Fprintf(&b, "\n#### %s\n\n%s\n\n", section.title, cell(def.Description))
		def.table(&b)
	}
	return []byte(b.String())
}

func (o object) table(b *strings.Builder) {
	required := map[string]bool{}
	for _, name := range o.Required {
		required[name] = true
	}
	b.WriteString("| key | value | meaning |\n| --- | --- | --- |\n")
	for _, p := range o.Properties {
		text := cell(p.Description)
		if required[p.name] {
			text += " Required."
		}
		if len(p.Default) > 0 {
			text += fmt.Sprintf(" Default: `%s`.", strings.Trim(string(p.Default), `"`))
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", p.name, p.kind(), text)
	}
}

// cell is a text that does not end a cell of a table.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// kind is the type of a value in words.
func (o object) kind() string {
	switch {
	case o.Ref != "":
		return "mapping"
	case len(o.Enum) > 0:
		return "`" + strings.Join(o.Enum, "`, `") + "`"
	case o.Type == "array":
		if o.Items != nil && len(o.Items.Enum) > 0 {
			return "list of " + o.Items.kind()
		}
		if o.Items != nil && o.Items.Ref == "" {
			return "list of " + o.Items.kind() + "s"
		}
		return "list of mappings"
	case o.Type == "object":
		var of object
		if err := json.Unmarshal(o.Additional, &of); err == nil && of.Ref == "" {
			return "mapping of " + of.kind() + "s"
		}
		return "mapping of mappings"
	case len(o.AnyOf) > 0:
		return o.AnyOf[0].kind()
	}
	return typeShort[o.Type]
}

var typeShort = map[string]string{"string": "string", "integer": "whole number", "boolean": "`true` or `false`", "number": "number"}
