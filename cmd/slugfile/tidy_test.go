package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/store"
)

func TestApply_keepsTheSlugsOfTheLastReleases(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("slug.yaml", "app: demo\nstack: heroku-24\nprocess_types: {worker: sleep 1}\n")
	w.startPlatform(t)
	st, err := store.Open(filepath.Join(w.Env["XDG_CACHE_HOME"], "slugfile"))
	if err != nil {
		t.Fatal(err)
	}
	for n := range rollbacks + 2 {
		write("n", string(rune('a'+n)))
		w.ok(t, dir, "apply", "--local")
	}
	keys, err := st.Keys(releasedKind)
	if err != nil || len(keys) != 1 {
		t.Fatalf("released slugs of %d apps, %v", len(keys), err)
	}
	var r released
	if ok, err := st.GetRef(releasedKind, keys[0], &r); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if len(r.Slugs) != rollbacks {
		t.Errorf("%d slugs are kept, want %d", len(r.Slugs), rollbacks)
	}
	seen := map[digest.Digest]bool{}
	for _, d := range r.Slugs {
		if _, ok := st.Has(d); !ok || seen[d] {
			t.Errorf("slug %s: in the store %v, twice %v", d.Short(), ok, seen[d])
		}
		seen[d] = true
	}
	var last prunedNote
	if ok, err := st.GetRef(prunedKind, prunedKey, &last); !ok || err != nil || time.Since(time.Unix(last.At, 0)) > time.Hour {
		t.Errorf("the store was looked through at %d: %v, %v", last.At, ok, err)
	}
}
