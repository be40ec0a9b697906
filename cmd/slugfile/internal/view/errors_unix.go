//go:build unix

package view

import (
	"errors"
	"syscall"
)

// systemHint is for errors that only the operating system knows.
func systemHint(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "the disk is full; make room, or point XDG_CACHE_HOME to another disk"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there; check --api or --mirror, and that the server runs"
	case errors.Is(err, syscall.EADDRINUSE):
		return "another program listens there; choose another address with --listen"
	}
	return ""
}
