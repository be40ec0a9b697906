package local_test

import (
	"fmt"
	"image"
	"math"
	"strings"
	"testing"

	"github.com/slugfile/slugfile/pipeline/platform/local"
)

// shown opens a platform with a released app that has several dynos, one of which crashes.
func shown(t *testing.T) *local.Platform {
	t.Helper()
	p := open(t, t.TempDir(), local.Options{})
	createApp(t, p, "example")
	call(t, p, "PATCH", "/apps/example/config-vars", map[string]string{"GREETING": "the-secret-value", "DATABASE_URL": "postgres://the-secret-value"}, 200)
	release(t, p, "example", map[string]string{
		"web":    "bin/web",
		"worker": `read -r line < /dev/null; echo "worker $DYNO is at work"; sleep 600`,
		"clock":  "exit 3",
	}, web(t))
	call(t, p, "PATCH", "/apps/example/formation", map[string]any{"updates": []map[string]any{{"type": "worker", "quantity": 2}, {"type": "clock", "quantity": 1}}}, 200)
	awaitWeb(t, p, "example")
	eventually(t, "the clock to crash and the workers to work", func() bool {
		text := strings.Join(p.Logs("example"), "\n")
		return strings.Contains(text, "heroku[clock.1]: State changed from starting to crashed") ||
			strings.Contains(text, "worker.2 is at work") && strings.Contains(text, "worker.1 is at work") && strings.Contains(text, "to crashed")
	})
	return p
}

// The page in a real browser: signed in by the link, complete, alive, and fit for a phone.
func TestStatusPage_livesInABrowser(t *testing.T) {
	t.Parallel()
	needDynos(t)
	b := startBrowser(t)
	p := shown(t)
	address := *getApp(t, p, "example").WebURL
	for range 3 {
		fetch(t, address)
	}

	page := b.tab(t, desktop, "light")
	page.open(p.StatusURL())
	if at := page.eval("location.href"); at != p.URL()+"/" {
		t.Errorf("the link led to %s", at)
	}
	page.until("it is live", `document.getElementById("live").textContent === "live"`)
	page.screenshot("overview-desktop-light")
	if text := page.eval(`document.querySelector("#apps tbody tr").innerText`); !strings.Contains(text, "example") || !strings.Contains(text, "v4") {
		t.Errorf("the app is listed as %q", text)
	}
	page.eval(`document.querySelector("#apps a").click()`)
	page.until("the app's page is live", `location.search === "?app=example" && document.getElementById("live")?.textContent === "live"`)

	// What happens after the page has loaded shows in the very page.
	page.eval(`window.same = true`)
	fetch(t, address+"after-the-load")
	page.until("a line that was written after the load appears", `document.getElementById("log").innerText.includes("after-the-load")`)
	page.until("the request appears", `document.getElementById("visits").innerText.includes("/after-the-load")`)
	call(t, p, "PATCH", "/apps/example/formation/worker", map[string]any{"quantity": 0}, 200)
	page.until("the workers go", `!document.getElementById("dynos").innerText.includes("worker.")`)
	page.until("the call appears", `document.getElementById("calls").innerText.includes("/apps/example/formation/worker")`)
	call(t, p, "PATCH", "/apps/example", map[string]any{"maintenance": true}, 200)
	page.until("maintenance shows", `document.querySelector("#facts .state").textContent === "maintenance"`)
	call(t, p, "PATCH", "/apps/example", map[string]any{"maintenance": false}, 200)
	page.until("maintenance is over", `document.querySelector("#facts .state").textContent !== "maintenance"`)
	if page.eval("window.same") != "true" {
		t.Error("the page was loaded again")
	}

	// A script that a page of an app might have put into its words does not run.
	call(t, p, "POST", "/apps/example/dynos", map[string]string{"command": `echo '<img src=x onerror="window.broken=1"><script>window.broken=1</script>'`}, 201)
	page.until("the markup is in the log as text", `document.getElementById("log").innerText.includes("<script>window.broken=1</script>")`)
	if page.eval("window.broken") != "<nil>" {
		t.Error("a line of the log ran as a script")
	}
	if text := page.eval("document.documentElement.outerHTML"); strings.Contains(text, "the-secret-value") || strings.Contains(text, p.Token().Reveal()) {
		t.Error("the page tells a secret")
	}

	shots := map[string]image.Image{}
	for _, s := range []struct {
		name string
		screen
	}{{"desktop", desktop}, {"phone", phone}} {
		for _, scheme := range []string{"light", "dark"} {
			tab := b.tab(t, s.screen, scheme)
			for kind, path := range map[string]string{"overview": "/", "app": "/?app=example"} {
				name := kind + "-" + s.name + "-" + scheme
				tab.open(p.URL() + path)
				tab.until("it is live", `document.getElementById("live").textContent === "live"`)
				if wide := tab.eval(`document.documentElement.scrollWidth`); wide != fmt.Sprint(s.width) {
					t.Errorf("%s: %s pixels wide on a screen of %d", name, wide, s.width)
				}
				m := tab.screenshot(name)
				shots[name] = m
				dots := 1
				if s.phone {
					dots = 2
				}
				if got := m.Bounds().Dx(); got != s.width*dots {
					t.Errorf("%s: the picture is %d dots wide", name, got)
				}
				ground, ink := tones(m)
				if ink < 0.002 || ink > 0.5 {
					t.Errorf("%s: %.2f %% of the picture differ from its ground", name, 100*ink)
				}
				if dark := ground < 0.5; dark != (scheme == "dark") {
					t.Errorf("%s: the ground has a brightness of %.2f", name, ground)
				}
			}
		}
	}
	if list := b.complaints(); len(list) > 0 {
		t.Errorf("the browser complained:\n%s", strings.Join(list, "\n"))
	}
}

// tones are the brightness of the commonest colour, and the share of dots that clearly differ
// from it.
func tones(m image.Image) (ground, ink float64) {
	counts := map[[3]uint32]int{}
	bounds := m.Bounds()
	at := func(x, y int) [3]uint32 {
		r, g, b, _ := m.At(x, y).RGBA()
		return [3]uint32{r >> 8, g >> 8, b >> 8}
	}
	light := func(c [3]uint32) float64 {
		return (0.2126*float64(c[0]) + 0.7152*float64(c[1]) + 0.0722*float64(c[2])) / 255
	}
	var common [3]uint32
	total := 0
	for y := bounds.Min.Y; y < bounds.Max.Y; y += 3 {
		for x := bounds.Min.X; x < bounds.Max.X; x += 3 {
			c := at(x, y)
			total++
			if counts[c]++; counts[c] > counts[common] {
				common = c
			}
		}
	}
	ground = light(common)
	for c, n := range counts {
		if math.Abs(light(c)-ground) > 0.3 {
			ink += float64(n) / float64(total)
		}
	}
	return ground, ink
}
