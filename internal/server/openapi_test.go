package server_test

import (
	"bytes"
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// A change of the API shows in this file's diff, and nowhere by accident.
func TestOpenAPIIsTheGoldenOne(t *testing.T) {
	const golden = "testdata/openapi.json"
	got := serve(newServer(t, &fakeEngine{}), request("GET", "/openapi.json", "")).Body.Bytes()
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the API's description differs from %s; if that is meant, run go test ./internal/server -run OpenAPI -update", golden)
	}
}
