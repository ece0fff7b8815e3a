package vault

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/underseal/underseal/internal/fault"
)

// A session holds the token that we are signed in with.
//
// A given token is read again for every request. One from a login is renewed
// when two thirds of its time are over, or else replaced by a new login; there
// is no goroutine for it, since readiness asks the key service all the time.
type session struct {
	config *Config
	client *client

	turn      chan struct{} // holds a token while somebody uses what follows
	token     string
	made      time.Time
	life      time.Duration // 0: for ever
	renewable bool
}

// freshFor is how long a token is not replaced because Vault refuses: it is then
// the rights that are missing, and a login for each refusal would leave a lease each.
const freshFor = time.Minute

// get returns a token.
func (s *session) get(ctx context.Context) (string, error) {
	if s.config.Auth == "token" {
		return s.secret(ctx)
	}
	if err := take(ctx, s.turn); err != nil {
		return "", err
	}
	defer func() { <-s.turn }()
	age := s.config.Now().Sub(s.made)
	var err error
	switch {
	case s.token == "" || age < 0 || s.life > 0 && age >= s.life:
		err = s.login(ctx)
	case s.life > 0 && age >= s.life/3*2:
		err = s.prolong(ctx)
	}
	return s.token, err
}

// prolong renews the token or replaces it. While neither works because Vault is
// away, the token is good for the rest of its time.
func (s *session) prolong(ctx context.Context) error {
	if s.renewable && s.renew(ctx) {
		return nil
	}
	if err := s.login(ctx); err != nil && !fault.Is(err, fault.Unavailable) {
		return err
	}
	return nil
}

// grant is what a login or a renewal answers.
type grant struct {
	Auth struct {
		Token     string `json:"client_token"`
		Seconds   int64  `json:"lease_duration"`
		Renewable bool   `json:"renewable"`
	} `json:"auth"`
}

// renew reports whether the token got at least half of its former time again. It
// does not when its maximal time is near.
func (s *session) renew(ctx context.Context) bool {
	began := s.config.Now()
	var g grant
	err := s.client.send(ctx, s.token, http.MethodPost, "auth/token/renew-self", struct{}{}, &g)
	if err != nil || time.Duration(g.Auth.Seconds)*time.Second < s.life/2 {
		return false
	}
	s.made = began
	return true
}

// login gets a new token.
func (s *session) login(ctx context.Context) error {
	secret, err := s.secret(ctx)
	if err != nil {
		return err
	}
	in := map[string]string{"role_id": s.config.Role, "secret_id": secret}
	if s.config.Auth == "kubernetes" {
		in = map[string]string{"role": s.config.Role, "jwt": secret}
	}
	began := s.config.Now()
	var g grant
	err = s.client.send(ctx, "", http.MethodPost, "auth/"+s.config.AuthMount+"/login", in, &g)
	switch {
	case has(err, http.StatusBadRequest), has(err, http.StatusUnauthorized), has(err, http.StatusForbidden), has(err, http.StatusNotFound):
		return fault.New(fault.Denied, "sign in to Vault at %s by %s: %w", s.client.base.Host, s.config.AuthMount, err).
			WithHint("check role and secret, and whether the secret has expired")
	case err != nil:
		return outward("sign in", "Vault at "+s.client.base.Host, err)
	case !isToken(g.Auth.Token) || g.Auth.Seconds < 0:
		return nonsense("sign in to Vault: the answer of %s holds no token", s.client.base.Host)
	}
	s.token, s.made, s.renewable = g.Auth.Token, began, g.Auth.Renewable
	s.life = time.Duration(g.Auth.Seconds) * time.Second
	return nil
}

// replace returns another token than old, which Vault does not know any more, or
// old itself when there is none.
func (s *session) replace(ctx context.Context, old string) (string, error) {
	if s.config.Auth == "token" {
		return s.secret(ctx)
	}
	if err := take(ctx, s.turn); err != nil {
		return "", err
	}
	defer func() { <-s.turn }()
	if age := s.config.Now().Sub(s.made); s.token != old || age >= 0 && age < freshFor {
		return s.token, nil
	}
	err := s.login(ctx)
	return s.token, err
}

// secret reads the configured secret.
func (s *session) secret(ctx context.Context) (string, error) {
	secret, err := s.config.Secret(ctx)
	if err != nil {
		return "", fault.New(fault.Unavailable, "read the secret to sign in to Vault by %s: %w", s.config.AuthMount, err)
	}
	if secret = strings.TrimSpace(secret); !isToken(secret) {
		return "", fault.New(fault.Unavailable, "read the secret to sign in to Vault by %s: it is empty or no text of one line", s.config.AuthMount)
	}
	return secret, nil
}

// isToken reports whether text can be sent as a token.
func isToken(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}

// take waits for a turn.
func take(ctx context.Context, turn chan struct{}) error {
	select {
	case turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fault.New(fault.Unavailable, "waiting for Vault: %w", ctx.Err())
	}
}
