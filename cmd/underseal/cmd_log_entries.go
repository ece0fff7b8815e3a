package main

import (
	"context"
	"io"
	"strconv"

	"github.com/underseal/underseal/api"
)

type logEntriesCmd struct {
	Shard string `help:"Of this log, \"2026\" (default: the newest)." placeholder:"NAME"`
	Kind  string `help:"Only entries of this kind, 'data.shown', or of all kinds that begin so, 'data.'." placeholder:"KIND"`
	pageFlags
	clientFlags
}

func (logEntriesCmd) Help() string {
	return talksToServer + " Oldest first. An entry is a step of an instance, or of something else that has steps (a definition, an erasure, a signer, the tenant's keys), or what is no step: " +
		"data shown or exported, refusals, API keys. underseal evidence --entry proves any of them. Who acted and what was shown are values, which that discloses on request."
}

func (c *logEntriesCmd) Run(ctx context.Context, e *env) error {
	cl, err := e.connect()
	if err != nil {
		return err
	}
	list, err := cl.LogEntries(ctx, api.EntryQuery{Page: c.page(), Shard: c.Shard, Kind: c.Kind})
	if err != nil {
		return err
	}
	return e.result(list, func(w io.Writer) {
		var rows [][]string
		for _, x := range list.Items {
			rows = append(rows, []string{x.Entry, stamp(x.At), x.Kind, x.Act, x.Element, stepName(x)})
		}
		table(w, []string{"ENTRY", "AT", "KIND", "BY", "ELEMENT", "STEP"}, rows)
		more(w, list.Next)
	})
}

// stepName names the step that an entry is, if it is one.
func stepName(x api.LogEntry) string {
	if x.Object == "" {
		return ""
	}
	return x.Object + " step " + strconv.FormatUint(x.Step, 10)
}
