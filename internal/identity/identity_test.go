package identity_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/limit"
	"github.com/underseal/underseal/internal/network"
	"github.com/underseal/underseal/internal/store"
)

var (
	now     = time.Date(2026, 7, 1, 12, 0, 0, 123456000, time.UTC)
	office  = networks("192.0.2.0/24")
	company = identity.Tenant{Name: "acme", Display: "Acme", State: identity.Active}
	zoe     = identity.Principal{
		Name: "zoe", Kind: access.User, Display: "Zoe", Mail: "zoe@example.org", State: identity.Active,
		Roles: []access.Role{access.Viewer}, Groups: []string{"clerks", "gone"},
		Grants: []access.Grant{{ID: "1", Right: "view", Process: "*"}},
		Keys: []identity.APIKey{
			{ID: "a", Token: [32]byte{1}, Name: "laptop", Made: now},
			{ID: "b", Token: [32]byte{2}, Scopes: []access.Scope{"task:*"}, Networks: office, Made: now, Expires: now.Add(time.Hour)},
		},
		Invitation: identity.Link{Token: [32]byte{3}, Expires: now.Add(time.Hour)},
	}
	clerks = identity.Group{
		Name: "clerks", Display: "Clerks", State: identity.Active, Roles: []access.Role{access.Executor, access.Viewer},
		Grants: []access.Grant{{ID: "2", Right: "start", Process: "loan"}},
	}
	gone = identity.Group{Name: "gone", State: identity.Deleted, Roles: []access.Role{access.Admin}}
)

func networks(texts ...string) network.List {
	l, err := network.Parse(texts)
	if err != nil {
		panic(err)
	}
	return l
}

func TestAdmit(t *testing.T) {
	disabled, closed, inside := zoe, company, company
	disabled.State, closed.State, inside.Networks.All = identity.Disabled, identity.Disabled, networks("192.0.2.0/24")
	viewers, admins := company, company
	viewers.Networks.Roles = []identity.RoleNetworks{{Role: access.Viewer, From: networks("192.0.2.0/24")}}
	admins.Networks.Roles = []identity.RoleNetworks{{Role: access.Admin, From: networks("192.0.2.0/24")}}
	invited := zoe
	invited.State = identity.Invited
	tests := []struct {
		name    string
		tenant  identity.Tenant
		who     identity.Principal
		token   byte
		address string
		at      time.Time
		admits  bool
	}{
		{"a key", company, zoe, 1, "198.51.100.1", now, true},
		{"a key from no address", company, zoe, 1, "", now, true},
		{"another token", company, zoe, 9, "192.0.2.1", now, false},
		{"the token of a link", company, zoe, 3, "192.0.2.1", now, false},
		{"a key from its network", company, zoe, 2, "192.0.2.1", now, true},
		{"a key from its network, by IPv6", company, zoe, 2, "::ffff:192.0.2.1", now, true},
		{"a key from another network", company, zoe, 2, "198.51.100.1", now, false},
		{"a key with networks from no address", company, zoe, 2, "", now, false},
		{"a key just before it expires", company, zoe, 2, "192.0.2.1", now.Add(time.Hour - 1), true},
		{"a key that expires now", company, zoe, 2, "192.0.2.1", now.Add(time.Hour), false},
		{"somebody disabled", company, disabled, 1, "192.0.2.1", now, false},
		{"somebody invited", company, invited, 1, "192.0.2.1", now, false},
		{"a disabled tenant's", closed, zoe, 1, "192.0.2.1", now, false},
		{"from the tenant's network", inside, zoe, 1, "192.0.2.1", now, true},
		{"from outside of the tenant's network", inside, zoe, 1, "198.51.100.1", now, false},
		{"from a role's network", viewers, zoe, 1, "192.0.2.1", now, true},
		{"from outside of a role's network", viewers, zoe, 1, "198.51.100.1", now, false},
		{"from outside of another role's network", admins, zoe, 1, "198.51.100.1", now, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			known := identity.NewKnown(store.NewScope("acme"), &identity.Rules{Tenant: test.tenant}, test.who, []identity.Group{clerks, gone})
			c, err := known.Admit([32]byte{test.token}, test.address, test.at)
			if (err == nil) != test.admits {
				t.Fatalf("admitted: %v, want %v", err, test.admits)
			}
			if err != nil && (!fault.Is(err, fault.Denied) || err.Error() != identity.Unauthenticated().Error()) {
				t.Errorf("error = %v, want the same one for everything", err)
			}
			if again, err := known.Again(c, test.at); err == nil && !reflect.DeepEqual(again, c) {
				t.Errorf("again: %+v, want %+v", again, c)
			}
		})
	}
}

