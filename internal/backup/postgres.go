package backup

import (
	"bytes"
	"context"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/store"
)

// dump copies one schema with pg_dump, as of one moment.
func (src Source) dump(ctx context.Context, m *Manifest, to string) error {
	dsn, schema := src.schema(m.Part)
	return store.CopyPostgres(ctx, dsn, schema, func(c store.PostgresCopy) (err error) {
		if err := src.proven(c.Unproven); err != nil {
			return err
		}
		if m.Logs, err = logsOf(c.Logs); err != nil {
			return err
		}
		m.Deployment = c.Deployment
		return postgresTool(ctx, "pg_dump", dsn, "--format=custom", "--schema="+schema, "--snapshot="+c.Snapshot, "--no-password",
			"--file="+filepath.Join(to, m.Part+".dump"))
	})
}

// logs lists the logs in one schema.
func (src Source) logs(ctx context.Context, part string) (logs []Log, err error) {
	dsn, schema := src.schema(part)
	err = store.CopyPostgres(ctx, dsn, schema, func(c store.PostgresCopy) error {
		logs, err = logsOf(c.Logs)
		return err
	})
	return logs, err
}

// schema returns where a part is kept in Postgres.
func (src Source) schema(part string) (dsn, schema string) {
	if part == Data {
		return src.DSN, store.DataSchema
	}
	if src.KeysDSN != "" {
		return src.KeysDSN, store.KeysSchema
	}
	return src.DSN, store.KeysSchema
}

// postgresTool runs one of Postgres's own programs. The password goes by its
// environment, since everybody on the machine sees arguments.
func postgresTool(ctx context.Context, name, dsn string, args ...string) error {
	path, err := exec.LookPath(name)
	if err != nil {
		return fault.New(fault.NotFound, "there is no %s on this machine", name).WithCode("postgres_tools_missing").
			WithHint("install the client programs of your Postgres version (Debian: postgresql-client)")
	}
	dsn, password := withoutPassword(dsn)
	cmd := exec.CommandContext(ctx, path, append(args, "--dbname="+dsn)...)
	cmd.Env = os.Environ()
	if password != "" {
		cmd.Env = append(cmd.Env, "PGPASSWORD="+password)
	}
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		lines := strings.Split(strings.TrimSpace(said.String()), "\n")
		return fault.New(fault.Unavailable, "%s: %s", name, errors.Join(err, errors.New(lines[0])))
	}
	return nil
}

// passwordPair is the password in a connection string of key=value pairs.
var passwordPair = regexp.MustCompile(`(^|\s)password\s*=\s*('(?:[^'\\]|\\.)*'|\S+)`)

// withoutPassword takes the password out of a connection string.
func withoutPassword(dsn string) (rest, password string) {
	if u, err := url.Parse(dsn); err == nil && (u.Scheme == "postgres" || u.Scheme == "postgresql") {
		password, _ = u.User.Password()
		if u.User != nil {
			u.User = url.User(u.User.Username())
		}
		query := u.Query()
		if query.Has("password") {
			password = query.Get("password")
			query.Del("password")
			u.RawQuery = query.Encode()
		}
		return u.String(), password
	}
	found := passwordPair.FindStringSubmatch(dsn)
	if found == nil {
		return dsn, ""
	}
	password = found[2]
	if strings.HasPrefix(password, "'") {
		password = regexp.MustCompile(`\\(.)`).ReplaceAllString(password[1:len(password)-1], "$1")
	}
	return strings.TrimSpace(passwordPair.ReplaceAllString(dsn, "")), password
}
