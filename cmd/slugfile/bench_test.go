package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/pipetest"
)

// BenchmarkPlan_againstVersion times whole processes in turn: plan --local on examples/go
// with nothing changed, against a running embedded platform, and version, which does nothing.
// It reports the medians and their difference; the goal is 30 ms.
func BenchmarkPlan_againstVersion(b *testing.B) {
	pipetest.NeedTools(b, "go")
	bin := filepath.Join(b.TempDir(), "slugfile")
	build := exec.Command("go", "build", "-trimpath", "-o", bin, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("go build: %v\n%s", err, out)
	}
	w := newWorld(b)
	dir := b.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../examples/go")); err != nil {
		b.Fatal(err)
	}
	w.startPlatform(b)
	w.ok(b, dir, "apply", "--local")

	once := func(args ...string) time.Duration {
		cmd := w.command(dir, args...)
		cmd.Path = bin
		began := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("slugfile %v: %v\n%s", args, err, out)
		}
		return time.Since(began)
	}
	median := func(d []time.Duration) float64 {
		slices.Sort(d)
		return float64(d[len(d)/2]) / float64(time.Millisecond)
	}
	var plan, version []time.Duration
	for b.Loop() {
		plan = append(plan, once("plan", "--local"))
		version = append(version, once("version"))
	}
	b.ReportMetric(median(plan), "plan-ms")
	b.ReportMetric(median(version), "version-ms")
	b.ReportMetric(median(plan)-median(version), "difference-ms")
}
