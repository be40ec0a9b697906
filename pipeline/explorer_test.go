package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/slugfile/slugfile/config"
	"github.com/slugfile/slugfile/pipeline"
	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/event"
	"github.com/slugfile/slugfile/pipeline/journal"
	"github.com/slugfile/slugfile/pipeline/observe"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/release"
	"github.com/slugfile/slugfile/pipeline/upload"
)

// window is within how long the platform acts on a request that it will act on; see the claim of
// package release.
const window = 60 * time.Second

// maxJournal is the most bytes that a journal may ever have.
const maxJournal = 64 << 10

// scene is what is there before the first apply.
type scene struct {
	name string
	// missing says that the app has to be made, phase how long its release phase takes.
	missing bool
	phase   time.Duration
	// settle is the stage's; 0 is its default.
	settle time.Duration
	// rival, when not 0, is the slug that a second machine applies at the same time, counted from 1.
	rival int
	// platform, when not nil, stands between the stages and the platform.
	platform func(platform.Platform) platform.Platform
	// journal does the same for the disk.
	journal func(journal.File) journal.File
}

// slugs are what the user wants: the first, and after an edit of slug.yaml the second, of other
// bytes, or the third, of the same bytes with other process types.
type slugs struct {
	dir   string
	slugs []artifact.Slug
	in    []plan.Inputs
}

// Open hands out the archives of slugs.
func (s slugs) Open(d digest.Digest) (*os.File, error) {
	return os.Open(filepath.Join(s.dir, d.String()))
}

func newSlugs(t *testing.T) slugs {
	t.Helper()
	s := slugs{dir: t.TempDir()}
	for i, text := range []string{"first", "second", "first"} {
		d := digest.Of([]byte(text))
		if err := os.WriteFile(filepath.Join(s.dir, d.String()), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s.slugs = append(s.slugs, artifact.Slug{Digest: d, Size: int64(len(text))})
		s.in = append(s.in, plan.Prepare(plan.Inputs{Create: true, File: &config.File{
			App: appName, Stack: heroku, ProcessTypes: map[string]string{"web": "run " + strconv.Itoa(i)},
		}}))
	}
	return s
}

// world is one run of a schedule: the platform, and the machines on which apply is run until there
// is nothing left to do.
type world struct {
	scene *scene
	slugs slugs
	sched *schedule
	cloud *cloud
	homes []*home
	// said is every warning so far.
	said []string
}

// home is a machine: what outlives the processes on it.
type home struct {
	number int
	wanted int // of slugs
	ids    int
	disk   disk
}

// explore runs one schedule and returns the points that it came by, and what is wrong.
func (x *scene) explore(t *testing.T, s slugs, faults []choice, log func(string, ...any)) (points [][]fault, wrong error) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		start := time.Now()
		w := &world{scene: x, slugs: s, sched: &schedule{faults: faults}, cloud: newCloud()}
		if log != nil {
			w.sched.log = func(format string, args ...any) {
				log("%3d %5.1f s  "+format, append([]any{len(w.sched.points) - 1, time.Since(start).Seconds()}, args...)...)
			}
		}
		w.prepare()
		wrong = w.run()
		points = w.sched.points
	})
	return points, wrong
}

func (w *world) prepare() {
	w.homes = append(w.homes, &home{number: 1})
	if r := w.scene.rival; r > 0 {
		w.homes = append(w.homes, &home{number: 2, wanted: r - 1})
	}
	c := w.cloud
	defer c.lock()()
	if w.scene.missing {
		return
	}
	_, _ = c.createApp(platform.AppCreate{Name: appName}) // cannot fail, there is none
	c.elsewhere()
	c.phase = w.scene.phase
}

func (w *world) run() error {
	if len(w.homes) > 1 {
		w.race()
	}
	for _, h := range w.homes {
		if err := w.insist(h); err != nil {
			return err
		}
	}
	if w.cloud.wrong != "" {
		return errors.New(w.cloud.wrong)
	}
	last := w.homes[len(w.homes)-1]
	time.Sleep(2 * window) // whatever is under way acts
	if now := w.live(); !w.settled(last) && (now == nil || now.home == last.number && now.late <= window) {
		return errors.New("the last apply ended well, and its slug is not live")
	}
	// After the last apply another machine may have released, or the platform have acted late.
	for _, h := range w.homes {
		if err := w.again(h); err != nil {
			return err
		}
	}
	if !w.settled(last) {
		return errors.New("apply ended well, and its slug is not live")
	}
	posts, said := w.cloud.posts, len(w.said)
	if err := w.again(last); err != nil {
		return err
	}
	if w.cloud.posts != posts {
		return errors.New("one more apply has something to do")
	}
	if len(w.said) != said {
		return fmt.Errorf("one more apply still has something to say: %q", w.said[said:])
	}
	return w.judge()
}

