package platformtest

import (
	"encoding/json"
	"maps"
	"testing"
)

func TestSchema_refusesWhatLacksAFieldOrHasOneMore(t *testing.T) {
	t.Parallel()
	s := schema(t)
	good := map[string]any{
		"id": "a3bd6e24-0000-4000-8000-000000000024", "name": "heroku-24", "state": "public", "default": true,
		"created_at": "2013-10-08T16:09:54Z", "updated_at": "2013-10-08T16:09:54Z",
	}
	validate := func(path string, v any) error {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return s.validate("GET", path, text)
	}
	if err := validate("/stacks/heroku-24", good); err != nil {
		t.Error(err)
	}
	more, less, other := maps.Clone(good), maps.Clone(good), maps.Clone(good)
	more["extra"] = 1
	delete(less, "state")
	other["created_at"] = "yesterday"
	for _, bad := range []map[string]any{more, less, other} {
		for path, v := range map[string]any{"/stacks/heroku-24": bad, "/stacks": []any{good, bad}, "/apps/example/available-stacks": []any{bad}} {
			if validate(path, v) == nil {
				t.Errorf("%s: the schema lets %v pass", path, v)
			}
		}
	}
	if validate("/stacks", good) == nil {
		t.Error("an object passes for a list")
	}
	if validate("/no/such/route", good) == nil {
		t.Error("a route that the schema lacks passes")
	}
}
