// Package slug knows the slug format: one GNU tar stream, everything under ./app, in one
// gzip member.
//
// It is for the archive stage, which writes slugs, and for all who read them. The bytes of
// a slug depend on its members, the level and the time of the members alone; never on the
// number of workers, the machine or the clock. Nothing here decides what belongs into a
// slug, and nothing here unpacks to disk.
package slug

import "github.com/slugfile/slugfile/pipeline/deflate"

// Compressor names what deflates the segments. Its output may change from version to
// version, so it stands beside a slug's digest wherever slugs are compared.
const Compressor = deflate.ID

// root is the directory that every member lives in, as the platform wants it.
const root = "./app/"
