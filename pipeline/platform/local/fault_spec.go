package local

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// FaultRule is what goes wrong, where, and how often. ParseFault makes one of a line of words.
type FaultRule struct {
	kinds map[string]faultValue
	where faultWhere
	// app and kind limit the faults of dynos; empty is any.
	app, kind string
	// rate is the share of the matching requests, in percent.
	rate float64
	// times is how often it hits at most, 0 for no limit; skip is how many matches pass first.
	times, skip int
	retryAfter  time.Duration
	hasRetry    bool
}

// The words that name what goes wrong.
const (
	wordLatency      = "latency"
	wordStatus       = "status"
	wordReset        = "reset"
	wordResetRequest = "reset-request"
	wordLost         = "lost"
	wordLate         = "late"
	wordExpired      = "expired"
	wordSlowBoot     = "slow-boot"
	wordCrashBoot    = "crash-boot"
	wordFailRelease  = "fail-release-phase"
)

// requestEnds are the ends of a request, of which a rule has at most one: latency goes with each.
var requestEnds = []string{wordStatus, wordReset, wordResetRequest, wordLost, wordLate, wordExpired}

// dynoFaults are what a dyno meets, of which a rule has one.
var dynoFaults = []string{wordSlowBoot, wordCrashBoot, wordFailRelease}

// faultWords are all words, in the order in which a rule is written.
var faultWords = []string{
	wordLatency, wordStatus, wordReset, wordResetRequest, wordLost, wordLate, wordExpired,
	wordSlowBoot, wordCrashBoot, wordFailRelease,
	"on", "app", "type", "rate", "skip", "times", "retry-after",
}

// faultValue is a number, a range of numbers, or a choice of some: nanoseconds, bytes, statuses
// or exit codes, by the word that it belongs to.
type faultValue struct {
	from, to int64
	choice   []int64
}

// faultWhere says which requests a rule is about; its zero value says all.
type faultWhere struct {
	listener string
	method   string
	path     []string
}

// FaultError is a rule that cannot be understood.
type FaultError struct {
	// Spec is the rule as it was written.
	Spec string
	// Column is that of the word, in characters from 1.
	Column int
	// Word is the word that is wrong; it is empty where one is missing.
	Word string
	// Problem says what is wrong, and what is allowed.
	Problem string
}

func (e *FaultError) Error() string {
	return fmt.Sprintf("fault %q, column %d: %s", e.Spec, e.Column, e.Problem)
}

// maxSpec is the longest rule in bytes; nobody reads a longer one.
const maxSpec = 1000

// faultWord is one word of a rule and its place.
type faultWord struct {
	text   string
	column int
}

// ParseFault reads a rule: words with blanks between them, such as
//
//	latency=50ms..2s rate=10%
//	status=429 retry-after=5s on="POST /apps/*/releases" times=2
//
// An error is a *FaultError.
func ParseFault(spec string) (FaultRule, error) {
	p := faultParser{spec: spec, at: map[string]faultWord{}, rule: FaultRule{kinds: map[string]faultValue{}, rate: 100}}
	words, err := p.split()
	if err != nil {
		return FaultRule{}, err
	}
	for _, w := range words {
		if err := p.word(w); err != nil {
			return FaultRule{}, err
		}
	}
	if err := p.check(); err != nil {
		return FaultRule{}, err
	}
	return p.rule, nil
}

type faultParser struct {
	spec  string
	names []string // of the words, in the order in which they were written
	at    map[string]faultWord
	rule  FaultRule
}

func (p *faultParser) fail(w faultWord, format string, args ...any) error {
	return &FaultError{Spec: p.spec, Column: w.column, Word: w.text, Problem: fmt.Sprintf(format, args...)}
}

// split finds the words. A blank within quotes, double or single, ends none.
func (p *faultParser) split() ([]faultWord, error) {
	if len(p.spec) > maxSpec {
		return nil, p.fail(faultWord{column: maxSpec + 1}, "the rule has %d bytes, and the longest allowed has %d", len(p.spec), maxSpec)
	}
	if !utf8.ValidString(p.spec) {
		return nil, p.fail(faultWord{column: 1}, "the rule is not valid UTF-8")
	}
	var words []faultWord
	var word strings.Builder
	column, start, quote, quoted := 0, 0, rune(0), 0
	end := func() {
		if start > 0 {
			words = append(words, faultWord{word.String(), start})
		}
		word.Reset()
		start = 0
	}
	for _, c := range p.spec {
		column++
		switch {
		case quote == 0 && unicode.IsSpace(c):
			end()
			continue
		case unicode.IsControl(c):
			return nil, p.fail(faultWord{string(c), column}, "control characters cannot stand in a rule")
		case start == 0:
			start = column
		}
		switch {
		case quote == 0 && (c == '"' || c == '\''):
			quote, quoted = c, column
		case c == quote:
			quote = 0
		default:
			word.WriteRune(c)
		}
	}
	if quote != 0 {
		return nil, p.fail(faultWord{string(quote), quoted}, "the quote that opens here is not closed")
	}
	end()
	return words, nil
}

