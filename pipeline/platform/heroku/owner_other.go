//go:build !unix

package heroku

import "io/fs"

// Owners and modes are told by access lists here, which package os does not read: neither is checked.

func otherOwner(fs.FileInfo) (string, bool) { return "", false }

func othersCanRead(fs.FileInfo) bool { return false }
