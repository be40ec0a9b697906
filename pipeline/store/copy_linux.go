package store

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// copyRange has the kernel append n bytes of src, from off on, to dst, and returns how many it
// did. It stops early, without an error, at the end of src and where the kernel cannot do it:
// across file systems, on some network ones, or before Linux 5.3.
func copyRange(dst, src *os.File, off, n int64) (done int64, err error) {
	for done < n {
		step := int(min(n-done, 1<<30)) // a call copies less than 2 GiB
		got, err := unix.CopyFileRange(int(src.Fd()), &off, int(dst.Fd()), nil, step, 0)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EXDEV), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EPERM), errors.Is(err, unix.EIO):
			return done, nil
		case err != nil:
			return done, &os.PathError{Op: "copy_file_range", Path: dst.Name(), Err: err}
		case got == 0:
			return done, nil
		}
		done += int64(got)
	}
	return done, nil
}
