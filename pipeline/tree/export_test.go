package tree

// WithWorkers sets how many goroutines a scan has of each kind.
func WithWorkers(o ScanOptions, n int) ScanOptions {
	o.workers = n
	return o
}
