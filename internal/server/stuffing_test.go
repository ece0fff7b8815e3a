package server_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/password"
	"github.com/underseal/underseal/internal/testenv"
)

const fourWalls = "four walls and a blue door"

// withPassword makes somebody who signs in by password.
func withPassword(t *testing.T, env *testenv.Env, name string) {
	t.Helper()
	invited, err := env.Engine.InviteUser(t.Context(), env.Ann, api.UserRequest{Name: name, Kind: "user"}, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := env.Engine.Setup(t.Context(), api.SetupRequest{Link: invited.Link, Password: fourWalls}, "192.0.2.1"); err != nil {
		t.Fatal(err)
	}
}

// TestStuffingOneCompanyHoldsUpNoOther has passwords of one company tried on a server, more
// at once than it takes, while each hash of theirs takes for ever. Another company's people
// sign in and work meanwhile, and those of the first do afterwards.
func TestStuffingOneCompanyHoldsUpNoOther(t *testing.T) {
	if testing.Short() {
		t.Skip("hashes passwords, which costs by design")
	}
	gate := &password.Gate{}
	env := testenv.New(t, func(c *node.Config) { c.Passwords = gate })
	acme := env.Tenant("acme")
	withPassword(t, acme, "zoe")
	withPassword(t, env, "bob")
	web := httptest.NewServer(newServer(t, env.Engine))
	defer web.Close()
	defer web.Client().CloseIdleConnections()
	call := func(method, path, key, body string) int {
		r, err := http.NewRequest(method, web.URL+path, strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return 0
		}
		r.Header.Set("Content-Type", "application/json")
		if key != "" {
			r.Header.Set("Authorization", "Bearer "+key)
		}
		answer, err := web.Client().Do(r)
		if err != nil {
			t.Error(err)
			return 0
		}
		defer answer.Body.Close()
		io.Copy(io.Discard, answer.Body)
		return answer.StatusCode
	}
	signIn := func(tenant, name, password string) int {
		return call("POST", "/v1/sessions", "", fmt.Sprintf(`{"tenant":%q,"name":%q,"password":%q}`, tenant, name, password))
	}

	began, ends, over := make(chan struct{}, 4), make(chan struct{}), make(chan error, 4)
	for range 4 { // as many as the server hashes at once
		go func() {
			over <- gate.Do(t.Context(), "acme", func() error { began <- struct{}{}; <-ends; return nil })
		}()
	}
	for range 2 {
		<-began
	}
	const tries = 20 // of which twelve have room in the company's line
	answers := make(chan int, tries)
	for i := range tries {
		go func() { answers <- signIn("acme", "zoe", fmt.Sprint("a password of a list, number ", i)) }()
	}
	for range tries - 12 {
		if got := <-answers; got != http.StatusTooManyRequests {
			t.Errorf("a try beyond the line is answered %d, want 429", got)
		}
	}
	if len(began) > 0 {
		t.Error("more than half of the places are the tried company's")
	}
	if got := signIn("main", "bob", fourWalls); got != 200 {
		t.Errorf("the other company's Bob signs in: %d", got)
	}
	for _, path := range []string{"/v1/me", "/v1/tasks"} {
		if got := call("GET", path, env.Key(), ""); got != 200 {
			t.Errorf("the other company's GET %s: %d", path, got)
		}
		if got := call("GET", path, acme.Key(), ""); got != 200 {
			t.Errorf("the tried company's own GET %s by an API key: %d", path, got)
		}
	}
	if len(answers) > 0 || len(over) > 0 {
		t.Error("tries were answered while the hashes ran")
	}
	close(ends)
	for range 12 {
		if got := <-answers; got != http.StatusUnauthorized {
			t.Errorf("a try is answered %d, want 401", got)
		}
	}
	for range 4 {
		if err := <-over; err != nil {
			t.Error(err)
		}
	}
	if got := signIn("acme", "zoe", fourWalls); got != 200 {
		t.Errorf("Zoe signs in afterwards: %d", got)
	}
}
