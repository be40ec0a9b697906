package tree

import (
	"bytes"
	"strings"
)

// deniedDirs keep credentials, history and slugfile's own state; they are denied at any depth.
var deniedDirs = map[string]bool{
	".git": true, ".hg": true, ".svn": true, ".slugfile": true, ".ssh": true, ".aws": true,
}

// deniedKeys are the private key names that ssh-keygen writes by default. The pattern id_*
// would also withhold innocent files such as id_card.js.
var deniedKeys = map[string]bool{
	"id_rsa": true, "id_dsa": true, "id_ecdsa": true, "id_ecdsa_sk": true, "id_ed25519": true, "id_ed25519_sk": true,
}

// Denied says whether a path must stay out of the slug and of the steps because its name
// stands for credentials, version control or state, and by which rule. A directory is asked
// for with a final slash: only the rules for directories hold for it, and they hold for
// everything below it too.
//
// read returns the file's content and is called for *.pem and .npmrc only. When it is nil or
// fails the file is denied: what cannot be looked at is not handed on.
func Denied(rel string, read func() ([]byte, error)) (rule string, ok bool) {
	dir := strings.HasSuffix(rel, "/")
	rel = strings.TrimSuffix(rel, "/")
	if rel[:min(1, len(rel))] == "." || strings.Contains(rel, "/.") { // as all of those directories
		for part := range strings.SplitSeq(rel, "/") {
			if deniedDirs[part] {
				return "deny list: " + part + "/", true
			}
		}
	}
	if dir {
		return "", false
	}
	rule = deniedFile(rel, read)
	if rule == "" {
		return "", false
	}
	return "deny list: " + rule, true
}

// deniedFile is called for every file of a tree, so that a name which is none of these must
// cost little.
func deniedFile(rel string, read func() ([]byte, error)) string {
	base := rel[strings.LastIndexByte(rel, '/')+1:]
	switch {
	case base == ".env", base == ".netrc", base == ".pypirc", base == "kubeconfig":
		return base
	case strings.HasPrefix(base, "id_") && deniedKeys[base]:
		return base
	case strings.HasPrefix(base, ".env.") && base != ".env.example":
		return ".env.*"
	case base == "config.json" && (rel == ".docker/config.json" || strings.HasSuffix(rel, "/.docker/config.json")):
		return ".docker/config.json"
	case strings.HasSuffix(base, ".tfstate"), strings.HasSuffix(base, ".tfstate.backup"):
		// The backup is the whole state before the last change, secrets included.
		return "*.tfstate"
	case base == ".npmrc" && contains(read, "_auth"):
		return ".npmrc with _auth"
	case len(base) >= 4 && base[len(base)-4] == '.' && strings.EqualFold(base[len(base)-3:], "pem") && contains(read, "PRIVATE KEY-----"):
		return "*.pem with a private key"
	}
	return ""
}

func contains(read func() ([]byte, error), text string) bool {
	if read == nil {
		return true
	}
	b, err := read()
	return err != nil || bytes.Contains(b, []byte(text))
}
