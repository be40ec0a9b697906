//go:build race

package archive_test

// raceDetector makes everything several times slower.
const raceDetector = true
