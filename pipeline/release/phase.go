package release

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"time"

	"github.com/slugfile/slugfile/pipeline/event"
	"github.com/slugfile/slugfile/pipeline/failpoint"
	"github.com/slugfile/slugfile/pipeline/platform"
	"github.com/slugfile/slugfile/pipeline/transport"
)

// tailLines is how many lines of a failed release phase go into the error.
const tailLines = 20

// firstLook is how soon a release is looked at again at first; the wait doubles up to Poll.
const firstLook = 250 * time.Millisecond

// maxLine is where a line without an end is split, as Heroku's own log does.
const maxLine = 10_000

// What is left of the output after the phase has ended is worth a few attempts, not a wait.
const (
	drainTries = 3
	drainLimit = 5 * time.Second
)

// follow waits until the release is live. With a release phase it shows the output as it
// comes; the end of the output is not yet success, so the status decides.
func (a *attempt) follow(stop context.Context, rel platform.Release) (platform.Release, error) {
	limit := a.phaseLimit()
	ctx, cancel := context.WithTimeoutCause(stop, limit, fmt.Errorf("release v%d is still pending after %s: %w", rel.Version, limit, context.DeadlineExceeded))
	defer cancel()
	lines := &phaseLines{seed: maphash.MakeSeed(), emit: func(line string) {
		a.emit(event.Output{Stage: event.Release, Subject: subject, Line: line})
	}}
	streaming := rel.OutputStreamURL != nil && *rel.OutputStreamURL != ""
	warned := false
	// A short phase is over before a whole poll: the first looks come sooner.
	wait := min(a.poll(), firstLook)
	for first := true; ; first = false {
		if streaming {
			ended, err := a.stream(ctx, rel, lines)
			switch {
			case ended:
				streaming = false
			case ctx.Err() != nil:
			case errors.Is(err, platform.ErrNotFound), errors.Is(err, transport.ErrStalled):
				// The dyno is starting, or works in silence.
			case err != nil && !lines.any && !warned:
				// One word is enough: the status decides, and the stream is tried again.
				a.warn(err.Error())
				warned = true
			}
		}
		// What POST answered may be the end of it already.
		if !first || rel.Status == platform.Pending {
			failpoint.Hit("release.status.before")
			now, err := a.Platform.Release(ctx, a.op.App, rel.ID)
			if err != nil {
				return rel, a.unknown(ctx, stop, rel, err)
			}
			if now.OutputStreamURL == nil {
				now.OutputStreamURL = rel.OutputStreamURL
			}
			rel = now
		}
		switch rel.Status {
		case platform.Pending:
		case platform.Failed, platform.Expired:
			a.drain(ctx, rel, lines, streaming)
			return rel, &FailedError{App: a.op.AppName, Version: rel.Version, Status: rel.Status, Tail: lines.tail}
		default: // succeeded, or a platform without release phases
			a.drain(ctx, rel, lines, streaming)
			return rel, nil
		}
		if err := transport.Sleep(ctx, wait); err != nil {
			return rel, a.unknown(ctx, stop, rel, err)
		}
		wait = min(2*wait, a.poll())
	}
}

// unknown describes the end of waiting without a result: the release itself was made.
func (a *attempt) unknown(ctx, stop context.Context, rel platform.Release, err error) error {
	if stop.Err() != nil {
		return a.stopped(stop, rel.Version, false, err)
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return fmt.Errorf("v%d was released, but its outcome is not known: %w", rel.Version, err)
}

// drain reads the output of a phase that has ended and whose stream was not read to its end.
func (s *Stage) drain(ctx context.Context, rel platform.Release, lines *phaseLines, streaming bool) {
	if !streaming {
		lines.finish()
		return
	}
	ctx, cancel := context.WithTimeout(ctx, drainLimit)
	defer cancel()
	for range drainTries {
		// A phase without output, or a stream that is gone: the status has decided already.
		ended, err := s.stream(ctx, rel, lines)
		if ended || errors.Is(err, platform.ErrNotFound) || transport.Sleep(ctx, s.poll()) != nil {
			break
		}
	}
	lines.finish()
}

// stream opens the output once and reads it as far as it goes. ended is set when the platform closed it in
// good order; everything else may be tried again.
func (s *Stage) stream(ctx context.Context, rel platform.Release, lines *phaseLines) (ended bool, err error) {
	r, err := s.Platform.ReleaseOutput(ctx, rel)
	if err != nil {
		return false, err
	}
	defer func() { _ = r.Close() }() // it was only read
	lines.restart()
	err = lines.read(r)
	if err == nil {
		lines.finish()
		return true, nil
	}
	return false, err
}

// phaseLines cuts the output into lines and passes each on once, although a stream that was
// cut begins again from the front.
type phaseLines struct {
	emit func(string)
	seed maphash.Seed
	// shown holds the hash of every line passed on, at is the place in it of a replay.
	shown     []uint64
	at        int
	replaying bool
	// rest is a line whose end has not come.
	rest []byte
	tail []string
	any  bool
}

// restart prepares for a stream that begins anew.
func (l *phaseLines) restart() {
	l.at, l.replaying, l.rest = 0, len(l.shown) > 0, nil
}

// read returns nil when the stream came to its end.
func (l *phaseLines) read(r io.Reader) error {
	br := bufio.NewReaderSize(r, maxLine)
	for {
		part, err := br.ReadSlice('\n')
		l.rest = append(l.rest, part...)
		if n := len(l.rest); n > 0 && (l.rest[n-1] == '\n' || n >= maxLine) {
			l.line()
		}
		switch {
		case err == nil || errors.Is(err, bufio.ErrBufferFull):
		case err == io.EOF:
			return nil
		default:
			return err
		}
	}
}

// finish passes a last line without an end on.
func (l *phaseLines) finish() {
	if len(l.rest) > 0 {
		l.line()
	}
}

func (l *phaseLines) line() {
	b := l.rest
	if n := len(b); n > 0 && b[n-1] == '\n' {
		b = b[:n-1]
	}
	if n := len(b); n > 0 && b[n-1] == '\r' {
		b = b[:n-1]
	}
	text := string(b)
	l.rest = l.rest[:0]
	sum := maphash.String(l.seed, text)
	if l.replaying {
		if l.at < len(l.shown) && l.shown[l.at] == sum {
			l.at++
			return
		}
		// Beyond what was shown, or a stream that goes on instead of beginning again.
		l.replaying = false
	}
	l.shown = append(l.shown, sum)
	l.any = true
	if len(l.tail) == tailLines {
		l.tail = append(l.tail[:0], l.tail[1:]...)
	}
	l.tail = append(l.tail, text)
	l.emit(text)
}
