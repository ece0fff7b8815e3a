package engine

import (
	"cmp"
	"context"
	"strconv"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/store"
)

// Keys lists the keys that wrap the tenant's data keys, and asks the services that
// hold the root keys whether they answer.
func (e *Engine) Keys(ctx context.Context, c Caller) (api.Keys, error) {
	return readNow(ctx, e, c, func(c Caller) (api.Keys, error) { return e.keysAs(ctx, c) })
}

func (e *Engine) keysAs(ctx context.Context, c Caller) (api.Keys, error) {
	if err := e.may(ctx, c, access.ReadKey, "key", ""); err != nil {
		return api.Keys{}, err
	}
	// First: when a rewrap is said to be over, the keys are as it left them.
	out := api.Keys{Rewrap: rewrapOf(e.ring.RewrapState(c.Scope.Tenant()))}
	keys, err := e.ring.TenantKeys(ctx, c.Scope.Tenant())
	if err != nil {
		return api.Keys{}, err
	}
	roots, err := e.ring.RootKeys(ctx)
	if err != nil {
		return api.Keys{}, err
	}
	purposes, err := e.ring.Purposes(ctx, c.Scope.Tenant())
	if err != nil {
		return api.Keys{}, err
	}
	persons, err := e.ring.Subjects(ctx, c.Scope.Tenant())
	if err != nil {
		return api.Keys{}, err
	}
	out.Subjects = api.SubjectKeys{Subjects: persons.Persons, Former: persons.Former, Oldest: timeOrNil(persons.Oldest)}
	for _, p := range purposes {
		out.Purposes = append(out.Purposes, api.PurposeKey{Purpose: string(p.Purpose), Number: p.Number, Made: p.Made})
	}
	uses := map[string]bool{}
	for _, k := range keys {
		out.TenantKeys = append(out.TenantKeys, api.TenantKey{
			Version: k.Version, Service: k.Service, RootKey: k.RootKey, RootVersion: k.RootVersion, Made: k.Made,
			DataKeys: k.DataKeys, Subjects: k.Subjects, Newest: k.Newest, Dispensable: k.Dispensable,
		})
		if !uses[k.Service] {
			out.Services = append(out.Services, e.keyService(ctx, c, k.Service))
		}
		uses[k.Service] = true
	}
	operates := e.sees(c, access.RetireRootKey, access.Resource{Kind: access.Key, Tenant: c.Scope.Tenant()})
	for _, k := range roots {
		if !uses[k.Service] {
			continue
		}
		if !operates { // what hangs on it of others is not theirs to know
			k.TenantKeys, k.Dispensable = wrappedBy(k, keys), false
		}
		out.RootKeys = append(out.RootKeys, api.RootKey{
			Service: k.Service, RootKey: k.RootKey, Version: k.Version, Seen: k.Seen,
			TenantKeys: k.TenantKeys, Newest: k.Newest, Dispensable: k.Dispensable,
		})
	}
	return out, nil
}

// wrappedBy counts the keys of a tenant that a version of a root key wraps.
func wrappedBy(root keyring.RootInfo, keys []keyring.TenantKeyInfo) (n int) {
	for _, k := range keys {
		if k.Service == root.Service && k.RootKey == root.RootKey && k.RootVersion == root.Version {
			n++
		}
	}
	return n
}

// keyService has a key service unwrap the tenant's newest key there.
func (e *Engine) keyService(ctx context.Context, c Caller, name string) api.KeyService {
	s := api.KeyService{Name: name}
	if err := e.ring.TryService(ctx, c.Scope.Tenant(), name); err != nil {
		s.Error = err.Error()
	}
	return s
}

func rewrapOf(s keyring.RewrapState) api.Rewrap {
	r := api.Rewrap{Running: s.Running, Done: s.Done, Left: s.Left}
	if s.Err != nil {
		r.Error = s.Err.Error()
	}
	return r
}

// RotateKey makes a new tenant key, a new version of a root key, or a new data key of a
// purpose or a person, unless another one than in.After is the newest already.
func (e *Engine) RotateKey(ctx context.Context, c Caller, in api.RotateKeyRequest) (api.RotatedKey, error) {
	return asNow(ctx, e, c, func(c Caller) (api.RotatedKey, error) { return e.rotateKeyAs(ctx, c, in) })
}

