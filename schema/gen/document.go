package main

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/invopop/jsonschema"

	"github.com/slugfile/slugfile/pipeline/artifact"
	"github.com/slugfile/slugfile/pipeline/digest"
	"github.com/slugfile/slugfile/pipeline/inspect"
	"github.com/slugfile/slugfile/pipeline/plan"
	"github.com/slugfile/slugfile/pipeline/tree"
)

// ids is where the schemas are found.
const ids = "https://raw.githubusercontent.com/slugfile/slugfile/main/schema/"

// generateDocument returns the schema of the JSON form of a type of package plan or inspect. base is the import
// path of the current folder, and path the folder of pipeline relative to it.
func generateDocument(base, path string, of reflect.Type, name string) ([]byte, error) {
	r := &jsonschema.Reflector{ExpandedStruct: true, Anonymous: true, Mapper: values}
	for _, room := range []string{"plan", "tree", "inspect", "artifact"} {
		if err := r.AddGoComments(base, path+"/"+room, jsonschema.WithFullComment()); err != nil {
			return nil, err
		}
	}
	for k, v := range r.CommentMap {
		r.CommentMap[k] = forReaders(k, strings.Join(strings.Fields(v), " "))
	}
	s := r.ReflectFromType(of)
	s.ID = jsonschema.ID(ids + name + ".schema.json")
	s.Title = "slugfile " + strings.ReplaceAll(name, "-", " ")
	s.Definitions["Entry"] = entry()
	for _, t := range structs(of, nil) {
		def := s.Definitions[t.Name()]
		if t == of {
			def = s
		}
		if def == nil || def.Properties == nil {
			return nil, fmt.Errorf("no definition %q", t.Name())
		}
		if text, ok := described[t.Name()]; ok {
			def.Description = text
		}
		if err := refine(t, def); err != nil {
			return nil, err
		}
	}
	return encode(s)
}

// structs are the struct types that the JSON form of a type is made of, itself first.
func structs(t reflect.Type, seen []reflect.Type) []reflect.Type {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return structs(t.Elem(), seen)
	case reflect.Struct:
		if t == reflect.TypeFor[tree.Entry]() || slices.Contains(seen, t) {
			return seen
		}
		seen = append(seen, t)
		for i := range t.NumField() {
			if f := t.Field(i); f.Tag.Get("json") != "-" {
				seen = structs(f.Type, seen)
			}
		}
	}
	return seen
}

// values are the types whose JSON form is not that of their fields.
func values(t reflect.Type) *jsonschema.Schema {
	switch t {
	case reflect.TypeFor[digest.Digest]():
		return &jsonschema.Schema{Type: "string", Pattern: `^([0-9a-f]{64})?$`}
	case reflect.TypeFor[plan.Action]():
		return &jsonschema.Schema{Type: "string", Enum: []any{plan.Add, plan.Remove, plan.Change, plan.Keep, plan.Unknown}}
	case reflect.TypeFor[tree.Entry]():
		return &jsonschema.Schema{Ref: "#/$defs/Entry"}
	case reflect.TypeFor[tree.Manifest]():
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{
			{Type: "array", Items: &jsonschema.Schema{Ref: "#/$defs/Entry"}},
			{Type: "null"},
		}}
	}
	return nil
}

