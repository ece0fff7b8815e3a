package engine

import (
	"strconv"
	"strings"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
)

// Page asks for part of a list.
type Page struct {
	After string // the Next of the page before; "": from the beginning
	Limit int    // 1 to 1000; 0: 50
}

func (p Page) limit() (int, error) {
	switch {
	case p.Limit == 0:
		return 50, nil
	case p.Limit < 0 || p.Limit > 1000:
		return 0, fault.New(fault.Invalid, "limit %d is not between 1 and 1000", p.Limit)
	}
	return p.Limit, nil
}

// cut cuts rows, of which one more than the limit was asked for, to a page, and
// returns the cursor of the next one: "" at the end.
func cut[R any](rows []R, limit int, cursor func(R) string) (page []R, next string) {
	if len(rows) <= limit {
		return rows, ""
	}
	return rows[:limit], cursor(rows[limit-1])
}

// maxUnseen is how many rows a page looks at besides those that it shows. With more in a
// row that are not for its reader, it is short and has a next one.
const maxUnseen = 1000

// filling is how a page of what its reader may see is filled.
type filling[R, C, T any] struct {
	after C                         // where it begins
	read  func(C, int) ([]R, error) // rows after that, at most as many
	at    func(R) C                 // cursor of a row
	look  func(R) (T, bool, error)  // false: it is not for the reader
	text  func(C) string
}

// fill returns a page of what its reader may see, and the cursor of the next one: "" at
// the end. Rows that are not for them make no page shorter and no cursor, so nothing tells
// that there are any.
func (f filling[R, C, T]) fill(limit int) (items []T, next string, err error) {
	last := f.after
	for looked := 0; ; {
		rows, err := f.read(f.after, limit+1)
		if err != nil {
			return nil, "", err
		}
		for _, row := range rows {
			item, seen, err := f.look(row)
			if err != nil {
				return nil, "", err
			}
			if seen && len(items) == limit {
				return items, f.text(last), nil
			}
			if f.after = f.at(row); seen {
				items, last = append(items, item), f.after
			}
		}
		if len(rows) <= limit {
			return items, "", nil
		}
		if looked += len(rows); looked >= limit+maxUnseen {
			return items, f.text(f.after), nil
		}
	}
}

// instance reads the cursor of a list of instances.
func (p Page) instance() (store.ID, error) {
	if p.After == "" {
		return store.ID{}, nil
	}
	id, err := store.ParseID(p.After)
	if err != nil {
		return id, badCursor(p.After)
	}
	return id, nil
}

// queue reads the cursor of a list of tasks or incidents.
func (p Page) queue() (store.QueueCursor, error) {
	if p.After == "" {
		return store.QueueCursor{}, nil
	}
	ref, err := parseRef("cursor", p.After)
	if err != nil {
		return store.QueueCursor{}, badCursor(p.After)
	}
	return store.QueueCursor{Instance: ref.Instance, ID: ref.Job}, nil
}

func queueText(c store.QueueCursor) string { return refText(c.Instance, c.ID) }

func badCursor(text string) error {
	return fault.New(fault.Invalid, "cursor %q is not one that a list gave", text).WithCode("invalid_cursor")
}

// parseInstanceID reads an instance's id. Text that cannot be one is NotFound,
// like an id that does not exist.
func parseInstanceID(text string) (store.ID, error) {
	id, err := store.ParseID(text)
	if err != nil {
		return id, noSuch("instance", text)
	}
	return id, nil
}

// Tasks, jobs and incidents are named by their instance and a number in it, so
// whom they belong to is never taken from anything but the instance itself.

func refText(instance store.ID, n uint64) string {
	return textID(instance) + "." + strconv.FormatUint(n, 10)
}

func parseRef(kind, text string) (JobRef, error) {
	instance, number, ok := strings.Cut(text, ".")
	id, err := store.ParseID(instance)
	n, err2 := strconv.ParseUint(number, 10, 64)
	if !ok || err != nil || err2 != nil || refText(id, n) != text {
		return JobRef{}, noSuch(kind, text)
	}
	return JobRef{id, n}, nil
}

// listedBy are the commands that list what can be named.
var listedBy = map[string]string{
	"user": "users", "group": "groups", "issuer": "issuers", "grant": "grants", "API key": "apikeys", "session": "sessions", "signer": "signers",
	"link": "users show NAME", "passkey": "passkeys", "pending deployment": "processes pending", "reader": "log readers",
	"tenant": "tenants", "hold": "holds", "break-glass": "breakglass", "instance": "instances", "task": "tasks", "incident": "incidents",
}

// noSuch is the same answer for what is not there and for what the caller may not see.
func noSuch(kind, id string) error {
	err := fault.New(fault.NotFound, "no %s %q", kind, id)
	if command, ok := listedBy[kind]; ok {
		return err.WithHint("`underseal %s` lists those that you may see", command)
	}
	return err
}
