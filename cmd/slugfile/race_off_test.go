//go:build !race

package main

// raceDetector is set in tests under the race detector.
const raceDetector = false
