package ledger

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/underseal/underseal/envelope"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
)

// StatementType is the DSSE payload type of a Statement.
const StatementType = "application/vnd.underseal.statement.v1+json"

const (
	statementVersion = "1"
	bindLabel        = "underseal/v1/statement\x00"

	// maxFlat is how many values a statement binds one by one. A result of more is
	// bound by its variables as wholes, so that statements stay small.
	maxFlat  = 500
	maxBound = maxFlat + 2 // with the code and message of an error
)

// The kinds of statements.
const (
	JobCompleted  = "job.completed"
	JobFailed     = "job.failed"
	JobErrored    = "job.errored"
	TaskCompleted = "task.completed"
)

// Statement is what a worker or a person signs: that they did this piece of work,
// with this result. It names no person and holds no plain hash of data: the values
// of the result are bound by commitments under keys from a nonce of the signer.
type Statement struct {
	Kind       string // JobCompleted ..
	Deployment string
	Tenant     string
	Instance   string // id
	Element    string // id of the model's element
	Process    string // id of the process in the model
	Version    int    // of the process, from 1
	Model      string // SHA-256 of the model's bytes in hex
	Job        string // id; of a job only
	Lease      string // that the job was held under: one try of it and no other; of a job only
	Task       string // id; of a task only
	At         string // time by the signer's clock, in TimeLayout
	Key        string // PublicKey.ID of the key that signs
	Values     []Hash // Bind, ascending
}

// Encode returns the statement as canon of a map of strings in which every name
// is there.
func (s Statement) Encode() []byte {
	values := make([]byte, 0, 64*len(s.Values))
	for _, h := range s.Values {
		values = hex.AppendEncode(values, h[:])
	}
	w := leafWriter(make([]byte, 0, 768+len(values)))
	w = append(w, '{')
	w = w.text("at", s.At).text("deployment", s.Deployment).text("element", s.Element).text("instance", s.Instance)
	w = w.text("job", s.Job).text("key", s.Key).text("kind", s.Kind).text("lease", s.Lease).text("model", s.Model)
	w = w.text("process", s.Process).text("task", s.Task).text("tenant", s.Tenant).text("v", statementVersion)
	w = w.text("values", string(values)).number("version", uint64(s.Version))
	w[len(w)-1] = '}'
	return w
}

// ParseStatement reads an encoded statement and refuses every spelling but the one
// that Encode writes, as an Integrity fault ("statement_malformed").
func ParseStatement(encoded []byte) (Statement, error) {
	v, err := canon.Decode(encoded)
	c, ok := v.(*canon.Context)
	if err != nil || !ok {
		return Statement{}, refusedStatement("it is no canonical map")
	}
	r := mapReader{c: c}
	s := Statement{
		Kind: r.text("kind"), Deployment: r.text("deployment"), Tenant: r.text("tenant"), Instance: r.text("instance"),
		Element: r.text("element"), Process: r.text("process"), Version: int(r.number("version", 31)), Model: r.text("model"),
		Job: r.text("job"), Lease: r.text("lease"), Task: r.text("task"), At: r.text("at"), Key: r.text("key"),
	}
	values := r.text("values")
	if version := r.text("v"); r.err != nil || version != statementVersion {
		return Statement{}, refusedStatement("a name is missing, is no text, or its version is not known")
	}
	if s.Values, err = parseValues(values); err != nil {
		return Statement{}, err
	}
	if err := s.check(); err != nil {
		return Statement{}, err
	}
	if !bytes.Equal(s.Encode(), encoded) {
		return Statement{}, refusedStatement("it has names that do not belong to it, or another spelling")
	}
	return s, nil
}

func refusedStatement(format string, args ...any) error {
	return fault.New(fault.Integrity, "statement is refused: %s", fmt.Sprintf(format, args...)).WithCode("statement_malformed")
}

func parseValues(text string) ([]Hash, error) {
	if len(text)%64 != 0 || len(text)/64 > maxBound {
		return nil, refusedStatement("its values are no list of at most %d hashes", maxBound)
	}
	var values []Hash
	for ; text != ""; text = text[64:] {
		h, ok := parseHash(text[:64])
		if last := len(values) - 1; !ok || last >= 0 && bytes.Compare(values[last][:], h[:]) >= 0 {
			return nil, refusedStatement("its values are no ascending hashes")
		}
		values = append(values, h)
	}
	return values, nil
}

