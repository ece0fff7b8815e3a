package main

import (
	"context"
	"io"
)

type incidentsCmd struct {
	List  incidentsListCmd  `cmd:"" default:"withargs" help:"List open incidents, those of the oldest instance first."`
	Retry incidentsRetryCmd `cmd:"" help:"Try again what failed."`
}

func (incidentsCmd) Help() string { return withoutCommand("incidents") }

type incidentsListCmd struct {
	Process string `help:"Only of this process." placeholder:"ID"`
	pageFlags
	purposeFlag
	clientFlags
}

func (incidentsListCmd) Help() string { return talksToServer }

func (c *incidentsListCmd) Run(ctx context.Context, e *env) error {
	cl, err := e.connectFor(c.purposeFlag)
	if err != nil {
		return err
	}
	list, err := cl.Incidents(ctx, c.Process, c.page())
	if err != nil {
		return err
	}
	return e.result(list, func(w io.Writer) {
		var rows [][]string
		for _, i := range list.Items {
			message := oneLine(i.Message)
			if len(i.Masked) > 0 {
				message = "(masked)"
			}
			rows = append(rows, []string{i.ID, i.Process, i.Element, i.Code, stamp(i.Created), i.Instance, message})
		}
		table(w, []string{"INCIDENT", "PROCESS", "ELEMENT", "CODE", "SINCE", "INSTANCE", "MESSAGE"}, rows)
		more(w, list.Next)
	})
}

type incidentsRetryCmd struct {
	Incident string `arg:"" help:"Id of the incident."`
	Retries  int    `help:"New tries for a job (default: 3)." placeholder:"N"`
	clientFlags
}

func (incidentsRetryCmd) Help() string { return talksToServer }

func (c *incidentsRetryCmd) Run(ctx context.Context, e *env) error {
	cl, err := e.connect()
	if err != nil {
		return err
	}
	receipt, err := cl.RetryIncident(ctx, c.Incident, c.Retries)
	if err != nil {
		return err
	}
	return e.done("tried again", receipt)
}
