package stack

import "strings"

// commands are the packages of Ubuntu that have a command, over all releases; one of them is
// enough. A command that is not here is unknown. The source is
// https://packages.ubuntu.com/; where a stack has none of a command's packages, it has not the
// command: those that Heroku adds to its images by other means are in no list, and not here.
var commands = func() map[string][]string {
	table := map[string][]string{}
	for from, names := range map[string]string{
		// What scripts begin with.
		"bash":                          "bash",
		"dash":                          "sh dash",
		"coreutils gnu-coreutils":       "env cat chmod chown cp cut date dirname basename du echo expr false head id ln ls mkdir mktemp mv nice nohup printf pwd readlink realpath rm rmdir seq sleep sort stat stdbuf tail tee test timeout touch tr true uname uniq wc whoami yes sha256sum md5sum base64",
		"mawk gawk":                     "awk",
		"gawk":                          "gawk",
		"sed":                           "sed",
		"grep":                          "grep egrep fgrep",
		"findutils":                     "find xargs",
		"diffutils":                     "diff cmp",
		"procps":                        "ps pgrep pkill top free",
		"hostname":                      "hostname",
		"util-linux":                    "flock setsid getopt unshare",
		"tar":                           "tar",
		"gzip":                          "gzip gunzip zcat",
		"bzip2":                         "bzip2",
		"xz-utils":                      "xz",
		"zip":                           "zip",
		"unzip":                         "unzip",
		"zstd":                          "zstd",
		"perl-base":                     "perl",
		"python3-minimal":               "python3",
		"python-is-python3 python2":     "python",
		"python2 python2-minimal":       "python2 python2.7",
		"python3-pip":                   "pip pip3",
		"ruby":                          "ruby gem irb erb",
		"ruby-bundler":                  "bundle bundler",
		"rake":                          "rake",
		"nodejs":                        "node nodejs",
		"npm":                           "npm npx",
		"php-cli php7.4-cli php8.1-cli": "php",
		"openjdk-*":                     "java javac",
		"golang-go":                     "go",
		"tcl tcl8.6":                    "tclsh",
		"lua5.1 lua5.3 lua5.4":          "lua",
		"zsh":                           "zsh",
		"ksh ksh93u+m":                  "ksh",
		"fish":                          "fish",
		"csh tcsh":                      "csh",
		"tcsh":                          "tcsh",
		"elixir":                        "elixir mix",
		"erlang-base":                   "erl escript",
		"r-base-core":                   "Rscript R",
		"ghc":                           "runghc runhaskell",
		"rustc":                         "rustc",
		"cargo":                         "cargo",
		"mono-runtime":                  "mono",
		"gunicorn":                      "gunicorn",
		"puma":                          "puma",
		"nginx nginx-core":              "nginx",
		"apache2-bin":                   "apache2",
		"redis-server":                  "redis-server",
		"caddy":                         "caddy",
		"pgbouncer":                     "pgbouncer",
		"make":                          "make",
		"gcc":                           "gcc cc",
		"g++":                           "g++",
		"git":                           "git",
		"curl":                          "curl",
		"wget":                          "wget",
		"jq":                            "jq",
		"openssl":                       "openssl",
		"rsync":                         "rsync",
		"socat":                         "socat",
		"openssh-client":                "ssh scp",
		"stunnel4":                      "stunnel",
		"postgresql-client-*":           "psql pg_dump pg_restore",
		"mysql-client mariadb-client":   "mysql mysqldump",
		"imagemagick*":                  "convert identify mogrify",
		"ghostscript":                   "gs",
		"poppler-utils":                 "pdftotext pdftoppm",
		"ffmpeg":                        "ffmpeg ffprobe",
		"wkhtmltopdf":                   "wkhtmltopdf",
		"chromium-browser chromium":     "chromium chromium-browser",
		"supervisor":                    "supervisord",
		"screen":                        "screen",
		"tmux":                          "tmux",
		"strace":                        "strace",
		"sudo":                          "sudo",
		"gosu":                          "gosu",
		"tini":                          "tini",
		"dumb-init":                     "dumb-init",
	} {
		for _, name := range strings.Fields(names) {
			table[name] = append(table[name], strings.Fields(from)...)
		}
	}
	return table
}()

// programDirs are where a run image has its commands. They are one: /bin is a link to
// /usr/bin since Ubuntu 20.04.
var programDirs = []string{"/bin/", "/usr/bin/", "/sbin/", "/usr/sbin/"}
