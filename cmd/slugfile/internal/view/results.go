package view

import (
	"fmt"
	"io"
	"strings"

	"github.com/slugfile/slugfile/pipeline/bom"
	"github.com/slugfile/slugfile/pipeline/fetch"
	"github.com/slugfile/slugfile/pipeline/junk"
	"github.com/slugfile/slugfile/pipeline/platform/local"
)

// WriteApplied tells the end of apply for people; the last line is the app's address, when
// it has one. local is set for the embedded platform.
func WriteApplied(w io.Writer, a Applied, local bool, s Style) error {
	where := ""
	if local {
		where = " on this machine"
	}
	var b strings.Builder
	if a.Changed {
		fmt.Fprintf(&b, "Releasing %s%s... %s, v%d\n", s.bold(Clean(a.App)), where, s.green("done"), a.Release.Version)
	} else {
		fmt.Fprintf(&b, "No changes. %s runs v%d%s.\n", s.bold(Clean(a.App)), a.Release.Version, where)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return err
	}
	return WriteAddress(w, a, local, s)
}

// WriteAddress is the last line of WriteApplied, for where the rest has been said.
func WriteAddress(w io.Writer, a Applied, _ bool, _ Style) error {
	if a.WebURL == "" {
		return nil
	}
	_, err := io.WriteString(w, Clean(a.WebURL)+"\n")
	return err
}

// Staying says how apply ends that keeps the embedded platform up.
func Staying(w io.Writer, app string, s Style) error {
	_, err := fmt.Fprintln(w, s.dim("Ctrl-C stops "+Clean(app)+"."))
	return err
}

// Running says what a process runs on that is booted here, and what is missing where plain is
// why there are no namespaces. stack may be empty.
func Running(w io.Writer, process, stack string, plain error, s Style) error {
	libraries := "its stack"
	if stack != "" {
		libraries = Clean(stack)
	}
	text := fmt.Sprintf("%s runs on this machine's libraries, not on those of %s.", Clean(process), libraries)
	if process == "run" {
		text = "The command" + strings.TrimPrefix(text, "run")
	}
	text = s.dim(text) + "\n"
	if plain != nil {
		text += s.yellow("warning:") + " no namespaces here, so paths that begin with /app will not work:\n    " + Clean(plain.Error()) + "\n"
	}
	_, err := io.WriteString(w, text)
	return err
}

// WriteBuilt tells the end of build for people.
func WriteBuilt(w io.Writer, r Built, s Style) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Built %s  %s\n%s\n", s.bold(Clean(r.Slug.Path)), Size(r.Slug.Size), s.dim(r.Slug.Checksum))
	if d := r.SBOM; d != nil {
		fmt.Fprintf(&b, "Wrote %s  %s\n", s.bold(Clean(d.Path)), contents(d.Summary))
	}
	if d := r.Provenance; d != nil {
		fmt.Fprintf(&b, "Wrote %s  %s\n", s.bold(Clean(d.Path)), madeOf(d))
		if d.KeyID == "" {
			b.WriteString(s.yellow("not signed") + ": verify accepts it only with a signature, see --sign-key\n")
		} else {
			fmt.Fprintf(&b, "%s\n", s.dim("signed by "+d.KeyID))
		}
	}
	b.WriteString(advice(r.Advice, s))
	_, err := io.WriteString(w, b.String())
	return err
}

// Advice of less than this is not worth a line, in bytes; shownJunk is how many paths a line names.
const (
	leastJunk = 100_000
	shownJunk = 3
)

// advice says what could be left out of a slug, or nothing.
func advice(list []junk.Advice, s Style) string {
	var b strings.Builder
	for _, a := range list {
		if a.Bytes < leastJunk {
			continue
		}
		if b.Len() == 0 {
			b.WriteString("Could be left out (sizes before compression):\n")
		}
		fmt.Fprintf(&b, "  %s  %s in %s\n", s.bold(a.Kind), Size(a.Bytes), count(a.Files, "file"))
		for _, p := range a.Paths[:min(len(a.Paths), shownJunk)] {
			fmt.Fprintf(&b, "      %s  %s\n", pad(Size(p.Bytes), 8), shorten(quoted(p.Path), columns-16))
		}
		if more := len(a.Paths) + a.More - shownJunk; more > 0 {
			fmt.Fprintf(&b, "      %s\n", s.dim(fmt.Sprintf("and %d more", more)))
		}
		b.WriteString(wrap(s.cyan("  hint:"), "  hint:", a.Hint, columns))
	}
	return b.String()
}