func TestACallerHasWhatTheGroupsGive(t *testing.T) {
	known := identity.NewKnown(store.NewScope("acme"), &identity.Rules{Tenant: company}, zoe, []identity.Group{clerks, gone})
	c, err := known.Admit([32]byte{2}, "192.0.2.1", now)
	if err != nil {
		t.Fatal(err)
	}
	want := access.Principal{
		Name: "zoe", Tenant: "acme", Kind: access.User, Roles: []access.Role{access.Viewer, access.Executor}, Groups: []string{"clerks"},
		Grants: []access.Grant{zoe.Grants[0], clerks.Grants[0]}, Scopes: []access.Scope{"task:*"},
	}
	if got := c.Who.Principal(); !reflect.DeepEqual(got, want) {
		t.Errorf("the caller is %+v, want %+v", got, want)
	}
	if c.Scope.Tenant() != "acme" || c.Principal != "zoe" || c.Key != "b" || c.Address != "192.0.2.1" {
		t.Errorf("the caller is %+v", c)
	}
}

// What limits and rules of people hold for is known by the principal, whatever it shows.
func TestWhoCallsIsAPersonOrAService(t *testing.T) {
	program := zoe
	program.Kind = access.Service
	program.Federated = []identity.Federated{{ID: "1", Issuer: identity.ByFingerprint, Token: [32]byte{4}, Made: now}}
	know := func(p identity.Principal) *identity.Known {
		return identity.NewKnown(store.NewScope("acme"), &identity.Rules{Tenant: company}, p, nil)
	}
	one, other := know(zoe), know(program)
	for name, test := range map[string]struct {
		admit  func() (identity.Caller, error)
		person bool
	}{
		"a person by a key":          {func() (identity.Caller, error) { return one.Admit([32]byte{1}, "192.0.2.1", now) }, true},
		"a person by a key for less": {func() (identity.Caller, error) { return one.Admit([32]byte{2}, "192.0.2.1", now) }, true},
		"a person by a session": {func() (identity.Caller, error) {
			return one.AdmitSession(&identity.Session{Principal: "zoe", Used: now, Idle: time.Hour, Expires: now.Add(time.Hour)}, "192.0.2.1", now)
		}, true},
		"a service by a key": {func() (identity.Caller, error) { return other.Admit([32]byte{1}, "192.0.2.1", now) }, false},
		"a service by a certificate": {func() (identity.Caller, error) {
			return other.AdmitService([32]byte{4}, identity.Word{Until: now.Add(time.Minute)}, "192.0.2.1", now)
		}, false},
	} {
		if c, err := test.admit(); err != nil || c.Person() != test.person {
			t.Errorf("%s: %v, %v", name, c.Person(), err)
		}
	}
}

func TestWhatExceedsAKey(t *testing.T) {
	known := identity.NewKnown(store.NewScope("acme"), &identity.Rules{Tenant: company}, zoe, nil)
	free, err := known.Admit([32]byte{1}, "192.0.2.1", now)
	if err != nil {
		t.Fatal(err)
	}
	bound, err := known.Admit([32]byte{2}, "192.0.2.1", now)
	if err != nil {
		t.Fatal(err)
	}
	within := zoe.Keys[1]
	change := func(edit func(*identity.APIKey)) identity.APIKey {
		k := within
		edit(&k)
		return k
	}
	for _, test := range []struct {
		name string
		key  identity.APIKey
		want string
	}{
		{"a key like it", within, ""},
		{"a key for less", identity.APIKey{Scopes: []access.Scope{"task:read"}, Networks: networks("192.0.2.7"), Expires: now.Add(time.Minute)}, ""},
		{"a key for everything", identity.APIKey{}, "scopes"},
		{"a key without scopes", change(func(k *identity.APIKey) { k.Scopes = nil }), "scopes"},
		{"a key with another scope", change(func(k *identity.APIKey) { k.Scopes = []access.Scope{"task:*", "job:work"} }), "scopes"},
		{"a key from anywhere", change(func(k *identity.APIKey) { k.Networks = network.List{} }), "networks"},
		{"a key from another network", change(func(k *identity.APIKey) { k.Networks = networks("192.0.2.0/24", "198.51.100.1") }), "networks"},
		{"a key without end", change(func(k *identity.APIKey) { k.Expires = time.Time{} }), "end"},
		{"a key that ends later", change(func(k *identity.APIKey) { k.Expires = now.Add(time.Hour + 1) }), "end"},
	} {
		if got := bound.Exceeds(test.key); got != test.want {
			t.Errorf("%s exceeds %q, want %q", test.name, got, test.want)
		}
		if got := free.Exceeds(test.key); got != "" {
			t.Errorf("%s exceeds the %s of a key for everything", test.name, got)
		}
	}
}

