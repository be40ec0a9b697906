package observe_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/slugfile/slugfile/pipeline/observe"
)

func TestDirty_isAboutWhatTheSlugIsMadeOf(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(c *checkout)
		want   bool
	}{
		{"nothing", func(*checkout) {}, false},
		{"file changed", func(c *checkout) { c.put("app/web.js", "more", 0o644) }, true},
		{"file changed and staged", func(c *checkout) { c.put("app/web.js", "more", 0o644); c.git("add", "-A") }, true},
		{"file made executable", func(c *checkout) { c.git("update-index", "--chmod=+x", "app/web.js") }, true},
		{"new file", func(c *checkout) { c.write("app/new.js") }, true},
		{"file gone", func(c *checkout) { _ = os.Remove(filepath.Join(c.dir, "app/web.js")) }, true},
		{"file moved", func(c *checkout) { c.git("mv", "app/web.js", "app/server.js") }, true},
		{"slug.yaml changed", func(c *checkout) { c.put("app/slug.yaml", "more", 0o644) }, true},
		{"ignored file", func(c *checkout) { c.write("app/debug.log") }, false},
		{"file that this run writes", func(c *checkout) { c.write("app/slug.tgz") }, false},
		{"file with a name for git to quote", func(c *checkout) { c.write("app/ä \"\n") }, true},
		{"file beside the app", func(c *checkout) { c.write("other/x") }, false},
		{"file of the same name beside the app", func(c *checkout) { c.put("web.js", "more", 0o644) }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := repository(t)
			c.write("app/web.js", "app/lib/a.js", "app/slug.yaml", "web.js")
			c.put(".gitignore", "*.log\n", 0o644)
			c.git("add", "-A")
			c.git("commit", "-qm", "first")
			tt.change(c)
			app := filepath.Join(c.dir, "app")
			src, _, _, _, err := observe.Source(context.Background(), app, observe.SourceOptions{Env: c.env, Exclude: []string{"slug.yaml", "slug.tgz"}})
			if err != nil {
				t.Fatal(err)
			}
			got, err := observe.Dirty(context.Background(), app, src.Tree, []string{"slug.yaml"}, c.env)
			if err != nil || got != tt.want {
				t.Errorf("dirty: %t, %v; want %t", got, err, tt.want)
			}
		})
	}
}
