//go:build !race

package slug_test

// raceDetector is not set in ordinary builds; see race_test.go.
const raceDetector = false
