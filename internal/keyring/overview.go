package keyring

import (
	"context"
	"strconv"
	"time"

	"github.com/underseal/underseal/internal/keyring/keyrow"
)

// A TenantKeyInfo says what is known of one version of a tenant's key.
type TenantKeyInfo struct {
	Version             uint32
	Service, RootKey    string
	RootVersion         string // "" when its service cannot tell
	Made                time.Time
	DataKeys, Subjects  int // rows that need it
	Newest, Dispensable bool
}

// A RootInfo says what is known of one version of a root key.
type RootInfo struct {
	Service, RootKey, Version string
	Seen                      time.Time
	TenantKeys                int // of all tenants, that need it
	Newest, Dispensable       bool
}

// A RewrapState says how far the last Rewrap of a tenant in this process came.
type RewrapState struct {
	Running    bool
	Done, Left int
	Err        error // of the last one that ended
}

// TenantKeys lists the versions of a tenant's key, oldest first. Dispensable is
// one that nothing names any more; RetireTenant reads all rows to make sure.
func (r *Ring) TenantKeys(ctx context.Context, tenant string) ([]TenantKeyInfo, error) {
	rows, err := r.config.Storage.TenantKeys(ctx, tenant)
	if err != nil {
		return nil, err
	}
	counts, err := r.config.Storage.Counts(ctx, tenant)
	if err != nil {
		return nil, err
	}
	infos, free := make([]TenantKeyInfo, len(rows)), true
	for i, row := range rows {
		info := TenantKeyInfo{Version: row.Version, Service: row.Service, RootKey: row.RootKey, Made: row.Made, Newest: i == len(rows)-1}
		for _, c := range counts {
			if c.Version == row.Version {
				info.DataKeys, info.Subjects = c.DataKeys, c.Subjects
			}
		}
		info.RootVersion = r.rootVersion(row)
		free = free && info.DataKeys+info.Subjects == 0
		info.Dispensable = free && !info.Newest
		infos[i] = info
	}
	return infos, nil
}

// A PurposeInfo says what is known of a tenant's newest key for a purpose.
type PurposeInfo struct {
	Purpose Purpose
	Number  int // how many there were, this one included
	Made    time.Time
}

// Purposes lists a tenant's newest keys for all purposes.
func (r *Ring) Purposes(ctx context.Context, tenant string) ([]PurposeInfo, error) {
	infos, t := make([]PurposeInfo, len(purposes)), r.tenant(tenant)
	for i, purpose := range purposes {
		rows, err := t.purposeRows(ctx, purpose)
		if err != nil {
			return nil, err
		}
		infos[i] = PurposeInfo{Purpose: purpose, Number: len(rows), Made: keyrow.TimeOf(rows[0].ID)}
	}
	return infos, nil
}

// rootVersion returns the version of the root key that a tenant key needs, "" when
// its service cannot tell.
func (r *Ring) rootVersion(row TenantKeyRow) string {
	service := r.config.Services[row.Service]
	if service == nil {
		return ""
	}
	version, err := service.Version(row.Wrapped)
	if err != nil {
		return ""
	}
	return version
}

