//go:build nosync

package disk

// syncs is false only for measuring: a flush waits for the device, which tells of the machine
// and not of the program. What such a program writes does not outlive a power cut.
const syncs = false
