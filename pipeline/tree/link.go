package tree

import (
	"fmt"
	"path"
	"strings"
)

// LinkTarget returns the target that a link at a path of the app has in the slug, or why a
// slug cannot hold it. Targets are resolved by text, as the unpacker resolves them. A relative
// target stays word for word; one below /app, where the slug will live, becomes relative.
func LinkTarget(link, target string) (string, error) {
	switch {
	case target == "":
		return "", fmt.Errorf("it has no target")
	case strings.IndexByte(target, 0) >= 0:
		return "", fmt.Errorf("target %q has a NUL byte", target)
	}
	if target[0] != '/' {
		to := path.Join(path.Dir(link), target)
		if to == ".." || strings.HasPrefix(to, "../") {
			return "", fmt.Errorf("target %q leaves the app directory", target)
		}
		return target, nil
	}
	abs := path.Clean(target)
	if !Under(abs, "/app") {
		return "", fmt.Errorf("target %q is outside /app: copy the file into the app, or leave the link out", target)
	}
	return relative(path.Join("/app", path.Dir(link)), abs), nil
}

// relative is the way from a directory to a path, both absolute and clean.
func relative(dir, to string) string {
	from, parts := strings.Split(dir[1:], "/"), strings.Split(to[1:], "/")
	same := 0
	for same < len(from) && same < len(parts) && from[same] == parts[same] {
		same++
	}
	var way []string
	for range from[same:] {
		way = append(way, "..")
	}
	way = append(way, parts[same:]...)
	if len(way) == 0 {
		return "."
	}
	return strings.Join(way, "/")
}
