package store

import (
	"context"

	"github.com/underseal/underseal/internal/fault"
)

func openPostgres(ctx context.Context, cfg Config) (*DB, error) {
	return nil, fault.New(fault.Unavailable, "not built yet")
}
