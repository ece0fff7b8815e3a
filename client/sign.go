package client

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/ledger"
)

// LoadKey reads a worker's key from a file as `underseal signers keygen` and openssl
// make it: PKCS #8 in PEM, Ed25519 or P-256. A file that others than its owner may
// read is refused.
func LoadKey(path string) (crypto.Signer, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("worker key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("worker key: %s has mode %04o and is open to others; set 0600, and replace the key if somebody may have read it", path, info.Mode().Perm())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("worker key: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("worker key: %s has no PRIVATE KEY in PEM", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("worker key: %s cannot be read", path) // the cause may quote it
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("worker key: %s holds a key that does not sign", path)
	}
	if _, err := ledger.NewPublicKey(signer.Public()); err != nil {
		return nil, fmt.Errorf("worker key: %s: %w", path, err)
	}
	return signer, nil
}

// signingError is why a report could not be signed.
type signingError struct{ err error }

func (e *signingError) Error() string { return "it cannot be signed: " + e.err.Error() }
func (e *signingError) Unwrap() error { return e.err }

func isSigning(err error) bool {
	var e *signingError
	return errors.As(err, &e)
}

// isKeyRefused reports whether the server will take nothing that the worker's key
// signs.
func isKeyRefused(err error) bool {
	var e *Error
	return errors.As(err, &e) && slices.Contains([]string{"signer_unknown", "signer_revoked", "signer_other_principal", "signature_required"}, e.Code)
}

// sign signs what the worker says of a job.
func (w *Worker) sign(kind string, job api.Job, result []ledger.Bound) (*api.Signed, error) {
	var nonce ledger.Hash
	rand.Read(nonce[:]) // never fails
	values, err := ledger.Bind(nonce, result)
	if err != nil {
		return nil, err
	}
	_, envelope, err := ledger.Statement{
		Kind: kind, Deployment: job.Deployment, Tenant: job.Tenant, Instance: job.Instance, Element: job.Element,
		Process: job.Process, Version: job.Version, Model: job.Model, Job: job.ID, Lease: job.Lease,
		At: time.Now().UTC().Format(ledger.TimeLayout), Values: values,
	}.Sign(w.config.Key)
	if err != nil {
		return nil, err
	}
	return &api.Signed{Envelope: string(envelope), Nonce: nonce.String()}, nil
}

// signRequest signs what a request is about to report, if the worker has a key.
func (w *Worker) signRequest(job api.Job, r request) (request, error) {
	if w.config.Key == nil {
		return r, nil
	}
	if _, err := r.encode(); err != nil { // what cannot be sent is not signed either
		return r, err
	}
	var err error
	switch in := r.body.(type) {
	case api.CompleteJobRequest:
		in.Signed, err = w.signResult(ledger.JobCompleted, job, in.Variables, ledger.Flatten)
		r.body = in
	case api.ErrorJobRequest:
		in.Signed, err = w.signResult(ledger.JobErrored, job, in.Variables, func(result *canon.Context) []ledger.Bound {
			return ledger.Thrown(in.Code, in.Message, result)
		})
		r.body = in
	case api.FailJobRequest:
		in.Signed, err = w.sign(ledger.JobFailed, job, ledger.Failure(in.Message))
		r.body = in
	}
	if err != nil {
		return r, &signingError{err}
	}
	return r, nil
}

// signResult signs variables as the server will read them.
func (w *Worker) signResult(kind string, job api.Job, variables json.RawMessage, bound func(*canon.Context) []ledger.Bound) (*api.Signed, error) {
	result := &canon.Context{}
	if len(variables) > 0 {
		v, err := canon.DecodeJSON(variables)
		if err != nil {
			return nil, err
		}
		var ok bool
		if result, ok = v.(*canon.Context); !ok {
			return nil, fmt.Errorf("the result of job %s is no JSON object", job.ID)
		}
	}
	return w.sign(kind, job, bound(result))
}
