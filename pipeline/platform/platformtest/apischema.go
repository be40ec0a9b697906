package platformtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// hyperSchema is Heroku's published schema from the heroku-go module, made strict: which answer
// belongs to which request, and what it must be.
type hyperSchema struct {
	links []schemaLink

	mu       sync.Mutex
	compiler *jsonschema.Compiler
	compiled map[string]*jsonschema.Schema
}

// schemaLink is one request that the schema knows. Of is a JSON pointer to what answers it, or
// to the items of the list that does; empty means an empty object.
type schemaLink struct {
	method string
	path   *regexp.Regexp
	words  int // of the path that are no parameters: the most of them wins
	of     string
	isList bool
}

const schemaURL = "https://heroku.test/schema"

var loadSchema = sync.OnceValues(func() (*hyperSchema, error) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/heroku/heroku-go/v6").Output()
	if err != nil {
		return nil, fmt.Errorf("find the module of Heroku's schema: %w", err)
	}
	text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "schema.json"))
	if err != nil {
		return nil, fmt.Errorf("read Heroku's schema: %w", err)
	}
	var doc map[string]any
	if err := json.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("read Heroku's schema: %w", err)
	}
	s := &hyperSchema{compiler: jsonschema.NewCompiler(), compiled: map[string]*jsonschema.Schema{}}
	definitions := doc["definitions"].(map[string]any)
	for _, definition := range definitions {
		definition := definition.(map[string]any)
		links, _ := definition["links"].([]any)
		for _, link := range links {
			s.addLink(link.(map[string]any))
		}
		// A resource has all of its properties, also where the schema lets it have more.
		require(definition)
	}
	// The schema forgot one: devcenter.heroku.com/articles/platform-api-reference#stack.
	s.addLink(map[string]any{"method": "GET", "href": "/apps/{app}/available-stacks", "targetSchema": map[string]any{"items": map[string]any{"$ref": "#/definitions/stack"}}})
	tighten(doc)
	// An app's address is not Heroku's here.
	app := definitions["app"].(map[string]any)["definitions"].(map[string]any)
	delete(app["web_url"].(map[string]any), "pattern")
	// A host name is no URI: the schema's own example of one is not.
	domain := definitions["domain"].(map[string]any)["definitions"].(map[string]any)
	delete(domain["hostname"].(map[string]any), "format")
	doc["$schema"] = "http://json-schema.org/draft-04/schema#"
	s.compiler.DefaultDraft(jsonschema.Draft4)
	s.compiler.AssertFormat()
	return s, s.compiler.AddResource(schemaURL, doc)
})

// schema gives the published schema. Without the go command or the module the test skips, and
// under CI it fails.
func schema(t *testing.T) *hyperSchema {
	t.Helper()
	s, err := loadSchema()
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return s
}

var parameter = regexp.MustCompile(`\{[^}]*\}`)

func (s *hyperSchema) addLink(link map[string]any) {
	href, _ := link["href"].(string)
	l := schemaLink{method: link["method"].(string)}
	var pattern strings.Builder
	for part := range strings.SplitSeq(strings.TrimPrefix(href, "/"), "/") {
		pattern.WriteByte('/')
		if parameter.MatchString(part) {
			pattern.WriteString("[^/]+")
		} else {
			pattern.WriteString(regexp.QuoteMeta(part))
			l.words++
		}
	}
	l.path = regexp.MustCompile("^" + pattern.String() + "$")
	target, _ := link["targetSchema"].(map[string]any)
	l.of, _ = target["$ref"].(string)
	if items, isList := target["items"].(map[string]any); isList {
		l.of, _ = items["$ref"].(string)
		l.isList = true
	}
	s.links = append(s.links, l)
}

func require(definition map[string]any) {
	properties, _ := definition["properties"].(map[string]any)
	var all []any
	for name := range properties {
		all = append(all, name)
	}
	if len(all) > 0 {
		definition["required"] = all
	}
}

// tighten turns strictProperties, which no validator knows, into required and no others.
func tighten(v any) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			tighten(item)
		}
	case map[string]any:
		for _, item := range v {
			tighten(item)
		}
		delete(v, "$schema")
		delete(v, "links") // they hold schemas of requests, with pointers of their own kind
		if pattern, ok := v["pattern"].(string); ok {
			if _, err := regexp.Compile(pattern); err != nil {
				delete(v, "pattern") // of Private Spaces' names, with a look-ahead
			}
		}
		if properties, _ := v["properties"].(map[string]any); v["strictProperties"] == true && len(properties) > 0 {
			require(v)
			v["additionalProperties"] = false
		}
	}
}

// compile gives the schema at a pointer such as "#/definitions/app".
func (s *hyperSchema) compile(pointer string) (*jsonschema.Schema, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.compiled[pointer]; c != nil {
		return c, nil
	}
	c, err := s.compiler.Compile(schemaURL + pointer)
	if err == nil {
		s.compiled[pointer] = c
	}
	return c, err
}

// find says what answers a request.
func (s *hyperSchema) find(method, path string) (best schemaLink, found bool) {
	for _, l := range s.links {
		if l.method == method && l.path.MatchString(path) && (!found || l.words > best.words) {
			best, found = l, true
		}
	}
	return best, found
}

// validate holds the answer of a request that went well to what the schema promises for it.
func (s *hyperSchema) validate(method, path string, body []byte) error {
	l, found := s.find(method, path)
	if !found {
		return fmt.Errorf("the published schema has no %s %s", method, path)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return err
	}
	if l.of == "" {
		if object, isObject := v.(map[string]any); !isObject || len(object) != 0 {
			return fmt.Errorf("the answer is not {}")
		}
		return nil
	}
	c, err := s.compile(l.of)
	if err != nil {
		return err
	}
	items := []any{v}
	if l.isList {
		list, isList := v.([]any)
		if !isList {
			return fmt.Errorf("the answer is no list")
		}
		items = list
	}
	for _, item := range items {
		if err := c.Validate(item); err != nil {
			return fmt.Errorf("%s: %w", l.of, err)
		}
	}
	return nil
}
