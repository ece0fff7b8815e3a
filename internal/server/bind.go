package server

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
)

// A binder puts a decoded JSON value into dst, which is zero, and returns what
// is wrong with it, with places relative to the value. Binders are made once
// per type from the schema that the OpenAPI document shows, so the document and
// the check cannot differ. They are exact where encoding/json is lenient: names
// match in case, unknown names and null are refused, every finding is reported.
type binder func(v canon.Value, dst reflect.Value) []fault.Detail

// newBinder makes the binder of t, which s describes. A type or keyword of a
// schema that it cannot check is a defect of the wire types and panics.
func newBinder(registry huma.Registry, t reflect.Type, s *huma.Schema) binder {
	if s.Ref != "" {
		s = registry.SchemaFromRef(s.Ref)
	}
	isTime := t == reflect.TypeFor[time.Time]() || t == reflect.TypeFor[*time.Time]()
	if s.Pattern != "" || s.Format == "date-time" && !isTime || s.MultipleOf != nil || s.UniqueItems {
		panic("server: no check for the schema of " + t.String())
	}
	switch {
	case t == reflect.TypeFor[json.RawMessage]():
		return bindObject
	case t == reflect.TypeFor[[]byte]():
		return bindBytes
	case t == reflect.TypeFor[time.Time]():
		return bindTime
	case t.Kind() == reflect.Pointer:
		return pointerBinder(newBinder(registry, t.Elem(), s))
	case t.Kind() == reflect.String:
		return stringBinder(s)
	case t.Kind() == reflect.Int:
		return intBinder(s)
	case t.Kind() == reflect.Bool:
		return bindBool
	case t.Kind() == reflect.Slice:
		return sliceBinder(registry, t, s)
	case t.Kind() == reflect.Struct:
		return structBinder(registry, t, s)
	}
	panic("server: no binder for " + t.String())
}

// found returns one finding about the value itself.
func found(format string, args ...any) []fault.Detail {
	return []fault.Detail{{Message: fmt.Sprintf(format, args...)}}
}

// within moves findings below a name or index.
func within(step string, details []fault.Detail) []fault.Detail {
	step = "/" + strings.ReplaceAll(strings.ReplaceAll(step, "~", "~0"), "/", "~1")
	for i := range details {
		details[i].Place = step + details[i].Place
	}
	return details
}

func wrongType(want string, v canon.Value) []fault.Detail {
	return found("must be %s, not %s", want, canon.TypeName(v))
}

// bindObject keeps any object as JSON, its numbers in canonical spelling.
func bindObject(v canon.Value, dst reflect.Value) []fault.Detail {
	if _, ok := v.(*canon.Context); !ok {
		return wrongType("an object", v)
	}
	dst.SetBytes(canon.EncodeJSON(v))
	return nil
}

func bindBytes(v canon.Value, dst reflect.Value) []fault.Detail {
	text, ok := v.(canon.String)
	if !ok {
		return wrongType("a base64 string", v)
	}
	data, err := base64.StdEncoding.Strict().DecodeString(string(text))
	if err != nil {
		return found("must be base64 (RFC 4648 section 4, with padding)")
	}
	dst.SetBytes(data)
	return nil
}

// bindTime takes a time with its offset (RFC 3339).
func bindTime(v canon.Value, dst reflect.Value) []fault.Detail {
	text, ok := v.(canon.String)
	if !ok {
		return wrongType("a time", v)
	}
	at, err := time.Parse(time.RFC3339, string(text))
	if err != nil {
		return found("must be a time such as 2031-01-31T12:00:00Z (RFC 3339)")
	}
	dst.Set(reflect.ValueOf(at))
	return nil
}

func bindBool(v canon.Value, dst reflect.Value) []fault.Detail {
	b, ok := v.(canon.Bool)
	if !ok {
		return wrongType("true or false", v)
	}
	dst.SetBool(bool(b))
	return nil
}

func pointerBinder(bind binder) binder {
	return func(v canon.Value, dst reflect.Value) []fault.Detail {
		dst.Set(reflect.New(dst.Type().Elem()))
		return bind(v, dst.Elem())
	}
}

func stringBinder(s *huma.Schema) binder {
	check := stringCheck(s)
	return func(v canon.Value, dst reflect.Value) []fault.Detail {
		text, ok := v.(canon.String)
		if !ok {
			return wrongType("a string", v)
		}
		if what := check(string(text)); what != "" {
			return found("%s", what)
		}
		dst.SetString(string(text))
		return nil
	}
}