// again applies once more, when all faults are over.
func (w *world) again(h *home) error {
	settled, before := w.settled(h), w.cloud.posts
	_, err := w.apply(h, nil, nil)
	switch {
	case err != nil:
		return fmt.Errorf("one more apply fails: %w", err)
	case settled && w.cloud.posts != before:
		return errors.New("one more apply releases what is live")
	}
	return nil
}

// insist applies on one machine until it succeeds, as people do.
func (w *world) insist(h *home) error {
	met := w.sched.met
	for n := 1; ; n++ {
		quiet := len(w.cloud.pending) == 0
		possible := []fault{edited, retyped}
		if n == 1 || len(w.homes) > 1 {
			possible = nil
		}
		switch w.sched.ask(fmt.Sprintf("%d: APPLY", h.number), possible) {
		case edited:
			h.wanted = 1
		case retyped:
			h.wanted = 2
		}
		killed, err := w.apply(h, w.sched.ask, nil)
		switch {
		case err == nil && !killed:
			return nil
		case quiet && w.sched.met == met && !killed:
			return fmt.Errorf("an apply that met no fault fails: %w", err)
		case n > len(w.sched.faults)+4:
			return fmt.Errorf("%d applies in a row fail, the last one: %w", n, err)
		}
		met = w.sched.met
	}
}

// race applies on two machines at once. One of them goes on at a time, and the schedule says where
// the other one takes over: all orders of their calls come of it.
func (w *world) race() {
	var wake [2]chan struct{}
	var ended [2]bool
	var all sync.WaitGroup
	for i := range wake {
		wake[i] = make(chan struct{}, 1)
	}
	for i, h := range w.homes {
		other := 1 - i
		all.Go(func() {
			<-wake[i]
			_, _ = w.apply(h, w.sched.ask, func() {
				if !ended[other] && w.sched.ask("", []fault{switched}) == switched {
					wake[other] <- struct{}{}
					<-wake[i]
				}
			})
			ended[i] = true
			wake[other] <- struct{}{}
		})
	}
	wake[0] <- struct{}{}
	all.Wait()
}

func (w *world) live() *made {
	defer w.cloud.lock()()
	return w.cloud.current()
}

// settled reports whether the slug that a machine wants is live and whole.
func (w *world) settled(h *home) bool {
	now := w.live()
	if now == nil || now.Slug == nil || !w.cloud.whole(now.Slug.ID) {
		return false
	}
	s := w.cloud.slugs[now.Slug.ID]
	return *s.Checksum == w.slugs.slugs[h.wanted].Digest.Checksum() && maps.Equal(s.ProcessTypes, w.slugs.in[h.wanted].File.ProcessTypes)
}

// judge looks for releases that should not be there.
func (w *world) judge() error {
	c := w.cloud
	for _, h := range w.homes {
		if h.disk.largest > maxJournal {
			return fmt.Errorf("the journal of machine %d had %d bytes", h.number, h.disk.largest)
		}
	}
	byID := map[string][]*made{}
	for _, r := range c.releases {
		if r.applyID != "" {
			byID[r.applyID] = append(byID[r.applyID], r)
		}
	}
	for _, r := range c.releases {
		if r.applyID == "" {
			continue
		}
		twins := byID[r.applyID]
		if len(twins) > 1 {
			if !slices.ContainsFunc(twins, func(o *made) bool { return o.late > window }) {
				return fmt.Errorf("%s are one apply, and the platform acted within %s", versions(twins), window)
			}
			if !w.told(versions(twins)) {
				return fmt.Errorf("nobody was told that %s are one apply", versions(twins))
			}
			continue
		}
		var over []*made
		for _, o := range c.releases {
			if o.home != r.home && o.Slug != nil && o.Version > r.base && o.Version < r.Version {
				over = append(over, o)
			}
		}
		if r.again && len(over) == 0 {
			return fmt.Errorf("v%d releases the slug that is live already, by an apply of its own", r.Version)
		}
		if r.late > window {
			if r.again && !w.told(versions(twins)) {
				return fmt.Errorf("nobody was told of v%d, which came when it had been given up", r.Version)
			}
			continue
		}
		if i := slices.IndexFunc(over, func(o *made) bool { return o.Version <= r.known }); i >= 0 {
			return fmt.Errorf("the plan of v%d was stale: v%d of another machine was there before the last look", r.Version, over[i].Version)
		}
		if r.Status == platform.Succeeded && len(over) > 0 && !w.told(versions(over)) {
			return fmt.Errorf("%s of another machine was overwritten by v%d, and nobody was told", versions(over), r.Version)
		}
	}
	return nil
}

