package observe_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/observe"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// documents keeps documents in memory, or fails to.
type documents struct {
	mu       sync.Mutex
	b        map[string][]byte
	get, put error
}

func (d *documents) GetBytes(kind, key string) ([]byte, bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	b, ok := d.b[kind+"/"+key]
	return b, ok, d.get
}

func (d *documents) PutBytes(kind, key string, b []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.b == nil {
		d.b = map[string][]byte{}
	}
	if d.put == nil {
		d.b[kind+"/"+key] = b
	}
	return d.put
}

func (c *checkout) tree(o observe.SourceOptions) tree.Manifest {
	c.t.Helper()
	o.Env = c.env
	src, _, _, faults, err := observe.Source(context.Background(), c.dir, o)
	if err != nil || len(faults) > 0 {
		c.t.Fatal(err, faults)
	}
	return src.Tree
}

func TestSource_readsNoFileThatIsKnown(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" && runtime.GOOS != "darwin" {
		t.Skip("this system does not tell when an inode changed")
	}
	for name, where := range map[string]func(*testing.T) *checkout{"a directory": directory, "a git checkout": repository} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := where(t)
			for i := range 64 { // enough that remembering them pays
				c.write(fmt.Sprintf("lib/f%02d", i))
			}
			if name == "a git checkout" {
				c.git("add", ".")
			}
			docs := &documents{}
			want := c.tree(observe.SourceOptions{Indexes: docs})
			if len(docs.b) > 0 {
				t.Error("files that had just been made were remembered")
			}
			time.Sleep(2100 * time.Millisecond) // what is younger is not known by its inode
			for _, when := range []string{"while it is remembered", "when it is known"} {
				same(t, when, c.tree(observe.SourceOptions{Indexes: docs}), want)
			}
			if len(docs.b) != 1 {
				t.Fatalf("%d documents", len(docs.b))
			}
			// Whether files are read shows when what is remembered of one is a lie.
			right, wrong := digest.Of([]byte("lib/f07")), digest.Of([]byte("lie"))
			for key, b := range docs.b {
				docs.b[key] = bytes.Replace(b, right[:], wrong[:], 1)
			}
			for when, known := range map[string]observe.Indexes{"": docs, " ahead": observe.Ahead(docs, c.dir), " ahead for another directory": observe.Ahead(docs, t.TempDir())} {
				if e, _ := c.tree(observe.SourceOptions{Indexes: known}).Find("lib/f07"); e.Digest != wrong {
					t.Errorf("a known file was read%s", when)
				}
			}
			c.put("lib/f07", "LIB/F07", 0o644)
			if e, _ := c.tree(observe.SourceOptions{Indexes: docs}).Find("lib/f07"); e.Digest != digest.Of([]byte("LIB/F07")) {
				t.Error("a change was missed")
			}
		})
	}
}

func TestSource_bearsAnyFaultOfWhatItRemembers(t *testing.T) {
	t.Parallel()
	c := directory(t)
	c.write("web.js", "lib/a", "bin/run*")
	want := c.tree(observe.SourceOptions{})
	dir, err := filepath.Abs(c.dir)
	if err != nil {
		t.Fatal(err)
	}
	key := "source/" + digest.Of([]byte(dir)).String()
	boom := errors.New("read-only")
	for name, docs := range map[string]*documents{
		"cannot be read":     {get: boom},
		"cannot be written":  {put: boom},
		"of another version": {b: map[string][]byte{key: []byte("tree index 0\n\x00")}},
		"empty":              {b: map[string][]byte{key: nil}},
	} {
		same(t, name, c.tree(observe.SourceOptions{Indexes: docs}), want)
	}
}

// Two git processes list a checkout, and git's index may change between them.
func TestSource_losesNoFileThatIsAddedMeanwhile(t *testing.T) {
	t.Parallel()
	c := repository(t)
	for i := range 200 {
		c.write(fmt.Sprintf("f%03d", i))
	}
	want := c.tree(observe.SourceOptions{})
	added := make(chan error, 1)
	go func() {
		for i := range 200 {
			cmd := exec.Command("git", "add", fmt.Sprintf("f%03d", i))
			cmd.Dir = c.dir
			for k, v := range c.env {
				cmd.Env = append(cmd.Env, k+"="+v)
			}
			if out, err := cmd.CombinedOutput(); err != nil {
				added <- fmt.Errorf("%w: %s", err, out)
				return
			}
		}
		added <- nil
	}()
	for {
		if diff := cmp.Diff(want, c.tree(observe.SourceOptions{})); diff != "" {
			t.Errorf("-before +while git's index changes\n%s", diff)
		}
		select {
		case err := <-added:
			if err != nil {
				t.Error(err)
			}
			return
		default:
		}
	}
}

func BenchmarkSource(b *testing.B) {
	dir := b.TempDir()
	for i := range 20000 {
		at := filepath.Join(dir, fmt.Sprintf("p%d/lib/f%d.js", i%400, i))
		if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, []byte(strings.Repeat("x", i%999)), 0o644)); err != nil {
			b.Fatal(err)
		}
	}
	time.Sleep(2100 * time.Millisecond)
	docs := &documents{}
	o := observe.SourceOptions{Indexes: docs, Outputs: []string{"dist", "**/*.map"}, Exclude: []string{"slug.yaml", "slug.lock"}}
	n := 0
	for b.Loop() {
		src, _, _, _, err := observe.Source(context.Background(), dir, o)
		if err != nil {
			b.Fatal(err)
		}
		n = len(src.Tree)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/entry")
}
