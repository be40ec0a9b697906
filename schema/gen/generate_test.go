package main

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/config"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/inspect"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/tree"
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

func TestGeneratePlan_isWhatIsCommitted(t *testing.T) {
	t.Parallel()
	for name, of := range documents {
		b, err := generateDocument("github.com/slugfile/slugfile/schema/gen", "../../pipeline", of, name)
		if err != nil {
			t.Fatal(err)
		}
		committed, _ := schema.Of(name)
		if diff := cmp.Diff(string(committed), string(b)); diff != "" {
			t.Errorf("schema/%s.schema.json is stale: run \"go generate ./schema\"\n%s", name, diff)
		}
	}
}

var documents = map[string]reflect.Type{
	schema.Plan:      reflect.TypeFor[plan.Plan](),
	schema.SavedPlan: reflect.TypeFor[plan.Saved](),
	schema.Inspected: reflect.TypeFor[inspect.Report](),
	schema.Compared:  reflect.TypeFor[inspect.Comparison](),
}

func TestGeneratePlan_hasNoWordsForWhatIsNotThere(t *testing.T) {
	t.Parallel()
	there := map[string]bool{}
	var all []reflect.Type
	for _, of := range documents {
		all = structs(of, all)
	}
	for _, s := range all {
		there[s.Name()] = true
		for i := range s.NumField() {
			name, _, _ := strings.Cut(s.Field(i).Tag.Get("json"), ",")
			there[s.Name()+"."+name] = true
		}
	}
	for at := range described {
		if !there[at] {
			t.Errorf("%s is described", at)
		}
	}
	for at := range words {
		if !there[at] {
			t.Errorf("%s has a list of words", at)
		}
	}
}

func TestGeneratePlan_takesWhatAnEntryIsWrittenAs(t *testing.T) {
	t.Parallel()
	entries := []tree.Entry{
		{Path: "a", Kind: tree.File},
		{Path: "a\xff", Kind: tree.File, Exec: true, Size: 3, Digest: digest.Of(nil)},
		{Path: "a", Kind: tree.Dir},
		{Path: "a", Kind: tree.Link, Target: "b"},
		{Path: "a", Kind: tree.Link, Target: "\xff"},
	}
	for _, e := range entries {
		b := &bytes.Buffer{}
		if err := json.NewEncoder(b).Encode(plan.Saved{
			V: plan.SavedVersion, Type: plan.SavedType, Next: plan.Record{Tree: tree.Manifest{e}},
			Plan: plan.Build(plan.Inputs{}, plan.Observed{}),
		}); err != nil {
			t.Fatal(err)
		}
		text := strings.Replace(b.String(), `"slug":{"action":""`, `"slug":{"action":"+"`, 1)
		text = strings.Replace(text, `"dirs":null`, `"dirs":[]`, 1)
		if err := schema.Check(schema.SavedPlan, []byte(text)); err != nil {
			t.Errorf("%+v: %v", e, err)
		}
	}
}
