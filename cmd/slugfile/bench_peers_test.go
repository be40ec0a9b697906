package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestBenchPeers prints the table of README.md: slugfile beside the programs that people make
// slugs with, on the same trees, in turn. See make bench. SLUGFILE_BENCH_TREES=go,ruby leaves out
// trees, SLUGFILE_BENCH_ROUNDS=1 is for a first look; "check" is the node tree with what the checks cost.
func TestBenchPeers(t *testing.T) {
	b := newBench(t, "1")
	rounds := 5
	if text := os.Getenv("SLUGFILE_BENCH_ROUNDS"); text != "" {
		n, err := strconv.Atoi(text)
		b.must(err)
		rounds = n
	}
	var rows []row
	var names []string
	for _, tree := range []struct {
		name string
		make func() (stuff, bool)
		race func(stuff, int) []row
	}{{"node", b.nodeTree, b.node}, {"check", b.nodeTree, b.check}, {"go", b.goTree, b.small("go")}, {"ruby", b.rubyTree, b.small("ruby")}} {
		if only := os.Getenv("SLUGFILE_BENCH_TREES"); only != "" && !slices.Contains(strings.Split(only, ","), tree.name) {
			continue
		}
		s, ok := tree.make()
		if !ok {
			continue
		}
		names = append(names, fmt.Sprintf("%s: %d entries, %.0f MB", tree.name, s.entries, float64(s.bytes)/1e6))
		rows = append(rows, tree.race(s, rounds)...)
	}
	fmt.Fprintf(os.Stdout, "\n%s.\n\nMedians of %d interleaved runs of whole processes (3 of gotar, bsdtar and busybox). A ratio is slugfile's figure by the program's, run by run.\nPeak is that of the largest process. Figures exclude fsync, but for the rows that show what it costs.\n\n%s\n", b.machine(), rounds, table(rows))
	for _, n := range names {
		fmt.Fprintln(os.Stdout, n)
	}
	for _, beaten := range dominated(rows) {
		fmt.Fprintln(os.Stdout, beaten)
	}
}

// dominated names the peers that are both faster and smaller than slugfile in a row with sizes.
func dominated(rows []row) []string {
	var out []string
	for _, r := range rows {
		for _, v := range r.against {
			if v.absent == "" && !strings.HasPrefix(v.name, "slugfile") && v.median(size) > 0 && r.ours.ratio(v.contender, wall) > 1 && r.ours.ratio(v.contender, size) > 1 {
				out = append(out, fmt.Sprintf("%s: %s is both faster and smaller", r.name, v.name))
			}
		}
	}
	return out
}

// sample is a source tree beside a slug.yaml, with a cache of its own.
type sample struct {
	*bench
	stuff
	home string
	// what the last build said
	last built
	seen map[string]bool
	n    int
}

// built is what build --json tells.
type built struct {
	Type, Stage string
	Slug        struct {
		Checksum, Path string
	}
	skipped bool
}

// plainYAML lets pass what the trees of this system's packages need of this system.
const plainYAML = "app: bench\nstack: heroku-24\nprocess_types: {web: sleep 60}\nchecks: {allow: [glibc, libgcc, libstdcxx]}\n"

// sample copies a tree beside a slug.yaml.
func (b *bench) sample(name string, s stuff, yaml string) *sample {
	b.Helper()
	dir := filepath.Join(b.work, name)
	b.copyTree(s.dir, dir)
	s.dir = dir
	return b.sampleAt(name, s, yaml)
}

// sampleAt puts a slug.yaml into the tree itself.
func (b *bench) sampleAt(name string, s stuff, yaml string) *sample {
	b.Helper()
	b.must(os.WriteFile(filepath.Join(s.dir, "slug.yaml"), []byte(yaml), 0o644))
	return &sample{bench: b, stuff: s, home: b.mkdir("home-" + name), seen: map[string]bool{}}
}

func (b *bench) copyTree(from, to string) {
	b.Helper()
	b.command(b.work, b.tools["cp"], "-a", from, to)
}

// env is the environment of a user who has nothing but a cache.
func (p *sample) env(cache string) []string {
	return []string{
		"HOME=" + p.home, "XDG_CACHE_HOME=" + filepath.Join(p.home, cache), "XDG_STATE_HOME=" + filepath.Join(p.home, "state"),
		"XDG_DATA_HOME=" + filepath.Join(p.home, "data"), "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_CONFIG_SYSTEM=" + os.DevNull,
	}
}

