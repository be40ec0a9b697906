package config_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/slugfile/slugfile/config"
	"github.com/slugfile/slugfile/config/yamlnode"
	"github.com/slugfile/slugfile/schema"
)

func TestExample_isValidAndShowsEveryKey(t *testing.T) {
	t.Parallel()
	text := read(t, "../slug.yaml.example")
	f, faults := config.Load(config.Source{Path: "slug.yaml.example", Text: text, Pins: []config.Pin{}})
	if len(faults) > 0 {
		t.Fatal(faults.Text())
	}
	reload(t, f, f.Effective())

	root, _ := yamlnode.Parse("slug.yaml.example", text)
	shown := map[string]bool{}
	for path := range yamlnode.Index(root) {
		shown[path[strings.LastIndexByte(path, '.')+1:]] = true
	}
	var doc any
	if err := json.Unmarshal(schema.JSON(), &doc); err != nil {
		t.Fatal(err)
	}
	for name := range properties(doc) {
		if !shown[name] {
			t.Errorf("the example does not show %q", name)
		}
	}
}

// properties are the names of all properties in a schema.
func properties(v any) map[string]bool {
	names := map[string]bool{}
	switch v := v.(type) {
	case map[string]any:
		if p, ok := v["properties"].(map[string]any); ok {
			for name := range p {
				names[name] = true
			}
		}
		for _, child := range v {
			for name := range properties(child) {
				names[name] = true
			}
		}
	case []any:
		for _, child := range v {
			for name := range properties(child) {
				names[name] = true
			}
		}
	}
	return names
}

func TestExample_saysWhatEveryKeyMeans(t *testing.T) {
	t.Parallel()
	lines := yamlnode.Lines(read(t, "../slug.yaml.example"))
	seen := map[string]bool{}
	for i, line := range lines {
		trimmed := strings.TrimPrefix(strings.TrimSpace(line), "- ")
		key, _, ok := strings.Cut(trimmed, ":")
		if !ok || strings.HasPrefix(trimmed, "#") || seen[key] {
			continue
		}
		seen[key] = true
		above := i > 0 && strings.Contains(lines[i-1], "#")
		if doc, isKey := described[key]; isKey && doc && !above {
			t.Errorf("line %d: %q has no comment above it", i+1, key)
		}
	}
}

// described are the keys whose meaning the example must give on the line above.
var described = map[string]bool{
	"$schema": true, "app": true, "stack": true, "vars": true, "runtimes": true, "build": true, "files": true, "process_types": true, "compression": true,
	"url": true, "sha256": true, "strip": true, "into": true, "only": true, "path": true, "build_only": true, "host": true,
	"inputs": true, "outputs": true, "env": true, "pass_env": true, "timeout": true,
	"from": true, "exclude": true, "include_secrets": true, "mode": true, "slug": true, "description": true,
}
