package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/underseal/underseal/internal/fault"
)

// asked asks for a line.
func (e *env) asked(ctx context.Context, question string) (string, error) {
	text, err := e.askedLine(ctx, question)
	return strings.TrimSpace(text), err
}

// askedSecret asks for a line that the terminal does not show while it is typed.
func (e *env) askedSecret(ctx context.Context, question string) (string, error) {
	file, ok := e.stdin.(*os.File)
	if !ok {
		return "", fault.New(fault.Invalid, "standard input is no terminal").WithCode("no_terminal")
	}
	show, err := hideTyping(file)
	if err != nil {
		return "", fault.New(fault.Invalid, "the terminal would show what is typed: %w", err).WithCode("no_terminal")
	}
	text, err := e.askedLine(ctx, question)
	if bad := show(); err == nil {
		err = bad
	}
	fmt.Fprintln(e.stderr) // the end of the line was not shown either
	return strings.TrimSuffix(text, "\r"), err
}

func (e *env) askedLine(ctx context.Context, question string) (string, error) {
	if _, err := fmt.Fprint(e.stderr, question); err != nil {
		return "", err
	}
	type answer struct {
		text string
		err  error
	}
	got := make(chan answer, 1)
	go func() { // a read from a terminal cannot be interrupted, but be left behind
		text, err := readLine(e.stdin)
		got <- answer{text, err}
	}()
	select {
	case a := <-got:
		return a.text, a.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// maxLine bounds what somebody types, in bytes.
const maxLine = 2048

// readLine reads a line and no more, so that the next question finds its answer.
func readLine(r io.Reader) (string, error) {
	var line []byte
	for one := make([]byte, 1); len(line) < maxLine; {
		n, err := r.Read(one)
		if n == 1 && one[0] != '\n' {
			line = append(line, one[0])
		}
		if n == 1 && one[0] == '\n' || errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", fault.New(fault.Invalid, "read stdin: %w", err)
		}
	}
	return string(line), nil
}
