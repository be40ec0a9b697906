package transport

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// shortest is the length below which a value is not looked for: hiding every "1" would make
// output unreadable and tell more than it hides.
const shortest = 4

// shortestLine is the length from which a line of a longer value is looked for by itself.
const shortestLine = 12

// Redactor replaces known secret values by "***" in text. It finds a value as it is, escaped
// for a URL or for JSON, each longer line of it by itself, and in base64 at any place of a longer text, which covers the Basic scheme with
// any user name. It is safe for use by several goroutines.
type Redactor struct {
	mu       sync.RWMutex
	patterns [][]byte // longest first
	first    [256]bool
}

// NewRedactor returns a Redactor for these values. Values shorter than 4 bytes are not looked for.
func NewRedactor(secrets ...string) *Redactor {
	r := &Redactor{}
	r.Add(secrets...)
	return r
}

// Add adds values that became known later. Writers use them from their next write on.
func (r *Redactor) Add(secrets ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range secrets {
		if len(s) < shortest {
			continue
		}
		list := forms(s)
		// A key of several lines may be printed in part, or with other line ends.
		for line := range strings.Lines(s) {
			if line = strings.TrimSpace(line); len(line) >= shortestLine && len(line) < len(s) {
				list = append(list, forms(line)...)
			}
		}
		for _, form := range list {
			r.patterns = append(r.patterns, []byte(form))
			r.first[form[0]] = true
		}
	}
	slices.SortFunc(r.patterns, func(a, b []byte) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return bytes.Compare(a, b)
	})
	r.patterns = slices.CompactFunc(r.patterns, bytes.Equal)
}

// forms lists the ways in which s may stand in a text.
func forms(s string) []string {
	quoted, err := json.Marshal(s)
	if err != nil {
		quoted = []byte(`""`)
	}
	list := []string{s, url.QueryEscape(s), url.PathEscape(s), string(quoted[1 : len(quoted)-1])}
	// In base64 a value looks in one of three ways, by its offset modulo 3; the characters at
	// both ends that also hold neighbouring bits are left out.
	for offset := range 3 {
		enc := base64.RawStdEncoding.EncodeToString(append(make([]byte, offset), s...))
		from := []int{0, 2, 3}[offset]
		to := (offset + len(s)) * 8 / 6
		if core := enc[from:to]; len(core) >= shortest {
			list = append(list, core, strings.NewReplacer("+", "-", "/", "_").Replace(core))
		}
	}
	return slices.DeleteFunc(list, func(f string) bool { return len(f) < shortest })
}

// String returns s with every value replaced.
func (r *Redactor) String(s string) string {
	out, _ := r.scan(nil, []byte(s), true)
	return string(out)
}

// scan appends the redacted in to out. Unless last is set it stops where a value may have
// begun that is not yet complete, and returns that rest.
func (r *Redactor) scan(out, in []byte, last bool) (done, rest []byte) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	plain := 0
	for i := 0; i < len(in); {
		if !r.first[in[i]] {
			i++
			continue
		}
		match := 0
		for _, p := range r.patterns {
			if bytes.HasPrefix(in[i:], p) {
				match = len(p)
				break
			}
			// A longer value may be cut off here: patterns come longest first.
			if !last && len(p) > len(in)-i && bytes.HasPrefix(p, in[i:]) {
				return append(out, in[plain:i]...), in[i:]
			}
		}
		if match == 0 {
			i++
			continue
		}
		out = append(append(out, in[plain:i]...), hidden...)
		i += match
		plain = i
	}
	return append(out, in[plain:]...), nil
}

// Writer returns a writer that passes everything on to w without the values, also where one
// is split over several writes. A tail that may be the beginning of a value waits
// for the next write, so the last write is followed by Flush.
func (r *Redactor) Writer(w io.Writer) *RedactWriter { return &RedactWriter{r: r, w: w} }

// RedactWriter is the writer of a Redactor. It is safe for use by several goroutines.
type RedactWriter struct {
	r    *Redactor
	mu   sync.Mutex
	w    io.Writer
	held []byte
}

// Write reports len(p) once all of p is written or held back.
func (w *RedactWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.emit(append(w.held, p...), false); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush writes what is held back.
func (w *RedactWriter) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.emit(w.held, true)
}

func (w *RedactWriter) emit(in []byte, last bool) error {
	out, rest := w.r.scan(nil, in, last)
	w.held = bytes.Clone(rest)
	if len(out) == 0 {
		return nil
	}
	_, err := w.w.Write(out)
	return err
}