// WriteVerified tells for people what verify has found to be right.
func WriteVerified(w io.Writer, r Verified, s Style) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s  %s\n%s\n", s.green("Verified"), s.bold(Clean(r.Slug.Path)), Size(r.Slug.Size), s.dim(r.Slug.Checksum))
	if d := r.Provenance; d != nil {
		fmt.Fprintf(&b, "provenance         %s\n                   signed by %s\n", madeOf(d), d.KeyID)
	}
	if d := r.SBOM; d != nil {
		by := "of this slug, and signed with the provenance"
		if r.Provenance == nil {
			by = "of this slug; no signature was checked"
		}
		fmt.Fprintf(&b, "bill of materials  %s\n                   %s\n", contents(d.Summary), by)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// madeOf names the commit that a slug was made of.
func madeOf(p *BuiltProvenance) string {
	switch {
	case p.Commit == "":
		return "made outside git"
	case p.Dirty:
		return "made of commit " + Clean(p.Commit[:min(len(p.Commit), 12)]) + " and changes to it"
	}
	return "made of commit " + Clean(p.Commit[:min(len(p.Commit), 12)])
}

// contents counts what a bill of materials tells.
func contents(c bom.Summary) string {
	var parts []string
	for _, n := range []struct {
		count int
		noun  string
	}{{c.Runtimes, "runtime"}, {c.Programs, "Go program"}, {c.Modules, "Go module"}, {c.Packages, "npm package"}, {c.Gems, "gem"}, {c.Files, "file"}} {
		if n.count > 0 {
			parts = append(parts, count(n.count, n.noun))
		}
	}
	if parts == nil {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}

// Pinned tells what became of each pin, then whether the lock file, as it is shown, is another one.
func Pinned(w io.Writer, file string, changes []fetch.Change, s Style) error {
	if len(changes) == 0 {
		_, err := fmt.Fprintln(w, "No runtime needs a pin.")
		return err
	}
	name := 0
	for _, c := range changes {
		name = max(name, min(width(Clean(c.Name)), widestName))
	}
	var b strings.Builder
	changed := false
	for _, c := range changes {
		symbol, pin := pinAction(c)
		if pin == nil {
			continue
		}
		what := "sha256 " + pin.SHA256.Short() + "  " + Size(pin.Size)
		switch symbol {
		case "-":
			what = "no longer needed"
		case "~":
			what = "sha256 " + c.Old.SHA256.Short() + " → " + pin.SHA256.Short() + "  " + Size(pin.Size)
		}
		changed = changed || symbol != "="
		head := pad(shorten(Clean(c.Name), widestName), name) + "  " + what
		line := head + "  " + shorten(Clean(c.URL), max(columns-6-width(head), 24))
		if symbol == "=" {
			line = s.dim(line)
		}
		b.WriteString("  " + s.symbol(symbol) + " " + line + "\n")
	}
	if changed {
		fmt.Fprintf(&b, "\nWrote %s. Commit it beside slug.yaml.\n", Clean(file))
	} else {
		fmt.Fprintf(&b, "\nNo changes. %s is up to date.\n", Clean(file))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Platform tells where the embedded platform listens, and what a shell needs to use it.
// It is the one place that shows a token: it belongs to this machine, and is of use only to
// whoever can reach its loopback address.
func Platform(w io.Writer, p local.Info, page, dir string, s Style) error {
	api := shellQuote(p.API)
	_, err := fmt.Fprintf(w, `The embedded platform is at %s; its data is in %s.
"slugfile apply --local" finds it. Its status page, by a link that works once:

    %s

For other programs:

    export HEROKU_HOST=%s
    export HEROKU_PARTICLEBOARD_URL=%s
    export HEROKU_API_KEY=%s
    export SLUGFILE_API=%s

`, s.bold(Clean(p.API)), Clean(dir), Clean(page), api, api, shellQuote(p.Token.Reveal()), api)
	return err
}

// Exposed warns that the platform can be reached from other machines.
func Exposed(w io.Writer, listen string, s Style) error {
	_, err := fmt.Fprintf(w, "%s other machines can reach %s. Whoever has the token\ncan run programs here, and nothing is encrypted on the way.\n", s.yellow("warning:"), Clean(listen))
	return err
}

// InjectedFaults says what is to go wrong on the embedded platform, and how to have it again.
func InjectedFaults(w io.Writer, f local.FaultState, s Style) error {
	text := fmt.Sprintf("Injected faults (--fault-seed %d repeats their chances):\n\n", f.Seed)
	for _, r := range f.Rules {
		text += fmt.Sprintf("    %s %s\n", s.dim(fmt.Sprintf("%d", r.ID)), Clean(r.Spec))
	}
	_, err := io.WriteString(w, text+"\n")
	return err
}

// shellQuote makes one word of a POSIX shell.
func shellQuote(v string) string {
	v = Clean(v)
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:@%+=", r)
	}
	if v != "" && strings.TrimFunc(v, plain) == "" {
		return v
	}
	return "'" + strings.ReplaceAll(v, "'", `'\''`) + "'"
}