// stringCheck says what is wrong with a text, "" if nothing.
func stringCheck(s *huma.Schema) func(text string) string {
	shortest, longest := or(s.MinLength, 0), or(s.MaxLength, -1)
	var allowed []string
	for _, e := range s.Enum {
		allowed = append(allowed, e.(string))
	}
	return func(text string) string {
		switch n := utf8.RuneCountInString(text); {
		case n < shortest:
			return "must not be shorter than " + count(shortest, "character")
		case longest >= 0 && n > longest:
			return "must not be longer than " + count(longest, "character")
		case len(allowed) > 0 && !slices.Contains(allowed, text):
			return "must be one of " + strings.Join(allowed, ", ")
		}
		return ""
	}
}

func intBinder(s *huma.Schema) binder {
	check := intCheck(s)
	return func(v canon.Value, dst reflect.Value) []fault.Detail {
		n, ok := v.(canon.Number)
		if !ok {
			return wrongType("an integer", v)
		}
		i, err := n.Decimal().Int64()
		if err != nil {
			return found("must be an integer of 64 bits")
		}
		if what := check(i); what != "" {
			return found("%s", what)
		}
		dst.SetInt(i)
		return nil
	}
}

// intCheck says what is wrong with an integer, "" if nothing.
func intCheck(s *huma.Schema) func(i int64) string {
	return func(i int64) string {
		switch {
		case s.Minimum != nil && i < int64(*s.Minimum):
			return "must not be less than " + strconv.FormatInt(int64(*s.Minimum), 10)
		case s.Maximum != nil && i > int64(*s.Maximum):
			return "must not be more than " + strconv.FormatInt(int64(*s.Maximum), 10)
		}
		return ""
	}
}

func sliceBinder(registry huma.Registry, t reflect.Type, s *huma.Schema) binder {
	bind := newBinder(registry, t.Elem(), s.Items)
	fewest, most := or(s.MinItems, 0), or(s.MaxItems, -1)
	return func(v canon.Value, dst reflect.Value) []fault.Detail {
		list, ok := v.(canon.List)
		switch {
		case !ok:
			return wrongType("an array", v)
		case len(list) < fewest:
			return found("must have at least %s", count(fewest, "item"))
		case most >= 0 && len(list) > most:
			return found("must have at most %s", count(most, "item"))
		}
		dst.Set(reflect.MakeSlice(t, len(list), len(list)))
		var details []fault.Detail
		for i, item := range list {
			if d := bind(item, dst.Index(i)); d != nil {
				details = append(details, within(strconv.Itoa(i), d)...)
			}
		}
		return details
	}
}

// structField is one field of a struct and how to fill it.
type structField struct {
	name     string
	index    int
	bind     binder
	required bool
}

func structBinder(registry huma.Registry, t reflect.Type, s *huma.Schema) binder {
	var fields []structField
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		fields = append(fields, structField{
			name: name, index: i, required: slices.Contains(s.Required, name),
			bind: newBinder(registry, t.Field(i).Type, s.Properties[name]),
		})
	}
	return func(v canon.Value, dst reflect.Value) []fault.Detail {
		object, ok := v.(*canon.Context)
		if !ok {
			return wrongType("an object", v)
		}
		return append(bindFields(fields, object, dst), unknownNames(fields, object)...)
	}
}

func bindFields(fields []structField, object *canon.Context, dst reflect.Value) []fault.Detail {
	var details []fault.Detail
	for _, f := range fields {
		v, ok := object.Get(f.name)
		switch {
		case !ok && f.required:
			details = append(details, within(f.name, found("is required"))...)
		case ok:
			if d := f.bind(v, dst.Field(f.index)); d != nil {
				details = append(details, within(f.name, d)...)
			}
		}
	}
	return details
}

func unknownNames(fields []structField, object *canon.Context) []fault.Detail {
	var details []fault.Detail
	for i := range object.Len() {
		name := object.At(i).Name
		if !slices.ContainsFunc(fields, func(f structField) bool { return f.name == name }) {
			details = append(details, within(name, found("is not a known name here"))...)
		}
	}
	return details
}

func or(p *int, otherwise int) int {
	if p == nil {
		return otherwise
	}
	return *p
}

func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return strconv.Itoa(n) + " " + noun
}