func versions(releases []*made) []string {
	var out []string
	for _, r := range releases {
		out = append(out, fmt.Sprintf("v%d", r.Version))
	}
	return out
}

// told reports whether one warning names all of them.
func (w *world) told(names []string) bool {
	return slices.ContainsFunc(w.said, func(text string) bool {
		words := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" ,;:()", r) })
		return !slices.ContainsFunc(names, func(name string) bool { return !slices.Contains(words, name) })
	})
}

// apply is one run of `slugfile apply` on a machine. A plan changes nothing, so that no fault is
// tried while it is made: it would be the same as one just before the first stage. turn may be nil.
func (w *world) apply(h *home, ask func(string, []fault) fault, turn func()) (killed bool, err error) {
	ctx, kill := context.WithCancelCause(context.Background())
	defer kill(nil)
	p := &process{kill: kill}
	sink := event.Func(func(e event.Event) {
		if warning, ok := e.(event.Warning); ok && !p.killed {
			w.said = append(w.said, warning.Message)
		}
	})
	// The client of the plan meets no faults.
	look := &client{cloud: w.cloud, process: p}
	c := &client{cloud: w.cloud, process: p, ask: ask, turn: turn, home: h.number}
	var to platform.Platform = c
	if w.scene.platform != nil {
		to = w.scene.platform(c)
	}
	var at journal.File = &journalFile{disk: &h.disk, process: p, ask: ask, home: h.number}
	if w.scene.journal != nil {
		at = w.scene.journal(at)
	}
	j, err := journal.Open(at, journal.Options{ApplyID: func() string {
		h.ids++
		return fmt.Sprintf("01JD%022d", 1000*h.number+h.ids)
	}})
	if err != nil {
		return p.killed, err
	}
	run := &pipeline.Pipeline{
		Upload:  &upload.Stage{Platform: to, Store: w.slugs, Journal: j, Sink: sink},
		Release: &release.Stage{Platform: to, Journal: j, Sink: sink, Settle: w.scene.settle},
		Sink:    sink, Now: time.Now,
	}
	if err := run.Release.Recover(ctx); err != nil {
		return p.killed, err
	}
	if turn != nil {
		turn()
	}
	in := w.slugs.in[h.wanted]
	seen, err := observe.World(ctx, observe.Options{Platform: look, App: appName, Inputs: &in, Now: time.Now().Unix()})
	if err != nil {
		return p.killed, err
	}
	made := plan.Build(in, seen)
	if len(made.Problems) > 0 {
		return p.killed, fmt.Errorf("the plan has problems: %v", made.Problems)
	}
	if !made.Changed {
		return p.killed, j.Abandon("nothing is to be released any more")
	}
	c.base = made.Work.Release.BaselineVersion
	_, _, err = run.Publish(ctx, made.Work, w.slugs.slugs[h.wanted])
	return p.killed, err
}

// all runs every schedule of these levels, the short ones first, on all processors. It returns
// how many that were and the first that is wrong.
func (x *scene) all(t *testing.T, l levels) (n int64, faults []choice, wrong error) {
	t.Helper()
	s := newSlugs(t)
	points, wrong := x.explore(t, s, nil, nil)
	if wrong != nil {
		return 1, nil, wrong
	}
	first := l.branches(nil, points)
	for depth := 1; depth <= len(l) && wrong == nil; depth++ {
		var count, next atomic.Int64
		var found sync.Once
		var stop atomic.Bool
		run := func(f []choice) ([][]fault, bool) {
			if stop.Load() {
				return nil, false
			}
			count.Add(1)
			points, err := x.explore(t, s, f, nil)
			if err != nil {
				found.Do(func() { faults, wrong = f, err })
				stop.Store(true)
			}
			return points, err == nil
		}
		var all sync.WaitGroup
		for range runtime.GOMAXPROCS(0) {
			all.Go(func() {
				for {
					i := int(next.Add(1)) - 1
					if i >= len(first) || !l[:depth].walk([]choice{first[i]}, run) {
						return
					}
				}
			})
		}
		all.Wait()
		n = 1 + count.Load() // the deeper walk comes by the short ones again
	}
	return n, faults, wrong
}

// explored is a scene and how deep it is looked into: at each commit, before a change to these rooms
// is called done (SLUGFILE_FAULTS=gate, some two minutes), and when there is time (SLUGFILE_LONG=1).
type explored struct {
	scene
	short      levels
	gate, long []levels
}