func TestALinkCountsOnce(t *testing.T) {
	link := zoe.Invitation
	for _, test := range []struct {
		name  string
		link  identity.Link
		token byte
		at    time.Time
		want  bool
	}{
		{"a link", link, 3, now, true},
		{"another one", link, 4, now, false},
		{"an expired one", link, 3, now.Add(time.Hour), false},
		{"none", identity.Link{}, 0, time.Time{}.Add(-time.Hour), false},
	} {
		if got := test.link.Redeems([32]byte{test.token}, test.at); got != test.want {
			t.Errorf("%s redeems: %v, want %v", test.name, got, test.want)
		}
	}
}

func valuesOf(fields []identity.Field) map[string]canon.Value {
	values := map[string]canon.Value{}
	for _, f := range fields {
		values[f.Path] = f.Value
	}
	return values
}

func TestWhatIsSealedIsReadAgain(t *testing.T) {
	guarded := company
	guarded.Setup = zoe.Invitation
	guarded.Settings = identity.Settings{
		Networks: identity.Networks{All: networks("192.0.2.0/24"), Roles: []identity.RoleNetworks{{Role: access.Admin, From: networks("192.0.2.1", "2001:db8::/32")}}},
		Limits:   limit.Own{User: &limit.Rate{Calls: 5, Per: time.Second}, Tenant: &limit.Rate{}},
		FourEyes: true, FourEyesOff: identity.FourEyesOff{By: "zoe", Key: "k", Expires: now}, Policies: "// none", RequirePasskey: identity.PasskeyEveryone,
	}
	guarded.Proposals = []identity.Proposal{{
		ID: "1", By: "zoe", Made: now, Expires: now.Add(time.Hour), Processes: []string{"loan"}, Files: []identity.ProposedFile{{Name: "loan.bpmn", Hash: [32]byte{1}}},
		State: identity.Approved, Decided: "dan", Definitions: []string{"d"},
	}, {ID: "2", By: "dan", Made: now, Expires: now.Add(time.Hour), Processes: []string{"loan"}, Mode: "standard", State: identity.Waits}}
	p, err := identity.ParsePrincipal(valuesOf(zoe.Fields()))
	if err != nil || !reflect.DeepEqual(p, zoe) {
		t.Errorf("principal: %+v, %v, want %+v", p, err, zoe)
	}
	g, err := identity.ParseGroup(valuesOf(clerks.Fields()))
	if err != nil || !reflect.DeepEqual(g, clerks) {
		t.Errorf("group: %+v, %v, want %+v", g, err, clerks)
	}
	c, err := identity.ParseTenant(valuesOf(guarded.Fields()))
	if err != nil || !reflect.DeepEqual(c, guarded) {
		t.Errorf("tenant: %+v, %v, want %+v", c, err, guarded)
	}
	if p, err := identity.ParsePrincipal(valuesOf((&identity.Principal{}).Fields())); err != nil || !reflect.DeepEqual(p, identity.Principal{}) {
		t.Errorf("an empty principal: %+v, %v", p, err)
	}
}

func TestMalformedFieldsAreRefused(t *testing.T) {
	bad := []canon.Value{nil, canon.Null{}, canon.NewNumber(1), canon.List{canon.NewNumber(1)}, canon.List{canon.Null{}}}
	tried := 0
	for _, f := range zoe.Fields() {
		for _, value := range bad {
			values := valuesOf(zoe.Fields())
			if values[f.Path] = value; f.Path == "invitation" && value == (canon.Null{}) {
				continue // none
			}
			tried++
			if _, err := identity.ParsePrincipal(values); !fault.Is(err, fault.Integrity) {
				t.Errorf("field %q of %v: %v, want Integrity", f.Path, value, err)
			}
		}
	}
	if tried < 30 {
		t.Errorf("%d values tried", tried)
	}
}