// word reads one word into the rule.
func (p *faultParser) word(w faultWord) error {
	name, value, hasValue := strings.Cut(w.text, "=")
	if !slices.Contains(faultWords, name) {
		return p.fail(w, "unknown word %q: expected one of %s", name, strings.Join(faultWords, ", "))
	}
	if first, twice := p.at[name]; twice {
		return p.fail(w, "%s stands twice, first at column %d", name, first.column)
	}
	p.at[name] = w
	p.names = append(p.names, name)
	if name == wordLost || name == wordExpired {
		if hasValue {
			return p.fail(w, "%s takes no value", name)
		}
		p.rule.kinds[name] = faultValue{}
		return nil
	}
	if !hasValue && (name == wordCrashBoot || name == wordFailRelease) {
		p.rule.kinds[name] = faultValue{from: 1, to: 1}
		return nil
	}
	if value == "" {
		return p.fail(w, "%s needs a value, as in %s", name, faultExamples[name])
	}
	var err error
	switch name {
	case wordLatency, wordLate, wordSlowBoot:
		p.rule.kinds[name], err = p.span(w, name, value, parseFaultTime)
	case wordReset, wordResetRequest:
		p.rule.kinds[name], err = p.span(w, name, value, parseFaultSize)
	case wordStatus:
		p.rule.kinds[name], err = p.choice(w, name, value, 400, 599)
	case wordCrashBoot, wordFailRelease:
		p.rule.kinds[name], err = p.choice(w, name, value, 1, 255)
	case "on":
		err = p.on(w, value)
	case "app":
		if p.rule.app = value; !appName.MatchString(value) {
			err = p.fail(w, "app %q is not the name of an app: lower-case letters, digits and dashes", value)
		}
	case "type":
		if p.rule.kind = value; !processType.MatchString(value) {
			err = p.fail(w, "type %q is not a process type, such as web", value)
		}
	case "rate":
		number, percent := strings.CutSuffix(value, "%")
		p.rule.rate, err = strconv.ParseFloat(number, 64)
		if plain := strings.Trim(number, "0123456789.") == ""; err != nil || !percent || !plain || p.rule.rate <= 0 || p.rule.rate > 100 {
			err = p.fail(w, "rate %q is not a share: write a percentage above 0%% and up to 100%%, such as 3%%", value)
		}
	case "times":
		p.rule.times, err = p.count(w, name, value, 1)
	case "skip":
		p.rule.skip, err = p.count(w, name, value, 0)
	case "retry-after":
		p.rule.hasRetry = true
		var nanos int64
		if nanos, err = parseFaultTime(value); err != nil || nanos%int64(time.Second) != 0 {
			err = p.fail(w, "retry-after %q is not a number of whole seconds, such as 5s", value)
		}
		p.rule.retryAfter = time.Duration(nanos)
	}
	return err
}

// faultExamples are shown to those who left a value out.
var faultExamples = map[string]string{
	wordLatency: "latency=200ms or latency=50ms..2s", wordStatus: "status=503 or status=500|502|503",
	wordReset: "reset=512 or reset=0..64KiB", wordResetRequest: "reset-request=64KiB", wordLate: "late=5s",
	wordSlowBoot: "slow-boot=20s", wordCrashBoot: "crash-boot=1", wordFailRelease: "fail-release-phase=1",
	"on": `on=blob or on="POST /apps/*/releases"`, "app": "app=example", "type": "type=web", "rate": "rate=3%",
	"times": "times=2", "skip": "skip=1", "retry-after": "retry-after=5s",
}

func (p *faultParser) count(w faultWord, name, value string, least int) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < least || n > 1_000_000_000 || value != strconv.Itoa(n) {
		return 0, p.fail(w, "%s %q is not a number from %d to 1000000000", name, value, least)
	}
	return n, nil
}

