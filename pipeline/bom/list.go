package bom

import "strings"

// Program is a Go program, as its build information tells.
type Program struct {
	// Path is below ./app.
	Path string
	// Go is the version that built it, without "go". Module and Version are of its main module; Version
	// is empty for a build of a work tree.
	Go, Module, Version string
	// Modules are those that it was really built of, without the main one.
	Modules []Package
}

// Package is a Go module, an npm package or a gem. Dir is empty when the slug has no directory of it.
type Package struct{ Name, Version, Dir string }

// Programs lists the Go programs by their paths.
func (c Contents) Programs() []Program {
	var out []Program
	for _, p := range c.programs {
		g := Program{
			Path: p.path, Go: strings.TrimPrefix(goVersion(p.info.GoVersion), "go"),
			Module: p.info.Main.Path, Version: released(p.info.Main.Version),
		}
		for _, m := range p.info.Deps {
			name, version, _ := built(m)
			g.Modules = append(g.Modules, Package{Name: name, Version: released(version)})
		}
		out = append(out, g)
	}
	return out
}

// NPM lists the npm packages by their directories.
func (c Contents) NPM() []Package {
	var out []Package
	for _, p := range c.npm {
		q := Package{Name: p.name, Version: p.version}
		if p.found {
			q.Dir = p.dir
		}
		out = append(out, q)
	}
	return out
}

// Gems lists the gems in the order of their lock files. One that lies in several places is told
// once for each.
func (c Contents) Gems() []Package {
	var out []Package
	for _, g := range c.gems {
		q := Package{Name: g.name, Version: strings.TrimPrefix(g.full(), g.name+"-")}
		if len(g.dirs) == 0 {
			out = append(out, q)
		}
		for _, q.Dir = range g.dirs {
			out = append(out, q)
		}
	}
	return out
}
