package failpoint

// Names are all points, sorted. A point is named by its room and by what has just been done there,
// or, where it ends in "before", by what comes next. A test compares the list with the source.
var Names = []string{
	"archive.committed",
	"archive.indexed",
	"archive.listed",
	"archive.named",
	"archive.written",
	"compile.captured",
	"compile.laid_out",
	"compile.ran",
	"fetch.arrived",
	"fetch.packed",
	"fetch.seen",
	"fetch.unpacked",
	"store.dir.made",
	"store.document.renamed",
	"store.document.written",
	"store.file.made",
	"store.file.renamed",
	"store.file.synced",
	"store.file.written",
	"store.tree.filled",
	"store.tree.made",
	"store.tree.renamed",
	"store.tree.synced",
}
