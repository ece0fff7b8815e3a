package engine_test

import (
	"context"
	"io/fs"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/underseal/underseal/internal/blob"
	"github.com/underseal/underseal/internal/blob/s3"
	"github.com/underseal/underseal/internal/blob/s3/s3test"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/node"
	"github.com/underseal/underseal/internal/pgtest"
	"github.com/underseal/underseal/internal/testenv"
)

// TestFilesInEveryStore brings files in and out, over restarts, wherever a node
// can keep them, and looks where they are.
func TestFilesInEveryStore(t *testing.T) {
	t.Parallel()
	own := func(c *node.Config) { c.OpenBlobs = nil }
	t.Run("files", func(t *testing.T) {
		env := testenv.New(t, own)
		fileInAndOut(t, env)
		kept := 0
		err := filepath.WalkDir(filepath.Join(env.Config.Data, "blobs"), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			kept++
			sealed, err := os.ReadFile(path)
			if err == nil && (len(sealed) < 3 || sealed[0] != 0xF5 || sealed[2] != 2) {
				t.Errorf("%s is no sealed stream", path)
			}
			return err
		})
		if err != nil || kept != 5 {
			t.Errorf("%d files are kept, %v", kept, err)
		}
	})
	t.Run("rows", func(t *testing.T) {
		dsn := pgtest.Database(t)
		fileInAndOut(t, testenv.New(t, func(c *node.Config) { own(c); c.DSN = dsn }))
		if n := blobRows(t, dsn); n != 5 {
			t.Errorf("%d blobs are rows", n)
		}
	})
	t.Run("files of a server on Postgres", func(t *testing.T) {
		dsn := pgtest.Database(t)
		fileInAndOut(t, testenv.New(t, func(c *node.Config) { own(c); c.DSN, c.Blobs = dsn, node.BlobsInFiles }))
		if n := blobRows(t, dsn); n != 0 {
			t.Errorf("%d blobs are rows", n)
		}
	})
	t.Run("S3", func(t *testing.T) {
		service := httptest.NewTLSServer(&s3test.Fake{AccessKey: "AKIDEXAMPLE"})
		defer service.Close()
		fileInAndOut(t, testenv.New(t, func(c *node.Config) {
			c.OpenBlobs = func(deployment string) (blob.Store, error) {
				return s3.Open(s3.Config{
					Endpoint: service.URL, Bucket: "files", AccessKey: "AKIDEXAMPLE", SecretKey: "example", Deployment: deployment,
					Transport: service.Client().Transport,
				})
			}
		}))
	})
}

func blobRows(t *testing.T, dsn string) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM underseal.blobs WHERE size IS NOT NULL`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAStoreOfFilesThatCannotBeIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{node.BlobsInRows, "elsewhere"} {
		cfg := node.Config{Data: filepath.Join(dir, name), KeyFile: filepath.Join(dir, name+".key"), Create: true, Blobs: name}
		n, err := node.Open(t.Context(), cfg)
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("%s on SQLite: %v", name, err)
		}
		if err == nil {
			n.Close()
		}
	}
}