// ours is a build of the project, by the program that does not flush.
func (p *sample) ours(name, cache string, prepare func(), check func(built)) *contender {
	return &contender{
		name: name, dir: p.dir, env: p.env(cache), prepare: prepare, entries: p.entries + 1,
		pipelines: [][][]string{{{"slugfile-nosync", "build", "--json"}}},
		after: func(output string) string {
			p.Helper()
			text := p.read(output)
			var got built
			skipped := false
			for line := range bytes.Lines(text) {
				got = built{}
				p.must(json.Unmarshal(line, &got))
				skipped = skipped || got.Type == "stage_skipped" && got.Stage == "archive"
			}
			if got.skipped = skipped; got.Type != "built" || got.Slug.Path == "" {
				p.Fatalf("%s: the last line is not \"built\": %s", name, text)
			}
			if check != nil {
				check(got)
			}
			p.seen[got.Slug.Checksum], p.last = true, got
			return got.Slug.Path
		},
	}
}

// cold is ours with an empty cache.
func (p *sample) cold(name string) *contender {
	return p.ours(name, "cold", func() { p.must(os.RemoveAll(filepath.Join(p.home, "cold"))) }, func(got built) {
		if got.skipped {
			p.Errorf("%s: nothing was built", name)
		}
	})
}

// unchanged wants nothing to be done.
func (p *sample) unchanged(got built) {
	p.Helper()
	if !got.skipped || got.Slug.Checksum != p.last.Slug.Checksum {
		p.Errorf("nothing had changed, and the slug was built again: %+v", got)
	}
}

// changed is ours after a line was added to a file. The sibling is changed alike.
func (p *sample) changed(name, file, sibling string) *contender {
	return p.ours(name, "warm", func() {
		p.n++
		for _, dir := range []string{p.dir, sibling} {
			if dir == "" {
				continue
			}
			f, err := os.OpenFile(filepath.Join(dir, filepath.FromSlash(file)), os.O_WRONLY|os.O_APPEND, 0)
			p.must(err)
			_, err = fmt.Fprintf(f, "// %d\n", p.n)
			p.must(err, f.Close())
		}
	}, func(got built) {
		if got.skipped || p.seen[got.Slug.Checksum] {
			p.Errorf("%s: %s has changed, and the slug has not", name, file)
		}
	})
}

// warm builds what the next runs find in the cache.
func (p *sample) warm() {
	p.Helper()
	settle()
	p.once(resolved(p.bench, p.ours("the first build", "warm", nil, nil)), false)
}

// by lets another program do it, in a cache of its own.
func (p *sample) by(program string, c *contender) *contender {
	c.pipelines[0][0][0] = program
	c.env = p.env(program)
	return c
}

func resolved(b *bench, c *contender) *contender {
	b.run(0, c)
	return c
}

// packers are the peers that make a tar.gz of a directory; the first is GNU tar with gzip.
func (b *bench) packers(p *sample) (all []*contender, by map[string]*contender) {
	out := filepath.Join(b.work, "peer.tar.gz")
	into := func(args ...string) [][][]string { return [][][]string{{args}} }
	piped := func(args ...string) [][][]string { return [][][]string{{{"tar", "cf", "-", "."}, args}} }
	by = map[string]*contender{}
	for _, c := range []*contender{
		{name: "tar czf", pipelines: into("tar", "czf", out, ".")},
		{name: "tar, pigz -p2 -6", pipelines: piped("pigz", "-p2", "-6")},
		{name: "tar, igzip -1", pipelines: piped("igzip", "-1", "-c")},
		{name: "tar, igzip -3", pipelines: piped("igzip", "-3", "-c")},
		{name: "pgzip in Go", pipelines: into("gotar", "pgzip", ".", out)},
		{name: "compress/gzip in Go", pipelines: into("gotar", "gzip", ".", out), rounds: 3},
		{name: "bsdtar czf", pipelines: into("bsdtar", "czf", out, "."), rounds: 3},
		{name: "busybox tar czf", pipelines: into("busybox", "tar", "czf", out, "."), rounds: 3},
	} {
		c.dir = p.dir
		c.entries, c.slack = p.entries+2, 1 // the root, which not all write, and slug.yaml
		c.prepare = func() { b.must(os.RemoveAll(out)) }
		c.after = func(output string) string {
			if len(c.pipelines[0]) > 1 {
				return output
			}
			return out
		}
		by[c.name] = c
		all = append(all, c)
	}
	return all, by
}

// colds are the rows of an empty cache.
func colds(name string, ordinary, fast *contender, peers []*contender, by map[string]*contender) []row {
	a := row{name: "cold, default, " + name, ours: ordinary, peak: 48}
	f := row{name: "cold, fast, " + name, ours: fast, peak: 48}
	for _, c := range peers {
		va, vf := versus{contender: c}, versus{contender: c}
		switch c {
		case by["tar czf"]:
			va.wall, va.size = 0.40, 1.000
			vf.wall, vf.size = 0.22, 1.04
		case by["tar, pigz -p2 -6"]:
			vf.wall = 0.45
		}
		a.against, f.against = append(a.against, va), append(f.against, vf)
	}
	return []row{a, f}
}

