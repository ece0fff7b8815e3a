package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/underseal/underseal/internal/backup"
	"github.com/underseal/underseal/internal/engine"
)

type restoreCmd struct {
	DataBackup string `help:"Directory data of a backup." placeholder:"DIR" type:"path"`
	KeysBackup string `help:"Directory keys of the same backup or of a later one. Without it the keys that are in place stay." placeholder:"DIR" type:"path"`
	InPlace    bool   `help:"Data and keys were put in place by other means: only go on with them."`
	storeFlags
}

func (restoreCmd) Help() string {
	return opensDatabase + " Puts a backup into a place that holds nothing, carries out erasures that it does not know of, and goes on in a new log whose first leaves name the last head that is known. serve refuses data that are behind it until then."
}

// restored says what was put back.
type restored struct {
	Deployment string     `json:"deployment,omitempty"`
	Copied     *time.Time `json:"copied,omitempty"` // when the backup of the data began
	Data       string     `json:"data,omitempty"`

	Logs     []backup.Log      `json:"logs,omitempty"` // of the backup: what was signed after it is lost
	Reopened []engine.Reopened `json:"reopened,omitempty"`
}

func (c *restoreCmd) Run(ctx context.Context, e *env) error {
	if c.InPlace == (c.DataBackup != "") || c.InPlace && c.KeysBackup != "" {
		return &usage{text: "name a backup by --data-backup (and --keys-backup), or say --in-place, and not both"}
	}
	if err := e.settings.checkPlaces("data", "root_key_file"); err != nil {
		return err
	}
	src, err := e.settings.backupSource()
	if err != nil {
		return err
	}
	var done restored
	if !c.InPlace {
		data, err := backup.Restore(ctx, backup.Target{Data: src.Data, DSN: src.DSN, KeysDSN: src.KeysDSN}, c.DataBackup, c.KeysBackup)
		if err != nil {
			return err
		}
		done = restored{Deployment: data.Deployment, Copied: &data.Began, Logs: data.Logs}
	}
	if src.DSN == "" {
		done.Data = src.Data
	}
	if done.Reopened, err = goOnRestored(ctx, e); err != nil {
		return err
	}
	return e.result(done, done.write)
}

func (r *restored) write(w io.Writer) {
	kv := append([]string{"restored", r.Data, "deployment", r.Deployment, "as of", stampOf(r.Copied)}, logPairs(r.Logs)...)
	for _, log := range r.Reopened {
		kv = append(kv, "goes on in", log.Log)
		if log.Uncovered > 0 {
			kv = append(kv, "without proof", withoutProof(log.Uncovered))
		}
		for _, lost := range log.Lost {
			kv = append(kv, "lost", fmt.Sprintf("the newest %d of %d entries that were signed of %s", lost.Signed-lost.Restored, lost.Signed, lost.Log))
		}
		if len(log.Lost) == 0 {
			kv = append(kv, "lost", "nothing that the keys know of; those of the backup do not know what was signed after it")
		}
	}
	pairs(w, kv...)
}
