package client_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/underseal/underseal/client"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/ledger"
)

func keyFile(t *testing.T, key any, mode os.FileMode) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadKey(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.Signer{"Ed25519": ed, "P-256": p256} {
		loaded, err := client.LoadKey(keyFile(t, key, 0o600))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want, _ := ledger.NewPublicKey(key.Public())
		if got, err := ledger.NewPublicKey(loaded.Public()); err != nil || got != want {
			t.Errorf("%s: another key came back (%v)", name, err)
		}
	}
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("key"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused := map[string]string{"no file": filepath.Join(t.TempDir(), "none"), "no key": text, "P-384": keyFile(t, p384, 0o600)}
	if runtime.GOOS != "windows" {
		refused["open to others"] = keyFile(t, ed, 0o640)
	}
	for name, path := range refused {
		if _, err := client.LoadKey(path); err == nil || !strings.HasPrefix(err.Error(), "worker key: ") {
			t.Errorf("%s: %v, want an error", name, err)
		}
	}
}

// TestWorkerSigns has a worker with a key sign whatever it reports, so that each
// signature is over exactly what was sent.
func TestWorkerSigns(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := ledger.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		handler client.Handler
		kind    string
		bound   func(variables *canon.Context, body map[string]any) []ledger.Bound
	}{
		{"a result", func(context.Context, client.Job) (client.Result, error) {
			return client.Result{"score": json.Number("712.50"), "who": map[string]any{"id": "p-1"}}, nil
		}, ledger.JobCompleted, func(v *canon.Context, _ map[string]any) []ledger.Bound { return ledger.Flatten(v) }},
		{"nothing", func(context.Context, client.Job) (client.Result, error) { return nil, nil },
			ledger.JobCompleted, func(v *canon.Context, _ map[string]any) []ledger.Bound { return ledger.Flatten(v) }},
		{"a failure", func(context.Context, client.Job) (client.Result, error) { return nil, client.Fail{Message: "no luck"} },
			ledger.JobFailed, func(*canon.Context, map[string]any) []ledger.Bound { return ledger.Failure("no luck") }},
		{"a BPMN error", func(context.Context, client.Job) (client.Result, error) {
			return nil, client.BPMNError{Code: "NO", Message: "too low", Variables: client.Result{"score": 3}}
		}, ledger.JobErrored, func(v *canon.Context, _ map[string]any) []ledger.Bound { return ledger.Thrown("NO", "too low", v) }},
		{"a failure that is not UTF-8", func(context.Context, client.Job) (client.Result, error) {
			return nil, client.Fail{Message: "no\xff\xfe"}
		}, ledger.JobFailed, func(_ *canon.Context, body map[string]any) []ledger.Bound {
			return ledger.Failure(body["message"].(string))
		}},
		{"a result that is not UTF-8", func(context.Context, client.Job) (client.Result, error) {
			return client.Result{"note": "\xff"}, nil
		}, ledger.JobFailed, func(_ *canon.Context, body map[string]any) []ledger.Bound {
			return ledger.Failure(body["message"].(string))
		}},
		{"a result that cannot be signed", func(context.Context, client.Job) (client.Result, error) {
			return client.Result{"score": json.Number("1e999999999999")}, nil
		}, ledger.JobFailed, func(_ *canon.Context, body map[string]any) []ledger.Bound {
			return ledger.Failure(body["message"].(string))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBoard()
				b.post("check", 1)
				job := &b.jobs[0].job
				job.Deployment, job.Tenant, job.Instance, job.Element, job.Process, job.Version = "d", "main", "i", "work", "loan", 3
				job.Model = ledger.Hash{5}.String()
				w := run(t, b, c.handler, func(config *client.WorkerConfig) { config.Key = key })
				synctest.Wait()
				w.end()
				if len(b.reports) != 1 {
					t.Fatalf("%d reports; log %s", len(b.reports), w.log)
				}
				body := b.reports[0].body
				signed := body["signed"].(map[string]any)
				e, err := ledger.ParseEnvelope([]byte(signed["envelope"].(string)))
				if err != nil {
					t.Fatal(err)
				}
				s, err := ledger.VerifyWorker(e.Payload, []byte(signed["envelope"].(string)), public)
				if err != nil {
					t.Fatal(err)
				}
				if s.Kind != c.kind || s.Job != job.ID || s.Lease != job.Lease || s.Instance != "i" || s.Version != 3 || s.Model != job.Model || s.Element != "work" {
					t.Errorf("the statement is %s", e.Payload)
				}
				nonce, err := ledger.ParseHash(signed["nonce"].(string))
				if err != nil {
					t.Fatal(err)
				}
				sent, err := json.Marshal(body["variables"])
				if err != nil {
					t.Fatal(err)
				}
				v, err := canon.DecodeJSON(sent)
				if err != nil {
					t.Fatal(err)
				}
				variables, _ := v.(*canon.Context)
				values, err := ledger.Bind(nonce, c.bound(variables, body))
				if err != nil || !slices.Equal(values, s.Values) {
					t.Errorf("bound are %v, want %v (%v)", s.Values, values, err)
				}
			})
		})
	}
}

// A key that the server does not take ends the worker: it would refuse every result.
func TestAKeyThatIsRefusedEndsTheWorker(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		b.post("check", 1)
		job := &b.jobs[0].job
		job.Deployment, job.Tenant, job.Instance, job.Element, job.Process, job.Version = "d", "main", "i", "work", "loan", 3
		job.Model = ledger.Hash{5}.String()
		b.fault = func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/complete") {
				return refuse(403, "denied", "signer_revoked")
			}
			return nil, nil
		}
		w := run(t, b, ok, func(config *client.WorkerConfig) { config.Key = key })
		if err := <-w.done; client.Code(err) != "signer_revoked" {
			t.Errorf("Run = %v, want that the key is refused", err)
		}
	})
}
