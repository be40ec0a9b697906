package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// bench is one run of make bench. Everything of it lies in one directory, which is kept, so that
// a second run finds the trees; work is removed when the run ends.
type bench struct {
	*testing.T
	root, work string
	// paths of programs; one that is not here is not in the map
	tools map[string]string
	// what the machine had to do besides, when the run began
	load string
}

// newBench skips the test unless SLUGFILE_BENCH asks for it.
func newBench(t *testing.T, what string) *bench {
	t.Helper()
	if os.Getenv("SLUGFILE_BENCH") != what {
		t.Skipf("measures for minutes: set SLUGFILE_BENCH=%s (see the Makefile)", what)
	}
	if runtime.GOOS != "linux" {
		t.Skip("the peers are those of Linux")
	}
	b := &bench{T: t, root: os.Getenv("SLUGFILE_BENCH_DIR"), tools: map[string]string{}}
	if b.root == "" {
		cache, err := os.UserCacheDir()
		b.must(err)
		b.root = filepath.Join(cache, "slugfile-bench")
	}
	b.must(os.MkdirAll(b.root, 0o755))
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		b.load, _, _ = strings.Cut(string(text), " ")
	}
	var err error
	b.work, err = os.MkdirTemp(b.root, "run-")
	b.must(err)
	t.Cleanup(func() { os.RemoveAll(b.work) })
	b.findTools()
	b.build("testdata/bench/peers", "measure", "./measure")
	b.build("testdata/bench/peers", "gotar", "./gotar")
	b.build(".", "slugfile", ".")
	b.build(".", "slugfile-nosync", "-tags", "nosync", ".")
	b.build(".", "slugfile-nocheck", "-tags", "nosync,nocheck", ".")
	b.build(".", "slugfile-noscan", "-tags", "nosync,noscan", ".")
	for _, name := range []string{"measure", "slugfile", "slugfile-nosync", "slugfile-nocheck", "slugfile-noscan", "tar", "gzip", "cp", "sync"} {
		if b.tools[name] == "" {
			b.Fatalf("nothing can be measured without %s", name)
		}
	}
	return b
}

// findTools looks for the peers, and installs those that are not here where it may.
func (b *bench) findTools() {
	b.Helper()
	packages := map[string]string{
		"tar": "tar", "gzip": "gzip", "pigz": "pigz", "igzip": "isal", "bsdtar": "libarchive-tools",
		"busybox": "busybox", "find": "findutils", "git": "git", "npm": "npm", "dpkg": "dpkg", "apt-get": "apt",
		"go": "", "cp": "coreutils", "sync": "coreutils",
	}
	var missing []string
	look := func() {
		missing = nil
		for name, pkg := range packages {
			if at, err := exec.LookPath(name); err == nil {
				b.tools[name] = at
			} else if pkg != "" {
				missing = append(missing, pkg)
			}
		}
		slices.Sort(missing)
	}
	if look(); len(missing) == 0 {
		return
	}
	var sudo []string
	if os.Getuid() != 0 {
		sudo = []string{"sudo", "-n"}
	}
	if b.tools["apt-get"] != "" {
		for _, args := range [][]string{{"update", "-qq"}, append([]string{"install", "-y", "-qq", "--no-install-recommends"}, missing...)} {
			cmd := exec.Command("env", "DEBIAN_FRONTEND=noninteractive", "apt-get")
			cmd.Args = append(cmd.Args, args...)
			if sudo != nil {
				cmd = exec.Command(sudo[0], append(sudo[1:], cmd.Args...)...)
			}
			if out, err := cmd.CombinedOutput(); err != nil {
				b.say("apt-get %s: %v\n%s", args[0], err, out)
				break
			}
		}
		look()
	}
	if len(missing) > 0 {
		b.say("not installed, and left out of the table: %s", strings.Join(missing, " "))
	}
}

// build makes a program. One that cannot be built, as without the network, is a peer that is
// not here.
func (b *bench) build(dir, name string, args ...string) {
	b.Helper()
	out := filepath.Join(b.work, "bin", name)
	cmd := exec.Command("go", append([]string{"build", "-trimpath", "-o", out}, args...)...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=")
	if text, err := cmd.CombinedOutput(); err != nil {
		b.say("go build %s: %v\n%s", strings.Join(args, " "), err, text)
		return
	}
	b.tools[name] = out
}

func (b *bench) must(errs ...error) {
	b.Helper()
	if err := errors.Join(errs...); err != nil {
		b.Fatal(err)
	}
}

// say tells what goes on, apart from the table.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...)
}

