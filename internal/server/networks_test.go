package server_test

import (
	"fmt"
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/limit"
	"github.com/underseal/underseal/internal/testenv"
)

// Who tries somebody's passwords from outside of the company's networks does not shut them
// out, and is answered as who names no company.
func TestTriesFromOutsideShutOutNobodyInside(t *testing.T) {
	if testing.Short() {
		t.Skip("hashes passwords, which costs by design")
	}
	env := testenv.New(t, nil)
	withPassword(t, env, "eve")
	ours := api.NetworksRequest{Networks: api.Networks{All: []string{"192.0.2.0/24", "127.0.0.0/8", "::1/128"}, Roles: []api.RoleNetworks{}}}
	if _, err := env.Engine.SetNetworks(t.Context(), env.Ann, ours, ""); err != nil {
		t.Fatal(err)
	}
	s := newServer(t, env.Engine, limits(t, limit.Rates{SignIn: hour(5)}))
	try := func(tenant, password, address string) int {
		r := request("POST", "/v1/sessions", fmt.Sprintf(`{"tenant":%q,"name":"eve","password":%q}`, tenant, password))
		return serve(s, from(withKey(r, ""), address+":1")).Code
	}
	for _, tenant := range []string{"main", "none"} {
		var codes []int
		for i := range 6 {
			codes = append(codes, try(tenant, "six wrong words of no list", fmt.Sprintf("198.51.100.%d", i+1)))
		}
		if got := fmt.Sprint(codes); got != "[401 401 401 401 429 429]" {
			t.Errorf("six tries from outside of %s: %s", tenant, got)
		}
	}
	if code := try("main", fourWalls, "192.0.2.1"); code != 200 {
		t.Errorf("eve from inside: %d", code)
	}
}
