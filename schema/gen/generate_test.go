package main

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/config"
	"github.com/slugfile/slugfile/schema"
)

func TestGenerate_isWhatIsCommitted(t *testing.T) {
	t.Parallel()
	b, err := generate("github.com/slugfile/slugfile/schema/gen", "../../config")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(schema.JSON()), string(b)); diff != "" {
		t.Errorf("schema/slug.schema.json is stale: run \"go generate ./schema\"\n%s", diff)
	}
}

func TestGenerate_listsTheStacksOfConfig(t *testing.T) {
	t.Parallel()
	var doc struct {
		Properties struct {
			Stack struct{ Enum []string }
		}
	}
	if err := json.Unmarshal(schema.JSON(), &doc); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(doc.Properties.Stack.Enum, config.Stacks()) {
		t.Errorf("schema %v, config %v", doc.Properties.Stack.Enum, config.Stacks())
	}
}
