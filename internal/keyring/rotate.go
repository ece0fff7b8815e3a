package keyring

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms"
)

// swapTries is how often a change of a tenant's newest key is begun anew when
// another one came between.
const swapTries = 3

// RotateTenant gives a tenant a new tenant key and returns its version. New data
// keys are wrapped by it from then on; Rewrap moves the others. service names the
// key service that wraps it, "" the one of the present key: naming another one
// moves the tenant there. NotFound when the tenant has no keys, or no such service is configured. After an error that
// was a lost reply there may be a new key all the same, which does no harm.
func (r *Ring) RotateTenant(ctx context.Context, tenant, service string) (version uint32, err error) {
	if service != "" && r.config.Services[service] == nil {
		return 0, fault.New(fault.NotFound, "no key service %q is configured", service).
			WithCode("key_service_unknown").WithHint("there are %s; a new one is added below key_services, and the server restarted", r.config.serviceNames())
	}
	err = r.changeNewest(ctx, tenant, func(old TenantKeyRow, raw rawTenantKey) error {
		row, err := r.wrapTenantKey(ctx, cmp.Or(service, old.Service), tenant, old.Version+1, newTenantKey(raw.minimum))
		if err != nil {
			return err
		}
		version = row.Version
		return r.config.Storage.AddTenantKey(ctx, old, row)
	})
	if err != nil {
		return 0, err
	}
	_, err = r.tenant(tenant).notice(ctx)
	return version, err
}

// changeNewest calls f with the row of a tenant's newest key and what it opens to,
// and begins anew when the row was changed meanwhile.
func (r *Ring) changeNewest(ctx context.Context, tenant string, f func(TenantKeyRow, rawTenantKey) error) error {
	r.wraps.RLock()
	defer r.wraps.RUnlock()
	for try := 1; ; try++ {
		row, raw, err := r.openNewest(ctx, tenant)
		if err != nil {
			return err
		}
		if err = f(row, raw); try == swapTries || !fault.Is(err, fault.Conflict) || hasCode(err, codeKeysHang) {
			return err
		}
	}
}

