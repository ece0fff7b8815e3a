package ledger_test

import (
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/ledger"
)

func BenchmarkCommitValue(b *testing.B) {
	prk := make([]byte, 32)
	v := canon.String(strings.Repeat("x", 128))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ledger.CommitValue(prk, "example.org/main/2026", object, 7, "applicant.ssn", v); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLeafEncodeAndHash(b *testing.B) {
	l := sample()
	b.ReportAllocs()
	for b.Loop() {
		ledger.LeafHash(l.Encode())
	}
}

func BenchmarkDataRoot10(b *testing.B) {
	b.ReportAllocs()
	commitments := make([]ledger.Hash, 10)
	for i := range commitments {
		commitments[i][0] = byte(97 * i)
	}
	for b.Loop() {
		ledger.DataRoot(commitments)
	}
}

func BenchmarkVerifyBundle(b *testing.B) {
	_, bundle, text := evidence(b)
	data, policy := encodeBundle(b, bundle), parsePolicy(b, text)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ledger.VerifyBundle(data, policy); err != nil {
			b.Fatal(err)
		}
	}
}
