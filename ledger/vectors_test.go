package ledger_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/ledger"
)

var update = flag.Bool("update", false, "write the vectors in testdata again")

// readVectors returns the vectors of a file in testdata; -update writes made there first.
func readVectors[T any](t *testing.T, name string, made []T) []T {
	path := "testdata/" + name
	if *update {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		if err := e.Encode(made); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var vectors []T
	if err := json.Unmarshal(data, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) == 0 {
		t.Fatalf("%s has no vectors", path)
	}
	return vectors
}

// refusedAs requires that err is of a vector's kind and code; empty: that there is none.
func refusedAs(t *testing.T, err error, kind, code string) {
	t.Helper()
	got := ""
	if err != nil {
		got = fault.KindOf(err).String()
	}
	if got != kind || fault.CodeOf(err) != code {
		t.Errorf("%v: kind %q, code %q; want %q, %q", err, got, fault.CodeOf(err), kind, code)
	}
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type namedLeaf struct {
	name string
	leaf ledger.Leaf
}

// leaves are those of the vectors, and seeds of the fuzzer.
func leaves() []namedLeaf {
	first := sample()
	first.Kind, first.Act, first.Elem, first.Seq, first.Prev = "instance.started", "user", "", 1, ledger.Hash{}
	signed := sample()
	signed.Stmt, signed.Key = ledger.Hash{6}.String(), ledger.Hash{7}.String()
	last := sample()
	last.Seq, last.Act = 1<<64-1, "engine"
	odd := sample()
	odd.Elem = "prüfen \"now\"\n"
	return []namedLeaf{
		{"a step", sample()}, {"the first step", first}, {"a signed step", signed}, {"the highest step", last},
		{"an element id that needs escapes", odd},
		{"of no object", ledger.Leaf{
			Kind: "access.denied", Log: "example.org/main/2026", At: "2026-11-21T12:30:00.999999Z", Act: "admin",
			Data: ledger.DataRoot(nil), Rows: ledger.RowsHash(nil, nil),
		}},
	}
}

// leafVector is an encoded leaf and its hash, or an encoding that is refused.
type leafVector struct {
	Name string `json:"name"`
	Leaf string `json:"leaf"`
	Hash string `json:"hash,omitempty"`
	Kind string `json:"kind,omitempty"`
}

func makeLeafVectors() (vectors []leafVector) {
	for _, l := range leaves() {
		encoded := l.leaf.Encode()
		vectors = append(vectors, leafVector{Name: l.name, Leaf: string(encoded), Hash: ledger.LeafHash(encoded).String()})
	}
	good := string(sample().Encode())
	for _, c := range []struct{ name, old, new string }{
		{"unknown name", `"act":`, `"a":"","act":`},
		{"missing name", `"elem":"decide",`, ``},
		{"name twice", `"elem":"decide",`, `"elem":"decide","elem":"decide",`},
		{"names in another order", `"stmt":"","v":"1"`, `"v":"1","stmt":""`},
		{"object without step", `"seq":"7",`, ``},
		{"object without previous leaf", `"prev":"01` + strings.Repeat("00", 31) + `",`, ``},
		{"step without object", `"obj":"` + object + `",`, ``},
		{"empty object", object, ``},
		{"version 2", `"v":"1"`, `"v":"2"`},
		{"number instead of string", `"n":"4"`, `"n":4`},
		{"leading zero", `"seq":"7"`, `"seq":"07"`},
		{"plus sign", `"seq":"7"`, `"seq":"+7"`},
		{"step out of range", `"seq":"7"`, `"seq":"18446744073709551616"`},
		{"hash too short", `"rows":"05`, `"rows":"`},
		{"hash in upper case", `"rows":"05`, `"rows":"0A`},
		{"unknown act", `"worker"`, `"nobody"`},
		{"time without fraction", `00.000000Z`, `00Z`},
		{"first step with a previous leaf", `"seq":"7"`, `"seq":"1"`},
		{"space", `,"v"`, `, "v"`},
		{"escape that is not needed", `"decide"`, `"d\u0065cide"`},
		{"newline at the end", `"v":"1"}`, "\"v\":\"1\"}\n"},
	} {
		vectors = append(vectors, leafVector{Name: c.name, Leaf: strings.Replace(good, c.old, c.new, 1), Kind: "integrity"})
	}
	return append(vectors, leafVector{Name: "empty", Kind: "integrity"}, leafVector{Name: "a list", Leaf: `["l"]`, Kind: "integrity"})
}

func TestLeafVectors(t *testing.T) {
	for _, v := range readVectors(t, "leaf.json", makeLeafVectors()) {
		t.Run(v.Name, func(t *testing.T) {
			l, err := ledger.ParseLeaf([]byte(v.Leaf))
			switch {
			case v.Kind != "" && (err == nil || fault.KindOf(err).String() != v.Kind):
				t.Errorf("parsed %+v, %v; want %s", l, err, v.Kind)
			case v.Kind == "" && (err != nil || string(l.Encode()) != v.Leaf):
				t.Errorf("encoded %s, %v; want %s", l.Encode(), err, v.Leaf)
			case v.Kind == "" && ledger.LeafHash([]byte(v.Leaf)).String() != v.Hash:
				t.Errorf("hash %s, want %s", ledger.LeafHash([]byte(v.Leaf)), v.Hash)
			}
		})
	}
}

// commitVector is a commitment and what it is made of; value is canon.
type commitVector struct {
	Name       string `json:"name"`
	PRK        string `json:"prk"`
	Log        string `json:"log"`
	Object     string `json:"obj"`
	Seq        uint64 `json:"seq,string"`
	Path       string `json:"path"`
	Value      string `json:"value"`
	Encoded    string `json:"encoded"`
	Key        string `json:"key"`
	Commitment string `json:"commitment"`
}

func makeCommitVectors(t *testing.T) (vectors []commitVector) {
	for _, c := range []struct {
		name, path, value string
		seq               uint64
	}{
		{"a string", "applicant.ssn", `"078-05-1120"`, 7}, {"a number", "amount", `["n","12.5"]`, 7},
		{"null", "amount", `null`, 8}, {"a list", "people", `["l",{"name":"Ada"}]`, 1},
		{"an actor", "$actor", `"0192f0c1-0000-7000-8000-000000000009"`, 1<<64 - 1},
	} {
		v := commitVector{
			Name: c.name, PRK: hex.EncodeToString(prk), Log: "example.org/main/2026", Object: object, Seq: c.seq, Path: c.path, Value: c.value,
		}
		vectors = append(vectors, v.fill(t))
	}
	return vectors
}

// fill computes the results of a vector from its inputs.
func (v commitVector) fill(t *testing.T) commitVector {
	secret, err := hex.DecodeString(v.PRK)
	if err != nil {
		t.Fatal(err)
	}
	value, err := canon.Decode([]byte(v.Value))
	if err != nil {
		t.Fatal(err)
	}
	key, err := ledger.CommitKey(secret, v.Log, v.Object, v.Seq, v.Path)
	if err != nil {
		t.Fatal(err)
	}
	commitment, err := ledger.CommitValue(secret, v.Log, v.Object, v.Seq, v.Path, value)
	if err != nil {
		t.Fatal(err)
	}
	v.Encoded, v.Key, v.Commitment = string(ledger.EncodeField(v.Path, value)), hex.EncodeToString(key), commitment.String()
	return v
}

func TestCommitmentVectors(t *testing.T) {
	for _, v := range readVectors(t, "commitment.json", makeCommitVectors(t)) {
		t.Run(v.Name, func(t *testing.T) {
			if got := v.fill(t); got != v {
				t.Errorf("got %+v, want %+v", got, v)
			}
		})
	}
}

// rootVector is a set of commitments and its root, or rows and their hash.
type rootVector struct {
	Name        string   `json:"name"`
	Commitments []string `json:"commitments,omitempty"`
	Step        string   `json:"step,omitempty"`
	Sealed      []string `json:"sealed,omitempty"`
	Root        string   `json:"root"`
	Rows        string   `json:"rows"`
}

func makeRootVectors(t *testing.T) (vectors []rootVector) {
	for n := range 9 {
		v := rootVector{Name: fmt.Sprintf("%d items", n), Step: strings.Repeat("5e", 10*n)}
		for i := range n {
			v.Commitments = append(v.Commitments, ledger.Hash{byte(97 * i)}.String())
			v.Sealed = append(v.Sealed, strings.Repeat("f5", i+1))
		}
		vectors = append(vectors, v.fill(t))
	}
	return vectors
}

func (v rootVector) fill(t *testing.T) rootVector {
	var commitments []ledger.Hash
	for _, c := range v.Commitments {
		commitments = append(commitments, ledger.Hash(unhex(t, c)))
	}
	var sealed [][]byte
	for _, s := range v.Sealed {
		sealed = append(sealed, unhex(t, s))
	}
	v.Root, v.Rows = ledger.DataRoot(commitments).String(), ledger.RowsHash(unhex(t, v.Step), sealed).String()
	return v
}

func TestRootVectors(t *testing.T) {
	for _, v := range readVectors(t, "root.json", makeRootVectors(t)) {
		t.Run(v.Name, func(t *testing.T) {
			if got := v.fill(t); got.Root != v.Root || got.Rows != v.Rows {
				t.Errorf("root %s, rows %s; want %s, %s", got.Root, got.Rows, v.Root, v.Rows)
			}
		})
	}
}
