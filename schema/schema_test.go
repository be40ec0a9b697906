package schema

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/slugfile/slugfile/config/yamlnode"
)

func document(t *testing.T) map[string]any {
	t.Helper()
	return documentOf(t, Slug)
}

// each visits every object of the schema that describes properties.
func each(v any, path string, visit func(path string, o map[string]any)) {
	switch v := v.(type) {
	case map[string]any:
		visit(path, v)
		for k, child := range v {
			each(child, path+"/"+k, visit)
		}
	case []any:
		for _, child := range v {
			each(child, path+"/[]", visit)
		}
	}
}

// names are all schemas.
var names = []string{Slug, Plan, SavedPlan, Inspected, Compared}

func documentOf(t *testing.T, name string) map[string]any {
	t.Helper()
	text, ok := Of(name)
	if !ok {
		t.Fatalf("no schema %s", name)
	}
	var doc map[string]any
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestSchema_describesEveryPropertyInTheReadersWords(t *testing.T) {
	t.Parallel()
	goName := regexp.MustCompile(`\bnil\b|\b[A-Z][a-z]+[A-Z]`)
	for _, name := range names {
		n := 0
		each(documentOf(t, name), name, func(path string, o map[string]any) {
			properties, ok := o["properties"].(map[string]any)
			if !ok {
				return
			}
			for name, p := range properties {
				n++
				p, _ := p.(map[string]any)
				text, _ := p["description"].(string)
				first, _, _ := strings.Cut(text, " ")
				switch {
				case text == "":
					t.Errorf("%s/%s has no description", path, name)
				case !strings.HasSuffix(text, "."):
					t.Errorf("%s/%s: the description does not end with a stop: %q", path, name, text)
				case strings.Trim(first, "abcdefghijklmnopqrstuvwxyz'") != "" && strings.ToLower(first) == strings.ReplaceAll(name, "_", ""):
					t.Errorf("%s/%s: the description begins with a Go name: %q", path, name, text)
				case goName.MatchString(text):
					t.Errorf("%s/%s: the description speaks of Go: %q", path, name, text)
				}
			}
		})
		if n < 30 {
			t.Errorf("only %d properties seen", n)
		}
	}
}

func TestSchema_isClosedAndOf2020(t *testing.T) {
	t.Parallel()
	for _, name := range names {
		doc := documentOf(t, name)
		if doc["$schema"] != "https://json-schema.org/draft/2020-12/schema" {
			t.Errorf("$schema = %v", doc["$schema"])
		}
		if doc["$id"] != "https://raw.githubusercontent.com/slugfile/slugfile/main/schema/"+name+".schema.json" {
			t.Errorf("$id = %v", doc["$id"])
		}
		each(doc, name, func(path string, o map[string]any) {
			if _, ok := o["properties"]; ok && o["additionalProperties"] != false && o["type"] == "object" {
				t.Errorf("%s takes unknown keys", path)
			}
		})
	}
	each(document(t), "", func(path string, o map[string]any) {
		if pattern, ok := o["pattern"].(string); ok && o["x-message"] == nil {
			t.Errorf("%s: the pattern %s is not put in words", path, pattern)
		}
	})
}

func TestSchema_isValidByItsOwnDraft(t *testing.T) {
	t.Parallel()
	// The library carries the schema of the draft: nothing is fetched.
	draft, err := jsonschema.NewCompiler().Compile("https://json-schema.org/draft/2020-12/schema")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, _ := Of(name)
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := draft.Validate(doc); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheck_takesThePlansThatPackagePlanMakes(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../pipeline/plan/testdata/*.json")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d plans: %v", len(files), err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := Check(Plan, b); err != nil {
			t.Errorf("%s: %v", filepath.Base(f), err)
		}
	}
}

func TestCheck_saysWhichSchemaThereIsNot(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"other": `there is no schema "other"`, "../schema": `there is no schema`} {
		if err := Check(name, []byte("{}")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Check(Plan, []byte("{")); err == nil || !strings.Contains(err.Error(), "read document") {
		t.Errorf("half a document: %v", err)
	}
}

func TestSchema_hasNoKeyThatDoesNotWorkYet(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"apps", "check", "on_failure", "environments", "builder"} {
		if strings.Contains(string(JSON()), `"`+key+`"`) {
			t.Errorf("%s is in the schema", key)
		}
	}
}

func TestCompile_opensNoOtherFile(t *testing.T) {
	t.Parallel()
	for _, ref := range []string{"http://127.0.0.1:9/x.json", "https://example.org/x.json", "file:///etc/passwd", "other.json"} {
		_, err := compile(map[string]any{"$ref": ref})
		if err == nil || !strings.Contains(err.Error(), "may not refer to another file") {
			t.Errorf("%s: %v", ref, err)
		}
	}
}

func TestValidate_explainsTheBranchOfTheRightTypeInAUnion(t *testing.T) {
	t.Parallel()
	doc := map[string]any{"anyOf": []any{
		map[string]any{"type": "string"},
		map[string]any{"type": "object", "properties": map[string]any{"within": map[string]any{"type": "string"}}, "additionalProperties": false},
	}}
	v, err := compile(doc)
	if err != nil {
		t.Fatal(err)
	}
	for source, want := range map[string]string{
		"[x]":           "f:1:1: the document must be a string or a mapping, not a list",
		"{wihtin: 10s}": `f:1:2: unknown key "wihtin" (did you mean "within"?)`,
		"{within: 10}":  "f:1:10: within: must be a string, not the number 10",
	} {
		root, faults := yamlnode.Parse("f", []byte(source))
		if len(faults) > 0 {
			t.Fatal(faults)
		}
		s := &schema{validator: v, doc: doc}
		if got := s.validate(root, "f").Error(); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", source, got, want)
		}
	}
}

func TestMarkdown_namesEveryProperty(t *testing.T) {
	t.Parallel()
	b := Markdown()
	each(document(t), "", func(path string, o map[string]any) {
		properties, _ := o["properties"].(map[string]any)
		for name := range properties {
			if !strings.Contains(string(b), "| `"+name+"` |") {
				t.Errorf("%s/%s is not in the reference", path, name)
			}
		}
	})
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "|") && strings.Count(strings.ReplaceAll(line, `\|`, ""), "|") != 4 {
			t.Errorf("not three cells: %s", line)
		}
	}
}
