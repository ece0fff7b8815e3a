//go:build !windows

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/node"
)

// apply starts one more instance and gets it to its open task, so that there is
// something to tamper with that is not over.
func (d *demo) apply(ctx context.Context) error {
	d.say("One more application waits for its decision")
	receipt, err := d.client.Start(ctx, api.StartRequest{Process: "loan", Variables: d.example("application.json")})
	if err != nil {
		return err
	}
	d.open = receipt.Instance
	return d.doJobs(ctx, 1)
}

// playAdministrator changes copies of the database by SQL, with all rights and no
// key, and shows what fsck says of each.
func (d *demo) playAdministrator(ctx context.Context) error {
	d.say("Playing the administrator of the database: SQL on a copy of it, then underseal fsck on that copy")
	for _, a := range administratorsActs {
		data := filepath.Join(d.server.dir, "copy")
		found, err := d.tamper(ctx, data, a)
		if err := errors.Join(err, os.RemoveAll(data)); err != nil {
			return err
		}
		if err := d.caught(a, found); err != nil {
			return err
		}
	}
	return nil
}

// tamper makes a copy of the data, does the act in it and checks it.
func (d *demo) tamper(ctx context.Context, data string, a administratorsAct) (found []engine.Finding, err error) {
	if err := os.Mkdir(data, 0o700); err != nil {
		return nil, err
	}
	for _, name := range []string{"keys.db", "data.db"} { // the keys first: data may be newer, never older
		if err := copyDatabase(ctx, filepath.Join(d.server.data(), name), filepath.Join(data, name)); err != nil {
			return nil, err
		}
	}
	if a.do != nil {
		db, err := openDatabaseFile(filepath.Join(data, "data.db"), "rw")
		if err != nil {
			return nil, err
		}
		if err := errors.Join(a.do(ctx, d, db), db.Close()); err != nil {
			return nil, fmt.Errorf("the administrator %s: %w", a.says, err)
		}
	}
	err = node.Check(ctx, node.Config{Data: data, KeyFile: d.server.rootKey()}, node.CheckConfig{
		Part: func(_ string, _ engine.CheckState, part []engine.Finding) error {
			found = append(found, part...)
			return nil
		},
	})
	return found, err
}

// caught shows what was found, and requires that it names what was changed.
func (d *demo) caught(a administratorsAct, found []engine.Finding) error {
	d.tell("")
	d.tell("the administrator %s", a.says)
	if a.do == nil {
		if len(found) > 0 {
			return fault.New(fault.Integrity, "fsck finds %d things in a database nobody touched: %s", len(found), found[0].What)
		}
		d.tell("  fsck: nothing found")
		return nil
	}
	for _, f := range found {
		if f.Object != a.names(d) {
			continue
		}
		d.tell("  fsck: %s", namedBy(f))
		if more := len(found) - 1; more > 0 {
			d.tell("  and %s more", counted(more, "finding"))
		}
		return nil
	}
	return fault.New(fault.Integrity, "the administrator %s, and fsck does not name it: %v", a.says, found)
}

// namedBy says in one line what a finding is about and what is wrong there.
func namedBy(f engine.Finding) string {
	switch {
	case strings.Contains(f.What, f.Object):
		return f.What
	case f.Step > 0:
		return fmt.Sprintf("object %s, table %s, step %d: %s", f.Object, f.Where, f.Step, f.What)
	}
	return fmt.Sprintf("object %s, table %s: %s", f.Object, f.Where, f.What)
}

// copyDatabase copies a database that is in use, as anybody with its file can.
func copyDatabase(ctx context.Context, from, to string) error {
	db, err := openDatabaseFile(from, "ro")
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, `VACUUM INTO ?`, to)
	return errors.Join(err, db.Close())
}

func openDatabaseFile(path, mode string) (*sql.DB, error) {
	file := url.URL{Scheme: "file", Opaque: path, RawQuery: "mode=" + mode}
	return sql.Open("sqlite", file.String())
}

// An administratorsAct is something that who has the database can do to it.
type administratorsAct struct {
	says  string
	do    func(ctx context.Context, d *demo, db *sql.DB) error // nil: nothing
	names func(d *demo) string                                 // the object that must be named
}

func ofDecided(d *demo) string { return d.big.ID }

func ofOpen(d *demo) string { return d.open }