func (e *Engine) rotateKeyAs(ctx context.Context, c Caller, in api.RotateKeyRequest) (api.RotatedKey, error) {
	if err := e.may(ctx, c, keyAction(in.Key, access.RotateKey, access.RotateRootKey), "key", in.Key); err != nil {
		return api.RotatedKey{}, err
	}
	newest, err := e.newestKey(ctx, c)
	if err != nil {
		return api.RotatedKey{}, err
	}
	switch purpose := keyring.Purpose(in.Key); purpose {
	case keyring.Index, keyring.Audit, keyring.Inbox:
		return e.rotatePurpose(ctx, c, in, purpose)
	}
	if in.Key == subjectKey {
		return e.rotatePerson(ctx, c, in)
	}
	if in.Subject != "" {
		return api.RotatedKey{}, fault.New(fault.Invalid, "the %s key is nobody's: a subject has a key of its own", in.Key)
	}
	if in.Key == "tenant" {
		return e.rotateTenant(ctx, c, in, newest)
	}
	return e.rotateRoot(ctx, c, in, newest)
}

// keyAction returns which of two actions is asked for: a root key may be other tenants',
// too, all others are the caller's tenant's.
func keyAction(key string, own, root access.Action) access.Action {
	switch key {
	case "tenant", subjectKey, string(keyring.Index), string(keyring.Audit), string(keyring.Inbox):
		return own
	}
	return root
}

// rotatePurpose gives the tenant a new data key of its own.
func (e *Engine) rotatePurpose(ctx context.Context, c Caller, in api.RotateKeyRequest, purpose keyring.Purpose) (api.RotatedKey, error) {
	number, err := e.purposeNumber(ctx, c.Scope, purpose)
	if err != nil || in.After != "" && in.After != number {
		return api.RotatedKey{Version: number}, err
	}
	if in.Service != "" {
		return api.RotatedKey{}, fault.New(fault.Invalid, "the %s key is wrapped by the tenant key, not by a key service", purpose)
	}
	err = e.ordered(ctx, c.Scope, byAdmin(c), keyOrder{Do: doRotate, Key: in.Key, Version: number}, func() error {
		_, err := e.ring.RotatePurpose(ctx, c.Scope.Tenant(), purpose)
		return err
	})
	if err != nil {
		return api.RotatedKey{}, err
	}
	number, err = e.purposeNumber(ctx, c.Scope, purpose)
	return api.RotatedKey{Version: number}, err
}

// purposeNumber returns the number of the tenant's newest key for a purpose.
func (e *Engine) purposeNumber(ctx context.Context, scope store.Scope, purpose keyring.Purpose) (string, error) {
	infos, err := e.ring.Purposes(ctx, scope.Tenant())
	for _, info := range infos {
		if info.Purpose == purpose {
			return strconv.Itoa(info.Number), nil
		}
	}
	return "", err
}

// newestKey returns the tenant's newest key.
func (e *Engine) newestKey(ctx context.Context, c Caller) (keyring.TenantKeyInfo, error) {
	keys, err := e.ring.TenantKeys(ctx, c.Scope.Tenant())
	if err == nil && len(keys) == 0 {
		err = fault.New(fault.NotFound, "the tenant has no keys yet")
	}
	if err != nil {
		return keyring.TenantKeyInfo{}, err
	}
	return keys[len(keys)-1], nil
}

func (e *Engine) rotateTenant(ctx context.Context, c Caller, in api.RotateKeyRequest, newest keyring.TenantKeyInfo) (api.RotatedKey, error) {
	if version := versionText(newest.Version); in.After != "" && in.After != version {
		return api.RotatedKey{Version: version}, nil
	}
	if in.Service != "" && in.Service != newest.Service {
		if err := e.leave(ctx, c, newest.Service); err != nil {
			return api.RotatedKey{}, err
		}
	}
	version, err := e.rotateTenantKey(ctx, c.Scope, byAdmin(c), in.Service)
	return api.RotatedKey{Version: versionText(version)}, err
}

func (e *Engine) rotateRoot(ctx context.Context, c Caller, in api.RotateKeyRequest, newest keyring.TenantKeyInfo) (api.RotatedKey, error) {
	service := cmp.Or(in.Service, newest.Service)
	if err := e.ownService(ctx, c, service); err != nil {
		return api.RotatedKey{}, err
	}
	present, err := e.ring.NewestRoot(ctx, service)
	if err != nil || in.After != "" && in.After != present {
		return api.RotatedKey{Version: present}, err
	}
	version, err := e.rotateRootKey(ctx, c.Scope, byAdmin(c), service)
	return api.RotatedKey{Version: version}, err
}