// mkdir makes a directory of this run.
func (b *bench) mkdir(parts ...string) string {
	b.Helper()
	at := filepath.Join(append([]string{b.work}, parts...)...)
	b.must(os.MkdirAll(at, 0o755))
	return at
}

// command runs what is not measured.
func (b *bench) command(dir, name string, args ...string) {
	b.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_SYSTEM="+os.DevNull)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// figures are what one run of a contender costs. Times are in seconds, sizes in bytes.
type figures struct {
	Wall, CPU  float64
	Peak, Size int64
}

// contender is one way to do a thing. The first word of each stage names a tool.
type contender struct {
	name      string
	pipelines [][][]string
	dir       string
	env       []string
	// prepare is done before each run, and is not measured. after gets the path of what the run
	// wrote to its standard output, and returns that of the archive that it made, if any.
	prepare func()
	after   func(output string) (archive string)
	// entries that the archive must have, give or take slack for the root; 0 when there is none
	entries, slack int
	// rounds to run; 0 is all
	rounds int

	absent string
	runs   []figures
}

// run lets the contenders take turns, so that whatever else the machine does hits all alike.
func (b *bench) run(rounds int, contenders ...*contender) {
	b.Helper()
	for _, c := range contenders {
		for _, p := range c.pipelines {
			for _, stage := range p {
				if at := b.tools[stage[0]]; at != "" {
					stage[0] = at
				} else {
					c.absent = stage[0]
				}
			}
		}
	}
	for round := range rounds {
		b.say("round %d of %d", round+1, rounds)
		for _, c := range contenders {
			if c.absent == "" && (c.rounds == 0 || round < c.rounds) {
				last := round == rounds-1 || round == c.rounds-1
				b.once(c, last)
			}
		}
	}
}

// once runs a contender and checks what it did; the archive of its last run is read as a whole.
func (b *bench) once(c *contender, last bool) {
	b.Helper()
	if c.prepare != nil {
		c.prepare()
	}
	b.command(b.work, b.tools["sync"]) // what others left to be written is not this one's cost
	output := filepath.Join(b.work, "output")
	request, err := json.Marshal(map[string]any{
		"Dir": c.dir, "Env": append([]string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}, c.env...),
		"Pipelines": c.pipelines, "Output": output,
	})
	b.must(err)
	cmd := exec.Command(b.tools["measure"])
	var errs bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(request), &errs
	out, err := cmd.Output()
	if err != nil {
		b.Fatalf("%s: %v\n%s", c.name, err, &errs)
	}
	var f figures
	b.must(json.Unmarshal(out, &f))
	if c.after != nil {
		if archive := c.after(output); archive != "" {
			info, err := os.Stat(archive)
			b.must(err)
			f.Size = info.Size()
			if n := b.entriesOf(archive, last); last && c.entries > 0 && (n > c.entries || n < c.entries-c.slack) {
				b.Errorf("%s: the archive has %d entries; the tree has %d", c.name, n, c.entries)
			}
		}
	}
	c.runs = append(c.runs, f)
	b.say("  %-28s %8.3f s  %8.3f s CPU  %6.1f MiB  %11d bytes", c.name, f.Wall, f.CPU, float64(f.Peak)/(1<<20), f.Size)
}

// read returns what a program said.
func (b *bench) read(output string) []byte {
	b.Helper()
	text, err := os.ReadFile(output)
	b.must(err)
	return text
}

// entriesOf counts the entries of a tar.gz, and so reads all of it and checks its sum; it asks
// gzip, too. It does nothing when it is not wanted.
func (b *bench) entriesOf(archive string, wanted bool) int {
	b.Helper()
	if !wanted {
		return 0
	}
	in, err := os.Open(archive)
	b.must(err)
	defer in.Close()
	check := exec.Command(b.tools["gzip"], "-t")
	check.Stdin = in
	if out, err := check.CombinedOutput(); err != nil {
		b.Fatalf("gzip -t: %v\n%s", err, out)
	}
	_, err = in.Seek(0, io.SeekStart)
	b.must(err)
	gz, err := gzip.NewReader(bufio.NewReaderSize(in, 1<<16))
	b.must(err)
	n := 0
	for tr := tar.NewReader(gz); ; n++ {
		if _, err := tr.Next(); err == io.EOF {
			return n
		} else if err != nil {
			b.Fatalf("%s: %v", filepath.Base(archive), err)
		}
	}
}

// median of one figure over all runs.
func (c *contender) median(of func(figures) float64) float64 {
	var all []float64
	for _, r := range c.runs {
		all = append(all, of(r))
	}
	return middle(all)
}

