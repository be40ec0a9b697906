// Package unpack turns a foreign archive into a directory, or into one file that holds all
// files (a pack), or into an error and nothing.
//
// It is for the runtimes that fetch downloads and for slugs that come from elsewhere. It
// reads tar (plain, or inside gzip, xz, zstd or bzip2) and zip, tells them apart by their
// content, and refuses every entry that could touch something outside the directory: it
// never mends a name, a link or a type. Owners, times, device files and mode bits other
// than the executable one are never carried over. It verifies no digest of the archive:
// the caller hashes the open file and hands over the same one.
package unpack
