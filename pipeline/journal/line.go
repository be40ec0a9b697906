package journal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"slices"
)

// version is that of the lines. A program that finds another one does not know what they mean.
const version = 1

const (
	// maxLine is the longest line, in bytes. A usual one has about 600; the rest is room for
	// platforms with long ids.
	maxLine = 4 << 10
	// maxGrown is the size from which on the file is replaced. What is kept then is at most
	// keepPast+1 lines, so that the file never reaches 64 KiB.
	maxGrown = 32 << 10
	// maxFile is more than any journal has: a larger file is none.
	maxFile = 1 << 20
)

// A line is {"crc":"01234567","record":{…}}, with the Castagnoli CRC of the bytes of the record.
const (
	lineOpen  = `{"crc":"`
	lineMid   = `","record":`
	lineClose = "}\n"
	crcDigits = 8
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func sum(body []byte) string { return fmt.Sprintf("%0*x", crcDigits, crc32.Checksum(body, castagnoli)) }

// record is an operation in a line.
type record struct {
	Version int `json:"v"`
	Operation
}

func encode(o Operation) ([]byte, error) {
	body, err := json.Marshal(record{version, o})
	if err != nil {
		return nil, err
	}
	line := []byte(lineOpen + sum(body) + lineMid + string(body) + lineClose)
	if len(line) > maxLine {
		return nil, fmt.Errorf("the step %s has %d bytes, and at most %d can be remembered", o.Step, len(line), maxLine)
	}
	return line, nil
}

// DamagedError says that a journal cannot be trusted.
type DamagedError struct {
	// Name is of the file, Line counts from 1.
	Name string
	Line int
	Why  string
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("read journal %s: line %d: %s", e.Name, e.Line, e.Why)
}

// Hint says how to go on without what was remembered.
func (e *DamagedError) Hint() string {
	return "it says what an earlier apply was about: look with slugfile releases whether that was released, then remove the file and run slugfile again"
}

// decode reads the lines of a journal. size is where they end: what stands behind is a line
// that was cut off.
func decode(name string, text []byte) (lines []Operation, size int64, err error) {
	if len(text) > maxFile {
		return nil, 0, &DamagedError{name, 1, fmt.Sprintf("the file has %d bytes, which no journal has", len(text))}
	}
	for n := 1; ; n++ {
		line, rest, whole := bytes.Cut(text[size:], []byte("\n"))
		if !whole {
			return lines, size, nil
		}
		o, why := parse(line)
		if why != "" {
			// A block that never reached the disk reads as zeros, which no line has.
			if len(rest) == 0 && bytes.IndexByte(line, 0) >= 0 {
				return lines, size, nil
			}
			return nil, 0, &DamagedError{name, n, why}
		}
		lines = append(lines, o)
		size += int64(len(line)) + 1
	}
}

// parse reads one line without its end, or says why it is wrong.
func parse(line []byte) (o Operation, why string) {
	const head = len(lineOpen) + crcDigits + len(lineMid)
	if len(line) < head+1 || len(line) >= maxLine || string(line[:len(lineOpen)]) != lineOpen || string(line[head-len(lineMid):head]) != lineMid || line[len(line)-1] != '}' {
		return o, "it is no line of a journal"
	}
	body := line[head : len(line)-1]
	if string(line[len(lineOpen):len(lineOpen)+crcDigits]) != sum(body) {
		return o, "its checksum does not match, so it was changed after it was written"
	}
	var r record
	if err := json.Unmarshal(body, &r); err != nil {
		return o, "it cannot be read: " + err.Error()
	}
	switch {
	case r.Version != version:
		return o, fmt.Sprintf("it has version %d, and this slugfile knows version %d: run the newer one", r.Version, version)
	case r.Apply == "" || !slices.Contains(steps, r.Step):
		return o, fmt.Sprintf("it has the apply id %q and the step %q, which this slugfile does not know", r.Apply, r.Step)
	}
	return r.Operation, ""
}
