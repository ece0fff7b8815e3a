package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/underseal/underseal/internal/backup"
)

type backupCmd struct {
	Dir          string `arg:"" help:"Directory of this backup; gets two directories, data and keys. Neither may exist." type:"path"`
	Data         string `name:"data" conf:"data" help:"${doc_data}" placeholder:"DIR"`
	Database     string `conf:"database" help:"${doc_database}" placeholder:"REFERENCE"`
	KeysDatabase string `conf:"keys_database" help:"${doc_keys_database}" placeholder:"REFERENCE"`

	AcceptUnproven bool `name:"accept-unproven" help:"Make the backup although steps of signers are under no signed head of the log. It waits a minute for heads, and is refused then: restored, there may be no evidence of what these keys sign."`
}

func (backupCmd) Help() string {
	return opensDatabase + " One may run meanwhile. Keep data and keys apart, and the keys for as long as an erasure may take. The key file and files in S3 are not in it."
}

// backedUp says what was copied.
type backedUp struct {
	Data  string `json:"data"` // directory
	Keys  string `json:"keys"`
	Files int    `json:"files"`
	Bytes int64  `json:"bytes"`

	Deployment string       `json:"deployment"`
	Logs       []backup.Log `json:"logs"`
	Missing    string       `json:"missing,omitempty"` // what is kept elsewhere and was not copied
}

func (c *backupCmd) Run(ctx context.Context, e *env) error {
	if err := e.settings.checkPlaces("data"); err != nil {
		return err
	}
	src, err := e.settings.backupSource()
	if err != nil {
		return err
	}
	src.Unproven = c.AcceptUnproven
	data, keys, err := backup.Make(ctx, src, c.Dir)
	if err != nil {
		return err
	}
	done := backedUp{
		Data: filepath.Join(c.Dir, backup.Data), Keys: filepath.Join(c.Dir, backup.Keys),
		Deployment: data.Deployment, Logs: data.Logs,
	}
	for _, file := range append(data.Content, keys.Content...) {
		done.Files++
		done.Bytes += file.Size
	}
	if data.Files != backup.FilesBelow && data.Files != backup.FilesInRows {
		done.Missing = "files: they are in " + data.Files
	}
	return e.result(done, func(w io.Writer) {
		pairs(w, append([]string{"data", done.Data, "keys", done.Keys + "  (keep them apart from the data)",
			"copied", fmt.Sprintf("%s, %d bytes", counted(done.Files, "file"), done.Bytes), "not copied", done.Missing}, logPairs(done.Logs)...)...)
	})
}

// logPairs say how far the logs of a copy were signed.
func logPairs(logs []backup.Log) (kv []string) {
	for _, log := range logs {
		kv = append(kv, "log", fmt.Sprintf("%s, %d entries signed", log.Origin, log.Size))
	}
	return kv
}

func (s *settings) backupSource() (src backup.Source, err error) {
	src = backup.Source{Data: s.Data, Files: s.Blobs, Now: time.Now}
	if s.Database != "" {
		if src.DSN, err = secretText("database", s.Database); err != nil {
			return src, err
		}
	}
	if s.KeysDatabase != "" {
		if src.KeysDSN, err = secretText("keys_database", s.KeysDatabase); err != nil {
			return src, err
		}
	}
	if src.Files == "" && src.DSN != "" {
		src.Files = backup.FilesInRows
	} else if src.Files == "" {
		src.Files = backup.FilesBelow
	}
	return src, nil
}
