package view

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestLog_cleansWhatTheAppWrote(t *testing.T) {
	t.Parallel()
	const head = "2026-03-01T12:00:00.123456+00:00 app[web.1]: "
	for _, c := range []struct{ line, plain string }{
		{head + "hello", head + "hello\n"},
		{head + "\x1b[31mred\x1b[0m\x1b]0;title\x07", head + "red\n"},
		{head, head + "\n"},
		{"no log \x1b[2J\u202e", "no log \\u202e\n"},
		{"2026-03-01T12:00:00Z only words", "2026-03-01T12:00:00Z only words\n"},
	} {
		var b bytes.Buffer
		if err := Log(&b, c.line, Style{}); err != nil || b.String() != c.plain {
			t.Errorf("%q: %q, %v; want %q", c.line, b.String(), err, c.plain)
		}
		b.Reset()
		if err := Log(&b, c.line, NewStyle(true)); err != nil || strings.ContainsAny(b.String(), "\x07\u202e") || strings.Contains(b.String(), "\x1b]") || strings.Contains(b.String(), "\x1b[2J") {
			t.Errorf("%q in colour: %q, %v", c.line, b.String(), err)
		}
	}
}

func TestNewLogLine_cutsALineIntoItsParts(t *testing.T) {
	t.Parallel()
	l := NewLogLine("2026-03-01T12:00:00.5+00:00 heroku[router]: at=info path=\"/a: b\"")
	if l.Time == nil || !l.Time.Equal(time.Date(2026, 3, 1, 12, 0, 0, 5e8, time.UTC)) || l.Source != "heroku" || l.Dyno != "router" || l.Text != "at=info path=\"/a: b\"" {
		t.Errorf("%+v", l)
	}
	if l := NewLogLine("anything"); l.Time != nil || l.Source != "" || l.Text != "anything" {
		t.Errorf("%+v", l)
	}
}
