//go:build failpoint

package failpoint

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Enabled says whether this program has points.
const Enabled = true

// armed are the points at which something happens. It is written before anything runs.
var armed = map[string][]*trap{}

// trap is what happens at one hit of a point.
type trap struct {
	left atomic.Int64
	act  func(name string)
}

// Hit marks a point. Its name stands in Names.
func Hit(name string) {
	for _, t := range armed[name] {
		if t.left.Add(-1) == 0 {
			t.act(name)
		}
	}
}

// Set says what happens at which points, as in
//
//	release.posted=1*kill,store.file.renamed=2*exit
//
// where 2* means the second hit. The actions are kill (SIGKILL, which nobody can catch), exit
// (at once, without deferred work), panic, and sleep(N) for N milliseconds. It must be called
// before the first hit. exit ends the process.
func Set(spec string, exit func(code int)) error {
	next := map[string][]*trap{}
	for _, part := range strings.FieldsFunc(spec, func(c rune) bool { return c == ',' }) {
		name, what, _ := strings.Cut(part, "=")
		times, action, _ := strings.Cut(what, "*")
		n, err := strconv.ParseInt(times, 10, 64)
		if err != nil || n < 1 {
			return fmt.Errorf("failpoint %q: want name=N*action with N from 1", part)
		}
		if !slices.Contains(Names, name) {
			return fmt.Errorf("failpoint %q: there is no point %q", part, name)
		}
		act, err := actionOf(action, exit)
		if err != nil {
			return fmt.Errorf("failpoint %q: %w", part, err)
		}
		t := &trap{act: act}
		t.left.Store(n)
		next[name] = append(next[name], t)
	}
	armed = next
	return nil
}

func actionOf(text string, exit func(code int)) (func(name string), error) {
	switch text {
	case "kill":
		return func(string) {
			if self, err := os.FindProcess(os.Getpid()); err == nil {
				_ = self.Kill() // it cannot be refused
			}
			select {}
		}, nil
	case "exit":
		return func(string) { exit(ExitCode) }, nil
	case "panic":
		return func(name string) { panic("failpoint " + name) }, nil
	}
	if ms, ok := strings.CutPrefix(strings.TrimSuffix(text, ")"), "sleep("); ok {
		if n, err := strconv.Atoi(ms); err == nil && n >= 0 {
			return func(string) { time.Sleep(time.Duration(n) * time.Millisecond) }, nil
		}
	}
	return nil, fmt.Errorf("no action %q", text)
}
