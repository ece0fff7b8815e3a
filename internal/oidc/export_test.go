package oidc

import (
	"strconv"

	"github.com/underseal/underseal/internal/identity"
	"github.com/underseal/underseal/internal/network"
)

// Dials reports whether an address may be connected to when the operator has allowed none.
func Dials(host string) (bool, error) {
	err := reach(network.List{}).mayDial("tcp", host+":443", nil)
	return err == nil, err
}

// FillLogouts has an issuer of a tenant sign people out until it may sign out but some more.
func FillLogouts(c *Client, tenant string, i identity.Issuer, left int) error {
	for n := range maxLogouts - left {
		if err := c.once(signsOut{tenant, i.URL, i.Client}, strconv.Itoa(n), c.now().Add(logoutAge+skew), func() error { return nil }); err != nil {
			return err
		}
	}
	return nil
}
