package keyring

import (
	"context"
	"fmt"

	"github.com/underseal/underseal/internal/fault"
)

// codeKeysHang is the code of the Conflict when a version that is to be retired is
// still needed.
const codeKeysHang = "keys_hang"

// A Retirement says whether an old key can be given up, and whether it was.
type Retirement struct {
	Read  int    // rows that were read and opened to find out
	Hangs []Hang // what still needs the key, or cannot be seen not to; none: it is safe
	Done  bool   // the key is gone for good
}

// A Hang is one reason not to give up a key.
type Hang struct {
	Where string // data_keys, subjects, tenant_keys
	Count int    // of rows
	Why   string
}

// refused returns the Conflict that names what hangs.
func (r Retirement) refused(what string) error {
	details := make([]fault.Detail, len(r.Hangs))
	for i, h := range r.Hangs {
		details[i] = fault.Detail{Place: h.Where, Message: h.Why}
	}
	return fault.New(fault.Conflict, "%s is still needed", what).WithCode(codeKeysHang).WithDetails(details...).
		WithHint("`underseal keys rewrap --wait` first; `underseal keys retire --dry-run` says what is left")
}

// RetireTenant gives up a version of a tenant's key and all before it: the minimum
// that stands with the newest version is raised, so that their rows count for
// nothing if somebody puts them back, and the rows are deleted, their bytes with
// them. What was wrapped by them and is still in a backup then opens with the root
// key alone, until that version of the root key is retired too.
//
// It first opens every data key and subject of the tenant under the version that
// each names. With dryRun it does no more than that. Conflict when something hangs
// on the version, or it is the newest. A version retired already is done again.
//
// Nothing can come to hang on the version meanwhile: storage refuses rows under a
// version that is not there, in this and in every other process, which then notices
// the newer one. Keys made ahead are stored before they are handed out.
func (r *Ring) RetireTenant(ctx context.Context, tenant string, version uint32, dryRun bool) (Retirement, error) {
	rows, err := r.config.Storage.TenantKeys(ctx, tenant)
	if err != nil {
		return Retirement{}, err
	}
	switch newest := newestOf(rows); {
	case newest == 0 || version == 0:
		return Retirement{}, fault.New(fault.NotFound, "tenant %q has no version %d of its tenant key", tenant, version)
	case version > newest:
		return Retirement{}, fault.New(fault.NotFound, "tenant %q has no version %d of its tenant key; the newest is %d", tenant, version, newest).
			WithHint("`underseal keys list` names them")
	case version == newest:
		return Retirement{}, fault.New(fault.Conflict, "version %d of the tenant key is the newest of tenant %q", version, tenant).
			WithHint("rotate first, then rewrap")
	}
	found, err := r.hangsOnTenantKey(ctx, tenant, version)
	if err != nil || dryRun {
		return found, err
	}
	what := fmt.Sprintf("version %d of the tenant key of tenant %q", version, tenant)
	if len(found.Hangs) > 0 {
		return found, found.refused(what)
	}
	err = r.changeNewest(ctx, tenant, func(old TenantKeyRow, raw rawTenantKey) error {
		raw.minimum = max(raw.minimum, version+1)
		row, err := r.wrapTenantKey(ctx, old.Service, tenant, old.Version, raw)
		if err != nil {
			return err
		}
		row.Made = old.Made
		return r.config.Storage.RetireTenantKeys(ctx, old, row, version)
	})
	r.tenant(tenant).forget(version)
	found.Done = err == nil
	return found, err
}

// forget drops versions of the tenant key from memory, up to that one.
func (t *tenant) forget(upTo uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for version := range t.versions {
		if version <= upTo {
			delete(t.versions, version)
		}
	}
}

