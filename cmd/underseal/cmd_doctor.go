package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/fault"
)

type doctorCmd struct {
	Data        string `name:"data" conf:"data" help:"${doc_data}" placeholder:"DIR"`
	RootKeyFile string `conf:"root_key_file" help:"${doc_root_key_file}" placeholder:"FILE"`
	clientFlags
}

func (doctorCmd) Help() string {
	return talksToServer + " Looks at the modes of the files besides, and changes nothing."
}

// diagnosis is the outcome of one check.
type diagnosis struct {
	Check  string `json:"check"`
	Status string `json:"status"` // ok, absent or failed
	Detail string `json:"detail"`
	Hint   string `json:"hint,omitempty"`
}

// errAbsent marks what need not be on this machine.
var errAbsent = errors.New("not on this machine")

func (doctorCmd) Run(ctx context.Context, e *env) error {
	s := e.settings
	e.warnUnknown()
	_, badKey := e.credential() // by which server and credential commands go
	from := s.APIKeyFile
	if e.login != nil {
		from = loginFile()
	}
	var first error
	var unreachable bool
	var all []diagnosis
	const needsServer, needsKey = 1, 2
	for _, check := range []struct {
		name  string
		needs int
		run   func() (string, error)
	}{
		{"configuration", 0, func() (string, error) { return "every setting can work", s.check() }},
		{"data directory", 0, func() (string, error) { return s.Data, privateMode(s.Data, s.Database == "") }},
		{"root key file", 0, func() (string, error) { return s.RootKeyFile, privateMode(s.RootKeyFile, true) }},
		{"API key or login", 0, func() (string, error) { return from, badKey }},
		{"server", 0, func() (string, error) { return s.Server, probe(ctx, s, "/healthz") }},
		{"server is ready", needsServer, func() (string, error) { return "keys and database answer", probe(ctx, s, "/readyz") }},
		{"credential", needsKey, func() (string, error) { return "is accepted", tryKey(ctx, e) }},
		{"key services", needsKey, func() (string, error) { return tryKeyServices(ctx, e) }},
		{"integrity", needsKey, func() (string, error) { return tryIntegrity(ctx, e) }},
	} {
		if check.needs == needsServer && unreachable || check.needs == needsKey && (unreachable || badKey != nil) {
			all = append(all, diagnosis{Check: check.name, Status: "absent", Detail: "not tried: see above"})
			continue
		}
		detail, err := check.run()
		switch {
		case err == nil:
		case check.name == "server":
			unreachable = true
		case check.name == "credential":
			badKey = err
		}
		d := diagnose(ctx, check.name, detail, err)
		if d.Status == "failed" && first == nil {
			first = err
		}
		all = append(all, d)
	}
	return errors.Join(e.result(all, func(w io.Writer) { writeDiagnoses(w, all) }), summary(first))
}

func diagnose(ctx context.Context, name, detail string, err error) diagnosis {
	switch {
	case err == nil:
		return diagnosis{Check: name, Status: "ok", Detail: detail}
	case errors.Is(err, errAbsent):
		return diagnosis{Check: name, Status: "absent", Detail: detail + " is " + err.Error()}
	}
	p := describe(ctx, err)
	text := p.Error
	for _, f := range p.Findings {
		text += "; " + f.Place + ": " + f.Message
	}
	return diagnosis{Check: name, Status: "failed", Detail: text, Hint: p.Hint}
}

func writeDiagnoses(w io.Writer, all []diagnosis) {
	for _, d := range all {
		fmt.Fprintf(w, "%-7s %s: %s\n", d.Status, d.Check, printable(d.Detail))
		if d.Hint != "" {
			fmt.Fprintf(w, "        hint: %s\n", printable(d.Hint))
		}
	}
}

// summary keeps the kind of the first failure, and so the exit code.
func summary(first error) error {
	if first == nil {
		return nil
	}
	return fault.New(kindOf(first), "something is wrong with this installation").WithCode("unhealthy")
}

// privateMode sees that only the owner can read what is there.
func privateMode(path string, wanted bool) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || !wanted:
		return errAbsent
	case err != nil:
		return fault.New(fault.Denied, "look at %s: %w", path, err)
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		return fault.New(fault.Denied, "%s is open to others (mode %#o)", path, info.Mode().Perm()).WithHint("chmod go= %s", path)
	}
	return nil
}

// probe asks an address that needs no credentials.
func probe(ctx context.Context, s *settings, path string) error {
	if err := checkServerURL(s.Server); err != nil {
		return err
	}
	transport, err := s.transport()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Server+path, nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return fault.New(fault.Unavailable, "the server does not answer: %w", err).WithHint("is it running? --server names another")
	}
	defer resp.Body.Close()
	var health api.Health
	_ = json.NewDecoder(io.LimitReader(resp.Body, 1<<16)).Decode(&health) // only to say more
	if resp.StatusCode == http.StatusOK && health.Status != api.CodeDegraded {
		return nil
	}
	missing := []fault.Detail{}
	for _, name := range slices.Sorted(maps.Keys(health.Checks)) {
		missing = append(missing, fault.Detail{Place: name, Message: health.Checks[name]})
	}
	return fault.New(fault.Unavailable, "%s answers %s, %s", path, resp.Status, health.Status).WithDetails(missing...).WithHint("the server's log says why")
}

// tryKeyServices has the server unwrap the tenant's key by each key service that
// wraps one.
func tryKeyServices(ctx context.Context, e *env) (string, error) {
	cl, err := e.connect()
	if err != nil {
		return "", err
	}
	keys, err := cl.Keys(ctx)
	if err != nil {
		return "", e.explain(err)
	}
	var failing []fault.Detail
	names := []string{}
	for _, s := range keys.Services {
		names = append(names, s.Name)
		if s.Error != "" {
			failing = append(failing, fault.Detail{Place: s.Name, Message: s.Error})
		}
	}
	detail := "the tenant's keys are opened by " + strings.Join(names, ", ")
	if len(failing) == 0 {
		return detail, nil
	}
	return detail, fault.New(fault.Unavailable, "%s cannot open the tenant's keys", counted(len(failing), "key service")).WithDetails(failing...)
}

// tryIntegrity says when everything was compared with the log last.
func tryIntegrity(ctx context.Context, e *env) (string, error) {
	cl, err := e.connect()
	if err != nil {
		return "", err
	}
	now, err := cl.Integrity(ctx)
	if err != nil {
		return "", e.explain(err)
	}
	newest, at := newestCheck(now)
	switch {
	case len(newest.Findings) > 0:
		return "", fault.New(fault.Integrity, "the check of %s found %s", stamp(at), counted(len(newest.Findings), "finding")).
			WithHint("underseal fsck --status lists what was found, and says what to do")
	case at.IsZero():
		return "nothing was checked whole yet; underseal fsck --online does so at once", nil
	}
	return "everything was compared with the log, and that was over at " + stamp(at), nil
}

// tryKey makes the cheapest call that needs the key.
func tryKey(ctx context.Context, e *env) error {
	cl, err := e.connect()
	if err != nil {
		return err
	}
	_, err = cl.Processes(ctx, api.Page{Limit: 1})
	return e.explain(err)
}
