package tree

// WithWorkers sets how many goroutines a scan has of each kind.
func WithWorkers(o ScanOptions, n int) ScanOptions {
	o.workers = n
	return o
}

// Sealed counts the directories that the next scan need not list.
func Sealed(x *Index) int {
	n := 0
	for i := range x.folders {
		if x.folders[i].seal != (dirStamp{}) {
			n++
		}
	}
	return n
}
