package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/mirror"
	"github.com/underseal/underseal/ledger"
)

type logMirrorCmd struct {
	Dir    string   `arg:"" help:"Directory of the copy; each log gets one in it." type:"path"`
	Reader string   `required:"" help:"Where the reader's address is, as underseal log readers create gave it: file:PATH or env:NAME." placeholder:"REF"`
	Shard  []string `help:"Copy this log alone, \"2026\"; may be repeated (default: all there are)." placeholder:"NAME"`
	Policy string   `help:"Check the checkpoints' signatures by this policy." placeholder:"FILE" type:"path"`
	CAFile string   `conf:"ca_file" help:"${doc_ca_file}" placeholder:"FILE" group:"connection"`
}

func (logMirrorCmd) Help() string {
	return talksToServer + " Needs no API key. Run it again, from time to time and on a machine that others run: what is new is added, and a log that was " +
		"rolled back or rewritten meanwhile is refused by name, with the checkpoint that proves it kept in refused/. Without --policy nobody's signature is " +
		"checked; the comparison with what was copied before needs none. DIR/SHARD can be served as it is (C2SP tlog-tiles). Tells how far it is on stderr."
}

// mirrored is what --json prints for each log.
type mirrored struct {
	Shard   string `json:"shard"`
	Origin  string `json:"origin"`
	Old     uint64 `json:"old_size"`
	Size    uint64 `json:"size"`
	Root    string `json:"root"`
	Fetched int    `json:"fetched"`
}

func (c *logMirrorCmd) Run(ctx context.Context, e *env) error {
	address, err := readerAddress(c.Reader)
	if err != nil {
		return err
	}
	transport, err := e.settings.transport()
	if err != nil {
		return err
	}
	cfg := mirror.Config{HTTP: &http.Client{Transport: transport}}
	if c.Policy != "" {
		policy, err := e.readPolicy(c.Policy)
		if err != nil {
			return err
		}
		// Witnesses cosign the anchor log, so no quorum is asked of a tenant's checkpoint.
		cfg.Open = func(signed []byte) (ledger.Checkpoint, error) {
			checkpoint, _, err := policy.Open(signed)
			return checkpoint, err
		}
	}
	shards := c.Shard
	if len(shards) == 0 {
		if shards, err = mirror.Shards(ctx, cfg.HTTP, address); err != nil {
			return err
		}
	}
	all := []mirrored{}
	var errs []error // one log that is refused does not keep the others from being copied
	for _, shard := range shards {
		if shard == "" || shard != filepath.Base(shard) || strings.HasPrefix(shard, ".") {
			return fault.New(fault.Invalid, "%q is not the name of a log", shard)
		}
		cfg.Prefix, cfg.Dir, cfg.Progress = address+"/"+url.PathEscape(shard), filepath.Join(c.Dir, shard), e.copying(shard)
		r, err := mirror.Copy(ctx, cfg)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all = append(all, mirrored{shard, r.Origin, r.Old, r.Size, r.Root.String(), r.Fetched})
	}
	err = e.result(all, func(w io.Writer) {
		for _, m := range all {
			fmt.Fprintf(w, "%s: %d entries, %d of them new, root %s\n", printable(m.Origin), m.Size, m.Size-m.Old, m.Root)
		}
		if c.Policy == "" {
			fmt.Fprintln(w, "no signature was checked: that takes --policy")
		}
	})
	return errors.Join(append(errs, err)...)
}

// copying tells every two seconds how far the copy of a log is.
func (e *env) copying(shard string) func(done, size uint64) {
	last := time.Now()
	return func(done, size uint64) {
		if now := time.Now(); now.Sub(last) >= 2*time.Second {
			last = now
			fmt.Fprintf(e.stderr, "%s: %d of %d entries\n", printable(shard), done, size)
		}
	}
}

// readerAddress reads the address that a reader was given.
func readerAddress(reference string) (string, error) {
	text, err := secretText("--reader", reference)
	if err != nil {
		return "", err
	}
	address := strings.TrimRight(strings.TrimSpace(text), "/")
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" { // the text may be a secret
		return "", fault.New(fault.Invalid, "what --reader names holds no address").
			WithHint("it is https://HOST/log/.., one line, as underseal log readers create printed it")
	}
	return address, nil
}

// readPolicy reads a policy file.
func (e *env) readPolicy(path string) (*ledger.Policy, error) {
	text, err := e.readInput(path)
	if err != nil {
		return nil, fault.New(fault.Invalid, "--policy: %w", err).WithHint("it is a file that the operator of the log gives you; underseal log policy prints it")
	}
	return ledger.ParsePolicy(text)
}
