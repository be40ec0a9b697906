package pipeline_test

import (
	"errors"
	"fmt"
	"strings"

	"github.com/slugfile/slugfile/pipeline/journal"
)

// disk is the file of a machine's journal. It outlives processes.
type disk struct {
	text []byte
	// largest is the most bytes that it ever had.
	largest int
}

// journalFile is the way of one process to the disk, on which the schedule lays its faults.
type journalFile struct {
	*disk
	*process
	ask  func(what string, possible []fault) fault
	home int
}

var _ journal.File = (*journalFile)(nil)

var (
	// A line may be there in part after a crash, and after an error too.
	ofAppend = []fault{killedBefore, torn, killedAfter, diskFull}
	// A file is replaced whole or not at all.
	ofReplace = []fault{killedBefore, killedAfter, diskFull}

	errDiskFull = errors.New("no space left on device")
)

func (f *journalFile) Name() string { return fmt.Sprintf("journal of machine %d", f.home) }

func (f *journalFile) Read() ([]byte, error) { return append([]byte(nil), f.text...), nil }

func (f *journalFile) Append(size int64, line []byte) error {
	return f.write("journal: "+step(line), ofAppend, append(f.text[:size:size], line...), len(line)/2)
}

func (f *journalFile) Replace(text []byte) error {
	return f.write("journal: replace", ofReplace, append([]byte(nil), text...), len(text))
}

// write lets the schedule decide what becomes of one write; missing is how much of a torn one is not written.
func (f *journalFile) write(what string, possible []fault, text []byte, missing int) error {
	if f.killed {
		return errKilled
	}
	does := none
	if f.ask != nil {
		does = f.ask(fmt.Sprintf("%d: %s", f.home, what), possible)
	}
	switch does {
	case killedBefore:
		return f.die()
	case torn, diskFull:
		if len(possible) == len(ofAppend) {
			f.put(text[:len(text)-missing])
		}
		if does == torn {
			return f.die()
		}
		return errDiskFull
	case killedAfter:
		f.put(text)
		return f.die()
	}
	f.put(text)
	return nil
}

func (d *disk) put(text []byte) {
	d.text, d.largest = text, max(d.largest, len(text))
}

// step is the step that a line of the journal tells.
func step(line []byte) string {
	_, rest, _ := strings.Cut(string(line), `"step":"`)
	name, _, _ := strings.Cut(rest, `"`)
	return name
}
