package fault_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/underseal/underseal/internal/fault"
)

func TestKindsAreDistinct(t *testing.T) {
	codes, names := map[int]fault.Kind{}, map[string]fault.Kind{}
	for _, kind := range fault.Kinds() {
		if other, taken := codes[kind.ExitCode()]; taken {
			t.Errorf("%s and %s share the exit code %d", kind, other, kind.ExitCode())
		}
		if other, taken := names[kind.String()]; taken {
			t.Errorf("kinds %d and %d share the name %s", kind, other, kind)
		}
		codes[kind.ExitCode()], names[kind.String()] = kind, kind
		if kind.ExitCode() == 0 || kind.ExitCode() == 2 || kind.Status() < 200 || kind.Status() > 599 {
			t.Errorf("%s has exit code %d and status %d", kind, kind.ExitCode(), kind.Status())
		}
		if fault.Parse(kind.String()) != kind {
			t.Errorf("Parse(%q) = %s", kind.String(), fault.Parse(kind.String()))
		}
	}
	if fault.Parse("nonsense") != fault.Internal {
		t.Error("an unknown name is not internal")
	}
}

func TestKindAndCodeOfWrappedErrors(t *testing.T) {
	inner := fault.New(fault.Conflict, "read: %w", io.EOF).WithCode("stale")
	wrapped := fmt.Errorf("outer: %w", inner)
	if !fault.Is(wrapped, fault.Conflict) || fault.KindOf(wrapped) != fault.Conflict || fault.CodeOf(wrapped) != "stale" {
		t.Errorf("wrapped: kind %s, code %q", fault.KindOf(wrapped), fault.CodeOf(wrapped))
	}
	if !errors.Is(wrapped, io.EOF) {
		t.Error("the cause is not reachable")
	}
	if fault.KindOf(io.EOF) != fault.Internal || fault.CodeOf(io.EOF) != "" || fault.Is(io.EOF, fault.Internal) {
		t.Error("an error of others has a kind or code")
	}
	if got := fault.New(fault.Sealed, "x").StableCode(); got != "sealed" {
		t.Errorf("the code defaults to %q, want the kind's name", got)
	}
}

func TestErrorListsItsDetails(t *testing.T) {
	err := fault.New(fault.Invalid, "two things").WithDetails(fault.Detail{Place: "/a", Message: "is one"}, fault.Detail{Place: "/b", Message: "is two"})
	if got, want := err.Error(), "two things\n  /a: is one\n  /b: is two"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
}
