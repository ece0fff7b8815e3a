package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
)

const maxInput = 16 << 20 // bytes read from a file or stdin

// variableFlags are the options of every command that sends variables.
type variableFlags struct {
	Var  []string `help:"A variable; VALUE is JSON, or text if it is not. Others on this machine can see it: use --data for what they may not." placeholder:"NAME=VALUE" sep:"none"`
	Data string   `help:"A JSON object with variables, in a file or on stdin (-)." placeholder:"FILE|-"`
}

// variables merges --data and --var; --var wins. Nil when neither was given.
func (f variableFlags) variables(e *env) (json.RawMessage, error) {
	if f.Data == "" && len(f.Var) == 0 {
		return nil, nil
	}
	merged := map[string]json.RawMessage{}
	if f.Data != "" {
		if err := readObject(e, f.Data, &merged); err != nil {
			return nil, err
		}
	}
	for _, pair := range f.Var {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return nil, &usage{text: fmt.Sprintf("--var %q is not NAME=VALUE", pair)}
		}
		merged[name] = jsonOrText(value)
	}
	return json.Marshal(merged)
}

// readObject reads a JSON object strictly: what the server would refuse is
// refused here, with the place in the file.
func readObject(e *env, path string, into *map[string]json.RawMessage) error {
	data, err := e.readInput(path)
	if err != nil {
		return err
	}
	if err := canon.CheckJSON(data); err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil || *into == nil {
		return fault.New(fault.Invalid, "%s is not a JSON object", nameOf(path))
	}
	return nil
}

// readInput reads a file, or stdin for "-".
func (e *env) readInput(path string) ([]byte, error) {
	in := e.stdin
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, fault.New(fault.Invalid, "read the input: %w", err)
		}
		defer file.Close()
		in = file
	}
	data, err := io.ReadAll(io.LimitReader(in, maxInput+1))
	if err != nil {
		return nil, fault.New(fault.Invalid, "read %s: %w", nameOf(path), err)
	}
	if len(data) > maxInput {
		return nil, fault.New(fault.Invalid, "%s is longer than %d bytes", nameOf(path), maxInput)
	}
	return data, nil
}

func nameOf(path string) string {
	if path == "-" {
		return "stdin"
	}
	return path
}

// jsonOrText takes 12.50, true, null, {"a":1} and "text" as JSON, anything else
// as a string.
func jsonOrText(value string) json.RawMessage {
	if raw := bytes.TrimSpace([]byte(value)); json.Valid(raw) {
		return raw
	}
	text, err := json.Marshal(value)
	if err != nil {
		panic("underseal: a string can always be written as JSON: " + err.Error())
	}
	return text
}
