package ledger_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"io"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/ledger"
)

// repeatable is a signer without chance: ECDSA then takes its nonce from the key and
// the message (RFC 6979), so that vectors can be made again.
type repeatable struct{ crypto.Signer }

func (r repeatable) Sign(_ io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	return r.Signer.Sign(nil, message, opts)
}

func edKey(seed byte) crypto.Signer {
	return ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(rune(seed)), ed25519.SeedSize)))
}

func p256Key(t testing.TB, seed byte) crypto.Signer {
	t.Helper()
	raw := make([]byte, 32)
	raw[31] = seed
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), raw)
	if err != nil {
		t.Fatal(err)
	}
	return repeatable{key}
}

func publicOf(t testing.TB, s crypto.Signer) ledger.PublicKey {
	t.Helper()
	key, err := ledger.NewPublicKey(s.Public())
	if err != nil {
		t.Fatal(err)
	}
	return key
}

var nonce = ledger.Hash{9, 9, 9}

func resultOf(t testing.TB, json string) *canon.Context {
	t.Helper()
	v, err := canon.DecodeJSON([]byte(json))
	if err != nil {
		t.Fatal(err)
	}
	return v.(*canon.Context)
}

const result = `{"score": 712.50, "applicant": {"ssn": "123-45-6789", "phones": ["1", "2"], "notes": {}}, "a.b": true}`

func boundResult(t testing.TB, json string) []ledger.Hash {
	t.Helper()
	values, err := ledger.Bind(nonce, ledger.Flatten(resultOf(t, json)))
	if err != nil {
		t.Fatal(err)
	}
	return values
}

func jobStatement(t testing.TB, key ledger.PublicKey) ledger.Statement {
	return ledger.Statement{
		Kind: ledger.JobCompleted, Deployment: "d", Tenant: "main", Instance: object, Element: "score", Process: "loan", Version: 3,
		Model: ledger.Hash{5}.String(), Job: object + ".7", Lease: "1a.00ff", At: "2026-11-21T12:30:00.000000Z", Key: key.ID(),
		Values: boundResult(t, result),
	}
}

func taskStatement(t testing.TB, key ledger.PublicKey) ledger.Statement {
	s := jobStatement(t, key)
	s.Kind, s.Job, s.Lease, s.Task = ledger.TaskCompleted, "", "", object+".9"
	return s
}

type statementVector struct {
	Name      string `json:"name"`
	Statement string `json:"statement"`
	Hash      string `json:"hash,omitempty"`
	Code      string `json:"code,omitempty"`
}

// boundValues are n values of a result.
func boundValues(t testing.TB, n int) []ledger.Hash {
	t.Helper()
	bound := make([]ledger.Bound, n)
	for i := range bound {
		bound[i] = ledger.Bound{Path: fmt.Sprint("v", i), Value: canon.Bool(true)}
	}
	values, err := ledger.Bind(nonce, bound)
	if err != nil {
		t.Fatal(err)
	}
	return values
}

func makeStatementVectors(t *testing.T) (vectors []statementVector) {
	key := publicOf(t, edKey(1))
	empty := jobStatement(t, key)
	empty.Values = nil
	failed := jobStatement(t, key)
	failed.Kind = ledger.JobFailed
	full := jobStatement(t, key)
	full.Kind, full.Values = ledger.JobErrored, boundValues(t, 502)
	odd := jobStatement(t, key)
	odd.Element = "prüfen \"now\"\n"
	for _, s := range []struct {
		name      string
		statement ledger.Statement
	}{{"a completed job", jobStatement(t, key)}, {"a failed job", failed}, {"a completed task", taskStatement(t, key)},
		{"an empty result", empty}, {"as many values as there can be", full}, {"an element id that needs escapes", odd}} {
		vectors = append(vectors, statementVector{Name: s.name, Statement: string(s.statement.Encode()), Hash: s.statement.Hash().String()})
	}
	good := string(jobStatement(t, key).Encode())
	values := good[strings.Index(good, `"values":"`)+10:][:128]
	for _, c := range []struct{ name, old, new string }{
		{"unknown name", `"at":`, `"a":"","at":`},
		{"missing name", `"element":"score",`, ``},
		{"name twice", `"element":"score",`, `"element":"score","element":"score",`},
		{"names in another order", `"v":"1","values"`, `"values":"","v":"1","values"`},
		{"space", `,"v"`, `, "v"`},
		{"newline at the end", `"version":"3"}`, "\"version\":\"3\"}\n"},
		{"number instead of string", `"version":"3"`, `"version":3`},
		{"leading zero", `"version":"3"`, `"version":"03"`},
		{"version 0 of a process", `"version":"3"`, `"version":"0"`},
		{"version 2 of statements", `"v":"1"`, `"v":"2"`},
		{"unknown kind", `"job.completed"`, `"job.done"`},
		{"a job's kind over a task", `"task":""`, `"task":"7"`},
		{"a job without lease", `"lease":"1a.00ff"`, `"lease":""`},
		{"a task's kind over a job", `"job.completed"`, `"task.completed"`},
		{"no tenant", `"tenant":"main"`, `"tenant":""`},
		{"time without fraction", `00.000000Z`, `00Z`},
		{"model that is no hash", `"model":"05`, `"model":"`},
		{"key that is no hash", key.ID(), key.ID()[1:]},
		{"values not in order", values, values[64:] + values[:64]},
		{"a value twice", values, values[:64] + values[:64]},
		{"a value cut short", values, values[1:]},
		{"values in upper case", values, strings.ToUpper(values)},
	} {
		bad := strings.Replace(good, c.old, c.new, 1)
		if bad == good {
			t.Fatalf("%s: nothing changed", c.name)
		}
		vectors = append(vectors, statementVector{Name: c.name, Statement: bad, Code: "statement_malformed"})
	}
	return append(vectors, statementVector{Name: "empty", Code: "statement_malformed"}, statementVector{Name: "a list", Statement: `["l"]`, Code: "statement_malformed"})
}

