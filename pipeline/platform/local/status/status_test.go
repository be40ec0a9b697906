package status

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// full fills every field of a view with a text, and every list with n items.
func full(text string, n int) *View {
	v := &View{Detail: &Detail{}}
	fill(reflect.ValueOf(v).Elem(), text, n)
	v.Base, v.Now = "http://127.0.0.1:5999", now
	return v
}

func fill(v reflect.Value, text string, n int) {
	switch v.Kind() {
	case reflect.Pointer:
		fill(v.Elem(), text, n)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(now.Add(-time.Hour)))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), text, n)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(v.Index(i), text, n)
		}
	case reflect.String:
		v.SetString(text)
	case reflect.Int:
		v.SetInt(int64(n))
	case reflect.Int64:
		v.SetInt(int64(time.Millisecond) * int64(n))
	}
}

// views are a page of one app and one of all, full of a text.
func views(text string, n int) []*View {
	one, all := full(text, n), full(text, n)
	one.Apps, all.Detail = nil, nil
	return []*View{one, all}
}

const hostile = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{.}}\x1b[31mred\x1b[0m\x1b]0;title\x07\u202egnp\x00\r\n\u0085\u2028\x80\xffjavascript:alert(1)"

func TestView_letsNoForeignTextBeMore(t *testing.T) {
	t.Parallel()
	for _, v := range views(hostile, 3) {
		page, err := v.HTML("/events")
		if err != nil {
			t.Fatal(err)
		}
		html := strings.Replace(strings.Replace(string(page), styleText, "", 1), scriptText, "", 1)
		for _, bad := range []string{"<script>alert", "<img", `="javascript:`, "red\x1b", "\x1b]0;"} {
			if strings.Contains(html, bad) {
				t.Errorf("the page holds %q", bad)
			}
		}
		for _, text := range []string{html, v.Text()} {
			for _, r := range text {
				if r != '\n' && (unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) || r == unicode.ReplacementChar) {
					t.Fatalf("%q got through:\n%s", r, text)
				}
			}
			if !strings.Contains(text, `\u202e`) {
				t.Errorf("what turns the direction of writing is not quoted:\n%s", text)
			}
		}
	}
	html, err := Lines([]Line{{Text: hostile, Source: hostile, Process: hostile}})
	if err != nil || strings.Contains(string(html), "<script") || strings.Contains(string(html), "<img") {
		t.Errorf("a line of the log: %s %v", html, err)
	}
}

func TestText_fitsEightyColumns(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "a", "example-app", strings.Repeat("wide 日本 ", 30), strings.Repeat("x", 300), "a-very-long-name-for-an-app-30"} {
		for _, n := range []int{0, 1, 30} {
			for _, v := range views(text, n) {
				for line := range strings.Lines(v.Text()) {
					if columns(strings.TrimRight(line, "\n")) > textColumns {
						t.Errorf("%d columns, of %.12q: %s", columns(line), text, line)
					}
				}
			}
		}
	}
}

// The whole page is one answer: a style or script that does not match its digest would not work.
func TestPolicy_namesTheStyleAndScriptOfThePage(t *testing.T) {
	t.Parallel()
	page, err := views("x", 1)[0].HTML("/events")
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range []string{"style", "script"} {
		found := regexp.MustCompile(`(?s)<`+tag+`>(.*?)</`+tag+`>`).FindAllStringSubmatch(string(page), -1)
		if len(found) != 1 || !strings.Contains(Policy, tag+"-src "+digest(found[0][1])) {
			t.Errorf("%d elements %s, or the digest of one is not in %s", len(found), tag, Policy)
		}
	}
	if strings.Contains(Policy, "unsafe") || !strings.Contains(Policy, "frame-ancestors 'none'") {
		t.Errorf("policy %s", Policy)
	}
	if other := regexp.MustCompile(`(?:src|href)="(?:https?:)?//[^1]|url\(|@import| on[a-z]+=|<iframe|<form`).FindString(string(page)); other != "" {
		t.Errorf("the page holds %q", other)
	}
}

// A screen reader finds its way by these.
func TestPage_isMarkedUpForEverybody(t *testing.T) {
	t.Parallel()
	for _, v := range views("x", 2) {
		page, err := v.HTML("/events")
		if err != nil {
			t.Fatal(err)
		}
		text := string(page)
		for _, want := range []string{`<html lang="en">`, "<title>", "<header>", `<main id="main">`, "<footer>", `href="#main"`, "<caption", `name="viewport"`} {
			if !strings.Contains(text, want) {
				t.Errorf("the page has no %s", want)
			}
		}
		if n := strings.Count(text, "<h1>"); n != 1 {
			t.Errorf("%d headings of the first level", n)
		}
		if strings.Count(text, "<table") != strings.Count(text, "<caption") {
			t.Error("a table has no caption")
		}
		if n := len(regexp.MustCompile(`<th [^>]*scope="(?:col|row)"`).FindAllString(text, -1)); n != strings.Count(text, "<th ") {
			t.Error("a header of a table does not say what it is for")
		}
		ids := map[string]bool{}
		for _, id := range regexp.MustCompile(` id="([^"]*)"`).FindAllStringSubmatch(text, -1) {
			if ids[id[1]] {
				t.Errorf("two elements are called %s", id[1])
			}
			ids[id[1]] = true
		}
		for _, ref := range regexp.MustCompile(`aria-labelledby="([^"]*)"`).FindAllStringSubmatch(text, -1) {
			if !ids[ref[1]] {
				t.Errorf("a label %s is missing", ref[1])
			}
		}
	}
}

// What did not change must look the same, or open pages would be drawn again and again.
func TestParts_changeOnlyWithWhatTheyShow(t *testing.T) {
	t.Parallel()
	tags := func(v *View) string {
		parts, err := v.Parts()
		if err != nil {
			t.Fatal(err)
		}
		var list []string
		for _, p := range parts {
			list = append(list, p.ID+"="+p.Tag)
		}
		return strings.Join(list, " ")
	}
	for _, v := range views("x", 2) {
		before := tags(v)
		v.Now = v.Now.Add(30 * time.Second)
		if after := tags(v); after != before {
			t.Errorf("half a minute later: %s, before %s", after, before)
		}
		v.Calls[0].Status = 500
		after := tags(v)
		if after == before || strings.Fields(after)[1] != strings.Fields(before)[1] {
			t.Errorf("with another call: %s, before %s", after, before)
		}
	}
}

func BenchmarkParts_ofTwoHundredApps(b *testing.B) {
	v := full("example-app", 20)
	v.Detail = nil
	for i := range 200 {
		v.Apps = append(v.Apps, App{Name: fmt.Sprintf("app-%03d", i), URL: "http://127.0.0.1:40000/", Stack: "heroku-24", Release: "v3", State: "up", Dynos: "1 up"})
	}
	for b.Loop() {
		if _, err := v.Parts(); err != nil {
			b.Fatal(err)
		}
	}
}
