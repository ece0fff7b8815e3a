package envelope_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"io"
	"testing"

	"github.com/underseal/underseal/envelope"
)

func benchKeys(n int) ([]envelope.Key, envelope.Context) {
	keys := make([]envelope.Key, n)
	for i := range keys {
		keys[i].ID[15], keys[i].Secret[0] = byte(i), byte(i+1)
		keys[i] = keys[i].Kept() // as those of the keyring
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

const mebi = 1 << 20

// BenchmarkRawGCM1MiB and BenchmarkRawGCMOpen1MiB are what streams are measured
// against: one ciphertext, without segments, nonces of its own, or a key to derive.
// What is opened is read first, as an Opener must.
func BenchmarkRawGCM1MiB(b *testing.B) {
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		b.Fatal(err)
	}
	plaintext, dst, nonce := make([]byte, mebi), make([]byte, 0, mebi+16), make([]byte, 12)
	b.SetBytes(mebi)
	for b.Loop() {
		dst = aead.Seal(dst[:0], nonce, plaintext, nil)
	}
}

func BenchmarkRawGCMOpen1MiB(b *testing.B) {
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		b.Fatal(err)
	}
	nonce, dst := make([]byte, 12), make([]byte, 0, mebi)
	sealed := aead.Seal(nil, nonce, make([]byte, mebi), nil)
	src, read := bytes.NewReader(sealed), make([]byte, len(sealed))
	b.SetBytes(mebi)
	for b.Loop() {
		if _, err := src.ReadAt(read, 0); err != nil {
			b.Fatal(err)
		}
		if dst, err = aead.Open(dst[:0], nonce, read, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSealStream1MiB(b *testing.B) {
	keys, ctx := benchKeys(1)
	plaintext := make([]byte, mebi)
	b.SetBytes(mebi)
	b.ReportAllocs()
	for b.Loop() {
		s, err := envelope.NewSealer(io.Discard, keys, ctx)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Write(plaintext); err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenStream1MiB(b *testing.B) {
	keys, ctx := benchKeys(1)
	plaintext := make([]byte, mebi)
	sealed := sealStream(b, keys, ctx, plaintext)
	b.SetBytes(mebi)
	b.ReportAllocs()
	for b.Loop() {
		o, err := envelope.NewOpener(bytes.NewReader(sealed), int64(len(sealed)), keys, ctx)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := o.ReadAt(plaintext, 0); err != nil {
			b.Fatal(err)
		}
	}
}
