package disk_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/slugfile/slugfile/pipeline/disk"
)

func names(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, d := range list {
		out = append(out, d.Name())
	}
	return out
}

func TestReplace_showsTheOldFileUntilTheNewOneIsWhole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := filepath.Join(dir, "slug.lock")
	for _, text := range []string{"old", "new"} {
		before, readErr := os.ReadFile(at)
		err := disk.Replace(at, 0o644, func(w io.Writer) error {
			if _, err := io.WriteString(w, text); err != nil {
				return err
			}
			now, err := os.ReadFile(at)
			if string(now) != string(before) || (err == nil) != (readErr == nil) {
				t.Errorf("while %q is written, %q shows", text, now)
			}
			for _, n := range names(t, dir) {
				if n != "slug.lock" && !disk.IsTemp(n) {
					t.Errorf("%q is not told as temporary", n)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(at); err != nil || string(got) != text {
			t.Errorf("got %q, %v; want %q", got, err, text)
		}
	}
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("left over: %q", got)
	}
}

func TestReplace_leavesNothingBehindWhenItCannot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "taken"), 0o755); err != nil {
		t.Fatal(err)
	}
	boom := errors.New("boom")
	if err := disk.Replace(filepath.Join(dir, "f"), 0o644, func(io.Writer) error { return boom }); !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
	if err := disk.Replace(filepath.Join(dir, "taken"), 0o644, func(io.Writer) error { return nil }); err == nil {
		t.Error("a directory was replaced")
	}
	if err := disk.Replace(filepath.Join(dir, "no", "f"), 0o644, func(io.Writer) error { return nil }); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if got := names(t, dir); len(got) != 1 || got[0] != "taken" {
		t.Errorf("left over: %q", got)
	}
}

func TestIsTemp_takesNoFileOfTheUsers(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"slug.tgz", ".slugfile", ".slugfile-notes", "x.tmp", ".tmp", "a.slugfile-x.tmp", ".slugignore"} {
		if disk.IsTemp(name) {
			t.Errorf("%q is told as temporary", name)
		}
	}
}

func TestSync_takesWhatIsThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := errors.Join(disk.SyncDir(dir), disk.SyncTree(dir)); err != nil {
		t.Error(err)
	}
}
