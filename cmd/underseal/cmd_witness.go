package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/underseal/underseal/internal/server"
	"github.com/underseal/underseal/internal/witness"
)

// witnessKey is a setting with settings below it, and so only in the
// configuration file:
//
//	witness:
//	  logs:
//	    - vkey: underseal/DEPLOYMENT/anchor+HASH+KEY
const witnessKey = "witness"

type witnessCmd struct {
	Serve  witnessServeCmd  `cmd:"" default:"withargs" help:"Cosign the checkpoints of logs."`
	Keygen witnessKeygenCmd `cmd:"" help:"Make the key of a new witness."`
}

func (witnessCmd) Help() string {
	return "Without a command: serve; see underseal witness serve --help."
}

type witnessServeCmd struct {
	State       string `required:"" help:"Directory of what was signed, of this witness alone; made when missing, never to be restored from a backup." placeholder:"DIR" type:"path"`
	Key         string `required:"" help:"Key file that keygen has made." placeholder:"FILE" type:"path"`
	Listen      string `help:"Address to answer at (default: ${default})." default:"127.0.0.1:8702" placeholder:"HOST:PORT"`
	TLSCert     string `name:"tls-cert" conf:"tls_cert" help:"${doc_tls_cert}" placeholder:"FILE"`
	TLSKey      string `name:"tls-key" conf:"tls_key" help:"${doc_tls_key}" placeholder:"FILE"`
	BehindProxy bool   `conf:"behind_proxy" help:"${doc_behind_proxy}"`
	LogLevel    string `conf:"log_level" help:"${doc_log_level}" placeholder:"LEVEL"`
	LogFormat   string `conf:"log_format" help:"${doc_log_format}" placeholder:"FORMAT"`
}

func (witnessServeCmd) Help() string {
	return standsAlone + " Answers as C2SP tlog-witness says, to the logs below witness.logs in the configuration file: POST /add-checkpoint, and GET /SHA-256-OF-THE-ORIGIN/checkpoint. SIGTERM and Ctrl-C end it in order."
}

// witnessing is the one line that a witness writes to stdout, when it answers.
type witnessing struct {
	URL string `json:"url"`
	Key string `json:"vkey"` // by which others check its cosignatures
}

func (c *witnessServeCmd) Run(ctx context.Context, e *env) (err error) {
	log := e.logger()
	certificate, _, err := e.settings.tls(log)
	if err != nil {
		return err
	}
	at := server.ListenConfig{Address: c.Listen, TLS: certificate, BehindProxy: e.settings.BehindProxy, Log: log}
	if err := at.Open("--listen"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeSocket(&at)) }()
	w, key, err := c.open(e.settings)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	l, err := server.NewListener(at, w.Handler(log))
	if err != nil {
		return err
	}
	if err := l.Start(); err != nil {
		return err
	}
	return errors.Join(e.announceWitness(l, key, certificate != nil), waitWitness(ctx, w, l, log), stop(l))
}

func (c *witnessServeCmd) open(s *settings) (*witness.Witness, *witness.Key, error) {
	key, err := witness.LoadKey(c.Key)
	if err != nil {
		return nil, nil, err
	}
	logs, err := s.witnessLogs()
	if err != nil {
		return nil, nil, err
	}
	w, err := witness.Open(witness.Config{Key: key, Logs: logs, State: c.State})
	return w, key, err
}

// witnessLogs are the logs that the settings have a witness sign for.
func (s *settings) witnessLogs() ([]witness.Log, error) {
	var c struct {
		Logs []witness.Log `koanf:"logs"`
	}
	err := s.witness.decode(witnessKey, &c)
	return c.Logs, err
}

func (e *env) announceWitness(l *server.Listener, key *witness.Key, withTLS bool) error {
	scheme := "http"
	if withTLS {
		scheme = "https"
	}
	r := witnessing{URL: scheme + "://" + l.Addr().String(), Key: key.Verifier()}
	if e.json {
		return writeJSON(e.stdout, r, "")
	}
	_, err := fmt.Fprintf(e.stdout, "witness answers at %s\n%s\n", r.URL, r.Key)
	return err
}

// waitWitness returns nil when the process is asked to end or its address is gone,
// and an error when the state cannot be written any more.
func waitWitness(ctx context.Context, w *witness.Witness, l *server.Listener, log *slog.Logger) error {
	select {
	case <-ctx.Done():
		return nil
	case <-l.Done():
		return nil
	case <-w.Failed():
		log.Error("the witness ends", "error", w.Err())
		return w.Err()
	}
}

type witnessKeygenCmd struct {
	Name string `required:"" help:"Name of the witness, an address without https:// such as witness.example.org/w1. It cannot be changed later." placeholder:"NAME"`
	Key  string `required:"" help:"Key file to make; never overwritten." placeholder:"FILE" type:"path"`
}

func (witnessKeygenCmd) Help() string {
	return standsAlone + " Prints the public key, which operators of logs put into their configuration."
}

func (c *witnessKeygenCmd) Run(_ context.Context, e *env) error {
	key, err := witness.GenerateKey(c.Key, c.Name)
	if err != nil {
		return err
	}
	made := struct {
		File string `json:"file"`
		Key  string `json:"vkey"`
	}{c.Key, key.Verifier()}
	return e.result(made, func(w io.Writer) { fmt.Fprintln(w, made.Key) })
}

// checkWitness finds the logs of the section that cannot be witnessed.
func (s *settings) checkWitness() error {
	logs, err := s.witnessLogs()
	for _, l := range logs {
		err = errors.Join(err, l.Check())
	}
	return err
}
