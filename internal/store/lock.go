package store

import (
	"fmt"
	"os"

	"github.com/underseal/underseal/internal/fault"
)

// holder describes this process to the people who find its lock.
func holder() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return fmt.Sprintf("process %d on %s", os.Getpid(), host)
}

// lockedError says that another server has the database.
func lockedError(where, holder string) error {
	if holder == "" {
		holder = "another process"
	}
	return fault.New(fault.Conflict, "open the database %s: %s uses it", where, holder).
		WithCode("locked").
		WithHint("stop the other server first, or give this one a data directory of its own")
}
