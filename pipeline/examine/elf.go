package examine

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// ELF is a program, library or object file of Linux and its like. All but Class, Machine, OS and Type
// is read for 64-bit x86 alone, which is what slugs run on.
type ELF struct {
	// Class is 32 or 64, 0 when it is neither.
	Class int `json:"class"`
	// Machine is "x86-64", "arm64", or another name or number.
	Machine string `json:"machine"`
	// OS is empty for Linux, and else names the system that the header names.
	OS string `json:"os,omitempty"`
	// Type is "program", "library", "object" or "core". A program that can be loaded anywhere is one.
	Type string `json:"type"`
	// Interp is the dynamic loader that a program asks for; empty for a static one and for libraries.
	Interp string `json:"interp,omitempty"`
	Soname string `json:"soname,omitempty"`
	// Needed are the sonames that it is linked with, in their order.
	Needed []string `json:"needed,omitempty"`
	// RPath and RunPath are where it looks for them, word for word.
	RPath   []string `json:"rpath,omitempty"`
	RunPath []string `json:"runpath,omitempty"`
	// Requires are the versions that it wants of the libraries that it names. Those that the loader
	// may do without are not there.
	Requires []Requirement `json:"requires,omitempty"`
	// Defines are the versions that it has, for others.
	Defines []string `json:"defines,omitempty"`
	// NoDefault says that the loader looks in none of its own directories.
	NoDefault bool `json:"nodefault,omitempty"`
	// Damaged says why not all of it could be read.
	Damaged string `json:"damaged,omitempty"`
}

// Requirement is the versions that are wanted of one library, by its soname.
type Requirement struct {
	Library  string   `json:"library"`
	Versions []string `json:"versions"`
}

// X86 reports whether the kernel of a dyno would take it.
func (e *ELF) X86() bool {
	return e.Class == 64 && e.Machine == "x86-64" && e.OS == ""
}

// The bounds of what is read. Real files are far below them: the largest programs need a few
// dozen libraries and some hundred versions.
const (
	maxSegments = 512
	maxDynamic  = 4096
	maxNeeded   = 1024
	maxVersions = 8192
	maxText     = 4096
	maxPaths    = 256
	// maxTexts is of all names of one file together, in bytes.
	maxTexts = 1 << 20
)

// readELF reads a file that begins like one. It follows the program headers, as the kernel and the
// loader do; sections are for linkers and may be missing or lie.
//
// Of package debug/elf only the names are used: its reader wants section headers, takes whole
// tables into memory, and promises nothing for hostile files. A test compares the two.
func readELF(r io.ReaderAt, size int64) *ELF {
	e := &ELF{}
	if err := e.read(&window{r: r, size: size}); err != nil {
		e.Damaged = err.Error()
	}
	return e
}

func (e *ELF) read(w *window) error {
	head, err := w.bytes(0, 20)
	if err != nil {
		return errors.New("it ends within its header")
	}
	var order binary.ByteOrder = binary.LittleEndian
	if elf.Data(head[elf.EI_DATA]) == elf.ELFDATA2MSB {
		order = binary.BigEndian
	}
	switch elf.Class(head[elf.EI_CLASS]) {
	case elf.ELFCLASS32:
		e.Class = 32
	case elf.ELFCLASS64:
		e.Class = 64
	}
	e.Machine = machine(elf.Machine(order.Uint16(head[18:])))
	switch abi := elf.OSABI(head[elf.EI_OSABI]); abi {
	case elf.ELFOSABI_NONE, elf.ELFOSABI_LINUX:
	default:
		e.OS = strings.TrimPrefix(abi.String(), "ELFOSABI_")
	}
	kind := elf.Type(order.Uint16(head[16:]))
	switch kind {
	case elf.ET_EXEC:
		e.Type = "program"
	case elf.ET_DYN:
		e.Type = "library"
	case elf.ET_REL:
		e.Type = "object"
	case elf.ET_CORE:
		e.Type = "core"
	default:
		e.Type = "unknown"
	}
	if !e.X86() || kind != elf.ET_EXEC && kind != elf.ET_DYN {
		return nil
	}
	return e.segments(w)
}

// machine names those that a user may meet as Go and package managers do.
func machine(m elf.Machine) string {
	switch m {
	case elf.EM_X86_64:
		return "x86-64"
	case elf.EM_AARCH64:
		return "arm64"
	case elf.EM_386:
		return "x86"
	case elf.EM_ARM:
		return "arm"
	case elf.EM_RISCV:
		return "riscv"
	case elf.EM_PPC64:
		return "ppc64"
	case elf.EM_S390:
		return "s390x"
	case elf.EM_LOONGARCH:
		return "loong64"
	case elf.EM_MIPS:
		return "mips"
	case elf.EM_BPF:
		return "bpf"
	}
	return strings.ToLower(strings.TrimPrefix(m.String(), "EM_"))
}

// load is a part of the file that is mapped at an address.
type load struct{ addr, off, size uint64 }

