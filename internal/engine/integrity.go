package engine

import (
	"context"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/canon"
)

// Integrity compares the database with its logs while it is in use.
type Integrity interface {
	// BeginCheck checks all of a tenant at once, in the background, and reads all of its
	// files if files is set. First is called before it begins; if it fails, nothing does.
	// Conflict (code "check_running") when one is under way.
	BeginCheck(tenant string, files bool, first func() error) error
	// CheckStatus says what was checked of a tenant and when.
	CheckStatus(tenant string) api.Integrity
	// Refused tells of an object that reading refused as of what the checks find: once,
	// until a check of all does not find it any more. It waits for nothing.
	Refused(f Finding)
	// Sound returns an Integrity fault when something was found.
	Sound() error
}

// UseIntegrity sets who checks. It is called once, before the first use case.
func (e *Engine) UseIntegrity(i Integrity) { e.integrity = i }

// StartCheck orders a check of everything that the database holds of the tenant. The
// log is told first; it is told of the end, too, and of each finding.
func (e *Engine) StartCheck(ctx context.Context, c Caller, in api.CheckRequest) (api.Integrity, error) {
	return asNow(ctx, e, c, func(c Caller) (api.Integrity, error) { return e.startCheckAs(ctx, c, in) })
}

func (e *Engine) startCheckAs(ctx context.Context, c Caller, in api.CheckRequest) (api.Integrity, error) {
	if err := e.may(ctx, c, access.CheckIntegrity, "log", ""); err != nil {
		return api.Integrity{}, err
	}
	err := e.integrity.BeginCheck(c.Scope.Tenant(), in.Files, func() error {
		return e.recordOrder(ctx, c.Scope, byAdmin(c), act{
			kind: "integrity.check_ordered", fields: []fieldWrite{{path: "$files", value: canon.Bool(in.Files)}},
		})
	})
	if err != nil {
		return api.Integrity{}, err
	}
	return e.integrity.CheckStatus(c.Scope.Tenant()), nil
}

// IntegrityStatus says what was checked last, when, and what was found.
func (e *Engine) IntegrityStatus(ctx context.Context, c Caller) (api.Integrity, error) {
	return readNow(ctx, e, c, func(c Caller) (api.Integrity, error) { return e.integrityStatusAs(ctx, c) })
}

func (e *Engine) integrityStatusAs(ctx context.Context, c Caller) (api.Integrity, error) {
	if err := e.may(ctx, c, access.ReadIntegrity, "log", ""); err != nil {
		return api.Integrity{}, err
	}
	return e.integrity.CheckStatus(c.Scope.Tenant()), nil
}

// CheckEnded tells the tenant's log how an ordered check ended.
func (e *Engine) CheckEnded(ctx context.Context, tenant string, whole bool, rows uint64, found int) error {
	kind := "integrity.checked"
	if !whole {
		kind = "integrity.check_unfinished"
	}
	return e.record(ctx, e.TenantScope(tenant), act{kind: kind, act: "engine", fields: []fieldWrite{{path: "$result", value: newContext(
		canon.Entry{Name: "findings", Value: canon.NewNumber(int64(found))},
		canon.Entry{Name: "rows", Value: canon.NewNumber(int64(rows))},
	)}}})
}
