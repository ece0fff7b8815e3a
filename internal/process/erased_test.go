package process_test

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/process"
)

// TestAnyFieldsMayBeErased loads an instance with any of its fields erased, and
// changes it afterwards.
func TestAnyFieldsMayBeErased(t *testing.T) {
	d := define(t, `
		field applicant.ssn regulated about applicant.id
		field applicant.address confidential
		field applicant.address.streets[].name regulated
		field people[].phone confidential about people[].id
		field people[] internal
		field tags[] confidential
		field house.owner.name regulated
		start s
		service work
		end e
		s -> work
		work -> e`)
	values := []string{
		`{"id":"x","name":"A","ssn":"1","address":{"city":"X","streets":[{"name":"a","no":1},"b",{"name":"c"}]}}`,
		`[{"id":"a","phone":"1","name":"n"},{"id":"b"},"text",{"phone":"2"}]`, `["a","b","c"]`, `{"owner":{"name":"n","age":5}}`, `"text"`, `null`, `5`,
	}
	rapid.Check(t, func(t *rapid.T) {
		var members []string
		for _, name := range []string{"applicant", "people", "tags", "house", "other"} {
			members = append(members, `"`+name+`":`+rapid.SampledFrom(values).Draw(t, name))
		}
		p := play(t, d, "{"+strings.Join(members, ",")+"}")
		data := p.s.Encode()
		erased := map[string]bool{}
		s, err := process.Decode(d, data, func(path string) (canon.Value, error) {
			if erased[path] = rapid.Bool().Draw(t, "erase "+path); erased[path] {
				return nil, nil
			}
			return p.fields[path].Value, nil
		})
		if err != nil {
			t.Fatalf("decoding with %v: %v", erased, err)
		}
		if !bytes.Equal(s.Encode(), data) {
			t.Fatalf("with %v the structure is another:\n%s\n%s", erased, s.Encode(), data)
		}
		for path, gone := range erased {
			if value, ok := s.Field(path); !ok || !gone && !canon.Equal(value, p.fields[path].Value) {
				t.Errorf("field %s is %s, want %s", path, canon.EncodeJSON(value), canon.EncodeJSON(p.fields[path].Value))
			}
		}
		set := process.VariablesSet{Variables: vars(t, `{"applicant":{"id":"y","ssn":"2"}}`)}
		if out, err := process.Step(d, s, process.Input{Event: set, At: p.now, Zone: zone}); err != nil || out.Rejected != nil {
			t.Fatalf("changing it: %v, %v", err, out.Rejected)
		}
		if value, _ := s.Field("applicant.ssn"); !canon.Equal(value, canon.String("2")) {
			t.Errorf("a field written anew is %s", canon.EncodeJSON(value))
		}
	})
}
