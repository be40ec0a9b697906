//go:build !nosync

package disk

// syncs is true in every program that people run.
const syncs = true
