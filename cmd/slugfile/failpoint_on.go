//go:build failpoint

package main

import (
	"os"

	"github.com/slugfile/slugfile/pipeline/failpoint"
)

// failpointsVariable arms the failpoints of a program that is built to be broken by tests.
const failpointsVariable = "SLUGFILE_FAILPOINTS"

// Before main, so that no other build has even a call of it.
func init() {
	if err := failpoint.Set(os.Getenv(failpointsVariable), os.Exit); err != nil {
		panic(err)
	}
}
