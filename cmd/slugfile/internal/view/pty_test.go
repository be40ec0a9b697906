//go:build unix

package view

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"

	"github.com/slugfile/slugfile/pipeline/event"
)

func TestTerminal_drawsLiveLinesOnARealTerminalWithinItsWidth(t *testing.T) {
	t.Parallel()
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = master.Close() }() // reading ends before
	const cols = 50
	if err := pty.Setsize(tty, &pty.Winsize{Rows: 24, Cols: cols}); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	read := make(chan struct{})
	go func() {
		// Linux answers EIO when the other side of the terminal is closed.
		_, _ = io.Copy(&b, master)
		close(read)
	}()

	v := NewTerminal(tty, Options{Style: NewStyle(true), Width: func() int {
		w, _, err := term.GetSize(int(tty.Fd()))
		if err != nil {
			return 80
		}
		return w
	}})
	const name = "a-runtime-with-a-very-long-name-that-does-not-fit"
	v.Emit(event.TaskStarted{Stage: event.Fetch, Subject: name, Total: 27_800_000})
	v.Emit(event.TaskStarted{Stage: event.Compile, Subject: "bundle"})
	v.Emit(event.Output{Stage: event.Compile, Subject: "bundle", Line: strings.Repeat("wide 日本語 ", 20) + "\x1b[2J"})
	for i := range 8 {
		v.Emit(event.Progress{Stage: event.Fetch, Subject: name, Done: int64(i) * 3_000_000, Total: 27_800_000})
		time.Sleep(refresh / 2) // live lines are drawn by a clock of their own
	}
	v.Emit(event.TaskFinished{Stage: event.Fetch, Subject: name, Bytes: 27_800_000, Elapsed: time.Second})
	v.Emit(event.TaskFinished{Stage: event.Compile, Subject: "bundle", Elapsed: time.Second})
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	if err := tty.Close(); err != nil {
		t.Fatal(err)
	}
	<-read
	sent := strings.ReplaceAll(b.String(), "\r\n", "\n")
	if !liveCodes.MatchString(sent) {
		t.Errorf("no live lines in %q", sent)
	}
	for _, want := range []string{"MB of 27.8 MB", "wide 日本語"} {
		if !strings.Contains(sent, want) {
			t.Errorf("%q is not in %q", want, sent)
		}
	}
	for l := range strings.Lines(liveCodes.ReplaceAllString(sent, "")) {
		l = strings.TrimSuffix(withoutColours(l), "\n")
		if live := !strings.Contains(l, "✓"); live && width(l) >= cols {
			t.Errorf("a live line of %d columns: %q", width(l), l)
		}
		if strings.IndexFunc(l, hostile) >= 0 {
			t.Errorf("a control character in %q", l)
		}
	}
	left := withoutColours(screen(sent))
	if strings.Contains(left, "wide") || strings.Count(left, "✓") != 2 || strings.Contains(left, " of 27.8 MB") {
		t.Errorf("what stays on the screen:\n%s", left)
	}
}
