package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/underseal/underseal/api"
)

type logCmd struct {
	Checkpoint logCheckpointCmd `cmd:"" help:"Print the newest signed head of a log."`
	Prove      logProveCmd      `cmd:"" help:"Prove that a step is in its log, or that a log continues itself."`
	Policy     logPolicyCmd     `cmd:"" help:"Print a policy for whoever checks evidence."`
	Mirror     logMirrorCmd     `cmd:"" help:"Copy a log, and notice when it is no longer the one that was copied."`
	Readers    logReadersCmd    `cmd:"" help:"Who may read and copy the log without other credentials."`
}

type logReadersCmd struct {
	List   logReadersListCmd   `cmd:"" default:"withargs" help:"List who was given a path, revoked ones too."`
	Create logReadersCreateCmd `cmd:"" help:"Make a path for somebody."`
	Revoke logReadersRevokeCmd `cmd:"" help:"End a path, at once."`
}

func (logReadersCmd) Help() string { return withoutCommand("log readers") }

type logReadersListCmd struct {
	pageFlags
	clientFlags
}

func (logReadersListCmd) Help() string { return talksToServer }

func (c *logReadersListCmd) Run(ctx context.Context, e *env) error {
	cl, err := e.connect()
	if err != nil {
		return err
	}
	list, err := cl.LogReaders(ctx, c.page())
	if err != nil {
		return err
	}
	return e.result(list, func(w io.Writer) {
		var rows [][]string
		for _, r := range list.Items {
			rows = append(rows, []string{r.ID, r.Name, r.By, stamp(r.Made), stampOf(r.Revoked)})
		}
		table(w, []string{"READER", "FOR", "BY", "SINCE", "REVOKED"}, rows)
		more(w, list.Next)
	})
}

type logReadersCreateCmd struct {
	Name   string `arg:"" help:"Whom the path is for."`
	Output string `short:"o" help:"Write the address into a new file that only you can read, instead of printing it." placeholder:"FILE" type:"path"`
	clientFlags
}

func (logReadersCreateCmd) Help() string {
	return talksToServer + " The address is told this once; whoever has it can read the log, which holds no values, until it is revoked. " +
		"It begins with what --server says: name the server as the reader reaches it. " +
		"ADDRESS/SHARD is the prefix of a log for any client of C2SP tlog-tiles; underseal log mirror copies all of it."
}

func (c *logReadersCreateCmd) Run(ctx context.Context, e *env) (err error) {
	cl, err := e.connect()
	if err != nil {
		return err
	}
	if c.Output == "" {
		made, err := cl.CreateLogReader(ctx, c.Name)
		if err != nil {
			return err
		}
		address := e.readersAddress(made)
		return e.result(newReader{made, address}, func(w io.Writer) { fmt.Fprintln(w, address) })
	}
	// The file comes first: an address that cannot be written down is lost.
	file, err := newFile(c.Output, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, file.Close()); err != nil {
			os.Remove(c.Output)
		}
	}()
	made, err := cl.CreateLogReader(ctx, c.Name)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(file, e.readersAddress(made)); err != nil {
		return err
	}
	return e.result(made.LogReader, func(w io.Writer) { pairs(w, "reader", made.ID, "for", made.Name, "address in", c.Output) })
}

// readersAddress is what a reader gets: the server as this command reached it, and
// the reader's path there.
func (e *env) readersAddress(made api.NewLogReader) string {
	return strings.TrimSuffix(e.settings.Server, "/") + made.Path
}

// newReader is a reader as --json prints it.
type newReader struct {
	api.NewLogReader
	Address string `json:"address"`
}

type logReadersRevokeCmd struct {
	Reader string `arg:"" help:"Id of the reader."`
	clientFlags
}

func (logReadersRevokeCmd) Help() string { return talksToServer }

func (c *logReadersRevokeCmd) Run(ctx context.Context, e *env) error {
	cl, err := e.connect()
	if err != nil {
		return err
	}
	r, err := cl.RevokeLogReader(ctx, c.Reader)
	if err != nil {
		return err
	}
	return e.result(r, func(w io.Writer) { pairs(w, "reader", r.ID, "for", r.Name, "revoked", stampOf(r.Revoked)) })
}
