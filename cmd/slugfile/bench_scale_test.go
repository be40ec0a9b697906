package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestBenchScale prints what slugfile costs by the number of entries and by the number of
// bytes: both ought to be straight lines. See make bench-scale.
func TestBenchScale(t *testing.T) {
	b := newBench(t, "scale")
	var out strings.Builder
	out.WriteString("| tree | case | wall | CPU | CPU for each | peak | slug |\n| --- | --- | --- | --- | --- | --- | --- |\n")
	type extent struct {
		name string
		n    int
		unit string
		late string
		fill func(string) error
	}
	var sizes []extent
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		late, fill := smallFiles(n)
		sizes = append(sizes, extent{fmt.Sprintf("%d entries", n), n, "entry", late, fill})
	}
	for _, n := range []int{10, 100} {
		late, fill := largeFiles(n)
		sizes = append(sizes, extent{fmt.Sprintf("%d MB", 10*n), 10 * n, "MB", late, fill})
	}
	for _, tree := range sizes {
		b.say("making %s", tree.name)
		s := stuff{dir: b.mkdir(tree.name), late: tree.late}
		b.must(tree.fill(s.dir))
		b.count(&s)
		p := b.sampleAt(tree.name+" home", s, plainYAML)
		p.warm()
		cold, nothing, late := p.cold("cold"), p.ours("nothing changed", "warm", nil, p.unchanged), p.changed("one file changed, late", s.late, "")
		b.run(3, cold, nothing, late)
		for _, c := range []*contender{cold, nothing, late} {
			fmt.Fprintf(&out, "| %s | %s | %.3f s | %.3f s | %.1f µs/%s | %.1f MiB | %.1f MB |\n", tree.name, c.name,
				c.median(wall), c.median(cpu), c.median(cpu)/float64(tree.n)*1e6, tree.unit, c.median(peak), c.median(size))
		}
		b.must(os.RemoveAll(s.dir), os.RemoveAll(p.home))
	}
	fmt.Fprintf(os.Stdout, "\n%s.\n\nMedians of 3 runs.\n\n%s", b.machine(), &out)
}