// RootKeys lists the versions of root keys that were seen, oldest first within a
// service. The newest one of a service is the one seen last.
func (r *Ring) RootKeys(ctx context.Context) ([]RootInfo, error) {
	versions, err := r.config.Storage.RootVersions(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := r.config.Storage.AllTenantKeys(ctx)
	if err != nil {
		return nil, err
	}
	needs, unclear := map[RootVersionRow]int{}, map[root]bool{}
	for _, row := range rows {
		version := r.rootVersion(row)
		needs[RootVersionRow{Service: row.Service, RootKey: row.RootKey, Version: version}]++
		if version == "" {
			unclear[root{row.Service, row.RootKey}] = true
		}
	}
	infos := make([]RootInfo, len(versions))
	for i, v := range versions {
		info := RootInfo{Service: v.Service, RootKey: v.RootKey, Version: v.Version, Seen: v.Seen}
		info.Newest = i+1 == len(versions) || versions[i+1].Service != v.Service || versions[i+1].RootKey != v.RootKey
		v.Seen = time.Time{}
		info.TenantKeys = needs[v]
		info.Dispensable = !info.Newest && info.TenantKeys == 0 && !unclear[root{v.Service, v.RootKey}]
		infos[i] = info
	}
	return infos, nil
}

// StartRewrap begins a Rewrap of a tenant in the background, unless one is running
// in this process, and returns how far it is. ended is called after it.
func (r *Ring) StartRewrap(tenant string, perSecond int, ended func(context.Context)) RewrapState {
	t := r.tenant(tenant)
	t.mu.Lock()
	defer t.mu.Unlock()
	run := func(ctx context.Context) {
		err := r.rewrap(ctx, t, perSecond, nil)
		ended(ctx)
		t.rewrapped(err)
	}
	if !t.rewrap.Running && r.start(run) {
		t.rewrap = RewrapState{Running: true}
	}
	return t.rewrap
}

// rewrapDue does what is left of a Rewrap, as StartRewrap does. One that is running
// goes on at the rate that it was given.
func (r *Ring) rewrapDue(ctx context.Context, tenant string, perSecond int) error {
	t := r.tenant(tenant)
	rows, err := t.notice(ctx)
	if err != nil {
		return err
	}
	left, err := r.config.Storage.CountBelow(ctx, tenant, newestOf(rows))
	if err != nil || left == 0 || !t.beginRewrap() {
		return err
	}
	err = r.rewrap(ctx, t, perSecond, nil)
	t.rewrapped(err)
	return err
}

// beginRewrap reports whether no Rewrap of the tenant is running, and has one run.
func (t *tenant) beginRewrap() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.rewrap.Running {
		return false
	}
	t.rewrap = RewrapState{Running: true}
	return true
}

// RewrapState says how far the last Rewrap of a tenant in this process came.
func (r *Ring) RewrapState(tenant string) RewrapState {
	t := r.tenant(tenant)
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.rewrap
}

// rewrapped takes note of the end of a rewrap.
func (t *tenant) rewrapped(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rewrap.Running, t.rewrap.Err = false, err
}

// progress takes note of how far a rewrap is.
func (t *tenant) progress(done, left int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rewrap.Done, t.rewrap.Left = done, left
}

// Figures are counts over all tenants.
type Figures struct {
	Newest, Older int // data keys and subjects under a tenant's newest key, and under older ones
	Dispensable   []OldKey
}

// An OldKey is one that nothing needs any more.
type OldKey struct {
	Tenant           string // of a tenant key; "" for a root key
	Service, Version string
}

// Figures counts the keys of all tenants by whether their tenant key is the newest,
// and lists the old keys that can be given up.
func (r *Ring) Figures(ctx context.Context) (Figures, error) {
	var f Figures
	tenants, err := r.config.Storage.Tenants(ctx)
	if err != nil {
		return f, err
	}
	for _, tenant := range tenants {
		keys, err := r.TenantKeys(ctx, tenant)
		if err != nil {
			return f, err
		}
		for _, key := range keys {
			if key.Newest {
				f.Newest += key.DataKeys + key.Subjects
			} else {
				f.Older += key.DataKeys + key.Subjects
			}
			if key.Dispensable {
				f.Dispensable = append(f.Dispensable, OldKey{Tenant: tenant, Service: key.Service, Version: formatVersion(key.Version)})
			}
		}
	}
	roots, err := r.RootKeys(ctx)
	for _, key := range roots {
		if key.Dispensable {
			f.Dispensable = append(f.Dispensable, OldKey{Service: key.Service, Version: key.Version})
		}
	}
	return f, err
}

func formatVersion(version uint32) string { return strconv.FormatUint(uint64(version), 10) }
