//go:build race

package slug_test

// raceDetector is set in builds that compress some twenty times slower: tests of bytes, which
// say nothing about races, then take a smaller share.
const raceDetector = true
