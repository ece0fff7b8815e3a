//go:build !unix

package store

import (
	"runtime"

	"github.com/underseal/underseal/internal/fault"
)

func lockDirectory(dir string) (func() error, error) {
	return nil, fault.New(fault.Invalid, "open the data directory %s: a server cannot run on %s", dir, runtime.GOOS)
}
