package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"regexp"
	"strings"

	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/transport"
)

// maxSums limits a checksum file; Node's has 4 kB.
const maxSums = 1 << 20

// sumLine is what sha256sum prints: the digest, then two blanks, or a blank and an
// asterisk, then the name.
var sumLine = regexp.MustCompile(`^([0-9a-fA-F]{64}) [ *]([^\r\n]+)$`)

// sums is a published checksum file.
type sums struct {
	from  string
	lines map[string][]digest.Digest
}

func parseSums(from string, text []byte) (*sums, error) {
	s := &sums{from: from, lines: map[string][]digest.Digest{}}
	for line := range bytes.Lines(text) {
		m := sumLine.FindSubmatch(bytes.TrimRight(line, "\r\n"))
		if m == nil {
			continue // a signature's armour, a comment, another algorithm
		}
		d, err := digest.Parse(string(m[1]))
		if err != nil {
			return nil, err
		}
		s.lines[string(m[2])] = append(s.lines[string(m[2])], d)
	}
	if len(s.lines) == 0 {
		return nil, fmt.Errorf("%s: no line of it is a sha256, two blanks and a file name", from)
	}
	return s, nil
}

// find returns the digest of the file that an address ends with. The whole name must be
// equal, and stand there once.
func (s *sums) find(address string) (d digest.Digest, name string, err error) {
	name = baseName(address)
	hits := s.lines[name]
	switch len(hits) {
	case 1:
		return hits[0], name, nil
	case 0:
		return d, name, &sumsError{fmt.Sprintf("%s has no line for %q", s.from, name)}
	}
	return d, name, &sumsError{fmt.Sprintf("%s has %d lines for %q", s.from, len(hits), name)}
}

func (s *sums) has(address string) bool { return len(s.lines[baseName(address)]) > 0 }

func baseName(address string) string {
	if u, err := url.Parse(address); err == nil {
		return path.Base(u.Path)
	}
	return path.Base(address)
}

// sumsError is a checksum file that does not help.
type sumsError struct{ text string }

func (e *sumsError) Error() string { return e.text }

// Hint says what to do next.
func (e *sumsError) Hint() string {
	return "check the address of the checksum file, and name the runtimes that it is for"
}

// getSums downloads a checksum file, through mirrors like everything else.
func (s *Stage) getSums(ctx context.Context, c *client, o Options, address string) (*sums, error) {
	at, _ := rewrite(s.Mirrors, address)
	if strings.HasPrefix(at, "file:") {
		return fileSums(at)
	}
	var text []byte
	err := o.Backoff.Retry(ctx, nil, func(int) error {
		resp, where, err := c.get(ctx, at, nil)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body := transport.IdleReader(resp.Body, o.Idle, o.MinRate, o.RateSpan)
		defer body.Close()
		if text, err = io.ReadAll(io.LimitReader(body, maxSums+1)); err != nil {
			return transport.Error("GET", where, err)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("checksum file %s: %w", describe(address), err)
	}
	if len(text) > maxSums {
		return nil, fmt.Errorf("checksum file %s: larger than %d bytes", describe(address), maxSums)
	}
	return parseSums(describe(address), text)
}

func fileSums(at string) (*sums, error) {
	u, err := url.Parse(at)
	if err != nil {
		return nil, errors.New("the address of the checksum file cannot be read")
	}
	p, err := filePath(u)
	if err != nil {
		return nil, fmt.Errorf("checksum file: the address %s %w", at, err)
	}
	f, err := openRegular(p)
	if err != nil {
		return nil, fmt.Errorf("checksum file: %w", err)
	}
	defer func(f *os.File) { f.Close() }(f)
	text, err := io.ReadAll(io.LimitReader(f, maxSums))
	if err != nil {
		return nil, fmt.Errorf("checksum file %s: %w", p, err)
	}
	return parseSums(p, text)
}
