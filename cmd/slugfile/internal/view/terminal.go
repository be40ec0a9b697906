package view

import (
	"fmt"
	"io"
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

	// mu is held while an event is told. A bar's filler never takes it: writing to bars
	// waits for the fillers.
	mu    sync.Mutex
	bars  *mpb.Progress
	tasks map[task]*bar
	ended bool
	err   error
}

const (
	// refresh is how often live lines are drawn.
	refresh = 100 * time.Millisecond
	// tail is how many lines of a step's output are shown under it while it runs.
	tail = 3
	// keepLines and keepBytes bound what is remembered of a step's output.
	keepLines = 20_000
	keepBytes = 8 << 20
	// indent stands before a step's output.
	indent = "      "
)

// NewTerminal returns a Terminal on w, which shows what is written to it as it is.
func NewTerminal(w io.Writer, o Options) *Terminal {
	o = o.withDefaults()
	return &Terminal{o: o, words: words{style: o.Style, verbose: o.Verbose}, w: w, tasks: map[task]*bar{}}
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
		if b := v.tasks[task{e.Stage, e.Subject}]; b != nil {
			b.progress(v.o.Now(), e.Done, e.Total)
		}
		return
	case event.Output:
		text := cleanOutput(e.Line, v.o.Style)
		b := v.tasks[task{e.Stage, e.Subject}]
		if b != nil && e.Stage == event.Compile && !v.o.Verbose {
			b.remember(text, cleanOutput(e.Line, Style{}))
			return
		}
		if e.Stage == event.Compile {
			v.print(indent + text)
			return
		}
		v.print("    " + v.o.Style.dim(Clean(e.Subject)+" |") + " " + text)
		return
	case event.Warning:
		for _, l := range v.words.warning(e) {
			v.print("  " + l)
		}
		return
	case event.TaskFinished:
		v.close(task{e.Stage, e.Subject})
	case event.TaskFailed:
		if b := v.close(task{e.Stage, e.Subject}); b != nil {
			for _, l := range b.output() {
				v.print(indent + l)
			}
		}
	}
	if l, ok := v.words.sentence(e); ok {
		v.print("  " + v.mark(l.symbol) + " " + l.text)
	}
}

func (v *Terminal) mark(symbol string) string {
	switch symbol {
	case "✓":
		return v.o.Style.green(symbol)
	case "✗":
		return v.o.Style.red(symbol)
	}
	return v.o.Style.symbol(symbol)
}

// print writes a line above the live ones.
func (v *Terminal) print(l string) {
	if v.err != nil {
		return
	}
	var to = v.w
	if v.bars != nil {
		to = v.bars
	}
	_, v.err = io.WriteString(to, l+"\n")
}

func (v *Terminal) open(t task, total int64) {
	if v.ended {
		return
	}
	v.close(t)
	if v.bars == nil {
		// The writer may hide that it is a terminal (a redactor stands in front of it), so
		// drawing is switched on, and lines are cut to the width here.
		v.bars = mpb.New(mpb.WithOutput(v.w), mpb.WithAutoRefresh(), mpb.WithRefreshRate(refresh), mpb.WithWidth(v.o.Width()))
	}
	b := &bar{style: v.o.Style, width: v.o.Width, now: v.o.Now, task: t, total: total, start: v.o.Now()}
	// A total of 0 keeps mpb from completing the bar by itself: the event does that.
	m, err := v.bars.Add(0, mpb.BarFillerFunc(b.fill), mpb.BarExtender(mpb.BarFillerFunc(b.fillTail), false))
	if err != nil {
		v.err = err
		return
	}
	b.bar = m
	v.tasks[t] = b
}

// close takes a live line away, and returns nil when there was none.
func (v *Terminal) close(t task) *bar {
	b := v.tasks[t]
	if b == nil {
		return nil
	}
	delete(v.tasks, t)
	b.bar.Abort(true)
	return b
}

// Close takes the live lines away. What is emitted later is written at once, without bars.
func (v *Terminal) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ended = true
	for t := range v.tasks {
		v.close(t)
	}
	if v.bars != nil {
		v.bars.Wait()
		v.bars = nil
	}
	return v.err
}

