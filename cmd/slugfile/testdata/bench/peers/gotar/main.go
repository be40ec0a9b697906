// Gotar packs a directory as a Go program of a few lines would: archive/tar into compress/gzip,
// or into pgzip. make bench measures slugfile against it.
package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"log"
	"os"

	"github.com/klauspost/pgzip"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 4 {
		log.Fatal("usage: gotar gzip|pgzip DIR FILE")
	}
	if err := pack(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		log.Fatal("gotar: ", err)
	}
}

func pack(how, dir, file string) (err error) {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	var gz io.WriteCloser = gzip.NewWriter(out)
	if how == "pgzip" {
		gz = pgzip.NewWriter(out)
	}
	w := tar.NewWriter(gz)
	return errors.Join(w.AddFS(os.DirFS(dir)), w.Close(), gz.Close(), out.Close())
}
