package store

import (
	"fmt"
	"strings"
	"sync"
)

// insert adds rows to a table. Statements of one insert can be joined: one that
// adds n rows costs a fraction of n that add one.
type insert struct {
	into    string // INSERT INTO table (columns)
	columns int
	after   string // ON CONFLICT ..; may be empty
	// shared is how many columns, the first ones, all rows of a statement have in
	// common: they are among its arguments once.
	shared int

	texts sync.Map // number of rows, each with all its columns -> text
}

// text returns the statement for n rows that share nothing.
func (in *insert) text(n int) string {
	if text, ok := in.texts.Load(n); ok {
		return text.(string)
	}
	text := in.textOf(n, 0)
	in.texts.Store(n, text)
	return text
}

// textOf returns the statement for n rows that have their first columns in common.
func (in *insert) textOf(n, shared int) string {
	rows := make([]string, n)
	own := in.columns - shared
	for i := range rows {
		columns := make([]string, in.columns)
		for c := range columns {
			place := c + 1
			if c >= shared {
				place += i * own
			}
			columns[c] = fmt.Sprintf("$%d", place)
		}
		rows[i] = "(" + strings.Join(columns, ", ") + ")"
	}
	return strings.TrimRight(in.into+" VALUES "+strings.Join(rows, ", ")+" "+in.after, " ")
}

// one is the statement that adds one row.
func (in *insert) one(args ...any) statement {
	return statement{text: in.text(1), args: args, insert: in}
}

// spread appends the rows of a statement's arguments, each with all its columns.
func (in *insert) spread(rows, args []any) []any {
	common, rest := args[:in.shared], args[in.shared:]
	for len(rest) > 0 {
		own := in.columns - in.shared
		rows = append(append(rows, common...), rest[:own]...)
		rest = rest[own:]
	}
	return rows
}

// mostJoined is how many rows one statement adds at most; a power of two.
const mostJoined = 64

// joinUnits returns what the units do as one unit. What is not an insert comes
// first, unit by unit: heads, whose row locks order racers, and deletions. Then
// come the rows, table by table, a power of two at a time, so that a connection
// has few statements to prepare.
func joinUnits(units []*gathered) (joined []statement) {
	var tables []*insert
	rows := map[*insert][]any{}
	for _, u := range units {
		for i := range u.unit {
			s := &u.unit[i]
			if s.insert == nil {
				joined = append(joined, s.anonymous())
				continue
			}
			if rows[s.insert] == nil {
				tables = append(tables, s.insert)
			}
			rows[s.insert] = s.insert.spread(rows[s.insert], s.args)
		}
	}
	for _, in := range tables {
		joined = in.join(joined, rows[in])
	}
	return joined
}

// anonymous is the statement in a group, which is not refused in the name of one
// unit: what the database says is looked at for each alone.
func (s statement) anonymous() statement {
	s.refused = nil
	return s
}

func (in *insert) join(unit []statement, rows []any) []statement {
	for n := mostJoined; len(rows) > 0; n /= 2 {
		for size := n * in.columns; len(rows) >= size; rows = rows[size:] {
			unit = append(unit, statement{text: in.text(n), args: rows[:size:size]})
		}
	}
	return unit
}

// canJoin reports whether a unit is nothing but a usual step or an entry, which
// touches rows of its own object only.
func canJoin(unit []statement) bool {
	for i := range unit {
		if unit[i].insert == nil && !unit[i].early {
			return false
		}
	}
	return true
}
