package oidc

import "github.com/underseal/underseal/internal/network"

// Dials reports whether an address may be connected to when the operator has allowed none.
func Dials(host string) (bool, error) {
	err := reach(network.List{}).mayDial("tcp", host+":443", nil)
	return err == nil, err
}