// entry is the form that package tree gives to an Entry.
func entry() *jsonschema.Schema {
	s := &jsonschema.Schema{
		Type: "object", Description: "A file, directory or link.", Properties: jsonschema.NewProperties(),
		AdditionalProperties: jsonschema.FalseSchema, Required: []string{"kind"},
		OneOf: []*jsonschema.Schema{{Required: []string{"path"}}, {Required: []string{"path_bytes"}}},
	}
	const other = ", in base64: it stands here when it is not UTF-8."
	for _, p := range []struct {
		name string
		of   jsonschema.Schema
	}{
		{"path", jsonschema.Schema{Type: "string", Description: "The path below ./app, with slashes."}},
		{"path_bytes", jsonschema.Schema{Type: "string", ContentEncoding: "base64", Description: "The path" + other}},
		{"kind", jsonschema.Schema{Type: "string", Enum: []any{tree.File.String(), tree.Dir.String(), tree.Link.String()}, Description: "What it is."}},
		{"exec", jsonschema.Schema{Type: "boolean", Description: "Whether the file is executable. Absent when it is not."}},
		{"size", jsonschema.Schema{Type: "integer", Minimum: "0", Description: "The size of the file in bytes. Absent when it is 0."}},
		{"digest", jsonschema.Schema{Type: "string", Pattern: `^[0-9a-f]{64}$`, Description: "The sha256 of the file's content."}},
		{"target", jsonschema.Schema{Type: "string", Description: "What the link says, word for word."}},
		{"target_bytes", jsonschema.Schema{Type: "string", ContentEncoding: "base64", Description: "What the link says" + other}},
	} {
		s.Properties.Set(p.name, &p.of)
	}
	return s
}

// refine adds what the types cannot say: descriptions that the comments lack, closed lists of
// words, what may be null, and what cannot be negative.
func refine(t reflect.Type, def *jsonschema.Schema) error {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-":
			continue
		case f.Anonymous: // its fields stand among the others
			if err := refine(f.Type, def); err != nil {
				return err
			}
			continue
		}
		p, ok := def.Properties.Get(name)
		if !ok {
			return fmt.Errorf("%s has no property %q", t.Name(), name)
		}
		at := t.Name() + "." + name
		if text, ok := described[at]; ok {
			p.Description = text
		}
		if list, ok := words[at]; ok {
			p.Enum = list
		}
		optional := strings.HasPrefix(options, "omit")
		switch f.Type.Kind() {
		case reflect.Int64, reflect.Int:
			p.Minimum = "0"
			if at == "RuntimeChange.bytes" {
				p.Minimum = "-1"
			}
			if at == "Basis.epoch" || at == "Saved.made" {
				p.Minimum = ""
			}
		case reflect.Pointer:
			if !optional {
				*p = jsonschema.Schema{Description: p.Description, AnyOf: []*jsonschema.Schema{{Type: p.Type, Ref: p.Ref}, {Type: "null"}}}
			}
		}
		if f.Type == reflect.TypeFor[digest.Digest]() && optional {
			p.Pattern = `^[0-9a-f]{64}$`
		}
	}
	return nil
}

// words are the closed lists.
var words = map[string][]any{
	"Plan.v":           {plan.Version},
	"Plan.type":        {"plan"},
	"Saved.v":          {plan.SavedVersion},
	"Saved.type":       {plan.SavedType},
	"Against.kind":     {plan.BaseRelease, plan.BaseRevision, plan.BaseSaved},
	"StepChange.state": {plan.Reused, plan.Runs, plan.Open, plan.Removed},
	"FileChange.what":  {"content", "mode", "content, mode", "link", "kind"},
	"Drift.kind":       {plan.DriftRelease, plan.DriftRollback, plan.DriftStack, plan.DriftConfig},

	"Report.v":              {inspect.Version},
	"Report.type":           {inspect.ReportType},
	"Comparison.v":          {inspect.Version},
	"Comparison.type":       {inspect.ComparisonType},
	"FileDifference.action": {inspect.Added, inspect.Changed, inspect.Removed},
	"FileDifference.what":   {"content", "mode", "link", "kind"},
	"VersionChange.kind":    {"runtime", "go", "npm", "gem"},
	"Finding.severity":      {artifact.Error, artifact.Advice},
}

