//go:build !unix

package witness

import (
	"runtime"

	"github.com/underseal/underseal/internal/fault"
)

func lockState(dir string) (func() error, error) {
	return nil, fault.New(fault.Invalid, "use the state in %s: a witness cannot run on %s", dir, runtime.GOOS)
}