func TestNames(t *testing.T) {
	for _, name := range []string{"a", "...", ".a", "ann.b_c-d@example.org", "7", strings.Repeat("a", 64)} {
		if err := identity.CheckName(name); err != nil {
			t.Errorf("CheckName(%q): %v", name, err)
		}
	}
	for _, name := range []string{"", ".", "..", "Ann", "a b", "é", "a/b", "a\x00", strings.Repeat("a", 65)} {
		if err := identity.CheckName(name); !fault.Is(err, fault.Invalid) {
			t.Errorf("CheckName(%q): %v, want Invalid", name, err)
		}
	}
	for name, good := range map[string]bool{"acme-2": true, "a_b": false, "a.b": false, "": false, strings.Repeat("a", 41): false} {
		if err := identity.CheckTenantName(name); (err == nil) != good {
			t.Errorf("CheckTenantName(%q): %v, want %v", name, err, good)
		}
	}
}

func TestTextsOfCredentials(t *testing.T) {
	key := identity.APIKeyText.Generate("acme")
	if tenant, ok := identity.APIKeyText.Tenant(key); !ok || tenant != "acme" {
		t.Errorf("a key of acme is of %q, %v", tenant, ok)
	}
	flipped := []byte(key)
	flipped[20] ^= 1
	for name, text := range map[string]string{
		"nothing": "", "no key": "secret", "a truncated key": key[:len(key)-1], "a mistyped key": string(flipped),
		"a longer key": key + "a", "a very long text": key + strings.Repeat("a", 10_000),
		"another tenant's name": strings.Replace(key, "_acme_", "_other_", 1), "a link": identity.LinkText.Generate("acme"),
		"a name that is none": identity.APIKeyText.Generate("A"),
	} {
		if _, ok := identity.APIKeyText.Tenant(text); ok {
			t.Errorf("%s is well-formed", name)
		}
	}
	if identity.APIKeyText.Generate("acme") == key {
		t.Error("two keys are the same")
	}
}

func FuzzTenant(f *testing.F) {
	kinds := []identity.Credential{identity.APIKeyText, identity.LinkText, identity.SessionText}
	for _, kind := range kinds {
		f.Add(kind.Generate("main"))
		f.Add(string(kind) + "_")
		f.Add(string(kind) + strings.Repeat("a", 70))
	}
	f.Fuzz(func(t *testing.T, text string) {
		text = text[:min(len(text), 300)] // none is as long
		for _, kind := range kinds {
			if tenant, ok := kind.Tenant(text); ok && (identity.CheckTenantName(tenant) != nil || !strings.HasPrefix(text, string(kind)+tenant+"_")) {
				t.Errorf("%q is taken for a %s of %q", text, kind, tenant)
			}
		}
	})
}

// FuzzParse reads what is stored of principals, groups and tenants: whatever it is, it is
// refused, or it is what would be written again.
func FuzzParse(f *testing.F) {
	for _, fields := range [][]identity.Field{
		zoe.Fields(),
		(&identity.Group{}).Fields(), company.Fields(),
	} {
		var entries []canon.Entry
		for _, field := range fields {
			entries = append(entries, canon.Entry{Name: field.Path, Value: field.Value})
		}
		c, err := canon.NewContext(entries...)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(canon.Encode(c))
	}
	f.Add([]byte(`{"federated":[1,{"token":"00"}],"grants":{},"keys":[{"networks":["::/0","x"]}],"passkeys":[null]}`))
	f.Fuzz(func(t *testing.T, stored []byte) {
		v, err := canon.Decode(stored)
		c, ok := v.(*canon.Context)
		if err != nil || !ok {
			return
		}
		values := map[string]canon.Value{}
		for i := range c.Len() {
			values[c.At(i).Name] = c.At(i).Value
		}
		_, asPrincipal := identity.ParsePrincipal(values)
		_, asGroup := identity.ParseGroup(values)
		_, asTenant := identity.ParseTenant(values)
		for _, err := range []error{asPrincipal, asGroup, asTenant} {
			if err != nil && !fault.Is(err, fault.Integrity) {
				t.Errorf("%q is refused by %v", stored, err)
			}
		}
	})
}