// hangsOnTenantKey reads what there is under a version and those before it.
func (r *Ring) hangsOnTenantKey(ctx context.Context, tenant string, version uint32) (Retirement, error) {
	read, damaged, err := r.readAll(ctx, tenant)
	found := Retirement{Read: read}
	if err != nil {
		return found, err
	}
	counts, err := r.config.Storage.Counts(ctx, tenant)
	if err != nil {
		return found, err
	}
	for _, c := range counts {
		if c.Version > version {
			continue
		}
		if c.DataKeys > 0 {
			found.Hangs = append(found.Hangs, Hang{"data_keys", c.DataKeys, fmt.Sprintf("%d data keys, those made ahead among them, are under version %d", c.DataKeys, c.Version)})
		}
		if c.Subjects > 0 {
			found.Hangs = append(found.Hangs, Hang{"subjects", c.Subjects, fmt.Sprintf("the rows of %d persons are under version %d", c.Subjects, c.Version)})
		}
	}
	if damaged.rows > 0 {
		found.Hangs = append(found.Hangs, Hang{"data_keys", damaged.rows,
			fmt.Sprintf("%d rows do not open under the version they name, and may belong to this one; the first: %v", damaged.rows, damaged.first)})
	}
	return found, nil
}

// RetireRoot destroys a version of a key service's root key, after it has had every
// tenant key of that root key opened and seen that none needs it. With dryRun it
// does no more than that. Conflict when one does, or it is the newest version.
func (r *Ring) RetireRoot(ctx context.Context, service, version string, dryRun bool) (Retirement, error) {
	s, err := r.config.service(service)
	if err != nil {
		return Retirement{}, err
	}
	newest, err := r.newestRoot(ctx, service)
	if err != nil {
		return Retirement{}, err
	}
	if version == newest.Version || version == "" {
		return Retirement{}, fault.New(fault.Conflict, "version %q is the newest of the root key of key service %q", version, service).
			WithHint("rotate the root key first, or move its tenants to a key service with another key")
	}
	// No tenant key that was wrapped before, and is not stored yet, may hang on it.
	r.wraps.Lock()
	defer r.wraps.Unlock()
	found, err := r.hangsOnRoot(ctx, root{service, newest.RootKey}, version)
	if err != nil || dryRun {
		return found, err
	}
	if len(found.Hangs) > 0 {
		return found, found.refused(fmt.Sprintf("version %s of the root key of key service %q", version, service))
	}
	call, cancel := context.WithTimeout(ctx, manyCalls*r.config.CallTimeout)
	defer cancel()
	if err := s.Destroy(call, version); err != nil {
		return found, outward(err)
	}
	found.Done = true
	return found, r.config.Storage.ForgetRootVersion(ctx, RootVersionRow{Service: service, RootKey: newest.RootKey, Version: version})
}

// hangsOnRoot has all tenant keys of a root key opened, under whichever name of a
// service they stand, and returns those that need that version.
func (r *Ring) hangsOnRoot(ctx context.Context, at root, version string) (Retirement, error) {
	rows, err := r.config.Storage.AllTenantKeys(ctx)
	if err != nil {
		return Retirement{}, err
	}
	var found Retirement
	needs, unseen := 0, 0
	var first error
	for _, row := range rows {
		if row.Service != at.service && row.RootKey != at.key {
			continue
		}
		found.Read++
		needed, err := r.needsRoot(ctx, row, at.service, version)
		switch {
		case err != nil:
			if unseen++; first == nil {
				first = err
			}
		case needed:
			needs++
		}
	}
	if needs > 0 {
		found.Hangs = append(found.Hangs, Hang{"tenant_keys", needs, fmt.Sprintf("%d tenant keys are wrapped under version %s", needs, version)})
	}
	if unseen > 0 {
		found.Hangs = append(found.Hangs, Hang{"tenant_keys", unseen, fmt.Sprintf("%d tenant keys do not open, so nobody can say what they need; the first: %v", unseen, first)})
	}
	return found, nil
}

// needsRoot reports whether a tenant key hangs on that version of a root key, and
// an error when it does not open at all.
func (r *Ring) needsRoot(ctx context.Context, row TenantKeyRow, service, version string) (bool, error) {
	s, err := r.config.service(service)
	if err != nil {
		return false, err
	}
	of, err := s.Version(row.Wrapped)
	if err != nil || of == version {
		return of == version && err == nil, err
	}
	call, cancel := context.WithTimeout(ctx, r.config.CallTimeout)
	defer cancel()
	_, err = r.unwrapRow(call, row.Tenant, row)
	return false, err
}