// image is what the reading of one file's tables needs.
type image struct {
	w       *window
	loads   []load
	strings int64 // offset of the dynamic string table; its end is end
	end     int64
}

func (e *ELF) segments(w *window) error {
	head, err := w.bytes(0, 64)
	if err != nil {
		return errors.New("it ends within its header")
	}
	le := binary.LittleEndian
	if elf.Data(head[elf.EI_DATA]) != elf.ELFDATA2LSB {
		return errors.New("its bytes are in the wrong order for its machine")
	}
	off, each, n := le.Uint64(head[32:]), le.Uint16(head[54:]), int(le.Uint16(head[56:]))
	if n == 0 {
		return errors.New("it has no program headers")
	}
	if each != 56 || n > maxSegments {
		return errors.New("its program headers make no sense")
	}
	im := &image{w: w}
	var dynamic, interp *load
	for i := range n {
		b, err := w.bytes(off+uint64(i)*56, 56)
		if err != nil {
			return errors.New("it ends within its program headers")
		}
		s := load{addr: le.Uint64(b[16:]), off: le.Uint64(b[8:]), size: le.Uint64(b[32:])}
		switch elf.ProgType(le.Uint32(b)) {
		case elf.PT_LOAD:
			im.loads = append(im.loads, s)
		case elf.PT_DYNAMIC:
			dynamic = &s
		case elf.PT_INTERP:
			interp = &s
		}
	}
	if interp != nil {
		if e.Type = "program"; interp.size > maxText {
			return errors.New("the name of its loader is too long")
		}
		if e.Interp, err = w.text(interp.off, interp.off+interp.size); err != nil {
			return fmt.Errorf("the name of its loader: %w", err)
		}
	}
	if dynamic == nil {
		e.Type = "program" // a static one
		return nil
	}
	return e.dynamic(im, *dynamic)
}

// dynamic reads the table that tells the loader what to do.
func (e *ELF) dynamic(im *image, at load) error {
	le := binary.LittleEndian
	var needed, rpath, runpath []uint64
	var soname, table, size, need, needN, def, defN uint64
	var hasSoname, pie bool
	for i := range uint64(maxDynamic) {
		if (i+1)*16 > at.size {
			break
		}
		b, err := im.w.bytes(at.off+i*16, 16)
		if err != nil {
			return errors.New("it ends within its dynamic table")
		}
		tag, v := elf.DynTag(int64(le.Uint64(b))), le.Uint64(b[8:])
		if tag == elf.DT_NULL {
			break
		}
		switch tag {
		case elf.DT_NEEDED:
			if len(needed) == maxNeeded {
				return errors.New("it needs too many libraries")
			}
			needed = append(needed, v)
		case elf.DT_RPATH:
			rpath = append(rpath, v)
		case elf.DT_RUNPATH:
			runpath = append(runpath, v)
		case elf.DT_SONAME:
			soname, hasSoname = v, true
		case elf.DT_STRTAB:
			table = v
		case elf.DT_STRSZ:
			size = v
		case elf.DT_VERNEED:
			need = v
		case elf.DT_VERNEEDNUM:
			needN = v
		case elf.DT_VERDEF:
			def = v
		case elf.DT_VERDEFNUM:
			defN = v
		case elf.DT_FLAGS_1:
			e.NoDefault = v&uint64(elf.DF_1_NODEFLIB) != 0
			pie = v&uint64(elf.DF_1_PIE) != 0
		}
	}
	if pie {
		e.Type = "program"
	}
	if table == 0 {
		return nil
	}
	from, err := im.offset(table)
	if err != nil {
		return fmt.Errorf("its strings: %w", err)
	}
	if size > uint64(im.w.size) || from+int64(size) > im.w.size {
		return errors.New("it ends within its strings")
	}
	im.strings, im.end = from, from+int64(size)
	if hasSoname {
		if e.Soname, err = im.text(soname); err != nil {
			return err
		}
	}
	for _, v := range needed {
		s, err := im.text(v)
		if err != nil {
			return err
		}
		e.Needed = append(e.Needed, s)
	}
	if e.RPath, err = im.paths(rpath); err != nil {
		return err
	}
	if e.RunPath, err = im.paths(runpath); err != nil {
		return err
	}
	if need != 0 {
		if err := e.requires(im, need, needN); err != nil {
			return err
		}
	}
	if def != 0 {
		return e.defines(im, def, defN)
	}
	return nil
}

