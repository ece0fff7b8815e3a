package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/underseal/underseal/internal/fault"
)

// String returns the id as a UUID.
func (id ID) String() string { return uuid.UUID(id).String() }

// ParseID reads what String wrote, and no other spelling.
func ParseID(text string) (ID, error) {
	u, err := uuid.Parse(text)
	if err != nil || u.String() != text {
		return ID{}, fault.New(fault.Invalid, "malformed id %q: want a UUID in lower case", text)
	}
	return ID(u), nil
}

// bind turns arguments into what both drivers take, in place: integers of every
// size, ids and hashes as bytes, times as microseconds. A nil slice of bytes is
// an empty value, never NULL; a nil pointer to a hash is NULL.
func bind(args []any) []any {
	for i, arg := range args {
		args[i] = bound(arg)
	}
	return args
}

func bound(arg any) any {
	switch v := arg.(type) {
	case ID:
		return v[:]
	case [16]byte:
		return v[:]
	case [32]byte:
		return v[:]
	case *[32]byte:
		if v == nil {
			return nil
		}
		return v[:]
	case []byte:
		if v == nil {
			return []byte{}
		}
		return v
	case int:
		return int64(v)
	case uint8:
		return int64(v)
	case uint32:
		return int64(v)
	case uint64:
		return int64(v) // counters of ours; never near 2^63
	case time.Time:
		if v.IsZero() {
			return nil
		}
		return v.UnixMicro()
	case Kind:
		return string(v)
	case TokenKind:
		return int64(v)
	}
	return arg
}

// row is one row of a result.
type row struct{ scanner }

type scanner interface{ Scan(dest ...any) error }

// scan reads the row's columns; it is the counterpart of bind.
func (r row) scan(dest ...any) error {
	for i, d := range dest {
		switch v := d.(type) {
		case *ID:
			dest[i] = fixed(v[:])
		case *[16]byte:
			dest[i] = fixed(v[:])
		case *[32]byte:
			dest[i] = fixed(v[:])
		case *uint64:
			dest[i] = counter{v}
		case *time.Time:
			dest[i] = moment{v}
		case *[]byte:
			dest[i] = copied{v}
		}
	}
	err := r.Scan(dest...)
	switch {
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		// Nobody waits for the row any more; it says nothing about the row.
		return fault.New(fault.Unavailable, "gave up reading the database: %w", err)
	case err != nil:
		return fault.New(fault.Integrity, "read a row of the database: %w", err)
	}
	return nil
}

// collect returns the rows of a query, each read by read.
func collect[T any](ctx context.Context, b backend, tenant, text string, args []any, read func(row, *T) error) ([]T, error) {
	var all []T
	err := b.each(ctx, tenant, text, args, func(r row) error {
		var v T
		if err := read(r, &v); err != nil {
			return err
		}
		all = append(all, v)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// fixed receives a value of exactly its length.
type fixed []byte

func (f fixed) Scan(src any) error {
	b, ok := src.([]byte)
	if !ok || len(b) != len(f) {
		return fmt.Errorf("want %d bytes, got %d (%T)", len(f), len(b), src)
	}
	copy(f, b)
	return nil
}

// counter receives what bound made of a counter. A negative one was written by somebody
// else: it fits nothing, and must not keep other rows from being read.
type counter struct{ to *uint64 }

func (c counter) Scan(src any) error {
	n, ok := src.(int64)
	if !ok {
		return fmt.Errorf("want an integer, got %T", src)
	}
	*c.to = uint64(n)
	return nil
}

// copied receives bytes; none is an empty slice, not nil.
type copied struct{ to *[]byte }

func (c copied) Scan(src any) error {
	b, ok := src.([]byte)
	if !ok && src != nil {
		return fmt.Errorf("want bytes, got %T", src)
	}
	*c.to = append(make([]byte, 0, len(b)), b...)
	return nil
}

// moment receives microseconds since 1970; NULL is the zero time.
type moment struct{ to *time.Time }

func (m moment) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*m.to = time.Time{}
	case int64:
		*m.to = time.UnixMicro(v).UTC()
	default:
		return fmt.Errorf("want a time in microseconds, got %T", src)
	}
	return nil
}

// values is a row as the SQLite driver gives it, read without database/sql.
type values []driver.Value

func (vs values) Scan(dest ...any) error {
	if len(dest) != len(vs) {
		return fmt.Errorf("want %d columns, got %d", len(dest), len(vs))
	}
	for i, d := range dest {
		if err := assign(d, vs[i]); err != nil {
			return fmt.Errorf("column %d: %w", i+1, err)
		}
	}
	return nil
}

func assign(dest any, src driver.Value) error {
	if s, ok := dest.(interface{ Scan(any) error }); ok {
		return s.Scan(src)
	}
	n, isInt := src.(int64)
	text, isText := src.(string)
	switch d := dest.(type) {
	case *string:
		*d = text
		isInt = isText
	case *int64:
		*d = n
	case *int:
		*d = int(n)
	case *uint32:
		*d = uint32(n)
	case *uint64:
		*d = uint64(n)
	case *bool:
		*d = n != 0
	default:
		return fmt.Errorf("cannot read into %T", dest)
	}
	if !isInt {
		return fmt.Errorf("cannot read %T into %T", src, dest)
	}
	return nil
}
