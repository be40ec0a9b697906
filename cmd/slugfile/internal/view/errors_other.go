//go:build !unix

package view

// systemHint has nothing to say: these systems name a full disk in words of their own.
func systemHint(error) string { return "" }