// requires reads the versions that are wanted of others.
func (e *ELF) requires(im *image, addr, n uint64) error {
	at, err := im.offset(addr)
	if err != nil {
		return fmt.Errorf("its wanted versions: %w", err)
	}
	le := binary.LittleEndian
	total := 0
	for i := uint64(0); i < n; i++ {
		b, err := im.w.bytes(uint64(at), 16)
		if total++; err != nil || total > maxVersions {
			return errors.New("its wanted versions make no sense")
		}
		count, file, aux, next := int(le.Uint16(b[2:])), le.Uint32(b[4:]), int64(le.Uint32(b[8:])), int64(le.Uint32(b[12:]))
		var r Requirement
		if r.Library, err = im.text(uint64(file)); err != nil {
			return err
		}
		for from := at + aux; count > 0; count-- {
			b, err := im.w.bytes(uint64(from), 16)
			if total++; err != nil || total > maxVersions {
				return errors.New("its wanted versions make no sense")
			}
			flags, name, further := le.Uint16(b[4:]), le.Uint32(b[8:]), int64(le.Uint32(b[12:]))
			v, err := im.text(uint64(name))
			if err != nil {
				return err
			}
			const weak = 2 // VER_FLG_WEAK
			if flags&weak == 0 {
				r.Versions = append(r.Versions, v)
			}
			if further == 0 {
				break
			}
			from += further
		}
		if slices.Sort(r.Versions); len(r.Versions) > 0 {
			e.Requires = append(e.Requires, r)
		}
		if next == 0 {
			return nil
		}
		at += next
	}
	return nil
}

// defines reads the versions that it has.
func (e *ELF) defines(im *image, addr, n uint64) error {
	at, err := im.offset(addr)
	if err != nil {
		return fmt.Errorf("its versions: %w", err)
	}
	le := binary.LittleEndian
	for i := uint64(0); i < n; i++ {
		b, err := im.w.bytes(uint64(at), 20)
		if err != nil || i >= maxVersions {
			return errors.New("its versions make no sense")
		}
		flags, aux, next := le.Uint16(b[2:]), int64(le.Uint32(b[12:])), int64(le.Uint32(b[16:]))
		const base = 1 // VER_FLG_BASE: the name of the file itself
		if flags&base == 0 {
			if b, err = im.w.bytes(uint64(at+aux), 8); err != nil {
				return errors.New("its versions make no sense")
			}
			v, err := im.text(uint64(le.Uint32(b)))
			if err != nil {
				return err
			}
			e.Defines = append(e.Defines, v)
		}
		if next == 0 {
			break
		}
		at += next
	}
	slices.Sort(e.Defines)
	return nil
}

// offset is where in the file an address lies.
func (im *image) offset(addr uint64) (int64, error) {
	for _, l := range im.loads {
		if addr >= l.addr && addr-l.addr < l.size {
			if off := l.off + (addr - l.addr); off < uint64(im.w.size) {
				return int64(off), nil
			}
		}
	}
	return 0, fmt.Errorf("nothing of the file is at address %#x", addr)
}

// text is a string of the dynamic string table.
func (im *image) text(at uint64) (string, error) {
	if at >= uint64(im.end-im.strings) {
		return "", errors.New("a name lies outside its strings")
	}
	return im.w.text(uint64(im.strings)+at, uint64(im.end))
}

// paths are the directories of the lists at the places.
func (im *image) paths(at []uint64) ([]string, error) {
	var out []string
	for _, v := range at {
		s, err := im.text(v)
		if err != nil {
			return nil, err
		}
		for dir := range strings.SplitSeq(s, ":") {
			if len(out) == maxPaths {
				return nil, errors.New("it looks in too many directories")
			}
			if dir != "" {
				out = append(out, dir)
			}
		}
	}
	return out, nil
}

// window reads small parts of a file that often lie close together.
type window struct {
	r    io.ReaderAt
	size int64

	buf []byte
	at  int64
	// texts counts the bytes of the names that were read.
	texts int
}

// room is how much is read at a time.
const room = 16 << 10

// bytes returns n bytes from off on, valid until the next call. n is at most room.
func (w *window) bytes(off uint64, n int) ([]byte, error) {
	if off > uint64(w.size) || uint64(w.size)-off < uint64(n) {
		return nil, io.ErrUnexpectedEOF
	}
	at := int64(off)
	if at < w.at || at+int64(n) > w.at+int64(len(w.buf)) {
		if w.buf == nil {
			w.buf = make([]byte, 0, room)
		}
		want := int(min(room, w.size-at))
		got, err := w.r.ReadAt(w.buf[:want], at)
		w.buf, w.at = w.buf[:got], at
		if got < n {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return w.buf[at-w.at:][:n], nil
}

// text returns the string at off that ends with a zero byte before end, or at end.
func (w *window) text(off, end uint64) (string, error) {
	end = min(end, uint64(w.size))
	if off >= end {
		return "", io.ErrUnexpectedEOF
	}
	// Most names are short; the second look is for the others.
	for _, n := range []uint64{128, maxText} {
		n = min(n, end-off)
		b, err := w.bytes(off, int(n))
		if err != nil {
			return "", err
		}
		i := slices.Index(b, 0)
		if i < 0 && n == end-off {
			i = int(n)
		}
		if i >= 0 {
			if w.texts += i; w.texts > maxTexts {
				return "", errors.New("its names are too long")
			}
			return string(b[:i]), nil
		}
	}
	return "", errors.New("a name is too long")
}
