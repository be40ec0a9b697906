package inspect

import (
	"path"
	"strings"

	"github.com/slugfile/slugfile/pipeline/examine"
)

// kinds are those of files by how their names end, in lower case.
var kinds = map[string]string{
	".js": "JavaScript", ".mjs": "JavaScript", ".cjs": "JavaScript", ".jsx": "JavaScript",
	".ts": "TypeScript", ".mts": "TypeScript", ".cts": "TypeScript", ".tsx": "TypeScript",
	".map": "source maps", ".wasm": "WebAssembly",
	".rb": "Ruby", ".rake": "Ruby", ".gemspec": "Ruby", ".erb": "Ruby", ".rbs": "Ruby",
	".py": "Python", ".pyi": "Python", ".pyc": "Python bytecode", ".pyo": "Python bytecode",
	".jar": "Java", ".war": "Java", ".class": "Java", ".jmod": "Java",
	".go": "Go", ".php": "PHP",
	".c": "C and C++", ".cc": "C and C++", ".cpp": "C and C++", ".h": "C and C++", ".hh": "C and C++", ".hpp": "C and C++", ".inc": "C and C++", ".gypi": "C and C++", ".gyp": "C and C++",
	".a": "static libraries", ".la": "static libraries", ".o": "static libraries", ".lib": "static libraries",
	".css": "styles", ".scss": "styles", ".sass": "styles", ".less": "styles",
	".html": "pages", ".htm": "pages", ".ejs": "pages", ".hbs": "pages", ".haml": "pages", ".slim": "pages", ".vue": "pages", ".svelte": "pages",
	".json": "data", ".yaml": "data", ".yml": "data", ".toml": "data", ".xml": "data", ".csv": "data", ".sql": "data", ".sqlite": "data", ".db": "data", ".dat": "data", ".proto": "data",
	".md": "documents", ".markdown": "documents", ".txt": "documents", ".rst": "documents", ".rdoc": "documents", ".ri": "documents", ".pdf": "documents",
	".png": "images", ".jpg": "images", ".jpeg": "images", ".gif": "images", ".webp": "images", ".svg": "images", ".ico": "images", ".avif": "images", ".bmp": "images", ".tif": "images", ".tiff": "images",
	".woff": "fonts", ".woff2": "fonts", ".ttf": "fonts", ".otf": "fonts", ".eot": "fonts",
	".mp3": "sound and video", ".mp4": "sound and video", ".webm": "sound and video", ".ogg": "sound and video", ".wav": "sound and video", ".mov": "sound and video", ".avi": "sound and video",
	".gz": "archives", ".tgz": "archives", ".zip": "archives", ".bz2": "archives", ".xz": "archives", ".zst": "archives", ".br": "archives", ".tar": "archives", ".7z": "archives", ".gem": "archives", ".whl": "archives", ".deb": "archives",
	".sh": "scripts", ".bash": "scripts",
}

// documents are names without an end that tells.
var documents = []string{"license", "licence", "readme", "changelog", "changes", "copying", "notice", "authors", "history"}

// kindOf says what a file is: by its content for what runs, else by its name.
func kindOf(name string, f examine.Facts) string {
	switch {
	case f.ELF != nil && f.ELF.Type == "program":
		return "programs"
	case f.ELF != nil && f.ELF.Type == "library":
		return "libraries"
	case f.ELF != nil:
		return "static libraries"
	case f.Foreign != "":
		return "programs of other systems"
	}
	base := strings.ToLower(path.Base(name))
	if kind, ok := kinds[path.Ext(base)]; ok {
		return kind
	}
	if f.Script != nil {
		return "scripts"
	}
	for _, d := range documents {
		if base == d || strings.HasPrefix(base, d+"-") || strings.HasPrefix(base, d+".") {
			return "documents"
		}
	}
	return "other"
}
