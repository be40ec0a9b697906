package unpack_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slugfile/slugfile/pipeline/unpack"
)

func TestCheck_saysWhatStandsWhereTheArchiveWas(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"<!DOCTYPE html><html>": "a page instead of the archive",
		"\n <html>":             "a page instead of the archive",
		"version https://git-lfs.github.com/spec/v1\n": "something else",
	} {
		name := filepath.Join(t.TempDir(), "archive")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		err = unpack.Check(f)
		_ = f.Close() // it was only read
		var format *unpack.FormatError
		if !errors.As(err, &format) || !strings.Contains(format.Hint(), want) || !strings.Contains(err.Error(), "it starts with") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
