package view

import (
	"bufio"
	"errors"
	"hash/fnv"
	"io"
	"strings"
	"time"
)

// logParts cuts a line of a log, "<time> source[dyno]: text". One of another form is all text.
func logParts(line string) (at time.Time, source, dyno, text string) {
	stamp, rest, _ := strings.Cut(line, " ")
	at, err := time.Parse(time.RFC3339Nano, stamp)
	head, text, ok := strings.Cut(rest, ": ")
	if !ok {
		head, ok = strings.CutSuffix(rest, ":")
	}
	source, dyno, bracket := strings.Cut(strings.TrimSuffix(head, "]"), "[")
	if err != nil || !ok || !bracket || strings.Contains(head, " ") {
		return time.Time{}, "", "", line
	}
	return at, source, dyno, text
}

// dynoColours are for telling processes apart; red is left for errors.
var dynoColours = []string{sgrCyan, sgrGreen, sgrYellow, "\x1b[34m", "\x1b[35m"}

// Log writes one line of a log. Its head has a colour for each dyno, and what the app wrote is
// cleaned: its own colours stay on a terminal.
func Log(w io.Writer, line string, s Style) error {
	at, source, dyno, text := logParts(line)
	out := cleanOutput(text, s)
	if source != "" {
		h := fnv.New32a()
		_, _ = h.Write([]byte(dyno)) // cannot fail, by its documentation
		head := Clean(at.UTC().Format("2006-01-02T15:04:05.000000+00:00") + " " + source + "[" + dyno + "]:")
		out = s.paint(dynoColours[h.Sum32()%uint32(len(dynoColours))], head) + " " + out
	}
	_, err := io.WriteString(w, out+"\n")
	return err
}

// LogLine is one line of a log. Time is null, and Source and Dyno are empty, where a line has
// another form than the platform's.
type LogLine struct {
	Time   *time.Time `json:"time"`
	Source string     `json:"source"`
	Dyno   string     `json:"dyno"`
	Text   string     `json:"text"`
}

// NewLogLine cuts a line of a log into its parts.
func NewLogLine(line string) LogLine {
	at, source, dyno, text := logParts(line)
	l := LogLine{Source: source, Dyno: dyno, Text: text}
	if source != "" {
		l.Time = &at
	}
	return l
}

// longestLine is where a line without an end is broken.
const longestLine = 64 << 10

// Lines copies foreign text line by line, cleaned, and flushes after each.
func Lines(w io.Writer, r io.Reader, flush func() error, s Style) error {
	for br := bufio.NewReaderSize(r, longestLine); ; {
		line, err := br.ReadSlice('\n')
		if len(line) > 0 {
			if _, err := io.WriteString(w, cleanOutput(string(line), s)+"\n"); err != nil {
				return err
			}
			if err := flush(); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}
