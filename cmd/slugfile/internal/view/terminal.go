package view

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/slugfile/slugfile/pipeline/event"
)

// Terminal draws one live line for each open download, step, archive and upload, at the
// bottom of the screen; what is done stands above as plain lines. The output of a step is
// shown as its last lines while it runs, is gone when the step succeeds, and stays as a
// whole when it fails.
type Terminal struct {
	o     Options
	words words
	w     io.Writer

	// mu is held while an event is told.
	mu    sync.Mutex
	bars  *mpb.Progress
	bar   *mpb.Bar
	ended bool
	err   error

	// live guards what is drawn. It is never held while something is written to bars, since
	// bars wait for the drawing.
	live  sync.Mutex
	tasks []*liveTask // in the order of their start
	start time.Time
}

const (
	// refresh is how often live lines are drawn.
	refresh = 100 * time.Millisecond
	// shownTasks is how many live lines there are at most: a screen may be low.
	shownTasks = 12
	// tail is how many lines of a step's output are shown under it while it runs.
	tail = 3
	// keepLines and keepBytes bound what is remembered of a step's output.
	keepLines = 20_000
	keepBytes = 8 << 20
	// indent stands before a step's output.
	indent = "      "
)

// NewTerminal returns a Terminal on w, which must show what is written to it as it is.
func NewTerminal(w io.Writer, o Options) *Terminal {
	o = o.withDefaults()
	return &Terminal{o: o, words: words{style: o.Style, verbose: o.Verbose}, w: w}
}

// Emit implements event.Sink.
func (v *Terminal) Emit(e event.Event) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch e := e.(type) {
	case event.TaskStarted:
		v.open(task{e.Stage, e.Subject}, e.Total)
		return
	case event.Progress:
		v.with(task{e.Stage, e.Subject}, func(t *liveTask) { t.progress(v.o.Now(), e.Done, e.Total) })
		return
	case event.Output:
		v.output(e)
		return
	case event.Warning:
		for _, l := range v.words.warning(e) {
			v.print("  " + l)
		}
		return
	case event.TaskFinished:
		v.close(task{e.Stage, e.Subject})
	case event.TaskFailed:
		for _, l := range v.close(task{e.Stage, e.Subject}) {
			v.print(indent + l)
		}
	}
	if l, ok := v.words.sentence(e); ok {
		v.say(l)
	}
}

func (v *Terminal) say(l line) {
	symbol := v.o.Style.symbol(l.symbol)
	switch l.symbol {
	case "✓":
		symbol = v.o.Style.green(l.symbol)
	case "✗":
		symbol = v.o.Style.red(l.symbol)
	}
	v.print("  " + symbol + " " + l.text)
}

// output folds the lines of a step; those of a release phase or a dyno are what the user
// waits for, and are shown at once.
func (v *Terminal) output(e event.Output) {
	text := cleanOutput(e.Line, v.o.Style)
	if e.Stage != event.Compile {
		v.print("    " + v.o.Style.dim(Clean(e.Subject)+" |") + " " + text)
		return
	}
	folded := !v.o.Verbose && v.with(task{e.Stage, e.Subject}, func(t *liveTask) {
		t.remember(text, cleanOutput(e.Line, Style{}))
	})
	if !folded {
		v.print(indent + text)
	}
}

// print writes a line above the live ones.
func (v *Terminal) print(l string) {
	if v.err != nil {
		return
	}
	to := v.w
	if v.bars != nil {
		to = v.bars
	}
	_, v.err = io.WriteString(to, l+"\n")
}

func (v *Terminal) open(name task, total int64) {
	v.close(name)
	now := v.o.Now()
	v.live.Lock()
	v.tasks = append(v.tasks, &liveTask{task: name, total: total, start: now})
	if v.start.IsZero() {
		v.start = now
	}
	v.live.Unlock()
	if v.bars != nil || v.ended {
		return
	}
	// The writer may hide that it is a terminal (a redactor stands in front of it), so
	// drawing is switched on, and lines are cut to the width here. All live lines are one
	// bar of mpb, so that a line goes in the frame in which its last word comes.
	v.bars = mpb.New(mpb.WithOutput(homing{v.w}), mpb.WithAutoRefresh(), mpb.WithRefreshRate(refresh), mpb.WithWidth(v.o.Width()))
	v.bar, v.err = v.bars.Add(0, mpb.BarFillerFunc(v.fill), mpb.BarFillerTrim(), mpb.BarExtender(mpb.BarFillerFunc(v.fillTasks), true))
}

