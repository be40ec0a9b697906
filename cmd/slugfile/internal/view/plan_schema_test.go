package view

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/schema"
)

func document(t *testing.T, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := WriteDocument(&b, v); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestPlan_documentsFitTheSchema(t *testing.T) {
	t.Parallel()
	for name, p := range plans() {
		if err := schema.Check(schema.Plan, document(t, p)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		saved := plan.Saved{V: plan.SavedVersion, Type: plan.SavedType, Plan: p}
		if err := schema.Check(schema.SavedPlan, document(t, saved)); err != nil {
			t.Errorf("%s, saved: %v", name, err)
		}
	}
}

// TestPlan_schemaRefusesWhatIsNoPlan damages documents at every place: a key that nobody knows,
// and a value of another type.
func TestPlan_schemaRefusesWhatIsNoPlan(t *testing.T) {
	t.Parallel()
	tried := 0
	for _, name := range []string{"compared", "first", "drifted"} {
		var doc any
		if err := json.Unmarshal(document(t, plans()[name]), &doc); err != nil {
			t.Fatal(err)
		}
		check := func(path string) {
			tried++
			b, err := json.Marshal(doc)
			if err != nil {
				t.Fatal(err)
			}
			if schema.Check(schema.Plan, b) == nil {
				t.Errorf("%s: %s is taken", name, path)
			}
		}
		var visit func(v any, path string)
		visit = func(v any, path string) {
			switch v := v.(type) {
			case map[string]any:
				if path != "/basis/tools" {
					v["surprise"] = 1
					check(path + " with a surprise")
					delete(v, "surprise")
				}
				for k, child := range v {
					v[k] = []any{[]any{0}}
					check(path + "/" + k + " as a list of lists")
					v[k] = child
					visit(child, path+"/"+k)
				}
			case []any:
				for i, child := range v {
					v[i] = []any{0}
					check(fmt.Sprintf("%s/%d as a list", path, i))
					v[i] = child
					visit(child, fmt.Sprintf("%s/%d", path, i))
				}
			}
		}
		visit(doc, "")
		root, _ := doc.(map[string]any)
		for _, key := range []string{"v", "type", "create", "changed", "why", "basis", "current", "runtimes", "steps", "slug", "files_known", "files", "process_types", "release", "drift", "withheld", "unpinned", "warnings", "problems", "summary"} {
			kept := root[key]
			delete(root, key)
			check("no " + key)
			root[key] = kept
		}
		for key, wrong := range map[string]any{"v": 2, "type": "saved_plan", "key": "abc", "stack": nil} {
			kept, had := root[key]
			root[key] = wrong
			check(fmt.Sprintf("%s: %v", key, wrong))
			if root[key] = kept; !had {
				delete(root, key)
			}
		}
	}
	if tried < 300 {
		t.Errorf("only %d documents tried", tried)
	}
}