// check refuses what no statement says.
func (s Statement) check() error {
	job := s.Kind == JobCompleted || s.Kind == JobFailed || s.Kind == JobErrored
	_, model := parseHash(s.Model)
	_, key := parseHash(s.Key)
	switch {
	case !job && s.Kind != TaskCompleted:
		return refusedStatement("kind %q is not known", s.Kind)
	case s.Deployment == "" || s.Tenant == "" || s.Instance == "" || s.Element == "" || s.Process == "" || s.Version < 1:
		return refusedStatement("it does not say where the work was done")
	case job != (s.Job != "" && s.Lease != "") || job == (s.Task != ""):
		return refusedStatement("job, lease and task do not fit its kind")
	case !validTime(s.At):
		return refusedStatement("time %q is not of the form %s", s.At, TimeLayout)
	case !model || !key:
		return refusedStatement("model or key is not a hash")
	}
	return nil
}

// Hash returns the hash of the encoded statement that leaves hold.
func (s Statement) Hash() Hash { return statementHash(s.Encode()) }

// Sign names the signer's key in the statement, encodes it and signs that. Signature
// is an encoded Envelope.
func (s Statement) Sign(signer crypto.Signer) (statement, signature []byte, err error) {
	key, err := NewPublicKey(signer.Public())
	if err != nil {
		return nil, nil, err
	}
	s.Key = key.ID()
	if err := s.check(); err != nil {
		return nil, nil, err
	}
	statement = s.Encode()
	e, err := SignDSSE(StatementType, statement, signer)
	if err != nil {
		return nil, nil, err
	}
	return statement, e.Encode(), nil
}

// VerifyWorker checks a worker's signature, an encoded Envelope, over an encoded
// statement, and returns what it says. Besides what ParseStatement, ParseEnvelope
// and VerifyDSSE refuse, it refuses an envelope of another text
// ("signature_other_statement") and a statement that names another key
// ("signature_other_key").
func VerifyWorker(statement, signature []byte, key PublicKey) (Statement, error) {
	s, err := ParseStatement(statement)
	if err != nil {
		return Statement{}, err
	}
	e, err := ParseEnvelope(signature)
	if err != nil {
		return Statement{}, err
	}
	if !bytes.Equal(e.Payload, statement) {
		return Statement{}, refusedSignature("signature_other_statement", "it is over another statement")
	}
	if s.Key != key.ID() {
		return Statement{}, refusedSignature("signature_other_key", "the statement names another key")
	}
	if err := VerifyDSSE(e, StatementType, key); err != nil {
		return Statement{}, err
	}
	return s, nil
}

// Bound is one value of a result with the path it is bound at.
type Bound struct {
	Path  string
	Value canon.Value
}

// Flatten lists what a statement binds of a result: every value in it that is not a
// context, or is an empty one, by its path ("applicant.ssn"); lists are one value.
// Of a result with more than 500 of those it lists the variables as wholes.
func Flatten(result *canon.Context) []Bound {
	all := parts(nil, "", result)
	if len(all) <= maxFlat {
		return all
	}
	all = make([]Bound, result.Len())
	for i := range all {
		e := result.At(i)
		all[i] = Bound{escapePath(e.Name), e.Value}
	}
	return all
}

// Failure lists what a statement binds of a failed try.
func Failure(message string) []Bound {
	return []Bound{{"$message", canon.String(message)}}
}

// Thrown lists what a statement binds of a BPMN error.
func Thrown(code, message string, result *canon.Context) []Bound {
	return append(Flatten(result), Bound{"$code", canon.String(code)}, Bound{"$message", canon.String(message)})
}

// parts adds the values inside v, which stands at path.
func parts(list []Bound, path string, v canon.Value) []Bound {
	c, ok := v.(*canon.Context)
	if !ok || path != "" && c.Len() == 0 {
		return append(list, Bound{path, v})
	}
	for i := range c.Len() {
		e := c.At(i)
		below := escapePath(e.Name)
		if path != "" {
			below = path + "." + below
		}
		list = parts(list, below, e.Value)
	}
	return list
}

