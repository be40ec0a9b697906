//go:build failpoint

package local_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/slugfile/slugfile/pipeline/failpoint"
)

// childPoints arms a child, as failpoint.Set reads it.
const childPoints = "SLUGFILE_TEST_POINTS"

func init() {
	armChild = func() error { return failpoint.Set(os.Getenv(childPoints), os.Exit) }
}

// TestKill_betweenTwoDurableSteps kills the platform at each of its points: where one thing is on
// the disk and the next, which belongs to it, is not.
func TestKill_betweenTwoDurableSteps(t *testing.T) {
	t.Parallel()
	needDynos(t)
	dir, seed := t.TempDir(), killSeed(t)
	tenants := newTenants(t, seed)
	chance := rand.New(rand.NewPCG(seed, 9))
	rounds := 1
	if kills() > 5 {
		rounds = 4
	}
	for range rounds {
		for _, point := range failpoint.Names {
			if !strings.HasPrefix(point, "local.") {
				continue
			}
			if strings.HasPrefix(point, "local.start.") {
				cmd := childCommand(t, dir, childPoints+"="+point+"=1*kill")
				if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() != -1 {
					t.Errorf("%s: the platform was not killed: %v", point, err)
				}
			} else {
				info, kill := startChild(t, dir, fmt.Sprintf("%s=%s=%d*kill", childPoints, point, 1+chance.IntN(3)))
				verifyAll(t, tenants, info, dir)
				var steps atomic.Int64
				together(t, tenants, func(c *tenant) {
					for c.step() {
						if steps.Add(1) > 20_000 {
							c.fatalf("nobody comes by %s", point)
						}
					}
				})
				kill()
			}
			info, kill := startChild(t, dir)
			verifyAll(t, tenants, info, dir)
			if kill(); t.Failed() {
				t.Fatalf("after %s", point)
			}
		}
	}
}