// small races the trees of which only the cold cases are asked.
func (b *bench) small(name string) func(stuff, int) []row {
	return func(s stuff, rounds int) []row {
		p, f := b.sample(name, s, plainYAML), b.sample(name+"-fast", s, plainYAML+"compression: fast\n")
		ordinary, fast := p.cold("slugfile"), f.cold("slugfile, fast")
		peers, by := b.packers(p)
		settle()
		b.run(rounds, append([]*contender{ordinary, fast}, peers...)...)
		b.must(os.RemoveAll(p.dir), os.RemoveAll(f.dir))
		return colds(name, ordinary, fast, peers, by)
	}
}

// node races the large tree, with every case.
func (b *bench) node(s stuff, rounds int) []row {
	p, f := b.sample("node", s, plainYAML), b.sample("node-fast", s, plainYAML+"compression: fast\n")
	sibling := filepath.Join(b.work, "node-sibling")
	b.copyTree(p.dir, sibling)
	checkout := b.sample("node-git", s, plainYAML)
	runtimes := b.runtimeSample(s)
	p.warm()

	peers, by := b.packers(p)
	ordinary, fast := p.cold("slugfile"), f.cold("slugfile, fast")
	nothing := p.ours("slugfile", "warm", nil, p.unchanged)
	find := &contender{name: "find, lstat of each", dir: p.dir, pipelines: [][][]string{{{"find", ".", "-printf", `%s %T@\n`}}}}
	late, early := p.changed("slugfile", s.late, sibling), p.changed("slugfile", s.early, sibling)
	fresh := p.ours("slugfile", "warm", func() {
		spare := filepath.Join(b.work, "spare")
		b.must(os.Rename(p.dir, spare), os.Rename(sibling, p.dir), os.Rename(spare, sibling))
	}, func(got built) {
		if got.Slug.Checksum != p.last.Slug.Checksum {
			b.Errorf("a fresh checkout made another slug: %+v", got)
		}
	})
	flushed := func(c *contender) *contender {
		c.pipelines[0][0][0] = "slugfile"
		return c
	}
	coldFlushed, lateFlushed := flushed(p.cold("slugfile with fsync")), flushed(p.changed("slugfile with fsync", s.late, sibling))
	all := append([]*contender{ordinary, fast, coldFlushed}, peers...)
	all = append(all, nothing, find, late, lateFlushed, early, fresh)

	status, gitBuild, gitPlan := b.gitCases(checkout)
	all = append(all, status, gitBuild, gitPlan)
	transcode, unpackAndPack := b.runtimeCases(runtimes)
	all = append(all, transcode, unpackAndPack)
	b.run(rounds, all...)

	tar, pigz, igzip := by["tar czf"], by["tar, pigz -p2 -6"], by["tar, igzip -1"]
	rows := []row{
		{name: "nothing changed, node", ours: nothing, peak: 48, against: []versus{{find, 0.7, 0}}},
		{name: "nothing changed, node in git", ours: gitBuild, peak: 48, against: []versus{{status, 1, 0}}},
		{name: "nothing changed, plan, node in git", ours: gitPlan, peak: 48, against: []versus{{status, 1, 0}}},
		{name: "one file changed, late", ours: late, peak: 48, against: []versus{{tar, 0.010, 0}, {pigz, 0.025, 0}, {igzip, 0.1, 0}}},
		{name: "one file changed, early", ours: early, peak: 48, against: []versus{{tar, 0.018, 0}, {pigz, 0, 0}, {igzip, 0, 0}}},
		{name: "fresh checkout, same content", ours: fresh, peak: 48, against: []versus{{tar, 0.03, 0}}},
	}
	rows = append(rows, colds("node", ordinary, fast, peers, by)...)
	return append(rows,
		row{name: "runtime archive into the slug", ours: transcode, peak: 48, against: []versus{{unpackAndPack, 0.14, 0}}},
		row{name: "cold, default, node: the cost of fsync", ours: coldFlushed, against: []versus{{contender: ordinary}}},
		row{name: "one file changed, late: the cost of fsync", ours: lateFlushed, against: []versus{{contender: late}}},
	)
}