const specialInPaths = ".[]@/$%"

// escapePath writes a name as it stands in the paths of fields.
func escapePath(name string) string {
	if name == "" {
		return "%"
	}
	if !strings.ContainsAny(name, specialInPaths) {
		return name
	}
	var b strings.Builder
	for i := range len(name) {
		if strings.IndexByte(specialInPaths, name[i]) >= 0 {
			fmt.Fprintf(&b, "%%%02X", name[i])
			continue
		}
		b.WriteByte(name[i])
	}
	return b.String()
}

// BindKey returns the key under which a statement binds the value at a path:
// HKDF-Expand from the signer's nonce, 32 random bytes. Whoever gets it can check
// that one value, and nothing else.
func BindKey(nonce Hash, path string) Hash {
	info := canon.AppendTuple([]byte(bindLabel), path)
	return envelope.MAC(nonce[:], append(info, 1)) // a block of HKDF-Expand is one HMAC
}

// Bind returns the commitments to values that a statement holds, ascending. More
// than 502 values are Invalid ("statement_too_large").
func Bind(nonce Hash, values []Bound) ([]Hash, error) {
	if len(values) > maxBound {
		return nil, fault.New(fault.Invalid, "a result of %d variables cannot be signed, at most %d can", len(values), maxBound).
			WithCode("statement_too_large").WithHint("put variables into one context")
	}
	hashes := make([]Hash, len(values))
	for i, b := range values {
		key := BindKey(nonce, b.Path)
		hashes[i] = Commit(key[:], EncodeField(b.Path, b.Value))
	}
	slices.SortFunc(hashes, func(a, b Hash) int { return bytes.Compare(a[:], b[:]) })
	return hashes, nil
}

// Binding discloses one bound value: its path and BindKey.
type Binding struct {
	Path string
	Key  Hash
}

// Binds reports whether the statement holds the commitment to this value.
func (s Statement) Binds(b Binding, v canon.Value) bool {
	h := Commit(b.Key[:], EncodeField(b.Path, v))
	_, found := slices.BinarySearchFunc(s.Values, h, func(a, b Hash) int { return bytes.Compare(a[:], b[:]) })
	return found
}

// Disclose returns the bindings that show that the signer saw the value v of a
// field. None: the signer did not, for instance because a mapping made v.
func (s Statement) Disclose(nonce Hash, path string, v canon.Value) []Binding {
	path = withoutScope(path)
	if whole := (Binding{path, BindKey(nonce, path)}); s.Binds(whole, v) {
		return []Binding{whole}
	}
	var list []Binding
	for _, p := range parts(nil, path, v) {
		b := Binding{p.Path, BindKey(nonce, p.Path)}
		if !s.Binds(b, p.Value) {
			return nil
		}
		list = append(list, b)
	}
	return list
}

// Shows reports whether the bindings show that the signer saw the value v of a
// field. False: they say nothing of it. A binding for the field with another value
// is an Integrity fault ("statement_other_value").
func (s Statement) Shows(path string, v canon.Value, disclosed []Binding) (bool, error) {
	path = withoutScope(path)
	list := []Bound{{path, v}}
	if findBinding(disclosed, path) < 0 {
		list = parts(nil, path, v)
	}
	shown := true
	for _, p := range list {
		switch i := findBinding(disclosed, p.Path); {
		case i < 0:
			shown = false
		case !s.Binds(disclosed[i], p.Value):
			return false, fault.New(fault.Integrity, "the value at %q is not the one that was signed", p.Path).WithCode("statement_other_value")
		}
	}
	return shown, nil
}

func findBinding(list []Binding, path string) int {
	return slices.IndexFunc(list, func(b Binding) bool { return b.Path == path })
}

// withoutScope takes "@7/" off the path of a field: a signer knows the variables of
// a result, and not which scope they went to.
func withoutScope(path string) string {
	if rest, ok := strings.CutPrefix(path, "@"); ok {
		if number, name, ok := strings.Cut(rest, "/"); ok {
			if _, err := strconv.ParseUint(number, 10, 64); err == nil {
				return name
			}
		}
	}
	return path
}