var administratorsActs = []administratorsAct{
	{says: "only looks"},
	{says: "changes a field: one byte of the decision", names: ofDecided,
		do: func(ctx context.Context, d *demo, db *sql.DB) error {
			return changeField(ctx, db, fieldOf{d.big.ID, "approved"})
		}},
	{says: "swaps two rows: the applicants' numbers of two loans", names: ofDecided,
		do: func(ctx context.Context, d *demo, db *sql.DB) error {
			return swapFields(ctx, db, fieldOf{d.big.ID, "applicant.ssn"}, fieldOf{d.small.ID, "applicant.ssn"})
		}},
	{says: "sets a loan back to before the decision", names: ofDecided, do: setBack},
	{says: "deletes a step and its leaf: who had claimed the task", names: ofDecided,
		do: func(ctx context.Context, d *demo, db *sql.DB) error {
			return execOnce(ctx, db, d.big.ID, `DELETE FROM steps WHERE object = ? AND seq = 3`, `DELETE FROM leaves WHERE object = ? AND seq = 3`)
		}},
	{says: "gives a waiting task to a group of friends", names: ofOpen,
		do: func(ctx context.Context, d *demo, db *sql.DB) error {
			return execOnce(ctx, db, d.open, `UPDATE task_candidates SET name = 'friends' WHERE instance = ?`)
		}},
}

// A fieldOf names the newest row of a field.
type fieldOf struct{ instance, path string }

// changeField changes the last byte of a field's value.
func changeField(ctx context.Context, db *sql.DB, f fieldOf) error {
	value, row, err := readField(ctx, db, f)
	if err != nil {
		return err
	}
	value[len(value)-1] ^= 1
	return writeField(ctx, db, row, value)
}

// swapFields puts each row's value into the other row.
func swapFields(ctx context.Context, db *sql.DB, a, b fieldOf) error {
	valueA, rowA, err := readField(ctx, db, a)
	if err != nil {
		return err
	}
	valueB, rowB, err := readField(ctx, db, b)
	if err != nil {
		return err
	}
	return errors.Join(writeField(ctx, db, rowA, valueB), writeField(ctx, db, rowB, valueA))
}

func writeField(ctx context.Context, db *sql.DB, row int64, value []byte) error {
	_, err := db.ExecContext(ctx, `UPDATE fields SET value = ? WHERE rowid = ?`, value, row)
	return err
}

func readField(ctx context.Context, db *sql.DB, f fieldOf) (value []byte, row int64, err error) {
	id, err := uuid.Parse(f.instance)
	if err != nil {
		return nil, 0, err
	}
	err = db.QueryRowContext(ctx, `
		SELECT value, rowid FROM fields
		WHERE object = ? AND path = ?
		ORDER BY seq DESC
		LIMIT 1`, id[:], f.path).Scan(&value, &row)
	return value, row, err
}

// setBack puts an instance's head back to how it was before the decision, and takes
// away all that came after.
func setBack(ctx context.Context, d *demo, db *sql.DB) error {
	id, err := uuid.Parse(d.big.ID)
	if err != nil {
		return err
	}
	if _, err := db.ExecContext(ctx, `UPDATE heads SET seq = ?, body = ? WHERE object = ?`, d.before.seq, d.before.body, id[:]); err != nil {
		return err
	}
	for _, table := range []string{"steps", "leaves", "fields"} {
		if _, err := db.ExecContext(ctx, `DELETE FROM `+table+` WHERE object = ? AND seq > ?`, id[:], d.before.seq); err != nil {
			return err
		}
	}
	return nil
}

// A storedHead is an object's head as the database has it.
type storedHead struct {
	seq  int64
	body []byte
}

// keepHead keeps the head of the loan that is still to be decided on.
func (d *demo) keepHead(ctx context.Context) error {
	id, err := uuid.Parse(d.big.ID)
	if err != nil {
		return err
	}
	db, err := openDatabaseFile(filepath.Join(d.server.data(), "data.db"), "ro")
	if err != nil {
		return err
	}
	err = db.QueryRowContext(ctx, `SELECT seq, body FROM heads WHERE object = ?`, id[:]).Scan(&d.before.seq, &d.before.body)
	return errors.Join(err, db.Close())
}

// execOnce runs statements that take an instance's id, each of which must change a row.
func execOnce(ctx context.Context, db *sql.DB, instance string, statements ...string) error {
	id, err := uuid.Parse(instance)
	if err != nil {
		return err
	}
	for _, s := range statements {
		result, err := db.ExecContext(ctx, s, id[:])
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return fmt.Errorf("%s changed nothing: %w", s, err)
		}
	}
	return nil
}