// ownService refuses a key service that none of the tenant's keys hangs on: others
// may be another tenant's own.
func (e *Engine) ownService(ctx context.Context, c Caller, service string) error {
	keys, err := e.ring.TenantKeys(ctx, c.Scope.Tenant())
	if err != nil {
		return err
	}
	for _, k := range keys {
		if k.Service == service {
			return nil
		}
	}
	return fault.New(fault.NotFound, "none of the tenant's keys is wrapped by a key service %q", service).
		WithHint("`underseal keys list` says which service wraps which key")
}

func versionText(version uint32) string { return strconv.FormatUint(uint64(version), 10) }

// RewrapKeys begins to wrap the tenant's data keys anew in the background, unless
// that is under way. It ends with the server, which goes on within the hour.
func (e *Engine) RewrapKeys(ctx context.Context, c Caller, in api.RewrapRequest) (api.Rewrap, error) {
	return asNow(ctx, e, c, func(c Caller) (api.Rewrap, error) { return e.rewrapKeysAs(ctx, c, in) })
}

func (e *Engine) rewrapKeysAs(ctx context.Context, c Caller, in api.RewrapRequest) (api.Rewrap, error) {
	if err := e.may(ctx, c, access.RotateKey, "key", ""); err != nil {
		return api.Rewrap{}, err
	}
	if in.Rate < 0 {
		return api.Rewrap{}, fault.New(fault.Invalid, "a rate of %d keys a second", in.Rate)
	}
	tenant := c.Scope.Tenant()
	if state := e.ring.RewrapState(tenant); state.Running {
		return rewrapOf(state), nil
	}
	order, err := e.orderKey(ctx, c.Scope, byAdmin(c), keyOrder{Do: doRewrap, Key: dataKeys})
	if err != nil {
		return api.Rewrap{}, err
	}
	return rewrapOf(e.ring.StartRewrap(tenant, in.Rate, func(ctx context.Context) {
		// What cannot be written now is settled within the hour.
		_ = e.finishOrder(context.WithoutCancel(ctx), c.Scope, byEngine, order.Number)
	})), ctx.Err()
}

// RetireKey gives up an old key for good, or says what still hangs on it.
func (e *Engine) RetireKey(ctx context.Context, c Caller, in api.RetireKeyRequest) (api.Retirement, error) {
	return asNow(ctx, e, c, func(c Caller) (api.Retirement, error) { return e.retireKeyAs(ctx, c, in) })
}

func (e *Engine) retireKeyAs(ctx context.Context, c Caller, in api.RetireKeyRequest) (api.Retirement, error) {
	if err := e.may(ctx, c, keyAction(in.Key, access.RetireKey, access.RetireRootKey), "key", in.Key); err != nil {
		return api.Retirement{}, err
	}
	if in.Key == "tenant" {
		version, err := strconv.ParseUint(in.Version, 10, 32)
		if err != nil {
			return api.Retirement{}, fault.New(fault.Invalid, "%q is no version of a tenant key", in.Version)
		}
		if in.DryRun {
			return retirementOf(e.ring.RetireTenant(ctx, c.Scope.Tenant(), uint32(version), true))
		}
		return retirementOf(e.retireTenantKey(ctx, c.Scope, byAdmin(c), uint32(version)))
	}
	newest, err := e.newestKey(ctx, c)
	if err != nil {
		return api.Retirement{}, err
	}
	service := cmp.Or(in.Service, newest.Service)
	if err := e.ownService(ctx, c, service); err != nil {
		return api.Retirement{}, err
	}
	if in.DryRun {
		return retirementOf(e.ring.RetireRoot(ctx, service, in.Version, true))
	}
	return retirementOf(e.retireRootKey(ctx, c.Scope, byAdmin(c), service, in.Version))
}

func retirementOf(r keyring.Retirement, err error) (api.Retirement, error) {
	out := api.Retirement{Safe: len(r.Hangs) == 0, Done: r.Done, Read: r.Read}
	for _, h := range r.Hangs {
		out.Hangs = append(out.Hangs, api.Hang{Where: h.Where, Count: h.Count, Why: h.Why})
	}
	return out, err
}