var scenes = []explored{
	{scene{name: "first", missing: true}, levels{nil, hard}, []levels{{nil, nil}, {worst, worst, worst}}, []levels{{nil, nil, hard}}},
	{scene{name: "next"}, levels{nil, hard}, []levels{{nil, nil}, {hard, hard, worst}, {deadly, deadly, deadly, deadly}}, []levels{{nil, nil, nil}, {worst, worst, worst, worst}}},
	{scene{name: "phase", phase: 3 * time.Second}, levels{nil, hard}, []levels{{nil, nil}, {worst, worst, worst}}, []levels{{nil, nil, hard}}},
	{scene{name: "race", rival: 1}, levels{nil, hard}, []levels{{nil, nil}, {deadly, deadly, deadly}}, []levels{{hard, hard, hard}}},
	{scene{name: "race-of-two-slugs", rival: 2}, levels{nil}, []levels{{deadly, deadly}}, []levels{{nil, nil}}},
}

// levels are those that the environment asks for.
func (x *explored) levels() []levels {
	switch faults := os.Getenv("SLUGFILE_FAULTS"); {
	case raceDetector: // one process runs at a time, so that more schedules say no more about races
		return []levels{{nil}}
	case faults == "long" || os.Getenv("SLUGFILE_LONG") == "1":
		return append(slices.Clip(x.gate), x.long...)
	case faults == "gate":
		return x.gate
	}
	return []levels{x.short}
}

// Whatever goes wrong, and whenever: apply, run again until it ends well, has made one release
// under one mark, its slug is whole and live, and one more apply does nothing and says nothing. Two
// releases of one mark are there only when the platform acted beyond the window, and then the user
// was told of both; no release of another machine that could be seen was overwritten, and none unsaid.
func TestApply_releasesOnceOnEverySchedule(t *testing.T) {
	t.Parallel()
	if text := os.Getenv("SLUGFILE_SEED"); text != "" {
		replay(t, text)
		return
	}
	for _, x := range scenes {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			for _, l := range x.levels() {
				began := time.Now()
				n, faults, wrong := x.all(t, l)
				t.Logf("%d schedules of up to %d faults in %.1f s", n, len(l), time.Since(began).Seconds())
				if wrong != nil {
					x.show(t, faults)
					return
				}
			}
		})
	}
}

// replay runs one schedule again: "first 12:request-lost,20:torn".
func replay(t *testing.T, text string) {
	t.Helper()
	name, rest, _ := strings.Cut(text, " ")
	faults, err := parseSeed(rest)
	i := slices.IndexFunc(scenes, func(x explored) bool { return x.name == name })
	if i < 0 || err != nil {
		t.Skipf("SLUGFILE_SEED=%q is for another test", text)
	}
	scenes[i].show(t, faults)
}

// show tells a schedule step by step.
func (x *scene) show(t *testing.T, faults []choice) {
	t.Helper()
	steps, wrong := x.steps(t, newSlugs(t), faults)
	report := t.Logf
	if wrong != nil {
		report = t.Errorf
	}
	report("%v\n%sSLUGFILE_SEED='%s %s'", wrong, steps, x.name, seed(faults))
}

func (x *scene) steps(t *testing.T, s slugs, faults []choice) (string, error) {
	t.Helper()
	var steps strings.Builder
	_, wrong := x.explore(t, s, faults, func(format string, args ...any) {
		fmt.Fprintf(&steps, format+"\n", args...)
	})
	return steps.String(), wrong
}

// However long it is used: operations that have ended are forgotten.
func TestApply_keepsItsJournalSmall(t *testing.T) {
	t.Parallel()
	s := newSlugs(t)
	synctest.Test(t, func(t *testing.T) {
		w := &world{scene: &scene{}, slugs: s, sched: &schedule{}, cloud: newCloud()}
		w.prepare()
		h := w.homes[0]
		for n := range 300 {
			h.wanted = n % len(s.slugs)
			if _, err := w.apply(h, nil, nil); err != nil || !w.settled(h) {
				t.Fatalf("apply %d: %v", n, err)
			}
		}
		if got := h.disk.largest; got > maxJournal || got < 100 {
			t.Errorf("the journal had up to %d bytes", got)
		}
	})
}

// A schedule that could go another way the next time would be no use for finding a fault, and
// the walk would not be exhaustive.
func TestExplorer_goesTheSameWayTwice(t *testing.T) {
	t.Parallel()
	for _, x := range scenes {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			s := newSlugs(t)
			points, _ := x.explore(t, s, nil, nil)
			for _, c := range (levels{hard}).branches(nil, points) {
				faults := []choice{c}
				once, _ := x.steps(t, s, faults)
				again, _ := x.steps(t, s, faults)
				if diff := cmp.Diff(once, again); diff != "" || !strings.Contains(once, strings.ReplaceAll(string(c.fault), "-", " ")) {
					t.Fatalf("%s: %s", seed(faults), diff)
				}
			}
		})
	}
}
