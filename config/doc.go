// Package config is slug.yaml: its types, and the way from text to a checked File.
//
// Load goes in a fixed order: parse, replace ${}, validate against the schema, decode,
// defaults, semantic checks. All faults of a file are reported in one pass as
// diag.Diagnostics. Nothing here knows a platform, a store or a stage; what config must
// know of git, of slug.lock or of Procfile is handed to it as plain data.
package config
