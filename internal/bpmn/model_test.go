package bpmn_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/bpmn"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/process"
)

// header is one line, so that line 2 is the first of what follows it.
const header = `<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:zeebe="http://camunda.org/schema/zeebe/1.0" ` +
	`xmlns:camunda="http://camunda.org/schema/1.0/bpmn" xmlns:pm="http://processmaker.com/BPMN/2.0/Schema.xsd" ` +
	`xmlns:seal="urn:underseal:bpmn:1" xmlns:other="urn:other" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" targetNamespace="urn:test" id="defs">`

// model wraps what stands in a file; it begins in line 2.
func model(body string) string { return header + "\n" + body + "\n</definitions>" }

// inProcess wraps the content of a process with a start and an end; the content
// begins in line 3.
func inProcess(body string) string {
	return model(`<process id="p" isExecutable="true"><startEvent id="start"/><endEvent id="end"/>` + "\n" + body + "\n</process>")
}

// between puts one element with the id "x" between start and end, in line 3.
func between(element string) string {
	return inProcess(element + `<sequenceFlow id="f1" sourceRef="start" targetRef="x"/><sequenceFlow id="f2" sourceRef="x" targetRef="end"/>`)
}

func parse(t testing.TB, text string) *bpmn.Model {
	t.Helper()
	m, err := bpmn.Parse("t.bpmn", []byte(text))
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	return m
}

func compileOne(t testing.TB, text string) *process.Definition {
	t.Helper()
	definitions, err := bpmn.Compile(parse(t, text))
	if err != nil {
		t.Fatalf("Compile: %v", err)
	}
	if len(definitions) != 1 {
		t.Fatalf("Compile gave %d definitions, want 1", len(definitions))
	}
	return definitions[0]
}

// details are the diagnostics of an error, one per line.
func details(t testing.TB, err error) string {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) {
		t.Fatalf("error is %v, want one with details", err)
	}
	if f.Kind != fault.Invalid {
		t.Errorf("kind is %s, want invalid", f.Kind)
	}
	var lines []string
	for _, d := range f.Details {
		lines = append(lines, d.Place+": "+d.Message)
	}
	return strings.Join(lines, "\n")
}
