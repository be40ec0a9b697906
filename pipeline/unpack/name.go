package unpack

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

const (
	maxName      = 4096        // bytes: PATH_MAX
	maxTarget    = maxName - 1 // bytes of a link's target, which the system ends with a NUL
	maxComponent = 255         // bytes of one: NAME_MAX of all common file systems
	maxDepth     = 64          // components, except in slugs
)

// components checks a name of the archive and cuts it. Nothing is cleaned: a leading "./"
// and, for directories, one final slash are all that may be left out. The entry "./" gives
// no components.
func (o Options) components(name string, dir bool) ([]string, error) {
	if err := o.checkText(name); err != nil {
		return nil, fmt.Errorf("its name %w", err)
	}
	if name[0] == '/' {
		return nil, errors.New("its name is absolute")
	}
	if dir {
		name = strings.TrimSuffix(name, "/")
		if name == "." {
			return nil, nil
		}
	}
	parts := strings.Split(strings.TrimPrefix(name, "./"), "/")
	if len(parts) > maxDepth && !o.Slug {
		return nil, fmt.Errorf("its name is over %d components deep", maxDepth)
	}
	for _, p := range parts {
		switch p {
		case "":
			return nil, errors.New("its name has an empty component")
		case ".", "..":
			return nil, fmt.Errorf("its name has the component %q", p)
		}
		if len(p) > maxComponent {
			return nil, fmt.Errorf("its name has a component of over %d bytes", maxComponent)
		}
	}
	return parts, nil
}

// checkText refuses what no name and no target may hold. A slug was packed from files that
// are there, so its names are what a Linux system takes; in a foreign archive a backslash
// is the sign of one that was made to be read in two ways.
func (o Options) checkText(s string) error {
	switch {
	case s == "":
		return errors.New("is empty")
	case len(s) > maxName:
		return fmt.Errorf("is over %d bytes long", maxName)
	case strings.IndexByte(s, 0) >= 0:
		return errors.New("holds a NUL byte")
	case !o.Slug && strings.IndexByte(s, '\\') >= 0:
		return errors.New("holds a backslash")
	}
	return nil
}

// place says where an entry goes below the root. It is "" for a directory that is the root
// or above it, which needs nothing to be done.
func (o Options) place(name string, dir bool) (string, error) {
	parts, err := o.components(name, dir)
	if err != nil {
		return "", err
	}
	if o.Slug && len(parts) > 0 {
		if parts[0] != "app" {
			return "", errors.New("it is not below ./app")
		}
		parts = parts[1:]
	}
	if len(parts) <= o.Strip {
		if dir {
			return "", nil
		}
		return "", o.nothingLeft()
	}
	// Checked again: dropping components must not have made a name that the system reads in
	// another way, such as a device on Windows.
	p := strings.Join(parts[o.Strip:], "/")
	if !filepath.IsLocal(filepath.FromSlash(p)) {
		return "", fmt.Errorf("%q is no path inside a directory on this system", p)
	}
	return p, nil
}

func (o Options) nothingLeft() error {
	if o.Strip > 0 {
		return fmt.Errorf("nothing is left of its name after strip: %d", o.Strip)
	}
	return errors.New("it stands in the place of the root directory")
}

// target checks what a symbolic link at the path p says: by text, it must stay inside the
// root at every step. The result is the way from the root, with its ".." still in it, cut
// at the slashes.
func (o Options) target(p, text string) ([]string, error) {
	if err := o.checkText(text); err != nil {
		return nil, fmt.Errorf("its target %w", err)
	}
	if len(text) > maxTarget {
		return nil, fmt.Errorf("its target is over %d bytes long", maxTarget)
	}
	var way []string
	rest := text
	if strings.HasPrefix(text, "/") {
		below, ok := strings.CutPrefix(text+"/", "/app/")
		if !o.Slug || !ok {
			return nil, fmt.Errorf("its target %q is absolute", clip(text))
		}
		rest = below
	} else if d := path.Dir(p); d != "." {
		way = strings.Split(d, "/")
	}
	depth := len(way)
	for _, c := range strings.Split(rest, "/") {
		switch c {
		case "", ".":
			continue
		case "..":
			depth--
		default:
			depth++
		}
		if depth < 0 {
			return nil, fmt.Errorf("its target %q leads out of the archive", clip(text))
		}
		way = append(way, c)
	}
	return way, nil
}

// turnsBack reports whether a way leads through a link and then upwards: what ".." means
// there is up to the link, so the check by text says nothing. isLink knows the archive's links.
func turnsBack(way []string, isLink func(path string) bool) bool {
	var at []string
	through := false
	for _, c := range way {
		if c != ".." {
			at = append(slices.Clip(at), c)
			through = through || isLink(strings.Join(at, "/"))
			continue
		}
		if through {
			return true
		}
		at = at[:len(at)-1]
	}
	return false
}