// span reads A or A..B.
func (p *faultParser) span(w faultWord, name, value string, parse func(string) (int64, error)) (faultValue, error) {
	low, high, isRange := strings.Cut(value, "..")
	var v faultValue
	var err error
	if v.from, err = parse(low); err == nil {
		if v.to = v.from; isRange {
			v.to, err = parse(high)
		}
	}
	if err != nil {
		return v, p.fail(w, "%s: %s, as in %s", name, err, faultExamples[name])
	}
	if v.from > v.to {
		return v, p.fail(w, "%s: the range %s ends before it begins", name, value)
	}
	return v, nil
}

// choice reads A or A|B|C.
func (p *faultParser) choice(w faultWord, name, value string, least, most int64) (faultValue, error) {
	var v faultValue
	for text := range strings.SplitSeq(value, "|") {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < least || n > most || text != strconv.FormatInt(n, 10) {
			return v, p.fail(w, "%s %q is not a number from %d to %d, as in %s", name, text, least, most, faultExamples[name])
		}
		v.choice = append(v.choice, n)
	}
	if len(v.choice) == 1 {
		v = faultValue{from: v.choice[0], to: v.choice[0]}
	}
	return v, nil
}

// longestFault is more than any client waits.
const longestFault = 24 * time.Hour

func parseFaultTime(text string) (int64, error) {
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is not a time with a unit (ms, s, m, h)", text)
	case d < 0 || d > longestFault:
		return 0, fmt.Errorf("%q is not a time from 0s to 24h", text)
	}
	return int64(d), nil
}

// faultUnits are those of sizes, the longest names first.
var faultUnits = []struct {
	name  string
	bytes int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}}

func parseFaultSize(text string) (int64, error) {
	number, unit := text, int64(1)
	for _, u := range faultUnits {
		if rest, found := strings.CutSuffix(text, u.name); found {
			number, unit = rest, u.bytes
			break
		}
	}
	n, err := strconv.ParseUint(number, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number of bytes, with kB, MB, GB, KiB, MiB, GiB or no unit", text)
	}
	return int64(n) * unit, nil
}

// on reads [METHOD] [api|blob|PATH].
func (p *faultParser) on(w faultWord, value string) error {
	where := faultWhere{}
	for i, part := range strings.Fields(value) {
		switch {
		case part == listenerAPI || part == listenerBlob:
			if where.listener != "" || len(where.path) > 0 {
				return p.fail(w, "on=%q names more than one place", value)
			}
			where.listener = part
		case strings.HasPrefix(part, "/"):
			if where.listener == listenerBlob {
				return p.fail(w, "on=%q: blobs have addresses of their own; write on=blob", value)
			}
			if len(where.path) > 0 {
				return p.fail(w, "on=%q has two paths", value)
			}
			if strings.HasPrefix(part, "/_") {
				return p.fail(w, "on=%q: what begins with /_ belongs to the platform itself, and meets no fault", value)
			}
			where.path = strings.Split(part[1:], "/")
			if j := slices.Index(where.path, "**"); j >= 0 && j != len(where.path)-1 {
				return p.fail(w, "on=%q: ** stands for the rest of a path, and only at its end", value)
			}
			where.listener = listenerAPI
		case i == 0 && slices.Contains(faultMethods, strings.ToUpper(part)):
			where.method = strings.ToUpper(part)
		case i == 0 && part == "*":
		default:
			return p.fail(w, "on=%q: %q is no method (%s or *), no path such as /apps/*/releases, and neither api nor blob", value, part, strings.Join(faultMethods, ", "))
		}
	}
	p.rule.where = where
	return nil
}

var faultMethods = []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodHead}

