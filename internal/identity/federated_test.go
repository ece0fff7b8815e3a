package identity_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/underseal/underseal/internal/access"
	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/store"
)

// Who was admitted by an issuer's word is asked again when a call has waited.
func TestAServiceIsAdmittedAgain(t *testing.T) {
	linked := []identity.Federated{
		{ID: "1", Issuer: "https://login.example.org", Subject: "7", Token: [32]byte{1}, Made: now},
		{ID: "2", Issuer: identity.ByFingerprint, Subject: "sha256:00", Token: [32]byte{2}, Made: now},
		{ID: "3", Issuer: identity.ByCertificate + "mesh", Subject: "dns:robot", Token: [32]byte{3}, Made: now},
	}
	robot := identity.Principal{Name: "robot", Kind: access.Service, State: identity.Active, Roles: []access.Role{access.Executor}, Federated: linked}
	trusting := company
	trusting.Issuers = []identity.Issuer{
		{ID: "robots", Kind: identity.Services, URL: "https://login.example.org", Audiences: []string{"a"}}, {ID: "mesh", Kind: identity.Certificates},
	}
	know := func(change func(*identity.Tenant, *identity.Principal)) *identity.Known {
		c, p := trusting, robot
		change(&c, &p)
		return identity.NewKnown(store.NewScope("acme"), &identity.Rules{Tenant: c}, p, nil)
	}
	until := now.Add(time.Minute)
	for name, test := range map[string]struct {
		change func(*identity.Tenant, *identity.Principal)
		admits [3]bool
		later  time.Duration
	}{
		"as it was":       {func(*identity.Tenant, *identity.Principal) {}, [3]bool{true, true, true}, 0},
		"the last moment": {func(*identity.Tenant, *identity.Principal) {}, [3]bool{true, true, true}, time.Minute - 1},
		"too late":        {func(*identity.Tenant, *identity.Principal) {}, [3]bool{}, time.Minute},
		"no issuer":       {func(c *identity.Tenant, _ *identity.Principal) { c.Issuers = nil }, [3]bool{false, true, false}, 0},
		"another issuer":  {func(c *identity.Tenant, _ *identity.Principal) { c.Issuers = c.Issuers[1:] }, [3]bool{false, true, true}, 0},
		"an issuer of people": {func(c *identity.Tenant, _ *identity.Principal) {
			c.Issuers = []identity.Issuer{{Kind: identity.People, URL: linked[0].Issuer}}
		}, [3]bool{false, true, false}, 0},
		"one link":             {func(_ *identity.Tenant, p *identity.Principal) { p.Federated = linked[2:] }, [3]bool{false, false, true}, 0},
		"a person":             {func(_ *identity.Tenant, p *identity.Principal) { p.Kind = access.User }, [3]bool{}, 0},
		"a disabled principal": {func(_ *identity.Tenant, p *identity.Principal) { p.State = identity.Disabled }, [3]bool{}, 0},
		"a disabled tenant":    {func(c *identity.Tenant, _ *identity.Principal) { c.State = identity.Disabled }, [3]bool{}, 0},
	} {
		for i, f := range linked {
			c, err := know(func(*identity.Tenant, *identity.Principal) {}).AdmitService(f.Token, identity.Word{Until: until}, "192.0.2.1", now)
			if err != nil || c.Key != f.ID || c.Principal != "robot" {
				t.Fatalf("%+v, %v", c, err)
			}
			known := know(test.change)
			again, err := known.Again(c, now.Add(test.later))
			if (err == nil) != test.admits[i] {
				t.Errorf("%s, link %s: %v", name, f.ID, err)
			}
			if err == nil && (again.Key != f.ID || again.Address != "192.0.2.1") {
				t.Errorf("%s, link %s: %+v", name, f.ID, again)
			}
			if _, err := known.Admit(f.Token, "192.0.2.1", now); err == nil {
				t.Errorf("%s: link %s counts as an API key", name, f.ID)
			}
		}
	}
	p, err := identity.ParsePrincipal(valuesOf(robot.Fields()))
	if err != nil || !reflect.DeepEqual(p, robot) {
		t.Errorf("%+v, %v, want %+v", p, err, robot)
	}
}