// homing starts every frame in the first column: keys that the user has pressed meanwhile,
// such as Ctrl-C, stand on the last line and have moved the cursor to the right.
type homing struct{ w io.Writer }

func (h homing) Write(frame []byte) (int, error) {
	if rest, ok := bytes.CutPrefix(frame, []byte("\x1b[")); !ok || !bytes.HasPrefix(bytes.TrimLeft(rest, "0123456789"), []byte("A")) {
		return h.w.Write(frame) // it does not go up
	}
	n, err := h.w.Write(append([]byte{'\r'}, frame...))
	return max(n-1, 0), err
}

// with calls f for an open task, and reports whether there is one.
func (v *Terminal) with(name task, f func(*liveTask)) bool {
	v.live.Lock()
	defer v.live.Unlock()
	for _, t := range v.tasks {
		if t.task == name {
			f(t)
			return true
		}
	}
	return false
}

// close takes a live line away and returns the output that was folded under it.
func (v *Terminal) close(name task) []string {
	v.live.Lock()
	defer v.live.Unlock()
	for i, t := range v.tasks {
		if t.task == name {
			v.tasks = slices.Delete(v.tasks, i, i+1)
			return t.output()
		}
	}
	return nil
}

// Close takes the live lines away; tasks that are still open are said to be stopped, with
// their output. What is emitted later is written at once, without live lines.
func (v *Terminal) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ended = true
	v.live.Lock()
	open := v.tasks
	v.tasks = nil
	v.live.Unlock()
	for _, t := range open {
		for _, l := range t.output() {
			v.print(indent + l)
		}
		v.say(v.words.about("-", t.stage, t.subject, "stopped", took(Elapsed(v.o.Now().Sub(t.start)))))
	}
	if v.bars != nil {
		if v.bar != nil {
			v.bar.Abort(true)
		}
		v.bars.Wait()
		v.bars = nil
	}
	return v.err
}

func (*Terminal) view() {}

// fill draws the last live line: how long it has taken so far.
func (v *Terminal) fill(w io.Writer, _ decor.Statistics) error {
	v.live.Lock()
	defer v.live.Unlock()
	now := v.o.Now()
	_, err := io.WriteString(w, "  "+v.o.Style.dim(spinner(now)+" "+Elapsed(now.Sub(v.start).Truncate(refresh))))
	return err
}

// fillTasks draws a line for each open task, with the last lines of its output. Every line
// is one column short of the screen's width, since terminals differ in when they wrap.
func (v *Terminal) fillTasks(w io.Writer, _ decor.Statistics) error {
	v.live.Lock()
	defer v.live.Unlock()
	room := v.o.Width() - 1
	var lines []string
	for i, t := range v.tasks {
		if i == shownTasks {
			lines = append(lines, fmt.Sprintf("    and %d more", len(v.tasks)-shownTasks))
			break
		}
		lines = append(lines, t.draw(v.o.Now(), room, v.o.Style))
		for _, l := range t.last {
			lines = append(lines, indent+v.o.Style.dim(truncate(l, room-len(indent))))
		}
	}
	if len(lines) == 0 {
		return nil
	}
	// mpb puts the first line that it gets next to the bar, and the others above it.
	slices.Reverse(lines)
	_, err := io.WriteString(w, strings.Join(lines, "\n")+"\n")
	return err
}

// liveTask is an open task, as far as it is drawn.
type liveTask struct {
	task
	start       time.Time
	done, total int64
	samples     []sample
	// lines is the output of a step, which is bytes long; dropped lines came before it.
	lines   []string
	bytes   int
	dropped int
	// last are its last lines, without colours.
	last []string
}

// sample is how far a task was at a time; the rate is told from those of the last seconds.
type sample struct {
	at   time.Time
	done int64
}

