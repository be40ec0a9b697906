package examine_test

import (
	"reflect"
	"testing"

	"github.com/slugfile/slugfile/pipeline/examine"
)

func TestScript_isWhatTheKernelSees(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]*examine.Script{
		"#!/bin/sh\necho":                    {Interpreter: "/bin/sh"},
		"#! /usr/bin/env  node \nx":          {Interpreter: "/usr/bin/env", Args: "node"},
		"#!/usr/bin/env -S ruby -W0\n":       {Interpreter: "/usr/bin/env", Args: "-S ruby -W0"},
		"#!/bin/bash\r\necho\r\n":            {Interpreter: "/bin/bash", CR: true},
		"#!/bin/sh":                          {Interpreter: "/bin/sh"},
		"#![allow(dead_code)]\nfn main() {}": nil,
		"#!\n":                               nil,
		"# comment\n":                        nil,
		"":                                   nil,
	} {
		if got := file("x", []byte(text)).Script; !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
}

func TestProfile_tellsWhereItLooks(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]*examine.Profile{
		`export PATH="$HOME/node/bin:$PATH"`: {Path: []string{"/app/node/bin"}},
		"LD_LIBRARY_PATH=/app/.apt/usr/lib:$HOME/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}\nexport LD_LIBRARY_PATH": {Libraries: []string{"/app/.apt/usr/lib", "/app/lib"}},
		"export A=b\n# PATH=/nowhere\n":  {},
		"export PATH=$PYENV/bin:$PATH\n": {Unclear: true},
		"source /app/env.sh\n":           {Unclear: true},
		"eval \"$(x)\"":                  {Unclear: true},
		"export PATH=/app/bin:$PATH\r\n": {Path: []string{"/app/bin"}, CR: true},
	} {
		if got := file(".profile.d/x.sh", []byte(text)).Profile; !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
	if file("lib/.profile.d/x.sh", []byte("PATH=/app/x")).Profile != nil || file(".profile.d/x", []byte("PATH=/app/x")).Profile != nil {
		t.Error("a file that no dyno sources is a profile")
	}
	if file(".profile", []byte("PATH=/app/x")).Profile == nil {
		t.Error(".profile is not read")
	}
}

func TestForeign_tellsOtherSystems(t *testing.T) {
	t.Parallel()
	pe := make([]byte, 0x80)
	copy(pe, "MZ")
	pe[0x3c] = 0x60
	copy(pe[0x60:], "PE\x00\x00")
	for want, b := range map[string][]byte{
		"Mach-O": {0xcf, 0xfa, 0xed, 0xfe, 7, 0, 0, 1},
		"PE":     pe,
		"":       {0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, 0x37}, // a class of Java
	} {
		if got := file("x", b).Foreign; got != want {
			t.Errorf("% x: %q, want %q", b[:4], got, want)
		}
	}
	if !file("x", []byte("hello")).None() {
		t.Error("a text needs something")
	}
}

func TestFile_tellsShellFilesOfWindows(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{"set -e\r\nx\r\n": true, "set -e\nx\r\n": false, "set -e\r": false, "": false, "#!/bin/sh\r\n": false} {
		if got := file("bin/x.sh", []byte(text)).CR; got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
	if file("x.bat", []byte("dir\r\n")).CR {
		t.Error("a file of Windows ends its lines as Windows does")
	}
}
