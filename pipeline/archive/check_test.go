package archive_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/pipeline/archive"
	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/slug"
)

// codes are those of findings, with their paths.
func codes(list []artifact.Finding) (all []string) {
	for _, f := range list {
		all = append(all, string(f.Severity)+" "+f.Code+" "+f.Path)
	}
	return all
}

func TestRun_findsWhatWouldNotRun(t *testing.T) {
	t.Parallel()
	b := newBench(t, project(t, newRandom(t, 300)))
	must(t, os.Chmod(b.dir+"/web", 0o755))
	made := b.sameAsCold(t, b.scan(t))
	want := []string{"error glibc lib/1/a.node", "error glibc lib/4/long.node", "warning interpreter web"}
	if diff := cmp.Diff(want, codes(made.Findings)); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

// What an earlier slug tells of the files that are not read may be gone, or be of another version:
// then they are looked at.
func TestRun_findsTheSameWithoutWhatIsRemembered(t *testing.T) {
	t.Parallel()
	for _, change := range []string{"gone", "damaged", "another version"} {
		t.Run(change, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, project(t, newRandom(t, 301)))
			first, err := b.run(t, b.scan(t))
			must(t, err)
			document := filepath.Join(b.refs(), "facts", first.Digest.String()+".bin")
			switch change {
			case "gone":
				must(t, os.Remove(document))
			case "damaged":
				alter(t, document, flip(20))
			case "another version":
				must(t, b.Store.PutBytes("facts", first.Digest.String(), []byte(`{"v":99,"files":[]}`)))
			}
			for _, edited := range []bool{false, true} {
				if edited {
					save(t, b.dir+"/zzz", []byte("new"))
				}
				again := b.sameAsCold(t, b.scan(t))
				if len(again.Findings) != 2 {
					t.Errorf("edited %t: %v", edited, codes(again.Findings))
				}
			}
		})
	}
}

func TestCheck_stopsWhatNobodyAllows(t *testing.T) {
	t.Parallel()
	b := newBench(t, project(t, newRandom(t, 302)))
	made, err := b.run(t, b.scan(t))
	must(t, err)
	_, err = b.Check(context.Background(), b.step, made)
	var refused *archive.RefusedError
	if !errors.As(err, &refused) || len(refused.Findings) != 2 {
		t.Fatalf("error is %v", err)
	}
	for _, want := range []string{"would not run on heroku-22", "lib/1/a.node [glibc]", "needs GLIBC_2.38; heroku-22 has 2.35"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	if want := "build on heroku-22, link statically, or move to heroku-24; --allow glibc lets it pass"; refused.Hint() != want {
		t.Errorf("hint is %q, want %q", refused.Hint(), want)
	}
	b.step.Allow = []string{"glibc"}
	if _, err := b.Check(context.Background(), b.step, made); err != nil {
		t.Fatal(err)
	}
	if w := b.warnings(); len(w) != 1 || w[0] != "needs GLIBC_2.38; heroku-22 has 2.35; the same goes for another file" {
		t.Errorf("warnings are %q", w)
	}
}

// A slug that another version of slugfile left in the store is read, once.
func TestCheck_readsASlugThatNobodyChecked(t *testing.T) {
	t.Parallel()
	b := newBench(t, project(t, newRandom(t, 303)))
	made, err := b.run(t, b.scan(t))
	must(t, err)
	old := made
	old.Checked, old.Findings, old.Members = 0, nil, nil
	var refused *archive.RefusedError
	got, err := b.Check(context.Background(), b.step, old)
	if !errors.As(err, &refused) {
		t.Fatalf("error is %v", err)
	}
	if diff := cmp.Diff(made.Findings, got.Findings); diff != "" {
		t.Errorf("findings (-when it was made +when it was read):\n%s", diff)
	}
	var stored artifact.Slug
	if ok, err := b.Store.GetRef("slug", key.String(), &stored); !ok || err != nil || stored.Checked == 0 || len(stored.Findings) != 2 {
		t.Errorf("it is not remembered: %+v, %v", stored, err)
	}
}

func TestExamine_readsLargeProgramsFromASlug(t *testing.T) {
	t.Parallel()
	b := newBench(t, project(t, newRandom(t, 304)))
	save(t, b.dir+"/huge.node", append(append([]byte{}, tooNew...), make([]byte, 17<<20)...))
	made, err := b.run(t, b.scan(t))
	must(t, err)
	f, err := os.Open(made.Path)
	must(t, err)
	defer f.Close()
	c, err := slug.Examine(context.Background(), f, slug.ExamineOptions{})
	must(t, err)
	for _, name := range []string{"huge.node", "lib/1/a.node", "lib/4/long.node"} {
		if e := c.Facts[name].ELF; e == nil || len(e.Requires) != 1 {
			t.Errorf("%s: %+v", name, e)
		}
	}
	if diff := cmp.Diff(slug.Tree(made.Members), c.Tree); diff != "" {
		t.Errorf("trees (-packed +read):\n%s", diff)
	}
}
