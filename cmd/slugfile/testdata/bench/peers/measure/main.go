// Measure runs pipelines one after the other and tells what they cost. It is a program of its
// own because Linux counts into a process's peak what its parent had in memory when it was
// started: a parent that is small spoils no figure.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Request is read from standard input.
type Request struct {
	Dir string
	Env []string
	// Pipelines run one after the other; the stages of one run side by side. The first word of a
	// stage is the path of its program.
	Pipelines [][][]string
	// Output takes what the last stages write.
	Output string
}

// Result is written to standard output. Times are in seconds, and CPU is that of all processes.
// Peak is in bytes, of the largest process.
type Result struct {
	Wall, CPU float64
	Peak      int64
}

func main() {
	log.SetFlags(0)
	var q Request
	if err := json.NewDecoder(os.NewFile(0, "request")).Decode(&q); err != nil {
		log.Fatal("measure: ", err)
	}
	var r Result
	for _, p := range q.Pipelines {
		if err := run(q, p, &r); err != nil {
			log.Fatal("measure: ", err)
		}
	}
	if err := json.NewEncoder(os.NewFile(1, "result")).Encode(r); err != nil {
		log.Fatal("measure: ", err)
	}
}

func run(q Request, stages [][]string, r *Result) error {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	output, err := os.Create(q.Output)
	if err != nil {
		return err
	}
	opened := []io.Closer{null, output}
	in := null
	began := time.Now()
	started := make([]*os.Process, len(stages))
	for i, args := range stages {
		out, next := output, (*os.File)(nil)
		if i < len(stages)-1 {
			if next, out, err = os.Pipe(); err != nil {
				return err
			}
			opened = append(opened, next, out)
		}
		attr := &os.ProcAttr{Dir: q.Dir, Env: q.Env, Files: []*os.File{in, out, os.NewFile(2, "errors")}}
		if started[i], err = os.StartProcess(args[0], args, attr); err != nil {
			return err
		}
		in = next
	}
	for _, f := range opened {
		if err := f.Close(); err != nil {
			return err
		}
	}
	var failed error
	for i, p := range started {
		state, err := p.Wait()
		if err != nil {
			return err
		}
		if !state.Success() {
			failed = errors.Join(failed, fmt.Errorf("%s: %s", filepath.Base(stages[i][0]), state))
		}
		r.CPU += (state.UserTime() + state.SystemTime()).Seconds()
		r.Peak = max(r.Peak, state.SysUsage().(*syscall.Rusage).Maxrss<<10)
	}
	r.Wall += time.Since(began).Seconds()
	return failed
}
