package engine

import (
	"sync"
	"time"
)

// zones looks time zones up for the interpreter, which must not read files
// itself. The database is part of the binary (time/tzdata), so a name means the
// same on every machine; each is loaded once.
type zones struct{ known sync.Map }

func (z *zones) lookup(name string) (*time.Location, bool) {
	if loc, ok := z.known.Load(name); ok {
		return loc.(*time.Location), true
	}
	if name == "" || name == "Local" {
		return nil, false
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, false
	}
	z.known.Store(name, loc)
	return loc, true
}