const rateWindow = 5 * time.Second

func (t *liveTask) progress(now time.Time, done, total int64) {
	if done < t.done {
		// It started over.
		t.samples = nil
	}
	t.done = done
	if total > 0 {
		t.total = total
	}
	t.samples = append(t.samples, sample{now, done})
	for len(t.samples) > 2 && now.Sub(t.samples[0].at) > rateWindow {
		t.samples = t.samples[1:]
	}
}

// rate is in bytes a second, 0 when it is not known.
func (t *liveTask) rate() float64 {
	if len(t.samples) < 2 {
		return 0
	}
	first, last := t.samples[0], t.samples[len(t.samples)-1]
	span := last.at.Sub(first.at).Seconds()
	if span <= 0 {
		return 0
	}
	return float64(last.done-first.done) / span
}

// remember keeps a line of output: text for the screen, bare (without colours) for the
// live lines, which are cut.
func (t *liveTask) remember(text, bare string) {
	t.lines = append(t.lines, text)
	t.bytes += len(text)
	for len(t.lines) > keepLines || t.bytes > keepBytes && len(t.lines) > 1 {
		t.bytes -= len(t.lines[0])
		t.lines = t.lines[1:]
		t.dropped++
	}
	if strings.TrimSpace(bare) == "" {
		return
	}
	if t.last = append(t.last, bare); len(t.last) > tail {
		t.last = t.last[1:]
	}
}

func (t *liveTask) output() []string {
	if t.dropped > 0 {
		return append([]string{fmt.Sprintf("(%s before this)", count(t.dropped, "line"))}, t.lines...)
	}
	return t.lines
}

// subjectWidth is the room that a subject gets in any case.
const subjectWidth = 12

// draw is the live line, at most room columns wide. On a narrow screen the gauge goes
// first, then the rate, then the time that is left.
func (t *liveTask) draw(now time.Time, room int, s Style) string {
	head := "  " + spinner(now) + " " + pad(Clean(t.stage), stageWidth) + " "
	var sizes, rate, left string
	switch {
	case t.total > 0:
		sizes = amount(t.done, t.total)
	case t.done > 0:
		sizes = Size(t.done)
	}
	if r := t.rate(); r >= 1 && t.done > 0 {
		rate = Size(int64(r)) + "/s"
		if rest := float64(t.total-t.done) / r; rest > 0 && rest < 100*3600 {
			left = strings.Replace(Elapsed(time.Duration(rest*float64(time.Second)).Round(time.Second)), ".0s", "s", 1) + " left"
		}
	}
	if t.total <= 0 {
		left = Elapsed(now.Sub(t.start).Truncate(refresh))
	}
	text := ""
	for _, facts := range [][]string{{sizes, rate, left}, {sizes, left}, {sizes}} {
		text = join(facts, "  ")
		if width(head)+subjectWidth+2+width(text) <= room {
			break
		}
	}
	// What is left is for the gauge. Its room is that of the longest text, so that it does
	// not change its size all the time.
	free := room - width(head) - subjectWidth - 2 - max(width(text), textWidth) - 2
	if gaugeWidth := min(free-2, widestGauge); t.total > 0 && gaugeWidth >= leastGauge {
		text = gauge(t.done, t.total, gaugeWidth) + "  " + text
	}
	subject := shorten(Clean(t.subject), max(room-width(head)-width(text)-2, 8))
	return s.bold(truncate(head, room)) + truncate(pad(subject, subjectWidth)+"  "+text, room-width(head))
}

// The columns of a gauge between its brackets, and of the text behind it at its longest:
// "999.9 MB of 999.9 MB  9.9 MB/s  59s left".
const (
	leastGauge  = 5
	widestGauge = 20
	textWidth   = 42
)

func gauge(done, total int64, columns int) string {
	full := min(max(int(float64(done)/float64(total)*float64(columns)), 0), columns)
	return "[" + strings.Repeat("=", full) + strings.Repeat(" ", columns-full) + "]"
}

func spinner(now time.Time) string {
	return string(`|/-\`[now.UnixMilli()/refresh.Milliseconds()&3])
}
