package bom

import (
	"path"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"github.com/slugfile/slugfile/pipeline/digest"
)

// gem is a Ruby package that a lock file names.
type gem struct {
	name, version, platform string
	sum                     digest.Digest
	// public says that it comes from a server of gems, not from git or a directory.
	public bool
	// dirs are its directories in the slug.
	dirs []string
}

// full is the name of its directory.
func (g gem) full() string {
	if g.platform == "" {
		return g.name + "-" + g.version
	}
	return g.name + "-" + g.version + "-" + g.platform
}

// findGems takes the gems from lock files, and finds their directories.
func (c *Contents) findGems(texts map[string][]byte) {
	var dirs map[string][]string
	for _, name := range sorted(texts) {
		if base := path.Base(name); base != "Gemfile.lock" && base != "gems.locked" {
			continue
		}
		if dirs == nil {
			dirs = c.gemDirs()
		}
		list := parseGems(string(texts[name]))
		if list == nil {
			c.unread = append(c.unread, name)
		}
		some := false
		for i := range list {
			list[i].dirs = dirs[list[i].full()]
			some = some || len(list[i].dirs) > 0
		}
		for _, g := range list {
			// With none at all they are somewhere else: in a runtime, or nowhere.
			if len(g.dirs) > 0 || !some {
				c.gems = append(c.gems, g)
			}
		}
	}
}

// gemDirs are the directories right below any directory that is called gems, by their name.
func (c *Contents) gemDirs() map[string][]string {
	dirs := map[string][]string{}
	last := ""
	for _, e := range c.Files {
		before, rest, ok := strings.Cut("/"+e.Path, "/gems/")
		if !ok {
			continue
		}
		name, _, _ := strings.Cut(rest, "/")
		dir := strings.TrimPrefix(before+"/gems/"+name, "/")
		if dir != last {
			last = dir
			dirs[name] = append(dirs[name], dir)
		}
	}
	return dirs
}

// parseGems reads a lock file of Bundler. It is nil when the text is none.
func parseGems(text string) []gem {
	var out []gem
	section, specs := "", false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		rest := strings.TrimLeft(line, " ")
		switch indent := len(line) - len(rest); {
		case rest == "":
		case indent == 0:
			section, specs = rest, false
			if out == nil {
				out = []gem{}
			}
		case indent == 2 && section == "CHECKSUMS":
			head, sum, ok := strings.Cut(rest, " sha256=")
			g, isGem := parseSpec(head)
			d, err := digest.Parse(strings.TrimSpace(sum))
			if ok && isGem && err == nil {
				for i := range out {
					if out[i].full() == g.full() {
						out[i].sum = d
					}
				}
			}
		case indent == 2:
			specs = rest == "specs:"
		case indent == 4 && specs && (section == "GEM" || section == "GIT" || section == "PATH"):
			if g, ok := parseSpec(rest); ok {
				g.public = section == "GEM"
				out = append(out, g)
			}
		}
	}
	return out
}

// parseSpec reads "nokogiri (1.16.0-x86_64-linux)".
func parseSpec(text string) (gem, bool) {
	name, rest, ok := strings.Cut(text, " (")
	version, tail, closed := strings.Cut(rest, ")")
	if !ok || !closed || tail != "" || name == "" || strings.ContainsAny(name+version, "/ ") {
		return gem{}, false
	}
	version, platform, _ := strings.Cut(version, "-")
	return gem{name: name, version: version, platform: platform}, version != ""
}

func (b *builder) gems(list []gem) {
	for _, g := range list {
		c := cdx.Component{
			Type: cdx.ComponentTypeLibrary, Name: g.name, Version: g.version, Scope: cdx.ScopeRequired, BOMRef: "gem:" + g.full(),
		}
		if g.public {
			query := ""
			if g.platform != "" {
				query = "platform=" + escape(g.platform, "/:")
			}
			c.PackageURL = purl("gem", "", g.name, g.version, query)
		}
		if !g.sum.IsZero() {
			addHash(&c, cdx.HashAlgoSHA256, g.sum.String())
		}
		at, fresh := b.add(c)
		if !fresh {
			continue // another lock file names it too
		}
		dirs := slices.DeleteFunc(slices.Clone(g.dirs), b.inRuntime)
		b.sum.Gems++
		for _, dir := range dirs {
			b.own(at, dir)
		}
		if len(g.dirs) == 0 {
			addProperty(at, propNotFound, "unknown")
		}
	}
}
