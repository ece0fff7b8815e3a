package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"unicode/utf8"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
)

const maxInput = 16 << 20 // bytes read from a file or stdin

// readObject reads a JSON object strictly: what the server would refuse is
// refused here, with the place in the file.
func readObject(e *env, path string, into *map[string]json.RawMessage) error {
	data, err := e.readInput(path)
	if err != nil {
		return err
	}
	if err := canon.CheckJSON(data); err != nil {
		return inFile(err, nameOf(path), data)
	}
	if err := json.Unmarshal(data, into); err != nil || *into == nil {
		return fault.New(fault.Invalid, "%s is not a JSON object", nameOf(path))
	}
	return nil
}

// inFile turns the findings of canon, "/amount: byte 12: too long", into ones
// that an editor can jump to, "application.json:1:13: /amount: too long".
func inFile(err error, name string, data []byte) error {
	var f *fault.Error
	if !errors.As(err, &f) {
		return err
	}
	refused := fault.New(f.Kind, "%s is no JSON that is accepted", name).WithCode(f.Code)
	for _, d := range f.Details {
		place, message := d.Place, d.Message
		var at int
		if n, _ := fmt.Sscanf(message, "byte %d:", &at); n == 1 {
			message = message[len(fmt.Sprintf("byte %d: ", at)):]
			place = position(name, data, at)
			if d.Place != "" {
				message = d.Place + ": " + message
			}
		}
		refused.WithDetails(fault.Detail{Place: place, Message: message})
	}
	return refused
}

// position is file:line:column of a byte, both counted from 1, columns in characters.
func position(name string, data []byte, at int) string {
	before := data[:min(at, len(data))]
	line := before[bytes.LastIndexByte(before, '\n')+1:]
	return fmt.Sprintf("%s:%d:%d", name, bytes.Count(before, []byte{'\n'})+1, utf8.RuneCount(line)+1)
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
