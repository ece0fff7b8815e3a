package store

import (
	"fmt"
	"strings"
	"sync"
)

// update changes rows of a table, each found by its key. On SQLite many rows are
// changed by one statement: what it does for each statement (a savepoint of its own
// with copies of pages, where a foreign key is checked) is more than for a row.
type update struct {
	set     string // UPDATE table SET column = $n, ..
	where   string // column = $n AND .., as in set the parameters of one row
	columns int    // parameters of a row, at most 9

	texts sync.Map // number of rows -> text
}

// one is the statement for one row.
func (u *update) one() string { return u.set + " WHERE " + u.where }

// text returns the statement for n rows. No two of them may name the same row.
func (u *update) text(n int) string {
	if n == 1 {
		return u.one()
	}
	if text, ok := u.texts.Load(n); ok {
		return text.(string)
	}
	// Parameters without numbers: SQLite looks for the name of one that has a number
	// by going through all of them.
	row := "(" + strings.Repeat("?, ", u.columns-1) + "?)"
	text := fmt.Sprintf("%s FROM (VALUES %s) AS new WHERE %s", ofColumns(u.set), strings.Repeat(row+", ", n-1)+row, ofColumns(u.where))
	u.texts.Store(n, text)
	return text
}

// ofColumns names the columns of a list of values instead of parameters.
func ofColumns(text string) string { return strings.ReplaceAll(text, "$", "new.column") }
