package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/invopop/jsonschema"

	"github.com/slugfile/slugfile/config"
)

// id is where editors find the schema.
const id = "https://raw.githubusercontent.com/slugfile/slugfile/main/schema/slug.schema.json"

// generate returns the schema. base is the import path of the current folder, and path
// the folder of config relative to it: the library joins the two to the import path
// under which it files the comments.
func generate(base, path string) ([]byte, error) {
	r := &jsonschema.Reflector{
		FieldNameTag:   "yaml",
		ExpandedStruct: true,
		Anonymous:      true,
		Mapper:         scalars,
	}
	if err := r.AddGoComments(base, path, jsonschema.WithFullComment()); err != nil {
		return nil, err
	}
	// A comment is wrapped in the source, and one line in an editor.
	for k, v := range r.CommentMap {
		r.CommentMap[k] = strings.Join(strings.Fields(v), " ")
	}
	s := r.Reflect(&config.File{})
	s.ID = id
	s.Title = "slug.yaml"
	if s.Properties == nil {
		return nil, errors.New("config.File has no fields")
	}
	if err := finish(s); err != nil {
		return nil, err
	}
	s.Description = forAuthors("File", s.Description)
	for name, def := range s.Definitions {
		def.Description = forAuthors(name, def.Description)
	}
	return encode(s)
}

func encode(s *jsonschema.Schema) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(s); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// scalars are the types of config that are written as text.
func scalars(t reflect.Type) *jsonschema.Schema {
	switch t {
	case reflect.TypeFor[config.Duration]():
		return &jsonschema.Schema{
			Type:    "string",
			Pattern: `^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`,
			Extras:  map[string]any{"x-message": "must be a time span such as 90s, 10m or 1h30m", "x-quote": `give a unit: "{}s"`},
		}
	case reflect.TypeFor[config.Size]():
		return &jsonschema.Schema{
			Type:    "string",
			Pattern: `^[0-9]+(\.[0-9]+)? ?([kKMG]B|[KMG]iB|B)$`,
			Extras:  map[string]any{"x-message": "must be a size such as 500MB, 1GB or 300MiB", "x-quote": `give a unit: "{}MB"`},
		}
	}
	return nil
}

const (
	// variable is the name of a variable, of this file or of an environment.
	variable        = `^[A-Za-z_][A-Za-z0-9_]*$`
	variableMessage = "must be of A-Z, a-z, 0-9 and _, and not begin with a digit"
)

// finish adds what tags and comments cannot say: the keys of mappings, and values that
// may be a text, a number or true and false.
func finish(s *jsonschema.Schema) error {
	properties := func(def string) (func(string) *jsonschema.Schema, error) {
		of := s
		if def != "" {
			of = s.Definitions[def]
		}
		if of == nil || of.Properties == nil {
			return nil, fmt.Errorf("no definition %q", def)
		}
		return func(name string) *jsonschema.Schema {
			p, ok := of.Properties.Get(name)
			if !ok {
				// The description test tells which property is lost.
				return &jsonschema.Schema{}
			}
			return p
		}, nil
	}
	top, err := properties("")
	if err != nil {
		return err
	}
	step, err := properties("Step")
	if err != nil {
		return err
	}

	app := top("app")
	app.Pattern = `^([a-z][a-z0-9-]{1,28}[a-z0-9]|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|.*\$\{.*)$`
	extra(app, "x-message", "must be the name of an app (3 to 30 lower-case letters, digits and dashes, a letter first) or its id")

	text := &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Type: "string"}, {Type: "number"}, {Type: "boolean"}}}
	for _, m := range []*jsonschema.Schema{top("vars"), step("env")} {
		m.PropertyNames = names(variable, variableMessage)
		m.AdditionalProperties = text
	}

	runtimes := top("runtimes")
	*runtimes = jsonschema.Schema{
		Type:                 "object",
		Description:          runtimes.Description,
		PropertyNames:        names(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`, "must be 1 to 64 of A-Z, a-z, 0-9, ., - and _, and begin with a letter or digit"),
		AdditionalProperties: &jsonschema.Schema{Ref: "#/$defs/Runtime"},
	}

	// https://devcenter.heroku.com/articles/procfile#procfile-format
	types := top("process_types")
	types.PropertyNames = names(`^[-\w]{1,128}$`, "must be 1 to 128 of A-Z, a-z, 0-9, - and _")
	minLength := uint64(1)
	types.AdditionalProperties = &jsonschema.Schema{Type: "string", MinLength: &minLength}
	types.Examples = []any{map[string]string{"web": "node/bin/node web.js"}}

	extra(step("pass_env").Items, "x-message", variableMessage)
	step("runtimes").Items.Examples = []any{"node"}
	return nil
}

// forAuthors takes the Go name off a type's comment: "Step is one build step." becomes
// "One build step."
func forAuthors(name, comment string) string {
	rest, ok := strings.CutPrefix(comment, name+" ")
	if !ok {
		return comment
	}
	rest = strings.TrimPrefix(rest, "is ")
	if rest == "" || strings.HasPrefix(rest, "slug.yaml") {
		return rest
	}
	return strings.ToUpper(rest[:1]) + rest[1:]
}

func names(pattern, message string) *jsonschema.Schema {
	return &jsonschema.Schema{Pattern: pattern, Extras: map[string]any{"x-message": message}}
}

func extra(s *jsonschema.Schema, key, value string) {
	if s.Extras == nil {
		s.Extras = map[string]any{}
	}
	s.Extras[key] = value
}
