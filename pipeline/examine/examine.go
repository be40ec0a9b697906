// Package examine reads in a file what it needs of the system that it will run on: the machine
// and libraries of a program, the interpreter of a script, the variables that a profile sets.
//
// It is for whoever reads the files of a slug anyway. It never judges (package stack does), never
// runs anything, and takes hostile input: it reads a bounded part of a file, allocates bounded memory,
// and what it cannot understand is told as such.
package examine

import (
	"bytes"
	"encoding/binary"
	"io"
	"path"
	"strings"
)

// Version moves when the same file gives other facts. Facts of another version are worth nothing.
const Version = 2

// Facts are what a file needs. The zero value is a file that needs nothing: nearly all.
type Facts struct {
	ELF     *ELF     `json:"elf,omitempty"`
	Script  *Script  `json:"script,omitempty"`
	Profile *Profile `json:"profile,omitempty"`
	// Foreign is the form of a program that Linux does not run: "Mach-O" of macOS or "PE" of Windows.
	Foreign string `json:"foreign,omitempty"`
	// CR says of a shell's file without a #! line that its first line ends as on Windows.
	CR bool `json:"cr,omitempty"`
}

// None reports whether there is nothing to tell.
func (f Facts) None() bool {
	return f.ELF == nil && f.Script == nil && f.Profile == nil && f.Foreign == "" && !f.CR
}

// Script is a file that begins with #!.
type Script struct {
	// Interpreter is the word after #!, and Args is what follows it, which the kernel hands over as
	// one argument.
	Interpreter string `json:"interpreter"`
	Args        string `json:"args,omitempty"`
	// CR says that the line ends as on Windows: the kernel takes the carriage return for a part of
	// the name.
	CR bool `json:"cr,omitempty"`
}

// maxLine is how much of the first line Linux reads.
const maxLine = 256

// File tells what the file at a path below ./app needs. r holds its whole content, size bytes.
// What cannot be read counts as not there.
func File(name string, size int64, r io.ReaderAt) Facts {
	var f Facts
	var head [maxLine]byte
	n, _ := r.ReadAt(head[:4], 0) // nearly all files are told apart by this
	b := head[:n]
	switch {
	case bytes.HasPrefix(b, []byte("\x7fELF")):
		f.ELF = readELF(r, size)
	case bytes.HasPrefix(b, []byte("#!")):
		n, _ = r.ReadAt(head[:], 0)
		f.Script = readScript(head[:n])
	case path.Ext(name) == ".sh" || path.Ext(name) == ".bash":
		n, _ = r.ReadAt(head[:], 0)
		line, _, whole := bytes.Cut(head[:n], []byte("\n"))
		f.CR = whole && bytes.HasSuffix(line, []byte("\r"))
	default:
		f.Foreign = foreign(b, r, size)
	}
	if isProfile(name) && f.ELF == nil {
		f.Profile = readProfile(io.NewSectionReader(r, 0, min(size, maxProfile)))
	}
	return f
}

// readScript reads the first line of a script. It is nil for what only looks like one: an
// attribute of Rust begins with "#![".
func readScript(b []byte) *Script {
	line, _, _ := bytes.Cut(b[2:], []byte("\n"))
	line, cr := bytes.CutSuffix(line, []byte("\r"))
	text := strings.Trim(string(line), " \t")
	if text == "" || text[0] == '[' || strings.IndexByte(text, 0) >= 0 {
		return nil
	}
	s := &Script{Interpreter: text, CR: cr}
	if i := strings.IndexAny(text, " \t"); i >= 0 {
		s.Interpreter, s.Args = text[:i], strings.Trim(text[i:], " \t")
	}
	return s
}

// foreign tells programs of macOS and Windows by how they begin.
func foreign(b []byte, r io.ReaderAt, size int64) string {
	if len(b) < 4 {
		return ""
	}
	switch binary.BigEndian.Uint32(b) {
	case 0xfeedface, 0xfeedfacf, 0xcefaedfe, 0xcffaedfe:
		return "Mach-O"
	case 0xcafebabe:
		// A class of Java begins so as well, with its version where a universal program has the
		// number of its parts.
		var count [4]byte
		if _, err := r.ReadAt(count[:], 4); err == nil && binary.BigEndian.Uint32(count[:]) < 20 {
			return "Mach-O"
		}
	}
	if b[0] != 'M' || b[1] != 'Z' || size < 0x40 {
		return ""
	}
	var at [4]byte
	if _, err := r.ReadAt(at[:], 0x3c); err != nil {
		return ""
	}
	var mark [4]byte
	if _, err := r.ReadAt(mark[:], int64(binary.LittleEndian.Uint32(at[:]))); err == nil && mark == [4]byte{'P', 'E', 0, 0} {
		return "PE"
	}
	return ""
}

// isProfile reports whether a dyno sources the file when it starts.
func isProfile(name string) bool {
	return name == ".profile" || path.Dir(name) == ".profile.d" && strings.HasSuffix(name, ".sh")
}