func TestStatementVectors(t *testing.T) {
	for _, v := range readVectors(t, "statement.json", makeStatementVectors(t)) {
		t.Run(v.Name, func(t *testing.T) {
			s, err := ledger.ParseStatement([]byte(v.Statement))
			if v.Code != "" {
				if fault.CodeOf(err) != v.Code || !fault.Is(err, fault.Integrity) {
					t.Fatalf("error %v, want code %s", err, v.Code)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if string(s.Encode()) != v.Statement || s.Hash().String() != v.Hash {
				t.Errorf("encoded as %s with hash %s, want %s", s.Encode(), s.Hash(), v.Hash)
			}
		})
	}
}

type bindingVector struct {
	Nonce      string `json:"nonce"`
	Path       string `json:"path"`
	Type       string `json:"type"`
	Value      string `json:"value"` // canon
	Key        string `json:"key"`
	Commitment string `json:"commitment"`
}

func TestBindingVectors(t *testing.T) {
	var made []bindingVector
	for _, b := range ledger.Flatten(resultOf(t, result)) {
		key := ledger.BindKey(nonce, b.Path)
		made = append(made, bindingVector{nonce.String(), b.Path, canon.TypeName(b.Value), string(canon.Encode(b.Value)),
			key.String(), ledger.Commit(key[:], ledger.EncodeField(b.Path, b.Value)).String()})
	}
	var paths []string
	for _, v := range readVectors(t, "binding.json", made) {
		paths = append(paths, v.Path)
		n, err := ledger.ParseHash(v.Nonce)
		if err != nil {
			t.Fatal(err)
		}
		value, err := canon.Decode([]byte(v.Value))
		if err != nil {
			t.Fatal(err)
		}
		key := ledger.BindKey(n, v.Path)
		if got := ledger.Commit(key[:], ledger.EncodeField(v.Path, value)); key.String() != v.Key || got.String() != v.Commitment {
			t.Errorf("%s: key %s, commitment %s, want %s, %s", v.Path, key, got, v.Key, v.Commitment)
		}
	}
	if got, want := strings.Join(paths, " "), "a%2Eb applicant.notes applicant.phones applicant.ssn score"; got != want {
		t.Errorf("bound are %s, want %s", got, want)
	}
}

func TestABindingShowsOneValue(t *testing.T) {
	s := jobStatement(t, publicOf(t, edKey(1)))
	whole := resultOf(t, result)
	applicant, _ := whole.Get("applicant")
	rest := applicant.(*canon.Context).Without("ssn")
	tests := []struct {
		path  string
		value canon.Value
		shown bool
	}{
		{"applicant.ssn", canon.String("123-45-6789"), true},
		{"@7/applicant.ssn", canon.String("123-45-6789"), true},
		{"applicant", rest, true},
		{"applicant", applicant, true},
		{"applicant.ssn", canon.String("123-45-6780"), false},
		{"phone", canon.String("1"), false},
		{"applicant.phones[0]", canon.String("1"), false},
	}
	for _, test := range tests {
		bindings := s.Disclose(nonce, test.path, test.value)
		if (len(bindings) > 0) != test.shown {
			t.Errorf("Disclose(%s) gives %d bindings, want some: %t", test.path, len(bindings), test.shown)
		}
		if shown, err := s.Shows(test.path, test.value, bindings); err != nil || shown != test.shown {
			t.Errorf("Shows(%s) = %t, %v, want %t", test.path, shown, err, test.shown)
		}
	}
	ssn := s.Disclose(nonce, "applicant.ssn", canon.String("123-45-6789"))
	if _, err := s.Shows("applicant.ssn", canon.String("000"), ssn); fault.CodeOf(err) != "statement_other_value" {
		t.Errorf("another value under the key of the signed one: %v", err)
	}
	if shown, err := s.Shows("score", canon.Null{}, ssn); shown || err != nil {
		t.Errorf("the key of one path shows another: %t, %v", shown, err)
	}
}

// A statement is given to strangers: without the nonce it must say nothing of the
// values, also of those that are easily guessed.
func TestAStatementHoldsNoPlainHashOfAValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := ledger.Hash(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "nonce"))
		other := ledger.Hash(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "other nonce"))
		list := []ledger.Bound{{Path: "yes", Value: canon.Bool(rapid.Bool().Draw(t, "value"))}}
		a, err := ledger.Bind(n, list)
		if err != nil {
			t.Fatal(err)
		}
		b, err := ledger.Bind(other, list)
		if err != nil {
			t.Fatal(err)
		}
		if (n == other) != (a[0] == b[0]) {
			t.Fatal("the commitment does not hang on the nonce")
		}
		if ledger.BindKey(n, "yes") == ledger.BindKey(n, "no") {
			t.Fatal("two paths have one key")
		}
	})
}

