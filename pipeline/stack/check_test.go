package stack_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/examine"
	"github.com/slugfile/slugfile/pipeline/pipetest"
	"github.com/slugfile/slugfile/pipeline/stack"
	"github.com/slugfile/slugfile/pipeline/tree"
)

const glibcLoader = "/lib64/ld-linux-x86-64.so.2"

// app is a slug in memory: a path with a * at its end is executable, content that begins with ->
// is a link.
type app map[string]string

func (a app) check(onStack string, types map[string]string) []artifact.Finding {
	in := stack.Subject{Stack: onStack, ProcessTypes: types, Facts: map[string]examine.Facts{}}
	var m tree.Manifest
	for name, content := range a {
		p, exec := strings.CutSuffix(name, "*")
		e := tree.Entry{Path: p, Kind: tree.File, Exec: exec, Size: int64(len(content))}
		if target, link := strings.CutPrefix(content, "->"); link {
			e = tree.Entry{Path: p, Kind: tree.Link, Target: target}
		} else if f := examine.File(p, e.Size, bytes.NewReader([]byte(content))); !f.None() {
			in.Facts[p] = f
		}
		m = append(m, e)
		for i := range p {
			if p[i] == '/' && !slices.ContainsFunc(m, func(e tree.Entry) bool { return e.Path == p[:i] }) {
				m = append(m, tree.Entry{Path: p[:i], Kind: tree.Dir})
			}
		}
	}
	m.Sort()
	in.Find = m.Find
	in.Entries = func(yield func(*tree.Entry) bool) {
		for i := range m {
			if !yield(&m[i]) {
				return
			}
		}
	}
	return stack.Check(in)
}

// told is a finding in one line.
func told(f artifact.Finding) string {
	return fmt.Sprintf("%s %s %s: %s", f.Severity, f.Code, f.Path, f.Message)
}

func elf(e pipetest.ELF) string { return string(e.Bytes()) }

// needing is a program that wants versions of a system library.
func needing(library string, versions ...string) string {
	return elf(pipetest.ELF{
		Interp: glibcLoader, Needed: []string{library, "libc.so.6"},
		Requires: []pipetest.ELFVersions{{Library: library, Versions: versions}},
	})
}

// newLib is a libstdc++ as newer than any stack's.
var newLib = elf(pipetest.ELF{Library: true, Soname: "libstdc++.so.6", Defines: []string{"GLIBCXX_3.4.99"}})

