package envelope_test

import (
	"crypto/sha256"
	"testing"

	"github.com/underseal/underseal/envelope"
)

func benchKeys(n int) ([]envelope.Key, envelope.Context) {
	keys := make([]envelope.Key, n)
	for i := range keys {
		keys[i].ID[15], keys[i].Secret[0] = byte(i), byte(i+1)
	}
	return keys, envelope.Context{
		Deployment: "0192f0c1-9a3b-7c4d-8e5f-60718293a4b5", Tenant: "main", Class: "instance",
		Object: "0192f0c1-9a3b-7c4d-8e5f-60718293a4b6", Path: "applicant.ssn", Shard: "main/2026", Seq: 7,
	}
}

func BenchmarkSeal1KiB(b *testing.B) {
	keys, ctx := benchKeys(1)
	plaintext := make([]byte, 1024)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := envelope.Seal(keys, ctx, plaintext); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen1KiB(b *testing.B) {
	keys, ctx := benchKeys(1)
	sealed, err := envelope.Seal(keys, ctx, make([]byte, 1024))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := envelope.Open(keys, ctx, sealed); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSHA256 is what to compare the others with: an envelope of 1 KiB takes
// 14 blocks of SHA-256 for its key, this 17.
func BenchmarkSHA256(b *testing.B) {
	data := make([]byte, 1024)
	for b.Loop() {
		sha256.Sum256(data)
	}
}
