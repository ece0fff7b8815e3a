package access_test

import (
	"slices"
	"testing"

	"github.com/underseal/underseal/internal/access"
)

func builtin(t testing.TB) *access.Policies {
	t.Helper()
	p, err := access.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestDecide(t *testing.T) {
	admin := access.Principal{ID: "ann", Tenant: "main", Roles: []string{"Admin"}}
	clerk := access.Principal{ID: "bob", Tenant: "main", Roles: []string{"Clerk"}}
	own := access.Resource{Kind: "instance", ID: "1", Tenant: "main"}
	foreign := access.Resource{Kind: "instance", ID: "1", Tenant: "other"}
	tests := []struct {
		name    string
		who     access.Principal
		on      access.Resource
		allowed bool
		reasons []string
	}{
		{"an administrator may, in the own tenant", admin, own, true, []string{"admin"}},
		{"an administrator may not in another tenant", admin, foreign, false, []string{"tenant-isolation"}},
		{"an unknown role has no rights", clerk, own, false, nil},
		{"nobody has no rights", access.Principal{}, own, false, []string{"tenant-isolation"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := builtin(t).Decide(test.who, access.ReadInstance, test.on)
			if got.Allowed != test.allowed || !slices.Equal(got.Policies, test.reasons) {
				t.Errorf("Decide = %+v, want %v because of %v", got, test.allowed, test.reasons)
			}
		})
	}
}

func BenchmarkDecide(b *testing.B) {
	p := builtin(b)
	who := access.Principal{ID: "ann", Tenant: "main", Roles: []string{"Admin"}}
	for b.Loop() {
		if !p.Decide(who, access.Start, access.Resource{Kind: "process", ID: "loan", Tenant: "main"}).Allowed {
			b.Fatal("denied")
		}
	}
}
