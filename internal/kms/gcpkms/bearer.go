package gcpkms

import (
	"context"
	"net/http"
	"sync"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
	"google.golang.org/api/cloudkms/v1"

	"github.com/underseal/underseal/internal/fault"
)

// A bearer sends requests with an access token. Tokens live for an hour and are
// asked for one at a time; a request whose context ends stops waiting for one.
type bearer struct {
	config Config
	client *http.Client // asks for tokens
	base   http.RoundTripper

	mu    sync.Mutex // guards token, also while one is asked for
	token *oauth2.Token
}

// RoundTrip implements http.RoundTripper.
func (b *bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	token, err := b.wait(r.Context())
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	token.SetAuthHeader(r)
	return b.base.RoundTrip(r)
}

// wait returns a token, or gives up when ctx is done. The library for ambient
// credentials takes no context; it ends by its own time limits.
func (b *bearer) wait(ctx context.Context) (*oauth2.Token, error) {
	type result struct {
		token *oauth2.Token
		err   error
	}
	done := make(chan result, 1)
	go func() {
		token, err := b.current(ctx)
		done <- result{token, err}
	}()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-done:
		return r.token, r.err
	}
}

// current returns the token that is in use, or a new one.
func (b *bearer) current(ctx context.Context) (*oauth2.Token, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.token.Valid() {
		return b.token, nil
	}
	source, err := b.source(context.WithValue(ctx, oauth2.HTTPClient, b.client))
	if err != nil {
		return nil, err
	}
	b.token, err = source.Token()
	return b.token, err
}

func (b *bearer) source(ctx context.Context) (oauth2.TokenSource, error) {
	if b.config.Ambient {
		return google.DefaultTokenSource(ctx, cloudkms.CloudkmsScope)
	}
	text, err := b.config.Credentials(ctx)
	if err != nil {
		return nil, err
	}
	// Other kinds of credentials name programs to run and addresses to ask:
	// whoever wants those says ambient.
	account, err := google.JWTConfigFromJSON([]byte(text), cloudkms.CloudkmsScope)
	if err != nil {
		return nil, fault.New(fault.Invalid, "credentials are not the JSON key of a service account")
	}
	return account.TokenSource(ctx), nil
}
