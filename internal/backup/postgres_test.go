package backup_test

import (
	"path/filepath"
	"testing"

	"github.com/underseal/underseal/internal/backup"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/pgtest"
	"github.com/underseal/underseal/internal/testenv"
)

func TestPostgresIsCopiedAndRestored(t *testing.T) {
	dsn := pgtest.Database(t)
	env := testenv.New(t, func(c *node.Config) { c.DSN = dsn })
	env.Deploy("p.bpmn", model)
	id := env.Start("p", `{"a": "b"}`)
	dir := filepath.Join(t.TempDir(), "b")
	src := source(env)
	src.DSN, src.Files = dsn, backup.FilesInRows
	env.Restart(nil) // which waits for the last checkpoint
	data, keys, err := backup.Make(t.Context(), src, dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(data.Logs) != 1 || len(keys.Logs) != 1 || data.Logs[0].Size == 0 || data.Logs[0].Size > keys.Logs[0].Size {
		t.Errorf("logs of the data %+v, of the keys %+v", data.Logs, keys.Logs)
	}
	restore := func(to string) error {
		_, err := backup.Restore(t.Context(), backup.Target{Data: t.TempDir(), DSN: to}, filepath.Join(dir, "data"), filepath.Join(dir, "keys"))
		return err
	}
	if err := restore(dsn); fault.CodeOf(err) != "not_empty" {
		t.Errorf("restoring over data: %v", err)
	}
	empty := pgtest.Database(t)
	if err := restore(empty); err != nil {
		t.Fatal(err)
	}
	env.Restart(func() {
		env.Config.DSN = empty
		if n, err := node.Open(t.Context(), env.Config); fault.CodeOf(err) != "restore_unfinished" {
			if err == nil {
				n.Close()
			}
			t.Errorf("serving what is restored and not gone on with: %v", err)
		}
		env.Config.Restored = true
	})
	if i := env.Instance(id); i.Seq != 1 {
		t.Errorf("the restored instance is at step %d", i.Seq)
	}
}

func TestThePasswordIsNoArgument(t *testing.T) {
	tests := []struct{ dsn, rest, password string }{
		{"postgres://ann:s3cret@db:5432/x?sslmode=require", "postgres://ann@db:5432/x?sslmode=require", "s3cret"},
		{"postgresql://db/x?password=a%20b&user=ann", "postgresql://db/x?user=ann", "a b"},
		{"postgres://db/x", "postgres://db/x", ""},
		{"host=db password=s3cret user=ann", "host=db user=ann", "s3cret"},
		{`password = 'a \'b\\ c' host=db`, "host=db", `a 'b\ c`},
		{"host=db", "host=db", ""},
	}
	for _, test := range tests {
		rest, password := backup.WithoutPassword(test.dsn)
		if rest != test.rest || password != test.password {
			t.Errorf("%q became %q and %q, want %q and %q", test.dsn, rest, password, test.rest, test.password)
		}
	}
}
