package keyring

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/kms"
)

// service returns the key service of that name. One that wrapped a key and is
// not configured (any more) is Unavailable: its tenants' work waits until it is.
func (c *Config) service(name string) (kms.Service, error) {
	if s := c.Services[name]; s != nil {
		return s, nil
	}
	return nil, fault.New(fault.Unavailable, "the key service %q is not configured, and stored keys need it", name).
		WithCode("key_service_unknown").WithHint("configure key_services.%s again; there are %s", name, c.serviceNames())
}

func (c *Config) serviceNames() string {
	return strings.Join(slices.Sorted(maps.Keys(c.Services)), ", ")
}

// wrapTenantKey has the key service of that name wrap a tenant key and returns
// its row.
func (r *Ring) wrapTenantKey(ctx context.Context, name, tenant string, version uint32, key rawTenantKey) (TenantKeyRow, error) {
	service, err := r.config.service(name)
	if err != nil {
		return TenantKeyRow{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.config.CallTimeout)
	defer cancel()
	place := r.config.context(tenant, version)
	wrapped, err := service.Wrap(ctx, place, key.encode())
	if err != nil {
		return TenantKeyRow{}, outward(err)
	}
	// All keys of the tenant will hang on these bytes.
	opened, err := service.Unwrap(ctx, place, wrapped)
	if err != nil {
		return TenantKeyRow{}, outward(err)
	}
	if !bytes.Equal(opened, key.encode()) {
		return TenantKeyRow{}, fault.New(fault.Integrity, "wrap tenant key %d of tenant %q: key service %q wrapped another key than it was given", version, tenant, name)
	}
	d, err := service.Describe(ctx)
	if err != nil {
		return TenantKeyRow{}, outward(err)
	}
	under, err := service.Version(wrapped)
	if err != nil {
		return TenantKeyRow{}, err
	}
	if err := r.config.Storage.NoteRootVersion(ctx, RootVersionRow{Service: name, RootKey: d.KeyID, Version: under, Seen: r.moment()}); err != nil {
		return TenantKeyRow{}, err
	}
	return TenantKeyRow{
		Tenant: tenant, Version: version, Service: name, RootKey: d.KeyID,
		Made: r.moment(), Wrapped: wrapped,
	}, nil
}

// A root names a root key: a service's configured name and the key's id there.
type root struct{ service, key string }

// checkServices refuses to begin with key services that cannot open this data.
func (c *Config) checkServices(ctx context.Context) error {
	rows, err := c.Storage.AllTenantKeys(ctx)
	if err != nil {
		return err
	}
	checked, newest := map[root]bool{}, map[string]bool{}
	for i, row := range rows {
		if i+1 == len(rows) || rows[i+1].Tenant != row.Tenant {
			newest[row.Service] = true
		}
	}
	for _, row := range rows {
		at := root{row.Service, row.RootKey}
		if checked[at] {
			continue
		}
		// A service that refuses us keeps its own tenants from working, and no others.
		err := c.checkRoot(ctx, at)
		if others := len(newest) > 1 || !newest[at.service]; err != nil && !(others && fault.Is(err, fault.Denied)) {
			return err
		}
		checked[at] = true
	}
	return nil
}

// checkRoot refuses a service that is not there or has another root key.
func (c *Config) checkRoot(ctx context.Context, at root) error {
	service, err := c.service(at.service)
	if err != nil {
		return fault.New(fault.Conflict, "%w", err).WithCode("key_service_unknown").
			WithHint("configure key_services.%s, whose root key is %s", at.service, at.key)
	}
	ctx, cancel := context.WithTimeout(ctx, c.CallTimeout)
	defer cancel()
	d, err := service.Describe(ctx)
	switch {
	case fault.Is(err, fault.Unavailable):
		// It may come back, and if it is the wrong one, unwrapping will say so.
		return nil
	case err != nil:
		return err
	case d.KeyID != at.key:
		return fault.New(fault.Conflict, "the data was made with root key %s, and this is root key %s (%s)", at.key, d.KeyID, d.Provider).
			WithCode("other_root_key").WithHint("start with the key file or key service of root key %s", at.key)
	}
	return nil
}