func TestALargeResultIsBoundByVariables(t *testing.T) {
	inner := &canon.Context{}
	outer := &canon.Context{}
	for i := range 503 {
		inner = inner.With(fmt.Sprintf("v%03d", i), canon.Bool(true))
		outer = outer.With(fmt.Sprintf("v%03d", i), canon.Bool(true))
	}
	list := ledger.Flatten((&canon.Context{}).With("all", inner).With("x", canon.Null{}))
	if len(list) != 2 || list[0].Path != "all" || list[1].Path != "x" {
		t.Errorf("%d values are bound, want the two variables", len(list))
	}
	if _, err := ledger.Bind(nonce, ledger.Flatten(outer)); fault.CodeOf(err) != "statement_too_large" {
		t.Errorf("503 variables: %v", err)
	}
}

type signatureVector struct {
	Name      string `json:"name"`
	Statement string `json:"statement"`
	Signature string `json:"signature"` // DSSE envelope
	Alg       string `json:"alg"`
	Public    string `json:"public"`
	Code      string `json:"code,omitempty"`
}

func sign(t testing.TB, s ledger.Statement, key crypto.Signer) (string, string) {
	t.Helper()
	statement, signature, err := s.Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(statement), string(signature)
}

func makeSignatureVectors(t *testing.T) (vectors []signatureVector) {
	for _, key := range []crypto.Signer{edKey(1), p256Key(t, 1)} {
		public := publicOf(t, key)
		other := edKey(2)
		statement, signature := sign(t, jobStatement(t, public), key)
		add := func(name, statement, signature string, key ledger.PublicKey, code string) {
			vectors = append(vectors, signatureVector{public.Alg() + ": " + name, statement, signature, key.Alg(), key.Text(), code})
		}
		add("a completed job", statement, signature, public, "")
		add("another key", statement, signature, publicOf(t, other), "signature_other_key")
		later := jobStatement(t, public)
		later.Lease = "1b.00ff"
		add("the statement of another try", string(later.Encode()), signature, public, "signature_other_statement")
		add("a statement that is none", "{}", signature, public, "statement_malformed")
		add("no signature", statement, "", public, "signature_malformed")

		e, err := ledger.ParseEnvelope([]byte(signature))
		if err != nil {
			t.Fatal(err)
		}
		edit := func(f func(*ledger.Envelope)) string { c := e; f(&c); return string(c.Encode()) }
		add("another type of payload", statement, edit(func(e *ledger.Envelope) { e.PayloadType = "text/plain" }), public, "signature_type")
		add("no key id", statement, edit(func(e *ledger.Envelope) { e.KeyID = "" }), public, "signature_other_key")
		add("a changed signature", statement, edit(func(e *ledger.Envelope) { e.Sig = append([]byte{e.Sig[0] ^ 1}, e.Sig[1:]...) }), public, "signature_wrong")
		add("an empty signature", statement, edit(func(e *ledger.Envelope) { e.Sig = nil }), public, "signature_wrong")
		if private, ok := key.(ed25519.PrivateKey); ok {
			bare := ed25519.Sign(private, []byte(statement))
			add("a signature over the bare statement", statement, edit(func(e *ledger.Envelope) { e.Sig = bare }), public, "signature_wrong")
		}
		for _, c := range []struct{ name, old, new string }{
			{"a space in the envelope", `,"payloadType"`, `, "payloadType"`},
			{"an unknown name in the envelope", `{"payload"`, `{"x":"","payload"`},
			{"a second signature", `]}`, `,{"keyid":"","sig":""}]}`},
			{"base64 for URLs", `"signatures"`, `"signatures" `},
			{"a newline in base64", `"payload":"`, `"payload":"\n`},
		} {
			add(c.name, statement, strings.Replace(signature, c.old, c.new, 1), public, "signature_malformed")
		}
	}
	return vectors
}

