package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/underseal/underseal/client"
	"github.com/underseal/underseal/internal/fault"
)

// Exit codes that belong to no kind of error; the others are in package fault, and
// those of what verify finds in cmd_verify.go.
// docs/exit-codes.md publishes all of them.
const (
	exitUsage       = 2
	exitInterrupted = 130 // 128 + SIGINT, as shells count
)

// usage is a command line that cannot be understood.
type usage struct{ text, command string }

func (u *usage) Error() string { return u.text }

// problem is an error as it is shown: under --json as this object on one line.
type problem struct {
	Error    string    `json:"error"`
	Kind     string    `json:"kind"` // a kind of package fault, "usage" or "interrupted"
	Code     string    `json:"code"` // stable, snake_case
	Hint     string    `json:"hint,omitempty"`
	Findings []finding `json:"findings,omitempty"`
	Request  string    `json:"request,omitempty"` // id of the request in the server's log
	Exit     int       `json:"exit"`
}

type finding struct {
	Place   string `json:"place"`
	Message string `json:"message"`
}

// report writes the error to stderr and returns the exit code.
func (e *env) report(ctx context.Context, err error) int {
	p := describe(ctx, err)
	if e.json {
		writeJSON(e.stderr, p, "")
		return p.Exit
	}
	writeProblem(e.stderr, p)
	return p.Exit
}

func writeProblem(w io.Writer, p problem) {
	fmt.Fprintf(w, "error: %s\n", printable(p.Error))
	for _, f := range p.Findings {
		fmt.Fprintf(w, "  %s: %s\n", printable(f.Place), printable(f.Message))
	}
	if p.Hint != "" {
		fmt.Fprintf(w, "hint: %s\n", printable(p.Hint))
	}
}

// describe says what an error is and which exit code it has. Errors without a
// kind are defects or failed system calls of this command; their text is shown,
// since it is the user's own machine.
func describe(ctx context.Context, err error) problem {
	var u *usage
	var f *fault.Error
	var refused *client.Error
	switch {
	case errors.As(err, &u):
		return describeUsage(u)
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return problem{Error: "interrupted", Kind: "interrupted", Code: "interrupted", Exit: exitInterrupted}
	case errors.As(err, &f):
		return describeFault(f)
	case errors.As(err, &refused):
		return describeRefusal(refused)
	case errors.Is(err, client.ErrUnreachable):
		return describeFault(fault.New(fault.Unavailable, "%w", err).
			WithHint("is the server running (underseal serve)? --server or UNDERSEAL_SERVER names another"))
	}
	return problem{Error: err.Error(), Kind: fault.Internal.String(), Code: fault.Internal.String(), Exit: fault.Internal.ExitCode()}
}

func describeUsage(u *usage) problem {
	command := "underseal"
	if u.command != "" {
		command = u.command
	}
	return problem{Error: u.text, Kind: "usage", Code: "usage", Hint: command + " --help says what it takes", Exit: exitUsage}
}

func describeFault(f *fault.Error) problem {
	p := problem{Error: f.Message, Kind: f.Kind.String(), Code: f.StableCode(), Hint: f.Hint, Exit: f.Kind.ExitCode()}
	if exit := verdictOf(p.Code); exit != 0 {
		p.Exit = exit
	}
	for _, d := range f.Details {
		p.Findings = append(p.Findings, finding{d.Place, d.Message})
	}
	return p
}

// describeRefusal shows the server's answer as if the error had happened here. An
// answer without a kind comes from something in between.
func describeRefusal(r *client.Error) problem {
	kind := fault.Unavailable
	if r.Problem.Kind != "" {
		kind = fault.Parse(r.Problem.Kind)
	}
	p := problem{Error: r.Detail, Kind: kind.String(), Code: r.Problem.Code, Hint: r.Hint, Exit: kind.ExitCode(), Request: r.Request}
	if p.Code == "" {
		p.Code = p.Kind
	}
	for _, f := range r.Errors {
		p.Findings = append(p.Findings, finding(f))
	}
	return p
}

// writeJSON writes v as one JSON document. Numbers in raw messages keep their digits.
func writeJSON(w io.Writer, v any, indent string) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	return enc.Encode(v)
}

// kindOf is the kind of an error wherever it happened.
func kindOf(err error) fault.Kind {
	return fault.Parse(describe(context.Background(), err).Kind)
}
