package engine

import (
	"context"

	"github.com/underseal/underseal/internal/canon"
)

// operator is who acts on the server's machine, with its files.
const operator = "operator"

// CreateAPIKey makes a principal's API key and returns its text, which is kept
// nowhere else. It is for whoever has the server's files, and asks nobody.
func (e *Engine) CreateAPIKey(ctx context.Context, principal string, roles ...string) (string, error) {
	key, err := e.identity.NewAPIKey(ctx, principal, roles...)
	if err != nil {
		return "", err
	}
	if err := e.SettleKeyOrders(ctx); err != nil { // the tenant's keys may have been made just now
		return "", err
	}
	list := make(canon.List, len(roles))
	for i, role := range roles {
		list[i] = canon.String(role)
	}
	entry, leave, err := e.entry(ctx, key.Scope, act{
		kind: "api_key.created", act: "admin", actor: Caller{Principal: operator},
		fields: []fieldWrite{{path: "$key", value: newContext(
			canon.Entry{Name: "id", Value: canon.String(key.ID)},
			canon.Entry{Name: "principal", Value: canon.String(principal)},
			canon.Entry{Name: "roles", Value: list},
		)}},
	})
	if err != nil {
		return "", err
	}
	defer leave()
	if err := e.store.PutAPIKey(context.WithoutCancel(ctx), key.Scope, key.Token, key.Sealed, entry); err != nil {
		return "", err
	}
	return key.Text, nil
}
