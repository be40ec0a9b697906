//go:build !noscan

package observe

// scans is true in every program that people run.
const scans = true
