package server

import (
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/fault"
)

// queryField is one query parameter and how to read it.
type queryField struct {
	name  string
	index []int
	set   func(text string, dst reflect.Value) (what string)
}

// queryFields lists the parameters that the "query" tags of t declare, and
// documents them.
func queryFields(registry huma.Registry, t reflect.Type) ([]queryField, []*huma.Param) {
	var fields []queryField
	var params []*huma.Param
	for _, f := range reflect.VisibleFields(t) {
		name := f.Tag.Get("query")
		if name == "" {
			continue
		}
		s := huma.SchemaFromField(registry, f, "")
		fields = append(fields, queryField{name, f.Index, querySetter(f.Type.Kind(), s)})
		params = append(params, &huma.Param{Name: name, In: "query", Description: s.Description, Schema: s})
	}
	return fields, params
}

func querySetter(kind reflect.Kind, s *huma.Schema) func(string, reflect.Value) string {
	switch kind {
	case reflect.String:
		check := stringCheck(s)
		return func(text string, dst reflect.Value) string { dst.SetString(text); return check(text) }
	case reflect.Int:
		check := intCheck(s)
		return func(text string, dst reflect.Value) string {
			i, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return "must be an integer"
			}
			dst.SetInt(i)
			return check(i)
		}
	case reflect.Bool:
		return func(text string, dst reflect.Value) string {
			dst.SetBool(text == "true")
			return map[bool]string{false: "must be true or false"}[text == "true" || text == "false"]
		}
	}
	panic("server: no query parameter of kind " + kind.String())
}

// bindQuery reads the query string. Unknown, repeated and empty parameters are
// refused: a filter that is not understood must not widen a list.
func bindQuery(fields []queryField, raw string, dst reflect.Value) error {
	if raw == "" {
		return nil
	}
	values, err := url.ParseQuery(raw)
	if err != nil { // its text quotes the query
		return invalidQuery(fault.Detail{Place: "?", Message: "is not a well-formed query string"})
	}
	details := unknownParameters(fields, values)
	for _, f := range fields {
		if given := values[f.name]; given != nil {
			if what := f.bind(given, dst); what != "" {
				details = append(details, fault.Detail{Place: "?" + f.name, Message: what})
			}
		}
	}
	if details != nil {
		return invalidQuery(details...)
	}
	return nil
}

func (f queryField) bind(given []string, dst reflect.Value) string {
	switch {
	case len(given) > 1:
		return "is given more than once"
	case given[0] == "":
		return "is empty; leave it out instead"
	case !isText(given[0]):
		return "is not UTF-8"
	}
	return f.set(given[0], dst.FieldByIndex(f.index))
}

func unknownParameters(fields []queryField, values url.Values) []fault.Detail {
	var details []fault.Detail
	for name := range values {
		if !slices.ContainsFunc(fields, func(f queryField) bool { return f.name == name }) {
			details = append(details, fault.Detail{Place: "?" + name, Message: "is not a known parameter here"})
		}
	}
	slices.SortFunc(details, func(a, b fault.Detail) int { return strings.Compare(a.Place, b.Place) })
	return details
}

func invalidQuery(details ...fault.Detail) error {
	return fault.New(fault.Invalid, "the query is not accepted").
		WithCode(api.CodeInvalidQuery).WithDetails(details...)
}
