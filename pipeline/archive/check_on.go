//go:build !nocheck

package archive

// checks is true in every program that people run.
const checks = true
