package pipetest

import (
	"encoding/binary"
	"slices"
)

// ELF says what is to stand in a program or library that is made up. It has no code.
type ELF struct {
	// Machine is that of the header; 0 is 62, x86-64. 183 is arm64.
	Machine uint16
	// Library makes it one that can be loaded anywhere, as shared libraries are.
	Library bool
	// Static leaves out the dynamic table.
	Static         bool
	Interp, Soname string
	Needed         []string
	RPath, RunPath string
	Requires       []ELFVersions
	Defines        []string
}

// ELFVersions are the versions that are wanted of a library. A version that begins with a question
// mark may be missing.
type ELFVersions struct {
	Library  string
	Versions []string
}

// Bytes makes the file. The standard library's reader and readelf take it for a real one.
func (e ELF) Bytes() []byte {
	const base, header = 0x400000, 64
	le := binary.LittleEndian
	if e.Machine == 0 {
		e.Machine = 62
	}
	strings := []byte{0}
	text := func(s string) uint64 {
		at := len(strings)
		strings = append(append(strings, s...), 0)
		return uint64(at)
	}
	var dynamic []uint64
	for _, n := range e.Needed {
		dynamic = append(dynamic, 1, text(n))
	}
	for _, d := range []struct {
		tag  uint64
		text string
	}{{14, e.Soname}, {15, e.RPath}, {29, e.RunPath}} {
		if d.text != "" {
			dynamic = append(dynamic, d.tag, text(d.text))
		}
	}
	var need []byte
	for i, r := range e.Requires {
		next := 16 + 16*len(r.Versions)
		if i == len(e.Requires)-1 {
			next = 0
		}
		need = le.AppendUint16(le.AppendUint16(need, 1), uint16(len(r.Versions)))
		need = le.AppendUint32(need, uint32(text(r.Library)))
		need = le.AppendUint32(le.AppendUint32(need, 16), uint32(next))
		for k, v := range r.Versions {
			flags, next := uint16(0), uint32(16)
			if v[0] == '?' {
				flags, v = 2, v[1:]
			}
			if k == len(r.Versions)-1 {
				next = 0
			}
			need = le.AppendUint32(need, hash(v))
			need = le.AppendUint16(le.AppendUint16(need, flags), uint16(2+k))
			need = le.AppendUint32(le.AppendUint32(need, uint32(text(v))), next)
		}
	}
	var def []byte
	defines := e.Defines
	if len(defines) > 0 {
		defines = slices.Insert(slices.Clone(defines), 0, e.Soname) // the first names the file
	}
	for i, v := range defines {
		flags, next := uint16(0), uint32(28)
		if i == 0 {
			flags = 1
		}
		if i == len(defines)-1 {
			next = 0
		}
		for _, n := range []uint16{1, flags, uint16(1 + i), 1} {
			def = le.AppendUint16(def, n)
		}
		def = le.AppendUint32(le.AppendUint32(le.AppendUint32(def, hash(v)), 20), next)
		def = le.AppendUint32(le.AppendUint32(def, uint32(text(v))), 0)
	}

	headers := 1
	if e.Interp != "" {
		headers++
	}
	if !e.Static {
		headers++
	}
	at := uint64(header + 56*headers)
	var body []byte
	place := func(b []byte) uint64 {
		for len(body)%8 != 0 {
			body = append(body, 0)
		}
		off := at + uint64(len(body))
		body = append(body, b...)
		return off
	}
	interp := place(append([]byte(e.Interp), 0))
	stringsAt := place(strings)
	needAt, defAt := place(need), place(def)
	dynamic = append(dynamic, 5, base+stringsAt, 10, uint64(len(strings)))
	if len(need) > 0 {
		dynamic = append(dynamic, 0x6ffffffe, base+needAt, 0x6fffffff, uint64(len(e.Requires)))
	}
	if len(def) > 0 {
		dynamic = append(dynamic, 0x6ffffffc, base+defAt, 0x6ffffffd, uint64(len(defines)))
	}
	var table []byte
	for _, v := range append(dynamic, 0, 0) {
		table = le.AppendUint64(table, v)
	}
	dynamicAt := place(table)
	end := at + uint64(len(body))

	out := append([]byte("\x7fELF"), 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	kind := uint16(2)
	if e.Library {
		kind = 3
	}
	out = le.AppendUint32(le.AppendUint16(le.AppendUint16(out, kind), e.Machine), 1)
	out = le.AppendUint64(le.AppendUint64(le.AppendUint64(out, base), header), 0)
	out = le.AppendUint32(out, 0)
	for _, n := range []uint16{header, 56, uint16(headers), 0, 0, 0} {
		out = le.AppendUint16(out, n)
	}
	segment := func(kind uint32, off, size uint64) {
		out = le.AppendUint32(le.AppendUint32(out, kind), 5)
		for _, n := range []uint64{off, base + off, base + off, size, size, 8} {
			out = le.AppendUint64(out, n)
		}
	}
	if e.Interp != "" {
		segment(3, interp, uint64(len(e.Interp))+1)
	}
	segment(1, 0, end)
	if !e.Static {
		segment(2, dynamicAt, uint64(len(table)))
	}
	return append(out, body...)
}

// hash is how the loader's tables name a version: https://refspecs.linuxfoundation.org/elf/gabi4+/ch5.dynamic.html#hash
func hash(s string) uint32 {
	var h uint32
	for i := range len(s) {
		h = h<<4 + uint32(s[i])
		g := h & 0xf0000000
		h = (h ^ g>>24) &^ g
	}
	return h
}