// ratio is the median of a figure of c by that of other, run by run.
func (c *contender) ratio(other *contender, of func(figures) float64) float64 {
	var all []float64
	for i := range min(len(c.runs), len(other.runs)) {
		all = append(all, of(c.runs[i])/of(other.runs[i]))
	}
	return middle(all)
}

func middle(all []float64) float64 {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}

func wall(f figures) float64 { return f.Wall }
func cpu(f figures) float64  { return f.CPU }
func peak(f figures) float64 { return float64(f.Peak) / (1 << 20) }
func size(f figures) float64 { return float64(f.Size) / 1e6 }

// row compares one contender with others. Goals are the most that a ratio may be; 0 is no goal.
type row struct {
	name string
	ours *contender
	// peak memory in MiB, at most
	peak float64
	// cpu is the most that the ratio of CPU to that of the first of against may be
	cpu     float64
	against []versus
}

type versus struct {
	*contender
	wall, size float64
}

// table is what README.md quotes.
func table(rows []row) string {
	var out strings.Builder
	out.WriteString("| case | program | wall | CPU | peak | size | wall ratio | CPU ratio | size ratio | goal |\n")
	out.WriteString("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, r := range rows {
		fmt.Fprintf(&out, "| %s | %s | %s | | | | %s |\n", r.name, r.ours.name, r.ours.absolute(), goals(limit{"peak", "MiB", r.ours.median(peak), r.peak, 0}))
		for i, v := range r.against {
			most := 0.0
			if i == 0 {
				most = r.cpu
			}
			switch {
			case v.absent != "":
				fmt.Fprintf(&out, "| | %s | not installed | | | | | | | |\n", v.name)
			default:
				sizes := ""
				if v.median(size) > 0 && r.ours.median(size) > 0 {
					sizes = fmt.Sprintf("%.3fx", r.ours.ratio(v.contender, size))
				}
				fmt.Fprintf(&out, "| | %s | %s | %.3fx | %.3fx | %s | %s |\n", v.name, v.absolute(), r.ours.ratio(v.contender, wall), r.ours.ratio(v.contender, cpu), sizes,
					goals(limit{"wall", "x", r.ours.ratio(v.contender, wall), v.wall, 3}, limit{"CPU", "x", r.ours.ratio(v.contender, cpu), most, 3}, limit{"size", "x", r.ours.ratio(v.contender, size), v.size, 3}))
			}
		}
	}
	return out.String()
}

func (c *contender) absolute() string {
	sizes := ""
	if s := c.median(size); s > 0 {
		sizes = fmt.Sprintf("%.1f MB", s)
	}
	return fmt.Sprintf("%.3f s | %.3f s | %.1f MiB | %s", c.median(wall), c.median(cpu), c.median(peak), sizes)
}

// limit is a goal and what was reached.
type limit struct {
	what, unit string
	got, most  float64
	digits     int
}

func goals(all ...limit) string {
	var out []string
	for _, l := range all {
		if l.most == 0 {
			continue
		}
		verdict := "met"
		if l.got > l.most {
			verdict = "**not met**"
		}
		unit := l.unit
		if unit != "x" {
			unit = " " + unit
		}
		out = append(out, fmt.Sprintf("%s ≤ %.*f%s: %s", l.what, l.digits, l.most, unit, verdict))
	}
	return strings.Join(out, ", ")
}

// machine tells on what the figures were taken, without a name that is somebody's.
func (b *bench) machine() string {
	ask := func(name string, args ...string) string {
		out, _ := exec.Command(name, args...).CombinedOutput() // what cannot be told is left out
		return string(out)
	}
	model := runtime.GOARCH
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	_, kind, _ := strings.Cut(strings.TrimSpace(ask("df", "--output=fstype", b.work)), "\n")
	about := []string{model, fmt.Sprintf("%d cores", runtime.NumCPU()), kind, "Linux " + strings.TrimSpace(ask("uname", "-r")), runtime.Version()}
	version := regexp.MustCompile(`\d+\.\d+(\.\d+)*`)
	for _, name := range []string{"tar", "gzip", "pigz", "igzip", "bsdtar", "busybox", "find", "git"} {
		if at := b.tools[name]; at != "" {
			how := "--version"
			if name == "busybox" {
				how = "--help"
			}
			about = append(about, name+" "+version.FindString(ask(at, how)))
		}
	}
	return strings.Join(append(about, "load at the start "+b.load), "; ")
}

// settle waits until what was just written is older than the clock's grain, by the program's
// own rule: what is younger is not taken on trust.
func settle() { time.Sleep(2500 * time.Millisecond) }