func TestCheck_findsWhatWouldNotRun(t *testing.T) {
	t.Parallel()
	web := map[string]string{"web": "bin/web"}
	musl := elf(pipetest.ELF{Interp: "/lib/ld-musl-x86_64.so.1", Needed: []string{"libc.musl-x86_64.so.1"}})
	arm := elf(pipetest.ELF{Machine: 183, Interp: "/lib/ld-linux-aarch64.so.1"})
	for _, c := range []struct {
		name  string
		stack string
		app   app
		types map[string]string
		want  []string
	}{
		{"newer glibc", "heroku-22", app{"bin/web*": needing("libc.so.6", "GLIBC_2.2.5", "GLIBC_2.38")}, web,
			[]string{"error glibc bin/web: needs GLIBC_2.38; heroku-22 has 2.35"}},
		{"the same on a newer stack", "heroku-24", app{"bin/web*": needing("libc.so.6", "GLIBC_2.2.5", "GLIBC_2.38")}, web, nil},
		{"just the stack's", "heroku-22", app{"bin/web*": needing("libm.so.6", "GLIBC_2.35", "GLIBC_PRIVATE", "GLIBC_ABI_UNHEARD")}, web, nil},
		{"only weakly", "heroku-22", app{"bin/web*": needing("libc.so.6", "?GLIBC_2.38")}, web, nil},
		{"relative relocations", "heroku-22", app{"bin/web*": needing("libc.so.6", "GLIBC_ABI_DT_RELR")}, web,
			[]string{"error glibc bin/web: needs GLIBC_ABI_DT_RELR; heroku-22 has 2.35"}},
		{"newer libstdc++", "heroku-24", app{"x.node": needing("libstdc++.so.6", "GLIBCXX_3.4.34", "CXXABI_1.3.15", "CXXABI_FLOAT128")}, nil,
			[]string{"error libstdcxx x.node: needs GLIBCXX_3.4.34; heroku-24 has 3.4.33"}},
		{"libgcc", "heroku-20", app{"x.node": needing("libgcc_s.so.1", "GCC_3.0", "GCC_4.2.0", "GCC_12.0.0")}, nil,
			[]string{"error libgcc x.node: needs GCC_12.0.0; heroku-20 has 10"}},
		{"libgcc of the stack", "heroku-22", app{"x.node": needing("libgcc_s.so.1", "GCC_3.0", "GCC_12.0.0")}, nil, nil},
		{"one of several prebuilt", "heroku-22", app{"node_modules/x/prebuilds/linux-x64/x.node": needing("libc.so.6", "GLIBC_2.38")}, nil,
			[]string{"warning glibc node_modules/x/prebuilds/linux-x64/x.node: needs GLIBC_2.38; heroku-22 has 2.35"}},
		{"own libstdc++ found", "heroku-20", app{"bin/web*": elf(pipetest.ELF{
			Interp: glibcLoader, Needed: []string{"libstdc++.so.6"}, RunPath: "$ORIGIN/../lib",
			Requires: []pipetest.ELFVersions{{Library: "libstdc++.so.6", Versions: []string{"GLIBCXX_3.4.99"}}},
		}), "lib/libstdc++.so.6": newLib}, web, nil},
		{"own libstdc++ too old", "heroku-20", app{"bin/web*": elf(pipetest.ELF{
			Interp: glibcLoader, Needed: []string{"libstdc++.so.6"}, RunPath: "$ORIGIN/../lib",
			Requires: []pipetest.ELFVersions{{Library: "libstdc++.so.6", Versions: []string{"GLIBCXX_3.5"}}},
		}), "lib/libstdc++.so.6": newLib}, web,
			[]string{"error library-version bin/web: needs GLIBCXX_3.5 of libstdc++.so.6; the one at lib/libstdc++.so.6 does not have it"}},
		{"own libstdc++ by LD_LIBRARY_PATH", "heroku-20", app{
			"bin/web*": needing("libstdc++.so.6", "GLIBCXX_3.4.99"), "vendor/lib/libstdc++.so.6": newLib,
			".profile.d/lib.sh": "export LD_LIBRARY_PATH=$HOME/vendor/lib:$LD_LIBRARY_PATH\n"}, web, nil},
		{"own libstdc++ that may be loaded", "heroku-20", app{"a/x.node": needing("libstdc++.so.6", "GLIBCXX_3.4.99"), "lib/libstdc++.so.6": newLib}, nil,
			[]string{"warning libstdcxx a/x.node: needs GLIBCXX_3.4.99; heroku-20 has 3.4.28"}},
		{"dropped soname", "heroku-24", app{"bin/web*": elf(pipetest.ELF{Interp: glibcLoader, Needed: []string{"libssl.so.1.1", "libc.so.6"}})}, web,
			[]string{"error library bin/web: needs libssl.so.1.1; heroku-24 has libssl.so.3"}},
		{"dropped soname, not started", "heroku-24", app{"x.so": elf(pipetest.ELF{Library: true, Needed: []string{"libssl.so.1.1", "libc.so.6"}})}, nil,
			[]string{"warning library x.so: needs libssl.so.1.1; heroku-24 has libssl.so.3"}},
		{"dropped soname, by a library of the slug", "heroku-24", app{
			"bin/web*":    elf(pipetest.ELF{Interp: glibcLoader, Needed: []string{"libx.so"}, RunPath: "$ORIGIN"}),
			"bin/libx.so": elf(pipetest.ELF{Library: true, Needed: []string{"libssl.so.1.1"}}),
		}, web, []string{"error library bin/libx.so: needs libssl.so.1.1; heroku-24 has libssl.so.3"}},
		{"dropped soname, and a profile that may bring it", "heroku-24", app{
			"bin/web*":        elf(pipetest.ELF{Interp: glibcLoader, Needed: []string{"libssl.so.1.1"}}),
			".profile.d/a.sh": "source bin/unpack\n",
		}, web, []string{"warning library bin/web: needs libssl.so.1.1; heroku-24 has libssl.so.3"}},
		{"soname of no stack", "heroku-24", app{"bin/web*": elf(pipetest.ELF{Interp: glibcLoader, Needed: []string{"libgbm.so.1"}})}, web,
			[]string{"error library bin/web: needs libgbm.so.1, which neither the slug nor heroku-24 has"}},
		{"unknown soname", "heroku-24", app{"bin/web*": elf(pipetest.ELF{Interp: glibcLoader, Needed: []string{"libunheard.so.7"}})}, web, nil},
		{"soname in the slug, by a link", "heroku-24", app{
			"bin/web*":            elf(pipetest.ELF{Interp: glibcLoader, Needed: []string{"libssl.so.1.1"}, RPath: "/app/lib"}),
			"lib/libssl.so.1.1":   "->libssl.so.1.1.0",
			"lib/libssl.so.1.1.0": elf(pipetest.ELF{Library: true, Soname: "libssl.so.1.1"}),
		}, web, nil},
		{"soname in the slug, not looked for", "heroku-24", app{
			"bin/web*":          elf(pipetest.ELF{Interp: glibcLoader, Needed: []string{"libssl.so.1.1"}}),
			"lib/libssl.so.1.1": elf(pipetest.ELF{Library: true, Soname: "libssl.so.1.1"}),
		}, web, []string{"warning library bin/web: needs libssl.so.1.1, which is at lib/libssl.so.1.1, where the loader does not look"}},
		{"looked for outside", "heroku-24", app{"bin/web*": elf(pipetest.ELF{Interp: glibcLoader, Needed: []string{"libssl.so.1.1"}, RPath: "/home/me/lib"})}, web,
			[]string{"error library bin/web: needs libssl.so.1.1; heroku-24 has libssl.so.3"}},
		{"arm64, started", "heroku-24", app{"bin/web*": arm}, web, []string{"error machine bin/web: built for arm64 Linux; heroku-24 runs x86-64 Linux"}},
		{"arm64, not started", "heroku-24", app{"x.node": arm}, nil, []string{"warning machine x.node: built for arm64 Linux; heroku-24 runs x86-64 Linux"}},
		{"arm64, and says so", "heroku-24", app{"prebuilds/linux-arm64/x.node": arm}, nil, nil},
		{"macOS, started", "heroku-24", app{"bin/web*": "\xcf\xfa\xed\xfe\x0c\x00\x00\x01"}, web, []string{"error machine bin/web: built for macOS; heroku-24 runs x86-64 Linux"}},
		{"macOS, an addon", "heroku-24", app{"node_modules/b/build/Release/b.node": "\xcf\xfa\xed\xfe\x0c\x00\x00\x01"}, nil,
			[]string{"warning machine node_modules/b/build/Release/b.node: built for macOS; heroku-24 runs x86-64 Linux"}},
		{"musl, started", "heroku-24", app{"bin/web*": musl}, web,
			[]string{"error loader bin/web: needs musl (/lib/ld-musl-x86_64.so.1), as programs built on Alpine do; heroku-24 has glibc"}},
		{"musl, and says so", "heroku-24", app{"node_modules/x-linux-x64-musl/x": musl}, nil, nil},
		{"another loader", "heroku-24", app{"bin/web*": elf(pipetest.ELF{Interp: "/nix/store/abc/lib/ld.so"})}, web,
			[]string{"error loader bin/web: needs the loader /nix/store/abc/lib/ld.so, which heroku-24 does not have"}},
		{"its own loader", "heroku-20", app{
			"bin/web*":   elf(pipetest.ELF{Interp: "/app/lib/ld.so", Needed: []string{"libc.so.6"}, Requires: []pipetest.ELFVersions{{Library: "libc.so.6", Versions: []string{"GLIBC_2.99"}}}}),
			"lib/ld.so*": elf(pipetest.ELF{Library: true}),
		}, web, nil},
		{"static", "heroku-20", app{"bin/web*": elf(pipetest.ELF{Static: true})}, web, nil},
		{"a script without its interpreter", "heroku-24", app{"bin/web*": "#!/usr/bin/python3\n"}, web,
			[]string{"error interpreter bin/web: its #! line wants /usr/bin/python3, which neither the slug nor heroku-24 has"}},
		{"the same where it is there", "heroku-22", app{"bin/web*": "#!/usr/bin/python3\n"}, web, nil},
		{"by env", "heroku-24", app{"bin/web*": "#!/usr/bin/env ruby\n"}, web,
			[]string{"error interpreter bin/web: its #! line wants ruby, which neither the slug nor heroku-24 has"}},
		{"by env, in the slug", "heroku-24", app{"bin/web*": "#!/usr/bin/env ruby\n", "ruby/bin/ruby*": "x"}, web, nil},
		{"by env -S", "heroku-24", app{"bin/web*": "#!/usr/bin/env -S A=b ruby -W0\n"}, web,
			[]string{"error interpreter bin/web: its #! line wants ruby, which neither the slug nor heroku-24 has"}},
		{"by env without -S", "heroku-24", app{"bin/web*": "#!/usr/bin/env bash -e\n"}, web,
			[]string{`error interpreter bin/web: its #! line makes env look for a program called "bash -e"`}},
		{"an interpreter of the slug", "heroku-24", app{"bin/web*": "#!/app/node/bin/node\n", "node/bin/node*": arm}, web,
			[]string{"error machine node/bin/node: built for arm64 Linux; heroku-24 runs x86-64 Linux"}},
		{"an interpreter at home", "heroku-24", app{"bin/web*": "#!/home/me/.rbenv/shims/ruby\n"}, web,
			[]string{"error interpreter bin/web: its #! line wants /home/me/.rbenv/shims/ruby, which neither the slug nor heroku-24 has"}},
		{"a program of its own that nothing starts", "heroku-24", app{"bin/console*": "#!/usr/bin/env ruby\n", "node_modules/x/y*": "#!/usr/bin/env python3\n"}, nil,
			[]string{"warning interpreter bin/console: its #! line wants ruby, which neither the slug nor heroku-24 has"}},
		{"an interpreter of the slug that is not executable", "heroku-24", app{"bin/web*": "#!/app/bin/tool\n", "bin/tool": "x"}, web,
			[]string{"error interpreter bin/web: its #! line wants /app/bin/tool, which is not executable"}},
		{"Windows line ends", "heroku-24", app{"bin/web*": "#!/bin/sh\r\nexec x\r\n"}, web,
			[]string{`error line-ends bin/web: its #! line ends as on Windows, so it wants a program called "/bin/sh\r"`}},
		{"a profile with Windows line ends", "heroku-24", app{".profile.d/a.sh": "export A=b\r\n"}, nil,
			[]string{"warning line-ends .profile.d/a.sh: its lines end as on Windows, so every value that it sets ends with a carriage return"}},
		{"a shell's script with Windows line ends", "heroku-24", app{"start.sh": "#!/bin/sh\r\nexec x\r\n"}, map[string]string{"web": "sh start.sh"},
			[]string{"error line-ends start.sh: its lines end as on Windows, and sh takes the carriage returns for a part of its words"}},
		{"the same without a #! line", "heroku-24", app{"start.sh": "exec x\r\n"}, map[string]string{"web": "bash -e ./start.sh"},
			[]string{"error line-ends start.sh: its lines end as on Windows, and bash takes the carriage returns for a part of its words"}},
		{"a file of Windows that no shell reads", "heroku-24", app{"node/bin/node*": "x", "x.js": "x()\r\n", "b.sh": "\r\n"}, map[string]string{"web": "node/bin/node x.js"}, nil},
		{"no program", "heroku-24", app{"bin/wbe*": "#!/bin/sh\n"}, web, []string{"error program : starts bin/web, which is not in the slug"}},
		{"not executable", "heroku-24", app{"bin/web": "#!/bin/sh\n"}, web, []string{"error program bin/web: starts bin/web, which is not executable"}},
		{"a directory", "heroku-24", app{"bin/web/x": ""}, web, []string{"error program bin/web: starts bin/web, which is a directory"}},
		{"a link to nowhere", "heroku-24", app{"bin/web": "->../lib/web"}, web, []string{"error program : starts bin/web, a link to ../lib/web, which is not in the slug"}},
		{"a link to a program of the stack", "heroku-22", app{"bin/web": "->/usr/bin/python3"}, web,
			[]string{"warning link bin/web: is a link to /usr/bin/python3, outside the app's directory"}},
		{"a link to a program that the stack has not", "heroku-24", app{"bin/web": "->/usr/bin/python3"}, web, []string{
			"error program : starts bin/web, a link to /usr/bin/python3, which heroku-24 does not have",
			"warning link bin/web: is a link to /usr/bin/python3, outside the app's directory"}},
		{"an interpreter that is a link to the stack's", "heroku-22", app{"bin/web*": "#!/app/py\n", "py": "->/usr/bin/python3"}, web,
			[]string{"warning link py: is a link to /usr/bin/python3, outside the app's directory"}},
		{"a link that leaves the app", "heroku-24", app{"a/b": "->../../etc/hosts", "a/c": "->../x", "x": ""}, nil,
			[]string{"warning link a/b: is a link to ../../etc/hosts, outside the app's directory"}},
		{"a link through a link", "heroku-24", app{"bin": "->real/bin", "real/bin/web": "->../w", "real/w*": "#!/bin/sh\n"}, web, nil},
		{"a command of nobody", "heroku-24", app{"web.js": ""}, map[string]string{"web": "node web.js"}, []string{"error program : starts node, which neither the slug nor heroku-24 has"}},
		{"a command off PATH", "heroku-24", app{"web.js": "", "node/bin/node*": "x"}, map[string]string{"web": "node web.js"},
			[]string{"warning program node/bin/node: is started as node, and nothing in the slug puts its directory on PATH"}},
		{"a command on PATH", "heroku-24", app{"web.js": "", "node/bin/node*": arm, ".profile.d/p.sh": `PATH="$HOME/node/bin:$PATH"`}, map[string]string{"web": "node web.js"},
			[]string{"error machine node/bin/node: built for arm64 Linux; heroku-24 runs x86-64 Linux"}},
		{"musl on a stack of tomorrow", "heroku-99", app{"bin/web*": musl}, web, nil},
		{"32-bit", "heroku-24", app{"bin/web*": elf(pipetest.ELF{Machine: 3})}, web, []string{"error machine bin/web: built for 32-bit x86 Linux; heroku-24 runs x86-64 Linux"}},
		{"an unknown command", "heroku-24", app{}, map[string]string{"web": "frobnicate"}, nil},
		{"capitals", "heroku-24", app{"a/README": "", "a/readme": "", "b/README": ""}, nil,
			[]string{"warning twins a/readme: a/README is there as well: the names differ in capitals alone"}},
		{"a stack of tomorrow", "heroku-99", app{"bin/web*": needing("libc.so.6", "GLIBC_2.99"), "bin/x*": "#!/usr/bin/env ruby\n"}, web, nil},
	} {
		var got []string
		for _, f := range c.app.check(c.stack, c.types) {
			got = append(got, told(f))
			if f.Hint == "" {
				t.Errorf("%s: nothing says what to do about %s", c.name, told(f))
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s:\n got %s\nwant %s", c.name, strings.Join(got, "\n     "), strings.Join(c.want, "\n     "))
		}
	}
}

func TestCheck_saysWhatToDo(t *testing.T) {
	t.Parallel()
	got := app{"bin/web*": needing("libc.so.6", "GLIBC_2.38")}.check("heroku-22", map[string]string{"web": "bin/web"})
	want := artifact.Finding{
		Code: "glibc", Severity: artifact.Error, Path: "bin/web", ProcessType: "web", Needs: "GLIBC_2.38", Has: "2.35",
		Message: "needs GLIBC_2.38; heroku-22 has 2.35", Hint: "build on heroku-22, link statically, or move to heroku-24",
	}
	if len(got) != 1 || got[0] != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestCheck_findsTheProgramOfACommand(t *testing.T) {
	t.Parallel()
	for command, missing := range map[string]bool{
		"bin/web":                    true,
		"./bin/web --port $PORT":     true,
		"/app/bin/web":               true,
		"$HOME/bin/web":              true,
		`"bin/web"`:                  true,
		"exec bin/web":               true,
		"A=b exec env C=d bin/web x": true,
		"cd sub && ./web":            true,
		"export A=b; bin/web":        true,
		"echo hello && bin/web":      true,
		"[ -f x ] && bin/web":        true,
		"bin/web | cat":              true,
		"${WEB:-bin/web}":            false,
		"$WEB":                       false,
		"if true; then bin/web; fi":  false,
		"exec -a x bin/web":          false,
		"env -i bin/web":             false,
		"cd $X && ./web":             false,
		"bash -c 'bin/web'":          false,
		"source env.sh; web":         false,
		"PATH=/app/x:$PATH node":     false,
		"bin/*":                      false,
		"":                           false,
		"'":                          false,
	} {
		got := app{"sub/x": ""}.check("heroku-24", map[string]string{"web": command})
		if (len(got) > 0) != missing {
			t.Errorf("%q: %v", command, got)
		}
	}
}

// The file is named as missing only where no option could stand for it and nothing else be meant.
func TestCheck_findsTheFileOfACommand(t *testing.T) {
	t.Parallel()
	for command, missing := range map[string]bool{
		"node server.js": true,
		"node --max-old-space-size=460 lib/server.mjs": true,
		"exec bash -eu ./start":                        true,
		"cd sub && sh start.sh":                        true,
		"python3 -u clock.py":                          true,
		"java -Xmx300m $JAVA_OPTS -jar build/app.jar":  true,
		"node server":                                  false, // server.js, or server/index.js
		"node dist/":                                   false,
		"node -r dotenv/config.js server.js":           false,
		"node $WHAT server.js":                         false,
		"node x.js":                                    false,
		"sh -c server.sh":                              false,
		"bash start":                                   false, // on PATH
		"python3 -m http.server":                       false,
		"java Main":                                    false,
		"ruby /opt/x.rb":                               false,
		"php -S 0.0.0.0:80 index.php":                  false,
		"frobnicate start.js":                          false,
	} {
		a := app{"sub/x": "", "x.js": "", ".profile.d/a.sh": "source nowhere\n"} // node and its like may be on PATH
		got := a.check("heroku-24", map[string]string{"web": command})
		if (len(got) > 0) != missing || missing && !strings.Contains(got[0].Message, ", which is not in the slug") {
			t.Errorf("%q: %v", command, got)
		}
	}
}

func TestCheck_tellsOddModes(t *testing.T) {
	t.Parallel()
	got := stack.Check(stack.Subject{
		Stack: "heroku-24", Entries: func(func(*tree.Entry) bool) {}, Find: func(string) (tree.Entry, bool) { return tree.Entry{}, false },
		Modes: map[string]fs.FileMode{"a": fs.ModeSetuid | 0o755, "b": 0o666, "c": 0o644},
	})
	if len(got) != 2 || got[0].Path != "a" || got[1].Path != "b" {
		t.Errorf("%+v", got)
	}
}

func TestCodes_areSortedAndComplete(t *testing.T) {
	t.Parallel()
	if codes := stack.Codes(); !slices.IsSorted(codes) || len(codes) != 13 {
		t.Errorf("%v", codes)
	}
}