func TestSignatureVectors(t *testing.T) {
	for _, v := range readVectors(t, "signature.json", makeSignatureVectors(t)) {
		t.Run(v.Name, func(t *testing.T) {
			key, err := ledger.ParsePublicKey(v.Alg, v.Public)
			if err != nil {
				t.Fatal(err)
			}
			s, err := ledger.VerifyWorker([]byte(v.Statement), []byte(v.Signature), key)
			if got := codeOf(err); got != v.Code {
				t.Fatalf("error %v, want code %q", err, v.Code)
			}
			if err == nil && string(s.Encode()) != v.Statement {
				t.Errorf("it says %s", s.Encode())
			}
		})
	}
}

func codeOf(err error) string {
	if err == nil {
		return ""
	}
	return fault.CodeOf(err)
}

// The vector of the protocol's own text.
func TestPAE(t *testing.T) {
	got := string(ledger.PAE("http://example.com/HelloWorld", []byte("hello world")))
	if want := "DSSEv1 29 http://example.com/HelloWorld 11 hello world"; got != want {
		t.Errorf("PAE = %q, want %q", got, want)
	}
}

func TestUnsuitableKeysAreRefused(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.PublicKey{
		"P-384": p384.Public(), "RSA": &rsa.PublicKey{N: big.NewInt(15), E: 3}, "a short Ed25519": ed25519.PublicKey{1}, "nothing": nil,
	} {
		if _, err := ledger.NewPublicKey(key); fault.CodeOf(err) != "key_unsuitable" {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := publicOf(t, p256Key(t, 1))
	for name, c := range map[string][2]string{
		"another algorithm":          {ledger.Ed25519, good.Text()},
		"unknown algorithm":          {"rsa", good.Text()},
		"a point that is not on it":  {ledger.P256, strings.Replace(good.Text(), "A", "B", 1)},
		"a newline":                  {ledger.P256, good.Text() + "\n"},
		"base64 that is not of ours": {ledger.P256, strings.TrimRight(good.Text(), "=")},
	} {
		if _, err := ledger.ParsePublicKey(c[0], c[1]); fault.CodeOf(err) != "key_unsuitable" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if (ledger.PublicKey{}).Verify(nil, nil) {
		t.Error("no key verifies something")
	}
}

func FuzzParseStatement(f *testing.F) {
	for _, v := range makeStatementSeeds(f) {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, encoded []byte) {
		s, err := ledger.ParseStatement(encoded)
		if err == nil && string(s.Encode()) != string(encoded) {
			t.Errorf("%q parses and encodes as %q", encoded, s.Encode())
		}
	})
}

func makeStatementSeeds(t testing.TB) [][]byte {
	key := publicOf(t, edKey(1))
	return [][]byte{jobStatement(t, key).Encode(), taskStatement(t, key).Encode()}
}

func FuzzParseEnvelope(f *testing.F) {
	_, signature := sign(f, jobStatement(f, publicOf(f, edKey(1))), edKey(1))
	f.Add([]byte(signature))
	f.Add([]byte(`{"payload":"","payloadType":"","signatures":[{"keyid":"","sig":""}]}`))
	f.Fuzz(func(t *testing.T, encoded []byte) {
		e, err := ledger.ParseEnvelope(encoded)
		if err == nil && string(e.Encode()) != string(encoded) {
			t.Errorf("%q parses and encodes as %q", encoded, e.Encode())
		}
	})
}
