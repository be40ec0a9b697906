package stack

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The rows of what Heroku's stacks have, as public records of the images tell them.
func TestHasLibrary_knowsWhatAStackHasAndWhatItDropped(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		soname string
		has    [4]Has // heroku-20, -22, -24, -26
	}{
		{"libssl.so.1.1", [4]Has{Yes, No, No, No}},
		{"libcrypto.so.3", [4]Has{No, Yes, Yes, Yes}},
		{"libicuuc.so.66", [4]Has{Yes, No, No, No}},
		{"libicui18n.so.70", [4]Has{No, Yes, No, No}},
		{"libicudata.so.74", [4]Has{No, No, Yes, No}},
		{"libicuuc.so.78", [4]Has{No, No, No, Yes}},
		{"libicuuc.so.72", [4]Has{No, No, No, No}}, // Debian's: in no list, but of a known family
		{"libmysqlclient.so.21", [4]Has{Yes, Yes, Yes, No}},
		{"libmysqlclient.so.24", [4]Has{No, No, No, Yes}},
		{"libxml2.so.2", [4]Has{Yes, Yes, Yes, No}},
		{"libxml2.so.16", [4]Has{No, No, No, Yes}},
		{"libzip.so.5", [4]Has{Yes, No, No, Yes}},
		{"libwebp.so.6", [4]Has{Yes, No, No, No}},
		{"libtiff.so.5", [4]Has{Yes, Yes, No, No}},
		{"libldap_r-2.4.so.2", [4]Has{Yes, No, No, No}},
		{"libldap-2.5.so.0", [4]Has{No, Yes, No, No}},
		{"libldap.so.2", [4]Has{No, No, Yes, Yes}},
		{"libMagickCore-6.Q16.so.6", [4]Has{Yes, Yes, No, No}},
		{"libMagickCore-6.Q16.so.7", [4]Has{No, No, Yes, No}},
		{"libMagickCore-7.Q16.so.10", [4]Has{No, No, No, Yes}},
		{"libvpx.so.7", [4]Has{No, Yes, No, No}},
		{"libx265.so.199", [4]Has{No, Yes, Yes, No}},
		{"libffi.so.7", [4]Has{Yes, No, No, No}},
		{"libnettle.so.8", [4]Has{No, Yes, Yes, Yes}},
		{"libssh.so.4", [4]Has{Yes, Yes, Yes, No}},
		{"libssh2.so.1", [4]Has{No, No, No, Yes}},
		{"libjemalloc.so.2", [4]Has{No, No, No, Yes}},
		{"libpcre.so.3", [4]Has{Yes, Yes, No, No}},
		{"libmcrypt.so.4", [4]Has{Yes, Yes, No, No}},
		{"libtinfo.so.5", [4]Has{No, No, No, No}},
		{"libevent-2.0.so.5", [4]Has{No, No, No, No}},
		{"libgbm.so.1", [4]Has{No, No, No, No}},
		{"libnobody.so.3", [4]Has{Unknown, Unknown, Unknown, Unknown}},
		{"libssl.so", [4]Has{Unknown, Unknown, Unknown, Unknown}},
		{"libopcodes-2.38-system.so", [4]Has{Unknown, Unknown, Unknown, Unknown}},
		{"libssl3.so", [4]Has{Yes, Yes, Yes, Yes}}, // of NSS, not of OpenSSL
	} {
		for i, name := range Names() {
			if got := stackNamed(t, name).HasLibrary(c.soname); got != c.has[i] {
				t.Errorf("%s of %s: %d, want %d", c.soname, name, got, c.has[i])
			}
		}
	}
	for _, everywhere := range strings.Fields("libc.so.6 libm.so.6 libpthread.so.0 libz.so.1 libyaml-0.so.2 libgmp.so.10 libreadline.so.8 " +
		"libtinfo.so.6 libncursesw.so.6 libgdbm.so.6 libdb-5.3.so libsqlite3.so.0 libpq.so.5 libcurl.so.4 libcrypt.so.1 libevent-2.1.so.7 " +
		"libonig.so.5 libpng16.so.16 libjpeg.so.8 libexpat.so.1 liblzma.so.5 libzstd.so.1 liblz4.so.1 libbrotlidec.so.1 libxslt.so.1 " +
		"libsodium.so.23 libgcc_s.so.1 libstdc++.so.6 libnss3.so libX11.so.6 libglib-2.0.so.0 ld-linux-x86-64.so.2") {
		for _, name := range Names() {
			if stackNamed(t, name).HasLibrary(everywhere) != Yes {
				t.Errorf("%s has no %s", name, everywhere)
			}
		}
	}
	if (Stack{Name: "heroku-99"}).HasLibrary("libssl.so.1.1") != Unknown {
		t.Error("a stack without a list lacks a library")
	}
}

