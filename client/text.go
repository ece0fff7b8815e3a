package client

import (
	"cmp"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/canon"
	"github.com/underseal/underseal/internal/fault"
)

// mangled is what stands for a text that is not UTF-8, in JSON. encoding/json would put
// U+FFFD in the place of its bytes and say nothing.
const mangled = "\"\xff\""

// maxTextDepth is how deep badText looks: the server takes no more levels.
const maxTextDepth = 128

var (
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
)

// badText looks for text in v, which JSON can hold, that is not UTF-8. It returns nil if
// there is none, else JSON with nothing but the first such text at its place; of a map
// that is the first in the order of its names. What marshals itself into JSON is not
// looked into.
func badText(v reflect.Value, depth int) json.RawMessage {
	if !v.IsValid() || depth > maxTextDepth || marshals(v, jsonMarshaler) {
		return nil
	}
	if marshals(v, textMarshaler) {
		return badMarshaled(v)
	}
	switch v.Kind() {
	case reflect.String:
		if !utf8.ValidString(v.String()) {
			return json.RawMessage(mangled)
		}
	case reflect.Interface, reflect.Pointer:
		return badText(v.Elem(), depth)
	case reflect.Struct:
		return badInStruct(v, depth)
	case reflect.Map:
		return badInMap(v, depth)
	case reflect.Slice, reflect.Array:
		return badInList(v, depth)
	}
	return nil
}

// marshals reports whether encoding/json leaves v to a method of its type.
func marshals(v reflect.Value, by reflect.Type) bool {
	return v.Type().Implements(by) || v.CanAddr() && reflect.PointerTo(v.Type()).Implements(by)
}

// badMarshaled is badText of what makes its own text.
func badMarshaled(v reflect.Value) json.RawMessage {
	if !v.Type().Implements(textMarshaler) {
		v = v.Addr()
	}
	if k := v.Kind(); (k == reflect.Pointer || k == reflect.Interface) && v.IsNil() || !v.CanInterface() {
		return nil
	}
	text, err := v.Interface().(encoding.TextMarshaler).MarshalText()
	if err == nil && !utf8.Valid(text) {
		return json.RawMessage(mangled)
	}
	return nil
}

func badInStruct(v reflect.Value, depth int) json.RawMessage {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		tag := f.Tag.Get("json")
		if tag == "-" || !f.IsExported() && !f.Anonymous {
			continue
		}
		bad := badText(v.Field(i), depth+1)
		if bad == nil {
			continue
		}
		name, _, _ := strings.Cut(tag, ",")
		if name == "" && f.Anonymous { // its fields stand beside the others
			return bad
		}
		return badEntry(cmp.Or(name, f.Name), bad)
	}
	return nil
}

func badInMap(v reflect.Value, depth int) json.RawMessage {
	values := map[string]reflect.Value{}
	for iter := v.MapRange(); iter.Next(); {
		values[nameOf(iter.Key())] = iter.Value()
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !utf8.ValidString(name) {
			return json.RawMessage("{" + mangled + ":null}")
		}
		if bad := badText(values[name], depth+1); bad != nil {
			return badEntry(name, bad)
		}
	}
	return nil
}

// nameOf is what encoding/json makes of a key of a map.
func nameOf(key reflect.Value) string {
	if m, ok := key.Interface().(encoding.TextMarshaler); ok && key.Kind() != reflect.String {
		text, _ := m.MarshalText() // encoding/json has met its error
		return string(text)
	}
	return fmt.Sprint(key)
}

func badInList(v reflect.Value, depth int) json.RawMessage {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		return nil // no text, or base64
	}
	for i := range v.Len() {
		if bad := badText(v.Index(i), depth+1); bad != nil {
			return slices.Concat([]byte("["+strings.Repeat("null,", i)), bad, []byte("]"))
		}
	}
	return nil
}

func badEntry(name string, bad []byte) json.RawMessage {
	return slices.Concat([]byte("{"), canon.AppendString(nil, name), []byte(":"), bad, []byte("}"))
}

// refuseText is the error of a request whose body is not UTF-8, nil for one that is.
func refuseText(r *request, body []byte) error {
	if utf8.Valid(body) {
		return nil
	}
	var f *fault.Error
	place := ""
	if errors.As(canon.CheckJSON(body), &f) && len(f.Details) > 0 {
		place = f.Details[0].Place
	}
	return &Error{Operation: r.name(), Problem: api.Problem{
		Kind: api.KindInvalid, Code: "not_utf8", Detail: "the body was not sent: text in it is not UTF-8",
		Hint:   "send bytes that are no text in base64, or as a file",
		Errors: []api.Finding{{Place: place, Message: "a text or name here is not UTF-8"}},
	}}
}