// check looks at the words together.
func (p *faultParser) check() error {
	end := faultWord{column: utf8.RuneCountInString(p.spec) + 1}
	first := ""
	for _, name := range p.names {
		switch {
		case !slices.Contains(requestEnds, name) && !slices.Contains(dynoFaults, name):
		case first != "":
			return p.fail(p.at[name], "%s cannot go with %s: give it in a rule of its own", name, first)
		default:
			first = name
		}
	}
	ofDyno := slices.Contains(dynoFaults, first)
	if w, here := p.at[wordLatency]; here && ofDyno {
		return p.fail(w, "latency is of requests and %s of dynos: give it in a rule of its own", first)
	} else if !here && first == "" {
		return p.fail(end, "nothing goes wrong: name one of %s", strings.Join(faultWords[:len(faultWords)-7], ", "))
	}
	if w, here := p.at["on"]; here && ofDyno {
		return p.fail(w, "on is for requests: %s takes app and type", first)
	}
	for _, name := range []string{"app", "type"} {
		if w, here := p.at[name]; here && !ofDyno {
			return p.fail(w, `%s is for %s: requests take on, as in on="POST /apps/example/**"`, name, strings.Join(dynoFaults, ", "))
		}
	}
	if w, here := p.at["type"]; here && first == wordFailRelease {
		return p.fail(w, "fail-release-phase is of the type release already")
	}
	if w, here := p.at["retry-after"]; here && first != wordStatus {
		return p.fail(w, "retry-after goes with status, as in status=429 retry-after=5s")
	}
	if first == wordExpired {
		if p.rule.where.listener == listenerAPI {
			return p.fail(p.at["on"], `expired is of blob addresses: write on=blob, on="PUT blob" or on="GET blob"`)
		}
		p.rule.where.listener = listenerBlob
	}
	return nil
}

// ofDyno says that the rule is about dynos, not requests.
func (r FaultRule) ofDyno() bool {
	return slices.ContainsFunc(dynoFaults, func(k string) bool { _, here := r.kinds[k]; return here })
}

// String writes the rule so that ParseFault reads the same one again.
func (r FaultRule) String() string {
	var words []string
	for _, name := range faultWords[:len(faultWords)-7] {
		v, here := r.kinds[name]
		if !here {
			continue
		}
		switch name {
		case wordLost, wordExpired:
			words = append(words, name)
		case wordLatency, wordLate, wordSlowBoot:
			words = append(words, name+"="+v.text(func(n int64) string { return time.Duration(n).String() }))
		default:
			words = append(words, name+"="+v.text(func(n int64) string { return strconv.FormatInt(n, 10) }))
		}
	}
	if _, expired := r.kinds[wordExpired]; (r.where.listener != "" || r.where.method != "") && (!expired || r.where.method != "") {
		words = append(words, "on="+quoteFault(r.where.String()))
	}
	if r.app != "" {
		words = append(words, "app="+r.app)
	}
	if r.kind != "" {
		words = append(words, "type="+r.kind)
	}
	if r.rate < 100 {
		words = append(words, "rate="+strconv.FormatFloat(r.rate, 'f', -1, 64)+"%")
	}
	if r.skip > 0 {
		words = append(words, "skip="+strconv.Itoa(r.skip))
	}
	if r.times > 0 {
		words = append(words, "times="+strconv.Itoa(r.times))
	}
	if r.hasRetry {
		words = append(words, "retry-after="+r.retryAfter.String())
	}
	return strings.Join(words, " ")
}

func (v faultValue) text(one func(int64) string) string {
	if len(v.choice) > 0 {
		list := make([]string, len(v.choice))
		for i, n := range v.choice {
			list[i] = one(n)
		}
		return strings.Join(list, "|")
	}
	if v.from == v.to {
		return one(v.from)
	}
	return one(v.from) + ".." + one(v.to)
}

func (w faultWhere) String() string {
	var words []string
	if w.method != "" {
		words = append(words, w.method)
	}
	if len(w.path) > 0 {
		words = append(words, "/"+strings.Join(w.path, "/"))
	} else if w.listener != "" {
		words = append(words, w.listener)
	}
	return strings.Join(words, " ")
}

// quoteFault quotes what has a blank in it. What has both kinds of quotes is quoted in parts.
func quoteFault(text string) string {
	if !strings.ContainsFunc(text, func(c rune) bool { return unicode.IsSpace(c) || c == '"' || c == '\'' }) {
		return text
	}
	return `"` + strings.ReplaceAll(text, `"`, `"'"'"`) + `"`
}

// matches says whether a request is one that the rule is about.
func (w faultWhere) matches(listener string, r *http.Request) bool {
	if w.listener != "" && w.listener != listener || w.method != "" && w.method != r.Method {
		return false
	}
	if len(w.path) == 0 {
		return true
	}
	have := strings.Split(strings.TrimPrefix(r.URL.Path, "/"), "/")
	for i, part := range w.path {
		switch {
		case part == "**":
			return len(have) > i
		case i >= len(have) || part != "*" && part != have[i]:
			return false
		}
	}
	return len(have) == len(w.path)
}
