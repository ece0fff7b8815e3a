package witness

import (
	"crypto/ed25519"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/ledger"
)

// Log names a log that is witnessed, or a family of logs under one key.
type Log struct {
	// Key is the log's verifier key, NAME+HASH+KEY (C2SP signed-note).
	Key string `koanf:"vkey"`
	// Origin is the log's. Default: the key's name.
	Origin string `koanf:"origin"`
	// Prefix takes the place of Origin: all logs whose origin begins with it, each
	// signing by this public key under its own origin as the key's name. It ends
	// with "/".
	Prefix string `koanf:"prefix"`
}

// An acceptedLog is a Log whose key was read.
type acceptedLog struct {
	origin, prefix string // one of them
	verifier       note.Verifier
	public         ed25519.PublicKey // of a prefix only
}

// Check refuses a log that makes no sense.
func (l Log) Check() error {
	_, err := l.accept()
	return err
}

func (l Log) accept() (acceptedLog, error) {
	verifier, err := ledger.ParseVerifier(l.Key)
	if err != nil {
		return acceptedLog{}, refusedLog(l.Key, "its key is none of a log: %v", err)
	}
	if verifier.Cosigns() {
		return acceptedLog{}, refusedLog(l.Key, "its key is that of a witness")
	}
	switch {
	case l.Prefix == "" && l.Origin == "":
		return acceptedLog{origin: verifier.Name(), verifier: verifier}, nil
	case l.Prefix == "":
		return acceptedLog{origin: l.Origin, verifier: verifier}, nil
	case l.Origin != "":
		return acceptedLog{}, refusedLog(l.Key, "it has an origin and a prefix")
	case !strings.HasSuffix(l.Prefix, "/"):
		return acceptedLog{}, refusedLog(l.Key, "the prefix %q does not end with /", l.Prefix)
	}
	return acceptedLog{prefix: l.Prefix, public: verifier.Public()}, nil
}

func refusedLog(key, format string, args ...any) error {
	name, _, _ := strings.Cut(key, "+")
	return fault.New(fault.Invalid, "the log of key %q cannot be witnessed: "+format, append([]any{name}, args...)...).WithCode("witness_config")
}

// key returns the key of a log of that origin, nil when it is another log.
func (l acceptedLog) key(origin string) (note.Verifier, error) {
	if l.prefix == "" {
		if l.origin != origin {
			return nil, nil
		}
		return l.verifier, nil
	}
	if !strings.HasPrefix(origin, l.prefix) || origin == l.prefix || strings.ContainsAny(origin, "+ ") {
		return nil, nil
	}
	verifier, err := ledger.ParseVerifier(ledger.VerifierKey(origin, l.public))
	if err != nil {
		return nil, malformed("the origin cannot be a key's name")
	}
	return verifier, nil
}
