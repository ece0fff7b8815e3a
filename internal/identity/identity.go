// Package identity knows who is calling.
//
// For now that is the bearer of an API key. A key is looked up by a keyed hash
// (an index token) and its row is sealed, so that neither reading nor writing
// the database gives anybody a usable key.
package identity

import "github.com/underseal/underseal/internal/store"

// Caller is somebody who proved who they are. Only this package makes one.
type Caller struct {
	Scope     store.Scope // the tenant the caller was admitted to
	Principal string      // the principal's id
	Key       string      // id of the credential that was used
	Address   string      // network address the request came from
}
