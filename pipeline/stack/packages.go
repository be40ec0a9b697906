package stack

import (
	"embed"
	"maps"
	"slices"
	"strings"
	"sync"
)

// lists hold the names of the packages in each run image, without versions, one a line. The
// first line of each names its public source.
//
//go:embed packages/*.txt
var lists embed.FS

// image is what the tables make of one list.
type image struct {
	// packages have no t64 at their end: https://wiki.debian.org/ReleaseGoals/64bit-time. The
	// transition gave libraries new package names; on amd64 their sonames stayed.
	packages map[string]bool
	sonames  map[string]bool
}

// images are by the name of the stack. They are made once, when first asked for.
var images = sync.OnceValue(func() map[string]image {
	all := map[string]image{}
	for _, s := range stacks {
		text, err := lists.ReadFile("packages/" + s.Name + ".txt")
		if err != nil {
			panic(err) // a stack without its list is a mistake in the tables
		}
		img := image{packages: map[string]bool{}, sonames: map[string]bool{}}
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSpace(line)
			if line == "" || line[0] == '#' {
				continue
			}
			name := plainName(line)
			img.packages[name] = true
			for _, so := range sonames(name) {
				img.sonames[so] = true
			}
		}
		all[s.Name] = img
	}
	return all
})

// plainName is a package's name as it was before the transition to 64-bit times.
func plainName(name string) string {
	if base, ok := strings.CutSuffix(name, "t64"); ok {
		return base
	}
	return strings.Replace(name, "t64-", "-", 1) // libcurl3t64-gnutls
}

// Packages lists what the run image is made of, sorted, the names as they were before 64-bit
// times changed some of them.
func (s Stack) Packages() []string { return slices.Sorted(maps.Keys(images()[s.Name].packages)) }

// hasPackage reports whether one of the packages is in the image. A name that ends in * stands for all
// that begin so.
func (s Stack) hasPackage(names []string) bool {
	img := images()[s.Name]
	return slices.ContainsFunc(names, func(n string) bool {
		prefix, star := strings.CutSuffix(n, "*")
		if !star {
			return img.packages[n]
		}
		for p := range img.packages {
			if strings.HasPrefix(p, prefix) {
				return true
			}
		}
		return false
	})
}

// HasCommand tells whether the run image has a command on its PATH.
func (s Stack) HasCommand(name string) Has {
	from := commands[name]
	switch {
	case from == nil || images()[s.Name].packages == nil:
		return Unknown
	case s.hasPackage(from):
		return Yes
	}
	return No
}

// HasLibrary tells whether the run image has a library where the dynamic loader finds it, by
// its soname. No needs a reason: the tables know the package that has it, or packages that
// have the library of that name in other versions, and none of them is in the image.
func (s Stack) HasLibrary(soname string) Has {
	img, ok := images()[s.Name]
	switch {
	case !ok:
		return Unknown
	case img.sonames[soname]:
		return Yes
	case families()[family(soname)] && !doubtful(soname), elsewhere[soname] != "":
		return No
	}
	return Unknown
}

// Libraries lists the known sonames of the run image, sorted.
func (s Stack) Libraries() []string { return slices.Sorted(maps.Keys(images()[s.Name].sonames)) }

// families are the names of all libraries that the tables know in some version.
var families = sync.OnceValue(func() map[string]bool {
	known := map[string]bool{}
	for _, img := range images() {
		for so := range img.sonames {
			known[family(so)] = true
		}
	}
	return known
})

// family is a soname without its version: "libicuuc.so" of "libicuuc.so.74", "libldap.so" of
// "libldap-2.5.so.0", "libMagickCore.so" of "libMagickCore-6.Q16.so.7".
func family(soname string) string {
	name, _, ok := strings.Cut(soname, ".so")
	if !ok {
		return soname
	}
	if base, version, ok := cutVersion(name); ok && version != "" {
		name = base
	}
	return name + ".so"
}

// cutVersion takes a version off the end of a library's name: what follows the last dash, such as
// "2.5", "2_3" or "6.Q16". A hash, as tools that bundle libraries put there, is none.
func cutVersion(name string) (base, version string, ok bool) {
	i := strings.LastIndexByte(name, '-')
	if i < 0 || i+1 == len(name) || name[i+1] < '0' || name[i+1] > '9' || strings.Trim(name[i+1:], "0123456789._Q") != "" {
		return name, "", false
	}
	return name[:i], name[i+1:], true
}

// doubtful are sonames without a version: a plugin or an app's own library may be called so.
func doubtful(soname string) bool {
	_, version, _ := strings.Cut(soname, ".so")
	_, _, named := cutVersion(strings.TrimSuffix(soname, ".so"))
	return version == "" && !named
}
