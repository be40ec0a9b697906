package local_test

import (
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/platform/local"
)

// gate is where release phases ask how they are to end. Dynos share the network of the machine.
type gate struct {
	t *testing.T
	*net.TCPListener
}

func newGate(t *testing.T) gate {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return gate{t, l}
}

// command is a release process type that says its N, and ends with the code that it is told.
func (g gate) command() string {
	return fmt.Sprintf("exec 3<>/dev/tcp/127.0.0.1/%d; echo \"n=$N\" >&3; read -r code <&3; exit $code", g.Addr().(*net.TCPAddr).Port)
}

// end waits for the next release phase and lets it end with a code, and says what its N was.
func (g gate) end(code int) string {
	g.t.Helper()
	if err := g.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		g.t.Fatal(err)
	}
	conn, err := g.Accept()
	if err != nil {
		g.t.Fatalf("no release phase asked: %v", err)
	}
	defer conn.Close()
	var n string
	if _, err := fmt.Fscanln(conn, &n); err != nil {
		g.t.Fatal(err)
	}
	if _, err := fmt.Fprintln(conn, code); err != nil {
		g.t.Fatal(err)
	}
	return n
}

// settled waits until no release of the app is pending, and answers the live one.
func settled(t *testing.T, p *local.Platform, app string) (live platform.Release) {
	t.Helper()
	eventually(t, "the end of the release phases", func() bool {
		text, h := call(t, p, "GET", "/apps/"+app+"/releases", nil, 200)
		for _, r := range into[[]platform.Release](t, text, h) {
			if r.Status == platform.Pending {
				return false
			}
			if r.Current {
				live = r
			}
		}
		return true
	})
	return live
}

func TestConfigChange_goesOnFromTheReleaseThatIsPending(t *testing.T) {
	t.Parallel()
	needDynos(t)
	const older, newer, none = "older", "newer", "none"
	for _, first := range []bool{true, false} {
		before := older
		if first {
			before = none
		}
		for _, c := range []struct {
			name          string
			phase, change int // exit codes of the pending release's phase and of the config change's own
			live          int // how far the live release is from the pending one
			slug          string
		}{
			{"bothPass", 0, 0, 1, newer},
			{"onlyTheChangePasses", 1, 0, 1, newer},
			{"onlyThePendingPasses", 0, 1, 0, newer},
			{"nonePasses", 1, 1, -1, before},
		} {
			t.Run(fmt.Sprintf("%s/first=%t", c.name, first), func(t *testing.T) {
				t.Parallel()
				g := newGate(t)
				p := open(t, t.TempDir(), local.Options{})
				createApp(t, p, "example")
				slugs := map[string]string{}
				if !first {
					slugs[release(t, p, "example", map[string]string{"worker": "sleep 600"}).Slug.ID] = older
				}
				pending := release(t, p, "example", map[string]string{"worker": "sleep 600", "release": g.command()})
				slugs[pending.Slug.ID] = newer
				call(t, p, "PATCH", "/apps/example/config-vars", `{"N":"1"}`, 200)
				change := getRelease(t, p, "example", strconv.Itoa(pending.Version+1))
				if change.Status != platform.Pending || change.Slug == nil || change.Slug.ID != pending.Slug.ID || change.OutputStreamURL == nil {
					t.Fatalf("the config change is %+v", change)
				}
				for i, code := range []int{c.phase, c.change} {
					if n, want := g.end(code), []string{"n=", "n=1"}[i]; n != want {
						t.Errorf("release phase %d has %q, want %q", i+1, n, want)
					}
				}
				live := settled(t, p, "example")
				slug := none
				if live.Slug != nil {
					slug = slugs[live.Slug.ID]
				}
				if live.Version != pending.Version+c.live || slug != c.slug {
					t.Errorf("v%d is live with the slug %q; want v%d with %q", live.Version, slug, pending.Version+c.live, c.slug)
				}
			})
		}
	}
}

func TestConfigChange_goesOnFromTheNewestOfSeveralPendingReleases(t *testing.T) {
	t.Parallel()
	needDynos(t)
	g := newGate(t)
	p := open(t, t.TempDir(), local.Options{})
	createApp(t, p, "example")
	release(t, p, "example", map[string]string{"release": g.command()})
	last := release(t, p, "example", map[string]string{"release": g.command()})
	for n := 1; n <= 2; n++ {
		call(t, p, "PATCH", "/apps/example/config-vars", map[string]int{}, 200) // no change
		call(t, p, "PATCH", "/apps/example/config-vars", map[string]string{"N": strconv.Itoa(n)}, 200)
	}
	for i, want := range []string{"n=", "n=", "n=1", "n=2"} {
		if n := g.end(0); n != want {
			t.Errorf("release phase %d has %q, want %q", i+1, n, want)
		}
	}
	if live := settled(t, p, "example"); live.Version != 6 || live.Slug == nil || live.Slug.ID != last.Slug.ID {
		t.Errorf("the live release is %+v", live)
	}
}

func TestConfigChange_leavesBehindAPendingReleaseThatANewerOnePassed(t *testing.T) {
	t.Parallel()
	needDynos(t)
	g := newGate(t)
	p := open(t, t.TempDir(), local.Options{})
	createApp(t, p, "example")
	release(t, p, "example", map[string]string{"release": g.command()})
	newer := release(t, p, "example", map[string]string{"worker": "sleep 600"}) // without a phase: live at once
	call(t, p, "PATCH", "/apps/example/config-vars", `{"N":"1"}`, 200)
	g.end(0)
	if live := settled(t, p, "example"); live.Version != 5 || live.Slug == nil || live.Slug.ID != newer.Slug.ID {
		t.Errorf("the live release is %+v", live)
	}
}
