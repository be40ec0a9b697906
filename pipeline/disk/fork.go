package disk

import "syscall"

// HoldForks keeps this process from starting others until release is called. Between fork and
// exec a child holds every file that is open here, and the kernel runs no program that
// somebody has open for writing ("text file busy"): so a file that will be run is written, and
// closed, while no fork is under way. It is held for one file at a time, and nothing may be
// started meanwhile. See https://go.dev/issue/22315.
func HoldForks() (release func()) {
	syscall.ForkLock.RLock()
	return syscall.ForkLock.RUnlock
}
