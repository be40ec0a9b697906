package fetch

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/slugfile/slugfile/config"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/event"
	"github.com/slugfile/slugfile/pipeline/lock"
	"github.com/slugfile/slugfile/pipeline/transport"
	"github.com/slugfile/slugfile/pipeline/unpack"
)

// PinOptions says how far Pin may go. The zero value pins what has no pin yet.
type PinOptions struct {
	// Update downloads what is pinned already too, and accepts changed bytes.
	Update bool
	// Sums is the address of a checksum file that the bytes must agree with.
	Sums string
	// Names limits the work to these runtimes. Empty: all.
	Names []string
}

// Pinned is the result of Pin.
type Pinned struct {
	// Lock is the whole new slug.lock.
	Lock *lock.File
	// Changes has every runtime that was looked at, in the order of slug.yaml, then the pins
	// that were dropped.
	Changes []Change
}

// Change is what became of one pin. Old is nil for a new one, New for a dropped one; the
// two are equal for one that was kept.
type Change struct {
	Name, URL string
	Old, New  *lock.Pin
}

// ChangedError says that a pinned address has other bytes now. Nothing was written.
type ChangedError struct {
	// Name is the runtime's; Where is the address, or the path in the repository, or the
	// checksum file's.
	Name, Where string
	Mismatch    *digest.MismatchError
}

func (e *ChangedError) Error() string {
	return fmt.Sprintf("runtime %s: %s has other bytes than slug.lock pins: sha256 %s, pinned %s",
		e.Name, e.Where, e.Mismatch.Got, e.Mismatch.Want)
}

// Unwrap is the mismatch.
func (e *ChangedError) Unwrap() error { return e.Mismatch }

// Hint says what to do next.
func (e *ChangedError) Hint() string {
	return `find out why a published file changed; if the new bytes are meant, run "slugfile lock --update"`
}

// Pin finds out which bytes the runtimes of an expanded slug.yaml have. Those with a literal
// sha256, and tools, need no pin. Pins that stand are kept without a download; pins of other
// addresses of a runtime stay; those of runtimes that are gone are dropped. dir is the
// directory of slug.yaml. old may be nil, and is not changed.
func (s *Stage) Pin(ctx context.Context, dir string, runtimes []config.Runtime, old *lock.File, p PinOptions) (Pinned, error) {
	for _, name := range p.Names {
		if !slices.ContainsFunc(runtimes, func(r config.Runtime) bool { return r.Name == name }) {
			return Pinned{}, fmt.Errorf("there is no runtime %q in slug.yaml", name)
		}
	}
	o := s.Options.withDefaults()
	c := newClient(s.Mirrors, o)
	defer c.close()
	var published *sums
	if p.Sums != "" {
		var err error
		if published, err = s.getSums(ctx, c, o, p.Sums); err != nil {
			return Pinned{}, err
		}
	}
	var wanted []config.Runtime
	for _, r := range runtimes {
		if r.Host == "" && r.SHA256 == "" && (len(p.Names) == 0 || slices.Contains(p.Names, r.Name)) {
			wanted = append(wanted, r)
		}
	}
	changes := make([]Change, len(wanted))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(o.Parallel)
	for i, r := range wanted {
		group.Go(func() error {
			t := &task{s: s, o: o, client: c, name: r.Name, start: time.Now()}
			t.emit(event.TaskStarted{Stage: event.Fetch, Subject: r.Name})
			var err error
			if changes[i], err = t.pin(groupCtx, dir, r, old, published, p); err != nil {
				t.failed(ctx, groupCtx, err)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return Pinned{}, err
	}
	return merge(runtimes, old, changes), nil
}

// merge makes the new file: what was looked at, and the old pins of runtimes that still stand.
func merge(runtimes []config.Runtime, old *lock.File, changes []Change) Pinned {
	out := Pinned{Lock: &lock.File{Pins: []lock.Pin{}}, Changes: changes}
	for _, c := range changes {
		if _, twice := out.Lock.Find(c.Name, c.URL); !twice {
			out.Lock.Pins = append(out.Lock.Pins, *c.New)
		}
	}
	if old != nil {
		for _, pin := range old.Pins {
			if _, done := out.Lock.Find(pin.Name, pin.URL); done {
				continue
			}
			if slices.ContainsFunc(runtimes, func(r config.Runtime) bool { return r.Name == pin.Name }) {
				out.Lock.Pins = append(out.Lock.Pins, pin)
				continue
			}
			out.Changes = append(out.Changes, Change{Name: pin.Name, URL: pin.URL, Old: &pin})
		}
	}
	out.Lock.Sort()
	return out
}

func (t *task) pin(ctx context.Context, dir string, r config.Runtime, old *lock.File, published *sums, p PinOptions) (Change, error) {
	from := r.URL
	if r.Path != "" {
		from = r.Path
	}
	c := Change{Name: r.Name, URL: lock.Unsigned(from)}
	if pin, ok := old.Find(r.Name, from); ok {
		c.Old = &pin
	}
	want := digest.Digest{} // of the checksum file
	if published != nil && (c.Old == nil || p.Update || published.has(from)) {
		var err error
		if want, _, err = published.find(from); err != nil {
			return c, fmt.Errorf("%s: %w", t.subject(), err)
		}
		if c.Old != nil && !p.Update && c.Old.SHA256 != want {
			return c, t.changed(published.from, c.Old, want, -1)
		}
	}
	if c.Old != nil && !p.Update && r.Path == "" {
		c.New = c.Old
		t.finished(c.Old.Size, "pinned already")
		return c, nil
	}
	got, size, err := t.measure(ctx, dir, r, want)
	if err != nil {
		return c, err
	}
	if c.Old != nil && !p.Update && c.Old.SHA256 != got {
		return c, t.changed(r.Path, c.Old, got, size)
	}
	c.New = &lock.Pin{Name: r.Name, URL: c.URL, SHA256: got, Size: size}
	t.finished(size, "")
	return c, nil
}

func (t *task) changed(where string, old *lock.Pin, got digest.Digest, size int64) error {
	return &ChangedError{Name: t.name, Where: where, Mismatch: &digest.MismatchError{
		Subject: t.subject(), Want: old.SHA256, Got: got, WantSize: -1, GotSize: max(0, size),
	}}
}

// measure brings the bytes into the store and looks whether they are an archive at all: a
// page that asks for a login must not be pinned.
func (t *task) measure(ctx context.Context, dir string, r config.Runtime, want digest.Digest) (digest.Digest, int64, error) {
	var got arrived
	var err error
	from := r.Path
	if r.Path != "" {
		got, err = t.ingestFile(ctx, filepath.Join(dir, filepath.FromSlash(r.Path)), want, -1)
	} else {
		from = transport.Describe("GET", r.URL)
		got, err = t.download(ctx, r.URL, want, -1)
	}
	if err != nil {
		return got.digest, got.size, err
	}
	if err = unpack.Check(got.file); err != nil {
		err = fmt.Errorf("%s: %s: %w", t.subject(), from, err)
	}
	return got.digest, got.size, errors.Join(err, got.file.Close())
}
