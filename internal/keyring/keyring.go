// Package keyring makes, stores, caches and destroys the keys of tenants.
package keyring