// described are the descriptions of what has no comment of its own, or one that speaks to the
// readers of the Go code.
var described = map[string]string{
	"Finding":              "What was found of a file or a process type.",
	"Finding.code":         "The kind of finding, such as \"glibc\". It is what checks.allow takes.",
	"Finding.severity":     "Whether it stops the slug.",
	"Finding.path":         "The path below ./app. Absent where a process type is meant that leads to no file.",
	"Finding.process_type": "The process type whose command leads to the path, if one does.",
	"Finding.needs":        "What is wanted: a version, soname, machine or command.",
	"Finding.has":          "What is there instead.",
	"Finding.message":      "Both in one clause, without the path.",
	"Finding.hint":         "What to do.",
	"Sizes":                "How much something takes, in bytes.",

	"Plan":                  "What would be done and why. Lists are in the order of slug.yaml where that has one, else sorted. All sizes are in bytes, all ages in seconds.",
	"Plan.app":              "The app's name, or what the user called it when there is none. Absent when no platform takes part.",
	"Plan.create":           "Whether there is no such app yet.",
	"Plan.problems":         "What stops apply.",
	"Basis":                 "What the plan was made of, part by part, so that a saved plan that is stale can say what moved.",
	"Basis.slug_yaml":       "The digest of slug.yaml as it counts for the slug: expanded, with defaults, flags included. Empty when there is none.",
	"Basis.source":          "The digest of the part of the source tree that steps and slug can take. Empty when it is not known.",
	"Basis.tools":           "The digests of the tools of this machine and of the archives of the repository, by runtime.",
	"Against":               "What a plan is compared with when that is not the live release.",
	"StackChange":           "A slug for another stack than the one that it is compared with.",
	"Withheld.rule":         "What keeps it out, such as \"deny list: .env\" or \".slugignore:3: *.log\".",
	"Warning.subject":       "The part that it is about, such as \"runtime node\" or \"stack\".",
	"Summary":               "How much of everything there is.",
	"SavedOptions":          "The flags that the plan depends on.",
	"Record":                "What is known of a slug. What is not made yet tells only what can be told before.",
	"Record.parts":          "Where each entry of tree comes from: a runtime counted from 0, then a step, then, last, the source tree and inline files. Empty when that is not known.",
	"RuntimeRecord":         "One runtime of a slug.",
	"RuntimeRecord.unknown": "Whether its files are missing from tree, because nobody had looked into it.",
	"StepRecord":            "One step that made a slug.",
	"StepRecord.unknown":    "Whether its outputs are missing from tree, because it had not run.",
	"Plan.v":                "The version of this form. Fields may be added within a version; none is renamed or changes its meaning.",
	"Plan.type":             "The type of this document.",
	"Plan.app_id":           "The app's id. Absent when there is no such app, or no platform takes part.",
	"Plan.local":            "Whether the platform is the embedded one.",
	"Plan.changed":          "Whether apply has anything to do, or the slug differs from the one that it is compared with.",
	"Plan.why":              "The reason for that, in words.",
	"Plan.key":              "The digest of every input of the slug. Absent when not all of them are known.",
	"Plan.current":          "The live release; null when there is none.",
	"Plan.stack_change":     "Absent when the slug is for the same stack as the one that it is compared with.",
	"Plan.runtimes":         "The runtimes in the order of slug.yaml, then those that are no longer in it.",
	"Plan.steps":            "The build steps in the order of slug.yaml, then those that are no longer in it.",
	"Plan.slug":             "The slug as a whole.",
	"Plan.files_known":      "Whether the files can be compared.",
	"Plan.files_why":        "Why files cannot be compared, or what of them could not.",
	"Plan.files_hint":       "What to do about that.",
	"Plan.files_after":      "The steps whose files are told only after they ran.",
	"Plan.files":            "The files and links of the slug that change, those of runtimes apart.",
	"Plan.process_types":    "The process types, sorted by name.",
	"Plan.release":          "The release that apply would make; null when there will be none.",
	"Plan.withheld":         "The paths of the source tree that stay out of the slug and of the steps.",
	"Plan.unpinned":         "The tools of this machine that steps call and nothing pins.",
	"Plan.warnings":         "What the user should know and what stops nothing.",
	"Plan.summary":          "How much of everything there is.",

	"Basis.slug_lock":               "The digest of slug.lock. Absent when there is none.",
	"Basis.release":                 "Absent when no platform took part, or nothing was released.",
	"ReleaseBasis.id":               "The release's id.",
	"ReleaseBasis.version":          "The release's version: 12 of v12.",
	"ReleaseBasis.latest":           "The highest version of any release then.",
	"ReleaseBasis.slug_id":          "The id of the release's slug. Absent when it has none.",
	"ReleaseBasis.checksum":         "The checksum of that slug: SHA256: and 64 hex digits. Absent when the platform does not know it.",
	"Against.kind":                  "What it is: an earlier release, a git revision or a saved plan.",
	"Against.name":                  "What people call it, such as \"v12\" or \"main (1a2b3c4)\".",
	"Against.stack":                 "The stack of its slug.",
	"Against.key":                   "The digest of every input of its slug. Absent when it is not known.",
	"Current.id":                    "The release's id.",
	"Current.version":               "The release's version: 12 of v12.",
	"Current.age_seconds":           "How long ago it was made, in seconds.",
	"Current.by":                    "The address of who made it.",
	"Current.description":           "The text in the app's release history.",
	"Current.slug_id":               "The id of its slug. Absent for a release without one.",
	"Current.checksum":              "The checksum of its slug: SHA256: and 64 hex digits. Absent when the platform does not know it.",
	"Current.stack":                 "The stack of its slug.",
	"StackChange.from":              "The stack of the slug that it is compared with.",
	"StackChange.to":                "The stack of the next slug.",
	"RuntimeChange.action":          "What happens to it.",
	"RuntimeChange.name":            "Its name in slug.yaml.",
	"RuntimeChange.before":          "The version as the address tells it, or what else differs. Absent when it is not known.",
	"RuntimeChange.after":           "The version as the address tells it, or what else differs. Absent when it is not known.",
	"RuntimeChange.digest":          "The sha256 of the archive or tool. Empty when it is not known.",
	"RuntimeChange.fetch":           "Whether the archive has to be downloaded.",
	"RuntimeChange.bytes":           "The size of the archive in bytes, -1 when it is not known.",
	"StepChange.action":             "What happens to it.",
	"StepChange.name":               "Its name in slug.yaml.",
	"StepChange.state":              "Whether it is reused, runs, may do either (open), or is removed.",
	"StepChange.why":                "The reason for the state, in words.",
	"StepChange.after":              "The step that has to run before the state is known.",
	"SlugChange.action":             "What happens to it.",
	"SlugChange.now":                "The compressed size of the slug that it is compared with, in bytes; null when it is not known.",
	"SlugChange.next":               "The compressed size of the next slug, in bytes; null when it is not known.",
	"SlugChange.known_after":        "The step, or the stage \"archive\", after which next is known.",
	"SlugChange.limit":              "The limit of slug.yaml for the compressed size, in bytes. Absent when there is none.",
	"SlugChange.platform_limit":     "The platform's limit for the compressed size, in bytes. Absent when there is none.",
	"SlugChange.dirs":               "The directories at the top of the slug with the sizes of what is in them, unpacked, sorted by path; \".\" holds the files at the top. Empty when neither side is known.",
	"DirChange.path":                "The name of the directory, or \".\" for the files at the top.",
	"DirChange.now":                 "The size of its files in the slug that it is compared with, unpacked, in bytes: 0 when there is none of that name, null when it is not known.",
	"DirChange.next":                "The size of its files in the next slug, unpacked, in bytes: 0 when there is none of that name, null when it is not known.",
	"DirChange.known_after":         "The step or the stage after which next is known.",
	"FileChange.action":             "What happens to it.",
	"FileChange.path":               "The path below ./app, with slashes. One that is not UTF-8 stands in before or after, byte for byte.",
	"FileChange.what":               "Which part of a changed one differs.",
	"FileChange.before":             "What it was. Absent for one that is added.",
	"FileChange.after":              "What it becomes. Absent for one that is removed.",
	"FileChange.diff":               "The unified diff of a small text file, where one was asked for.",
	"FileChange.no_diff":            "Why there is no diff, where one was asked for.",
	"ProcessChange.action":          "What happens to it.",
	"ProcessChange.name":            "The name of the process type.",
	"ProcessChange.before":          "Its command in the slug that it is compared with.",
	"ProcessChange.after":           "Its command in the next slug.",
	"ReleaseChange.action":          "Whether it is the app's first release with a slug.",
	"ReleaseChange.app":             "The app's name.",
	"ReleaseChange.from":            "The live version. Absent when there is none.",
	"ReleaseChange.restarts":        "The process types whose dynos restart.",
	"ReleaseChange.starts":          "The process types that get a first dyno by themselves: web, with the app's first slug.",
	"ReleaseChange.adds":            "The new process types, which have no dynos until somebody scales them up.",
	"ReleaseChange.stops":           "The process types that are no longer there.",
	"ReleaseChange.release_phase":   "Whether the command of the process type release runs, once, before the release is live.",
	"ReleaseChange.description":     "The text in the app's release history.",
	"Drift.kind":                    "What is different: a release that another tool made, a rollback, the app's stack, or config vars that process types mention and the app lacks.",
	"Drift.version":                 "The version of the release.",
	"Drift.by":                      "The address of who made the release.",
	"Drift.age_seconds":             "How long ago the release was made, in seconds.",
	"Drift.description":             "The description of the release.",
	"Drift.to":                      "The version that was rolled back to. Absent when it is not known.",
	"Drift.stack":                   "The app's stack.",
	"Drift.want":                    "The stack of slug.yaml.",
	"Drift.missing":                 "The names of the config vars.",
	"Drift.types":                   "The process types that mention them.",
	"Withheld.path":                 "The path in the source tree.",
	"Unpinned.step":                 "The name of the step.",
	"Unpinned.tools":                "The tools that it calls.",
	"Warning.message":               "What to know.",
	"Warning.hint":                  "What to do about it.",
	"Problem.subject":               "The part that it is about, such as \"runtime node\" or \"stack\".",
	"Problem.message":               "What is wrong.",
	"Problem.hint":                  "What to do about it.",
	"Summary.fetch":                 "How many runtimes are downloaded.",
	"Summary.fetch_bytes":           "How many bytes that are, as far as it is known.",
	"Summary.steps_run":             "How many steps run.",
	"Summary.steps_reused":          "How many steps are reused.",
	"Summary.steps_open":            "How many steps may run or be reused.",
	"Summary.files_added":           "How many files and links are added.",
	"Summary.files_changed":         "How many files and links change.",
	"Summary.files_removed":         "How many files and links are removed.",
	"Summary.process_types_added":   "How many process types are added.",
	"Summary.process_types_changed": "How many process types change their command.",
	"Summary.process_types_removed": "How many process types are removed.",

	"Saved.v":              "The version of this form.",
	"Saved.type":           "The type of this document.",
	"Saved.plan":           "The plan.",
	"SavedOptions.app":     "The app that --app named.",
	"SavedOptions.stack":   "The stack that --stack named.",
	"SavedOptions.vars":    "The variables that --var set.",
	"SavedOptions.api":     "The base address of the platform. Absent for the embedded one, whose address is not kept.",
	"SavedOptions.local":   "Whether the platform is the embedded one.",
	"Record.key":           "The digest of every input of the slug. Absent when not all of them are known.",
	"Record.stack":         "The stack of the slug.",
	"Record.runtimes":      "The runtimes of the slug.",
	"Record.steps":         "The steps that made it.",
	"Record.size":          "The compressed size in bytes. Absent when it is not known.",
	"RuntimeRecord.name":   "Its name in slug.yaml.",
	"RuntimeRecord.from":   "Its URL, its path in the repository, or the path of the tool.",
	"RuntimeRecord.digest": "The sha256 of the archive or tool. Empty when it is not known.",
	"StepRecord.name":      "Its name in slug.yaml.",
	"StepRecord.key":       "The digest of everything that its outputs depend on. Empty when it is not known.",
}

// forReaders takes the Go name off the comment of a field: "Tools are the tools of this machine."
// becomes "The tools of this machine."
func forReaders(key, comment string) string {
	name := key[strings.LastIndexByte(key, '.')+1:]
	for _, verb := range []string{" is ", " are "} {
		if rest, ok := strings.CutPrefix(comment, name+verb); ok && rest != "" {
			return strings.ToUpper(rest[:1]) + rest[1:]
		}
	}
	return comment
}