func (*Terminal) view() {}

// bar is one live line.
type bar struct {
	bar   *mpb.Bar
	style Style
	width func() int
	now   func() time.Time
	task  task
	start time.Time

	mu          sync.Mutex
	done, total int64
	samples     []sample
	lines       []string
	bytes       int
	dropped     int
	last        []string
}

// sample is how far a task was at a time; the rate is told from those of the last seconds.
type sample struct {
	at   time.Time
	done int64
}

const rateWindow = 5 * time.Second

func (b *bar) progress(now time.Time, done, total int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if done < b.done {
		// It started over.
		b.samples = nil
	}
	b.done = done
	if total > 0 {
		b.total = total
	}
	b.samples = append(b.samples, sample{now, done})
	for len(b.samples) > 2 && now.Sub(b.samples[0].at) > rateWindow {
		b.samples = b.samples[1:]
	}
}

// rate is in bytes a second, 0 when it is not known.
func (b *bar) rate() float64 {
	if len(b.samples) < 2 {
		return 0
	}
	first, last := b.samples[0], b.samples[len(b.samples)-1]
	span := last.at.Sub(first.at).Seconds()
	if span <= 0 {
		return 0
	}
	return float64(last.done-first.done) / span
}

// remember keeps a line of output: text for the screen, bare (without colours) for the
// live lines, which are cut.
func (b *bar) remember(text, bare string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, text)
	b.bytes += len(text)
	for len(b.lines) > keepLines || b.bytes > keepBytes && len(b.lines) > 1 {
		b.bytes -= len(b.lines[0])
		b.lines = b.lines[1:]
		b.dropped++
	}
	if strings.TrimSpace(bare) == "" {
		return
	}
	b.last = append(b.last, bare)
	if len(b.last) > tail {
		b.last = b.last[1:]
	}
}

func (b *bar) output() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dropped > 0 {
		return append([]string{fmt.Sprintf("(%s before this)", count(b.dropped, "line"))}, b.lines...)
	}
	return b.lines
}

// fill draws the line, one column short of the screen's width.
func (b *bar) fill(w io.Writer, _ decor.Statistics) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	columns := b.width() - 1
	now := b.now()
	head := "  " + spinner(now) + " " + pad(Clean(b.task.stage), stageWidth) + " "
	var facts []string
	switch {
	case b.total > 0:
		facts = append(facts, gauge(b.done, b.total), amount(b.done, b.total))
	case b.done > 0:
		facts = append(facts, Size(b.done))
	}
	if rate := b.rate(); rate >= 1 && b.done > 0 {
		facts = append(facts, Size(int64(rate))+"/s")
		if left := b.total - b.done; left > 0 {
			facts = append(facts, Elapsed(time.Duration(float64(left)/rate*float64(time.Second)).Round(time.Second))+" left")
		}
	}
	if len(facts) == 0 || b.total <= 0 {
		facts = append(facts, Elapsed(now.Sub(b.start).Truncate(100*time.Millisecond)))
	}
	text := strings.Join(facts, "  ")
	subject := shorten(Clean(b.task.subject), max(columns-width(head)-width(text)-2, 8))
	line := truncate(pad(subject, 14)+"  "+text, columns-width(head))
	_, err := io.WriteString(w, b.style.bold(head)+line)
	return err
}

// fillTail draws the last lines of the output.
func (b *bar) fillTail(w io.Writer, _ decor.Statistics) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.last {
		l = truncate(l, b.width()-1-len(indent))
		if _, err := io.WriteString(w, indent+b.style.dim(l)+"\n"); err != nil {
			return err
		}
	}
	return nil
}

const gaugeWidth = 16

func gauge(done, total int64) string {
	full := min(max(int(float64(done)/float64(total)*gaugeWidth), 0), gaugeWidth)
	return "[" + strings.Repeat("=", full) + strings.Repeat(" ", gaugeWidth-full) + "]"
}

func spinner(now time.Time) string {
	return string(`|/-\`[now.UnixMilli()/int64(refresh/time.Millisecond)%4])
}
