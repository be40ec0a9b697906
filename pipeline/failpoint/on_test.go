//go:build failpoint

package failpoint_test

import (
	"strings"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/failpoint"
)

// The points are the process's own: one test after the other.

func TestSet_actsAtTheNthHit(t *testing.T) {
	var exits []int
	if err := failpoint.Set("store.tree.made=2*exit,store.tree.filled=1*panic,store.tree.made=3*sleep(30)", func(code int) { exits = append(exits, code) }); err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 4; n++ {
		start := time.Now()
		failpoint.Hit("store.tree.made")
		if took := time.Since(start); (took >= 30*time.Millisecond) != (n == 3) {
			t.Errorf("hit %d took %s", n, took)
		}
		if len(exits) != min(n/2, 1) {
			t.Errorf("after hit %d: exits %v", n, exits)
		}
	}
	if exits[0] != failpoint.ExitCode {
		t.Errorf("exit code %d", exits[0])
	}
	defer func() {
		if v, ok := recover().(string); !ok || !strings.Contains(v, "store.tree.filled") {
			t.Errorf("it panicked with %v", v)
		}
	}()
	failpoint.Hit("store.tree.filled")
	t.Error("it did not panic")
}

func TestSet_refusesWhatItCannotDo(t *testing.T) {
	for _, spec := range []string{"store.tree.made", "store.tree.made=kill", "store.tree.made=0*kill", "store.tree.made=1*run", "no.such=1*kill", "store.tree.made=1*sleep(x)", "=1*kill"} {
		if err := failpoint.Set(spec, func(int) {}); err == nil || !strings.Contains(err.Error(), spec) {
			t.Errorf("%s: %v", spec, err)
		}
	}
}
