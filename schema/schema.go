// Package schema is the JSON schema of slug.yaml, and validation against it.
//
// slug.schema.json is generated from the types in config by "go generate", committed
// and embedded: editors, slugfile and the reference read the same file. Validate
// turns the validator's findings into diagnostics with positions. It fetches nothing:
// no address in a schema or in a file is ever opened.
package schema

import (
	_ "embed"
	"fmt"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

//go:generate go run ./gen

//go:embed slug.schema.json
var text string

// JSON is the schema as it is committed.
func JSON() []byte { return []byte(text) }

// local is the name under which the schema is compiled: its "$id" is for editors.
const local = "slug.schema.json"

// compiled is made when the first file is validated, since most commands that link
// this package never validate one.
var compiled = sync.OnceValues(func() (*schema, error) {
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", local, err)
	}
	root, ok := doc.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("read %s: not an object", local)
	}
	v, err := compile(root)
	if err != nil {
		return nil, err
	}
	return &schema{validator: v, doc: root}, nil
})

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
