//go:build race

package pipeline_test

// raceDetector makes everything several times slower.
const raceDetector = true
