package deflate_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/slugfile/slugfile/pipeline/deflate"
	"github.com/slugfile/slugfile/pipeline/pipetest"
)

// member makes one gzip member of raw, in pieces whose level changes from one to the next.
func member(raw []byte) []byte {
	out := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}
	levels := [...]*deflate.Encoder{deflate.NewEncoder(deflate.Fast), deflate.NewEncoder(deflate.Default)}
	for i, n := 0, 0; ; n++ {
		end := min(i+100_000*(1+n%7), len(raw))
		out = levels[n%2].Append(out, raw[max(0, i-1<<15):i], raw[i:end], end == len(raw))
		if end == len(raw) {
			break
		}
		i = end
	}
	out = binary.LittleEndian.AppendUint32(out, crc32.ChecksumIEEE(raw))
	return binary.LittleEndian.AppendUint32(out, uint32(len(raw)))
}

func TestAppend_isReadByEveryTool(t *testing.T) {
	t.Parallel()
	raw := deflate.Mixture()
	path := filepath.Join(t.TempDir(), "raw.gz")
	if err := os.WriteFile(path, member(raw), 0o600); err != nil {
		t.Fatal(err)
	}
	for tool, args := range map[string][]string{
		"gzip":    {"-dc", path},
		"pigz":    {"-dc", path},
		"busybox": {"gunzip", "-c", path},
		"python3": {"-c", "import sys,zlib; sys.stdout.buffer.write(zlib.decompress(open(sys.argv[1],'rb').read(), 31))", path},
		"node":    {"-e", "process.stdout.write(require('zlib').gunzipSync(require('fs').readFileSync(process.argv[1])))", path},
		"ruby":    {"-rzlib", "-e", "$stdout.binmode; Zlib::GzipReader.open(ARGV[0]) { |z| $stdout.write(z.read); exit 1 if z.unused }", path},
	} {
		t.Run(tool, func(t *testing.T) {
			t.Parallel()
			pipetest.NeedTools(t, tool)
			cmd := exec.Command(tool, args...)
			var diagnosis bytes.Buffer
			cmd.Stderr = &diagnosis
			got, err := cmd.Output()
			if err != nil {
				t.Fatalf("%s: %v\n%s", tool, err, &diagnosis)
			}
			if !bytes.Equal(got, raw) {
				t.Errorf("%d bytes came back as %d, or others", len(raw), len(got))
			}
		})
	}
}