// openNewest reads a tenant's newest key and has the key service open it.
func (r *Ring) openNewest(ctx context.Context, tenant string) (TenantKeyRow, rawTenantKey, error) {
	rows, err := r.config.Storage.TenantKeys(ctx, tenant)
	if err == nil && len(rows) == 0 {
		err = fault.New(fault.NotFound, "tenant %q has no keys", tenant)
	}
	if err == nil {
		rows, err = r.tenant(tenant).notice(ctx)
	}
	if err != nil {
		return TenantKeyRow{}, rawTenantKey{}, err
	}
	row := rows[len(rows)-1]
	if err := r.checkAbove(ctx, row); err != nil {
		return TenantKeyRow{}, rawTenantKey{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.config.CallTimeout)
	defer cancel()
	raw, err := r.unwrapRow(ctx, tenant, row)
	return row, raw, outward(err)
}

// checkAbove requires that nothing names a higher version than a tenant's newest:
// one that is gone must not be made again as another key.
func (r *Ring) checkAbove(ctx context.Context, newest TenantKeyRow) error {
	counts, err := r.config.Storage.Counts(ctx, newest.Tenant)
	if err != nil || len(counts) == 0 || counts[len(counts)-1].Version <= newest.Version {
		return err
	}
	return fault.New(fault.Integrity, "tenant %q: keys name version %d of its tenant key, and version %d is the newest stored",
		newest.Tenant, counts[len(counts)-1].Version, newest.Version).WithHint("restore the keys' database from its backup")
}

// RotateRoot has a key service make a new version of its root key, and wraps all
// tenant keys under it anew. Invalid when the service cannot make versions by
// itself. After an error, RewrapRoot does the rest.
func (r *Ring) RotateRoot(ctx context.Context, service string) (version string, err error) {
	s, err := r.config.service(service)
	if err != nil {
		return "", err
	}
	rotator, ok := s.(kms.Rotator)
	if !ok {
		return "", cannotRotate(service)
	}
	call, cancel := context.WithTimeout(ctx, manyCalls*r.config.CallTimeout)
	defer cancel()
	if version, err = rotator.Rotate(call); err != nil {
		return "", outward(err)
	}
	_, err = r.RewrapRoot(ctx, service)
	return version, err
}

func cannotRotate(service string) error {
	return fault.New(fault.Invalid, "key service %q makes no new versions of its root key for us", service).
		WithHint("make one there; the server notices it within the hour and wraps the tenant keys anew")
}

// RewrapRoot wraps all tenant keys of a key service that are not under the newest
// version of its root key under that one, and returns how many it did. Doing it
// again does the rest.
func (r *Ring) RewrapRoot(ctx context.Context, service string) (changed int, err error) {
	s, err := r.config.service(service)
	if err != nil {
		return 0, err
	}
	newest, err := r.newestRoot(ctx, service)
	if err != nil {
		return 0, err
	}
	rows, err := r.config.Storage.AllTenantKeys(ctx)
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, row := range rows {
		if version, err := s.Version(row.Wrapped); row.Service != service || err == nil && version == newest.Version {
			continue
		}
		if err := r.rewrapTenantKey(ctx, row); err != nil {
			errs = append(errs, err)
			continue
		}
		changed++
	}
	return changed, errors.Join(errs...)
}

// NewestRoot asks a key service for the newest version of its root key.
func (r *Ring) NewestRoot(ctx context.Context, service string) (version string, err error) {
	row, err := r.newestRoot(ctx, service)
	return row.Version, err
}

// manyCalls is how many calls' time rotating and destroying may take: they are
// several requests at some services.
const manyCalls = 6

// newestRoot asks a service for the newest version of its root key, and notes when
// that was seen first.
func (r *Ring) newestRoot(ctx context.Context, service string) (RootVersionRow, error) {
	s, err := r.config.service(service)
	if err != nil {
		return RootVersionRow{}, err
	}
	call, cancel := context.WithTimeout(ctx, r.config.CallTimeout)
	defer cancel()
	d, err := s.Describe(call)
	if err != nil {
		return RootVersionRow{}, outward(err)
	}
	if d.Version == "" {
		return RootVersionRow{}, fault.New(fault.Sealed, "key service %q: all versions of root key %s were destroyed", service, d.KeyID)
	}
	row := RootVersionRow{Service: service, RootKey: d.KeyID, Version: d.Version, Seen: r.moment()}
	return row, r.config.Storage.NoteRootVersion(ctx, row)
}

// moment returns the present time as it is stored.
func (r *Ring) moment() time.Time { return r.config.Now().UTC().Truncate(time.Microsecond) }

// rewrapTenantKey has the key service wrap a tenant key anew. One that was changed
// or retired meanwhile is left for the next time.
func (r *Ring) rewrapTenantKey(ctx context.Context, row TenantKeyRow) error {
	r.wraps.RLock()
	defer r.wraps.RUnlock()
	call, cancel := context.WithTimeout(ctx, r.config.CallTimeout)
	defer cancel()
	raw, err := r.unwrapRow(call, row.Tenant, row)
	if err != nil {
		return outward(err)
	}
	anew, err := r.wrapTenantKey(ctx, row.Service, row.Tenant, row.Version, raw)
	if err != nil {
		return err
	}
	anew.Made = row.Made
	if err := r.config.Storage.ReplaceTenantKey(ctx, row, anew); !fault.Is(err, fault.Conflict) {
		return err
	}
	return nil
}

// A Schedule says after how long keys are rotated; 0 is never.
type Schedule struct {
	TenantKeys time.Duration
	RootKeys   time.Duration
	Rate       int // data keys that are wrapped anew a second, at most; 0: no limit
}

// A Rotator carries out the rotations that are due. A Ring is one; another one may
// want to take note of each.
type Rotator interface {
	RotateTenant(ctx context.Context, tenant, service string) (version uint32, err error)
	RotateRoot(ctx context.Context, service string) (version string, err error)
}

var _ Rotator = (*Ring)(nil)

// RotateDue has by rotate what is older than the schedule says, and then finishes what
// any rotation began: it wraps tenant keys and data keys anew that are not under
// the newest version. It goes on after an error and returns all of them.
func (r *Ring) RotateDue(ctx context.Context, schedule Schedule, by Rotator) error {
	rows, err := r.config.Storage.AllTenantKeys(ctx)
	if err != nil {
		return err
	}
	services, tenants := map[string]bool{}, map[string]TenantKeyRow{}
	for _, row := range rows {
		services[row.Service] = true
		tenants[row.Tenant] = row // the newest comes last
	}
	var errs []error
	for _, service := range slices.Sorted(maps.Keys(services)) {
		errs = append(errs, r.rootDue(ctx, service, schedule.RootKeys, by))
	}
	for _, tenant := range slices.Sorted(maps.Keys(tenants)) {
		errs = append(errs, r.tenantDue(ctx, tenants[tenant], schedule, by))
	}
	return errors.Join(errs...)
}

// rootDue rotates a root key that is due, or finishes what was begun.
func (r *Ring) rootDue(ctx context.Context, service string, every time.Duration, by Rotator) error {
	newest, err := r.newestRoot(ctx, service)
	if err != nil {
		return err
	}
	versions, err := r.config.Storage.RootVersions(ctx)
	if err != nil {
		return err
	}
	for _, v := range versions {
		if v.Service == service && v.RootKey == newest.RootKey && v.Version == newest.Version && r.due(v.Seen, every) && r.rotates(service) {
			_, err := by.RotateRoot(ctx, service)
			return err
		}
	}
	_, err = r.RewrapRoot(ctx, service)
	return err
}

// rotates reports whether a key service makes new versions for us. One that does not is
// rotated by its own operators, and by no schedule of ours.
func (r *Ring) rotates(service string) bool {
	if g, guarded := r.config.Services[service].(*kms.Guarded); guarded {
		return g.Rotates()
	}
	_, ok := r.config.Services[service].(kms.Rotator)
	return ok
}

// tenantDue rotates a tenant key that is due, and wraps data keys anew.
func (r *Ring) tenantDue(ctx context.Context, newest TenantKeyRow, schedule Schedule, by Rotator) error {
	if r.due(newest.Made, schedule.TenantKeys) {
		if _, err := by.RotateTenant(ctx, newest.Tenant, ""); err != nil {
			return err
		}
	}
	return r.rewrapDue(ctx, newest.Tenant, schedule.Rate)
}

// clockSlack is how far in the future a key may seem to be made. Further, and the
// clock was wrong then, or is now: what such a clock dated is due.
const clockSlack = 24 * time.Hour

// due reports whether a key made at that time is to be rotated.
func (r *Ring) due(made time.Time, every time.Duration) bool {
	age := r.config.Now().Sub(made)
	return every > 0 && (age >= every || age < -clockSlack)
}
