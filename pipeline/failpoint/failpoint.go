// Package failpoint names the places at which a test ends the program, or makes it wait: each
// durable step, and each side of a call that changes the platform.
//
// It is for every room that does something a crash must not tear. Only a program built with the
// tag failpoint has points; in every other, Hit is empty and costs nothing. It never decides
// anything, and no room behaves differently because of it.
package failpoint

// ExitCode is that of a program that the action exit has ended. It is none of the program's own.
const ExitCode = 79