func TestHasCommand_knowsTheProgramsOfEachStack(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		command string
		has     [4]Has
	}{
		{"bash", [4]Has{Yes, Yes, Yes, Yes}},
		{"env", [4]Has{Yes, Yes, Yes, Yes}},
		{"perl", [4]Has{Yes, Yes, Yes, Yes}},
		{"psql", [4]Has{Yes, Yes, Yes, Yes}},
		{"python3", [4]Has{Yes, Yes, No, No}},
		{"python", [4]Has{Yes, Yes, No, No}},
		{"ruby", [4]Has{Yes, No, No, No}},
		{"git", [4]Has{Yes, Yes, No, No}},
		{"gcc", [4]Has{Yes, Yes, No, No}},
		{"node", [4]Has{No, No, No, No}},
		{"java", [4]Has{No, No, No, No}},
		{"frobnicate", [4]Has{Unknown, Unknown, Unknown, Unknown}},
	} {
		for i, name := range Names() {
			if got := stackNamed(t, name).HasCommand(c.command); got != c.has[i] {
				t.Errorf("%s of %s: %d, want %d", c.command, name, got, c.has[i])
			}
		}
	}
}

func TestTables_contradictNoList(t *testing.T) {
	t.Parallel()
	for _, name := range Names() {
		s := stackNamed(t, name)
		if n := len(s.Packages()); n < 300 {
			t.Errorf("%s has %d packages", name, n)
		}
		if n := len(s.Libraries()); n < 200 {
			t.Errorf("%s has %d libraries", name, n)
		}
		for so, from := range elsewhere {
			if s.hasPackage([]string{from}) || s.HasLibrary(so) == Yes {
				t.Errorf("%s has %s after all", name, from)
			}
		}
	}
	// An exception of which no list has the package is a slip of the pen.
	all := map[string]bool{}
	for _, name := range Names() {
		for _, p := range stackNamed(t, name).Packages() {
			all[p] = true
		}
	}
	for p := range exceptions {
		if p, many := strings.CutSuffix(p, "*"); many {
			if !slices.ContainsFunc(Names(), func(n string) bool { return stackNamed(t, n).hasPackage([]string{p + "*"}) }) {
				t.Errorf("no stack has a package %s*", p)
			}
		} else if !all[p] {
			t.Errorf("no stack has the package %s", p)
		}
	}
}

// Debian and Ubuntu build from the same sources: the shlibs files of a system's own packages
// say which sonames a package has.
func TestSonames_areThoseOfThePackagesOfThisSystem(t *testing.T) {
	t.Parallel()
	truth := shlibs(t)
	optional := strings.Fields("ld-linux-x86-64.so.2 libnsl.so.1 libmvec.so.1") // not in every shlibs of libc6
	compared := 0
	for _, name := range Names() {
		for _, p := range stackNamed(t, name).Packages() {
			has, here := truth[p]
			if !here {
				continue
			}
			for _, so := range sonames(p) {
				compared++
				if !has[so] && !slices.Contains(optional, so) {
					t.Errorf("%s: the tables say %s, its shlibs %v", p, so, has)
				}
			}
		}
	}
	for so, from := range elsewhere {
		if has, here := truth[from]; here && !has[so] {
			t.Errorf("%s: the tables say %s, its shlibs %v", from, so, has)
		}
	}
	t.Logf("%d sonames of installed packages compared", compared)
}

// shlibs are the sonames of the packages of this system, by the packages' plain names.
func shlibs(t *testing.T) map[string]map[string]bool {
	t.Helper()
	files, _ := filepath.Glob("/var/lib/dpkg/info/*.shlibs")
	if len(files) == 0 {
		t.Skip("this is no Debian or Ubuntu: there is no package to compare with")
	}
	truth := map[string]map[string]bool{}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			p := strings.Fields(lines.Text())
			if len(p) < 3 || strings.HasSuffix(p[0], ":") || p[0] == "#" {
				continue
			}
			from := plainName(p[2])
			if truth[from] == nil {
				truth[from] = map[string]bool{}
			}
			// The form does not tell libdb-5.3.so from libdb.so.5.3.
			truth[from][p[0]+".so."+p[1]] = true
			truth[from][p[0]+"-"+p[1]+".so"] = true
		}
		f.Close()
	}
	return truth
}

func stackNamed(t *testing.T, name string) Stack {
	t.Helper()
	s, ok := Known(name)
	if !ok {
		t.Fatalf("%s is not known", name)
	}
	return s
}
