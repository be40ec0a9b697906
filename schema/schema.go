// Package schema is the JSON schemas of slug.yaml, of plans and of what inspect writes, and validation
// against them.
//
// They are generated from the types in config, pipeline/plan and pipeline/inspect by "go generate", committed
// and embedded: editors, slugfile, other programs and the reference read the same files.
// Validate turns the validator's findings on a slug.yaml into diagnostics with positions. It
// fetches nothing: no address in a schema or in a file is ever opened.
package schema

import (
	"bytes"
	"embed"
	"fmt"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

//go:generate go run ./gen

//go:embed *.schema.json
var files embed.FS

// The names of the schemas.
const (
	Slug      = "slug"
	Plan      = "plan"
	SavedPlan = "saved-plan"
	Inspected = "inspected"
	Compared  = "compared"
)

// Of is the schema of that name as it is committed, and whether there is one.
func Of(name string) (text []byte, ok bool) {
	text, err := files.ReadFile(name + suffix)
	return text, err == nil
}

// JSON is the schema of slug.yaml.
func JSON() []byte {
	text, _ := Of(Slug) // it is embedded
	return text
}

const suffix = ".schema.json"

// local is the name under which the schema of slug.yaml is compiled: its "$id" is for editors.
const local = Slug + suffix

// compiled are made when the first document is validated, since most commands that link this
// package never validate one.
var compiled = map[string]func() (*schema, error){
	Slug:      sync.OnceValues(func() (*schema, error) { return read(Slug) }),
	Plan:      sync.OnceValues(func() (*schema, error) { return read(Plan) }),
	SavedPlan: sync.OnceValues(func() (*schema, error) { return read(SavedPlan) }),
	Inspected: sync.OnceValues(func() (*schema, error) { return read(Inspected) }),
	Compared:  sync.OnceValues(func() (*schema, error) { return read(Compared) }),
}

// read compiles the schema of that name.
func read(name string) (*schema, error) {
	text, ok := Of(name)
	if !ok {
		return nil, fmt.Errorf("%s%s is not embedded", name, suffix)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("read %s%s: %w", name, suffix, err)
	}
	root, isObject := doc.(map[string]any)
	if !isObject {
		return nil, fmt.Errorf("read %s%s: not an object", name, suffix)
	}
	v, err := compile(root)
	if err != nil {
		return nil, err
	}
	return &schema{validator: v, doc: root}, nil
}

// Check says where a JSON document departs from the schema of that name.
func Check(name string, document []byte) error {
	compile, ok := compiled[name]
	if !ok {
		return fmt.Errorf("there is no schema %q", name)
	}
	s, err := compile()
	if err != nil {
		return err
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		return fmt.Errorf("read document: %w", err)
	}
	return s.validator.Validate(value)
}

// schema is the validator beside the document that it was made from: the validator
// keeps neither messages nor property names.
type schema struct {
	validator *jsonschema.Schema
	doc       map[string]any
}

func compile(doc map[string]any) (*jsonschema.Schema, error) {
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(closed{})
	if err := c.AddResource(local, doc); err != nil {
		return nil, fmt.Errorf("compile %s: %w", local, err)
	}
	v, err := c.Compile(local)
	if err != nil {
		return nil, fmt.Errorf("compile %s: %w", local, err)
	}
	return v, nil
}

// closed is a loader that loads nothing.
type closed struct{}

func (closed) Load(url string) (any, error) {
	return nil, fmt.Errorf("%s: a schema may not refer to another file", url)
}
