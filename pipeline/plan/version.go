package plan

import (
	"path"
	"regexp"
	"strings"
)

// from is the address that a record keeps: without user, query and fragment, which may be
// credentials.
func (r Runtime) from() string {
	switch {
	case r.Tool != "":
		return r.Tool
	case r.Path != "":
		return path.Base(r.Path)
	}
	return withoutSecrets(r.URL)
}

// Address is where the runtime comes from, for documents that others read: a URL without user,
// query and fragment. It is empty for an archive of the repository and for a tool.
func (r Runtime) Address() string {
	if r.URL == "" {
		return ""
	}
	return r.from()
}

// Version is what the runtime's address tells of its version, or empty.
func (r Runtime) Version() string {
	if r.Tool != "" {
		return "" // a version in its path is that of something around it
	}
	return versionOf(r.from())
}

func withoutSecrets(url string) string {
	url, _, _ = strings.Cut(url, "#")
	url, _, _ = strings.Cut(url, "?")
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok {
		return url
	}
	host, tail, slash := strings.Cut(rest, "/")
	host = host[strings.LastIndex(host, "@")+1:]
	if slash {
		host += "/"
	}
	return scheme + "://" + host + tail
}

// whence is where a runtime comes from, for people.
func whence(r Runtime) string {
	if r.URL != "" {
		return hostOf(withoutSecrets(r.URL))
	}
	return r.from()
}

// hostOf is the host of a URL, or the address itself when it has none.
func hostOf(from string) string {
	_, rest, ok := strings.Cut(from, "://")
	if !ok {
		return from
	}
	host, _, _ := strings.Cut(rest, "/")
	if host == "" {
		return "this machine"
	}
	return host
}

// versionLike is a number with dots, and a suffix such as -rc1 only when it has digits.
var versionLike = regexp.MustCompile(`[0-9]+(?:\.[0-9]+)+(?:-?(?:alpha|beta|rc|p)\.?[0-9]+)?`)

// versionOf is the version that an address tells: the one that stands last, for addresses
// name it again in the file name. It is empty when there is none.
func versionOf(from string) string {
	if _, rest, ok := strings.Cut(from, "://"); ok {
		_, from, _ = strings.Cut(rest, "/") // a host may be an address in numbers
	}
	all := versionLike.FindAllString(from, -1)
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1]
}

// compareRuntime says whether a runtime changed and what differs, in the fewest words:
// versions when the addresses differ in one version, else whatever does differ.
func compareRuntime(old RuntimeRecord, r Runtime) (action Action, before, after string) {
	now := r.from()
	if old.Digest == r.Digest {
		if old.Layout.IsZero() || old.Layout == r.layout() {
			return Keep, "", versionOf(now)
		}
		return Change, "", "unpacked in another way"
	}
	if old.From == now {
		return Change, short(old.Digest), short(r.Digest)
	}
	if was, is, ok := oneVersion(old.From, now); ok {
		return Change, was, is
	}
	if a, b := hostOf(old.From), hostOf(now); a != b {
		return Change, a, b
	}
	return Change, path.Base(old.From), path.Base(now)
}

// oneVersion finds the version in which two addresses differ, if they differ in nothing else.
func oneVersion(a, b string) (was, is string, ok bool) {
	if versionLike.ReplaceAllString(a, "*") != versionLike.ReplaceAllString(b, "*") {
		return "", "", false
	}
	va, vb := versionLike.FindAllString(a, -1), versionLike.FindAllString(b, -1)
	for i := range va {
		switch {
		case va[i] == vb[i]:
		case was == "":
			was, is = va[i], vb[i]
		case was != va[i] || is != vb[i]:
			return "", "", false
		}
	}
	return was, is, was != ""
}
