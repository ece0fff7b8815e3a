package engine

import (
	"context"
	"slices"
	"strconv"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/keyring"
	"github.com/underseal/underseal/internal/store"
)

const renewIndex = "index"

// renewTerms is RenewKeys for index tokens: those of business keys and searchable fields
// of all instances, ended ones too, are made anew under the newest index key, and those of
// former values taken away. One entry of the log tells of each page, in the page's own
// transaction. A token that a step writes meanwhile under a key before is found as well,
// and met the next time.
func (e *Engine) renewTerms(ctx context.Context, c Caller, page Page, limit int) (api.KeysRenewed, error) {
	after, err := page.instance()
	if err != nil {
		return api.KeysRenewed{}, err
	}
	keys, err := e.ring.PurposeKeys(ctx, c.Scope.Tenant(), keyring.Index)
	if err != nil {
		return api.KeysRenewed{}, err
	}
	rows, err := e.store.Instances(ctx, c.Scope, store.InstanceFilter{After: after, Limit: limit + 1})
	if err != nil {
		return api.KeysRenewed{}, err
	}
	rows, next := cut(rows, limit, func(r store.ListedInstance) string { return textID(r.ID) })
	out := api.KeysRenewed{Seen: len(rows), Next: next}
	var changes []store.TokenChange
	var changed canon.List
	for _, row := range rows {
		some, err := e.outdatedTokens(ctx, c, row.ID, keys)
		switch {
		case fault.Is(err, fault.Unavailable):
			return api.KeysRenewed{}, err
		case err != nil:
			out.Failed = append(out.Failed, textID(row.ID))
		case len(some) > 0:
			out.Renewed++
			changes, changed = append(changes, some...), append(changed, canon.String(textID(row.ID)))
		}
	}
	if len(changes) == 0 {
		return out, nil
	}
	return out, e.renewTokens(ctx, c, changes, act{kind: "index_key.terms_renewed", act: "admin", actor: c, fields: []fieldWrite{
		{path: "$index_key", value: canon.String(strconv.Itoa(len(keys)))},
		{path: "$instances", value: changed},
	}})
}

// renewTokens makes changes of tokens durable, with the entry that tells of them. It takes
// turns with erasures, which take rows of the same table away.
func (e *Engine) renewTokens(ctx context.Context, c Caller, changes []store.TokenChange, told act) error {
	defer e.custodies.lock(c.Scope)()
	entry, leave, err := e.entry(ctx, c.Scope, told)
	if err != nil {
		return err
	}
	defer leave()
	release, err := e.people.hold(&c)
	if err != nil {
		return err
	}
	defer release()
	if err := e.durable("commit " + told.kind); err != nil {
		return err
	}
	return e.store.RenewTokens(context.WithoutCancel(ctx), c.Scope, changes, entry)
}

// outdatedTokens returns the changes after which an instance is found under the newest
// index key alone, and by its present values.
func (e *Engine) outdatedTokens(ctx context.Context, c Caller, id store.ID, keys []envelope.Key) (changes []store.TokenChange, err error) {
	err = e.useListed(ctx, c, id, func(l *Live) error {
		rows, err := e.store.ObjectTokens(ctx, c.Scope, id)
		if err != nil {
			return err
		}
		terms, err := e.terms(ctx, l, keys)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if change, outdated := outdatedToken(row, terms); outdated {
				changes = append(changes, change)
			}
		}
		return nil
	})
	return changes, err
}

// outdatedToken returns what becomes of a row. A business key never changes, so a token
// of another one is not ours, and stays for fsck to name.
func outdatedToken(row store.PlacedToken, terms []foundBy) (change store.TokenChange, outdated bool) {
	change.Old = row
	for _, w := range terms {
		if at := slices.Index(w.tokens, row.Token); at >= 0 && w.kind == row.Kind {
			change.New = w.tokens[0]
			return change, at > 0
		}
	}
	return change, row.Kind == store.SearchToken
}