// check races slugfile against itself without the check of what would run, and without the look for
// secrets. CPU is the measure: what wall clocks tell of a few percent, the rest of the machine decides.
func (b *bench) check(s stuff, rounds int) []row {
	const yaml = "app: bench\nstack: heroku-24\nprocess_types: {web: node/bin/node server.js}\n"
	programs := []string{"slugfile-nosync", "slugfile-nocheck", "slugfile-noscan"}
	names := []string{"slugfile", "slugfile without the check", "slugfile without the look for secrets"}
	p, q := b.sample("check", s, yaml), b.sample("check-changed", s, yaml)
	settle()
	var cold, nothing, late []versus
	var all []*contender
	for i, program := range programs {
		for _, x := range []*sample{p, q} {
			b.once(resolved(b, x.by(program, x.ours("the first build", "warm", nil, nil))), false)
		}
		c := p.cold(names[i])
		c.pipelines[0][0][0] = program
		n := p.by(program, p.ours(names[i], "warm", nil, p.unchanged))
		l := q.by(program, q.changed(names[i], s.late, ""))
		all = append(all, c, n, l)
		cold, nothing, late = append(cold, versus{contender: c}), append(nothing, versus{contender: n}), append(late, versus{contender: l})
	}
	b.run(rounds, all...)
	b.must(os.RemoveAll(p.dir), os.RemoveAll(q.dir))
	return []row{
		{name: "cold, default, node: the cost of the check", ours: cold[0].contender, cpu: 1.05, against: cold[1:]},
		{name: "nothing changed, node: the cost of the check", ours: nothing[0].contender, cpu: 1.05, against: nothing[1:]},
		{name: "one file changed, late: the cost of the check", ours: late[0].contender, cpu: 1.10, against: late[1:]},
	}
}

// commitAll makes a git checkout of the tree.
func (b *bench) commitAll(p *sample) {
	b.Helper()
	for _, args := range [][]string{
		{"init", "-q"},
		{"config", "gc.auto", "0"}, // it would go on while others are measured
		{"add", "-A", "-f"},
		{"-c", "user.name=bench", "-c", "user.email=bench@example.com", "commit", "-q", "-m", "the tree"},
	} {
		b.command(p.dir, b.tools["git"], args...)
	}
	settle()
	b.command(p.dir, b.tools["git"], "status", "--porcelain")
}

// gitCases are those of a project that is committed.
func (b *bench) gitCases(p *sample) (status, build, plan *contender) {
	b.Helper()
	b.commitAll(p)
	p.warm()
	status = &contender{name: "git status", dir: p.dir, env: p.env("warm"), pipelines: [][][]string{{{"git", "status", "--porcelain"}}}, after: func(output string) string {
		if text := b.read(output); len(text) > 0 {
			b.Errorf("git status sees changes: %s", text)
		}
		return ""
	}}
	build = p.ours("slugfile build", "warm", nil, p.unchanged)
	plan = &contender{name: "slugfile plan", dir: p.dir, env: p.env("warm"), pipelines: [][][]string{{{"slugfile-nosync", "plan", "--local"}}}, after: func(output string) string {
		if text := b.read(output); !bytes.Contains(text, []byte("Plan:")) {
			b.Errorf("no plan: %s", text)
		}
		return ""
	}}
	return status, build, plan
}

// runtimeSample is a small app with the Node of the tree as an archive beside slug.yaml.
func (b *bench) runtimeSample(s stuff) *sample {
	b.Helper()
	source := b.mkdir("runtime-source")
	b.must(os.WriteFile(filepath.Join(source, "server.js"), []byte("console.log(1)\n"), 0o644))
	p := b.sample("runtime", stuff{dir: source}, "app: bench\nstack: heroku-24\nruntimes:\n  node: {path: node.tar.gz, strip: 1}\nprocess_types: {web: node/bin/node server.js}\n")
	b.command(s.dir, b.tools["tar"], "czf", filepath.Join(p.dir, "node.tar.gz"), "node")
	lock := &contender{name: "slugfile lock", dir: p.dir, env: p.env("cold"), pipelines: [][][]string{{{"slugfile-nosync", "lock"}}}}
	b.once(resolved(b, lock), false)
	return p
}

// runtimeCases take a runtime from its archive into a slug; the peer unpacks and packs.
func (b *bench) runtimeCases(p *sample) (transcode, unpackAndPack *contender) {
	entries := b.entriesOf(filepath.Join(p.dir, "node.tar.gz"), true)
	transcode = p.cold("slugfile")
	transcode.entries = entries + 2 // ./app and server.js
	out, dir := filepath.Join(b.work, "runtime.tar.gz"), filepath.Join(b.work, "unpacked")
	unpackAndPack = &contender{
		name: "tar xzf, tar czf", dir: b.work, entries: entries + 1,
		prepare: func() { b.must(os.RemoveAll(dir), os.Mkdir(dir, 0o755)) },
		after:   func(string) string { return out },
		pipelines: [][][]string{
			{{"tar", "xzf", filepath.Join(p.dir, "node.tar.gz"), "-C", dir}},
			{{"tar", "czf", out, "-C", dir, "."}},
		},
	}
	return transcode, unpackAndPack
}
