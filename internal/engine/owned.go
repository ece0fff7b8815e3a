package engine

import (
	"context"
	"slices"
	"strings"

	"github.com/underseal/underseal/internal/store"
)

// owned is a list of what principals and groups have, such as grants. It is in the order
// of kinds, of their ids, and of the numbers in the items' ids, which grow.
type owned[I any] struct {
	kinds []store.Kind
	only  store.ID // whose alone; zero: everybody's
	of    func(context.Context, store.Kind, store.ID) ([]I, error)
	id    func(*I) string
}

// ownedPlace is a place in such a list: up to and with this number, the list was given.
type ownedPlace struct {
	kind   int // in kinds
	id     store.ID
	number uint64
}

func (o *owned[I]) cursor(p ownedPlace) string {
	return string(o.kinds[p.kind]) + "." + refText(p.id, p.number)
}

func (o *owned[I]) place(cursor string) (ownedPlace, error) {
	if cursor == "" {
		return ownedPlace{id: o.only}, nil
	}
	kind, rest, _ := strings.Cut(cursor, ".")
	ref, err := parseRef("cursor", rest)
	p := ownedPlace{slices.Index(o.kinds, store.Kind(kind)), ref.Instance, ref.Job}
	if err != nil || p.kind < 0 || o.only != (store.ID{}) && o.only != p.id {
		return p, badCursor(cursor)
	}
	return p, nil
}

// ownedPage returns a page of a list: at most limit items, of as many principals and
// groups, and the cursor of the next one. It may be empty and not the last one.
func ownedPage[I any](ctx context.Context, e *Engine, scope store.Scope, p Page, limit int, o owned[I]) (items []I, next string, err error) {
	place, err := o.place(p.After)
	if err != nil {
		return nil, "", err
	}
	items = []I{}
	if place.id != (store.ID{}) {
		full, err := o.take(ctx, &items, &place, limit)
		if err != nil || full {
			return items, o.cursor(place), err
		}
	}
	for left := limit; o.only == (store.ID{}) && place.kind < len(o.kinds); {
		if left == 0 {
			return items, o.cursor(place), nil
		}
		ids, more, err := e.dossierIDs(ctx, scope, o.kinds[place.kind], place.id, left)
		if err != nil {
			return nil, "", err
		}
		for _, id := range ids {
			place.id, place.number = id, 0
			if full, err := o.take(ctx, &items, &place, limit); err != nil || full {
				return items, o.cursor(place), err
			}
		}
		if left -= len(ids); !more {
			place = ownedPlace{kind: place.kind + 1}
		}
	}
	return items, "", nil
}

// take adds what comes next of one principal or group. Full: there is more of it.
func (o *owned[I]) take(ctx context.Context, items *[]I, p *ownedPlace, limit int) (full bool, err error) {
	all, err := o.of(ctx, o.kinds[p.kind], p.id)
	if err != nil {
		return false, err
	}
	for i := range all {
		ref, err := parseRef("item", o.id(&all[i]))
		switch {
		case err != nil:
			return false, err
		case ref.Job <= p.number:
			continue
		case len(*items) == limit:
			return true, nil
		}
		*items, p.number = append(*items, all[i]), ref.Job
	}
	return false, nil
}
