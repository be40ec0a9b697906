package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/platform/local"
)

// TestBenchPlan prints what a plan costs beside git status: the node tree in a git checkout,
// released on the embedded platform, which runs on loopback. See make bench-plan.
func TestBenchPlan(t *testing.T) {
	b := newBench(t, "plan")
	s, ok := b.nodeTree()
	if !ok {
		t.Skip("the tree could not be made")
	}
	// A worker has no dyno at first: nothing is booted beside what is measured.
	p := b.sample("node", s, strings.Replace(plainYAML, "web:", "worker:", 1))
	b.commitAll(p)
	env := append(p.env("warm"), "SLUGFILE_DATA="+b.servePlatform(p))
	ours := func(name string, prepare func(), changed, files bool, args ...string) *contender {
		return &contender{
			name: name, dir: p.dir, env: env, prepare: prepare,
			pipelines: [][][]string{{append([]string{"slugfile-nosync", "plan", "--local", "--json"}, args...)}},
			after: func(output string) string {
				var got struct {
					Changed    bool `json:"changed"`
					FilesKnown bool `json:"files_known"`
					Files      []struct{ Path string }
				}
				b.must(json.Unmarshal(b.read(output), &got))
				if got.Changed != changed || files && (!got.FilesKnown || len(got.Files) != 1 || got.Files[0].Path != s.late) {
					b.Errorf("%s: changed %t, files known %t: %v", name, got.Changed, got.FilesKnown, got.Files)
				}
				return ""
			},
		}
	}
	n := 0
	change := func() {
		n++
		f, err := os.OpenFile(filepath.Join(p.dir, filepath.FromSlash(s.late)), os.O_WRONLY|os.O_APPEND, 0)
		b.must(err)
		_, err = fmt.Fprintf(f, "// %d\n", n)
		b.must(err, f.Close())
	}
	status := func(name string, changes int) *contender {
		return &contender{name: name, dir: p.dir, env: env, pipelines: [][][]string{{{"git", "status", "--porcelain"}}}, after: func(output string) string {
			if got := bytes.Count(b.read(output), []byte("\n")); got != changes {
				b.Errorf("%s sees %d changes", name, got)
			}
			return ""
		}}
	}
	// The release takes the tree as it is, slug.yaml included.
	first := &contender{name: "the first release", dir: p.dir, env: env, pipelines: [][][]string{{{"slugfile-nosync", "apply", "--local", "-q"}}}}
	b.once(resolved(b, first), false)
	settle()
	const rounds = 9
	plan0, status0 := ours("slugfile plan", nil, false, false), status("git status", 0)
	b.run(rounds, plan0, status0)
	plan1, status1 := ours("slugfile plan", change, true, true), status("git status", 1)
	against := ours("slugfile plan --against HEAD", nil, true, true, "--against", "HEAD")
	b.run(rounds, plan1, status1, against)
	fmt.Fprintf(os.Stdout, "\n%s.\n\nMedians of %d interleaved runs of whole processes.\n\n%s\n", b.machine(), rounds, table([]row{
		{name: "plan, nothing changed", ours: plan0, against: []versus{{status0, 1, 0}}},
		{name: "plan, one file changed", ours: plan1, against: []versus{{status1, 1.5, 0}}},
		{name: "plan --against HEAD, one file changed", ours: against, against: []versus{{contender: status1}}},
	}))
}

// servePlatform runs the embedded platform until the test ends, and returns its directory.
func (b *bench) servePlatform(p *sample) string {
	b.Helper()
	dir := b.mkdir("platform")
	cmd := exec.Command(b.tools["slugfile-nosync"], "platform", "--listen", "127.0.0.1:0", "--data", dir)
	cmd.Env = append(p.env("warm"), "PATH="+os.Getenv("PATH"))
	b.must(cmd.Start())
	b.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		_ = cmd.Wait()
	})
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if _, running := local.Discover(dir); running {
			return dir
		}
		if time.Now().After(end) {
			b.Fatal("the platform did not start")
		}
	}
}
