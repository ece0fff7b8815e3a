package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// variableFlags are the options of every command that sends variables.
type variableFlags struct {
	Var  []string `help:"A variable; VALUE is JSON, or text if it is not; a.b=1 is {\"a\": {\"b\": 1}}. Others on this machine can see it: use --data for what they may not." placeholder:"NAME=VALUE" sep:"none"`
	Data string   `help:"A JSON object with variables, in a file or on stdin (-)." placeholder:"FILE|-"`
}

// wholeVariables refuses fields of variables where they would be taken for a change
// of the field alone: what the server is given takes the place of the variable.
func (f variableFlags) wholeVariables() error {
	for _, pair := range f.Var {
		name, _, _ := strings.Cut(pair, "=")
		if root, _, dotted := strings.Cut(name, "."); dotted {
			return &usage{text: fmt.Sprintf("--var %s would replace all of %s by this field; give %s whole", name, root, root)}
		}
	}
	return nil
}

// fields is what --var flags build: values are json.RawMessage or fields.
type fields map[string]any

// variables merges --data and --var; --var wins. Nil when neither was given.
func (f variableFlags) variables(e *env) (json.RawMessage, error) {
	if f.Data == "" && len(f.Var) == 0 {
		return nil, nil
	}
	given := fields{}
	for _, pair := range f.Var {
		if err := given.set(pair); err != nil {
			return nil, err
		}
	}
	merged := map[string]json.RawMessage{}
	if f.Data != "" {
		if err := readObject(e, f.Data, &merged); err != nil {
			return nil, err
		}
	}
	if err := given.mergeInto(merged, ""); err != nil {
		return nil, err
	}
	return json.Marshal(merged)
}

// set adds NAME=VALUE.
func (f fields) set(pair string) error {
	name, value, ok := strings.Cut(pair, "=")
	if !ok { // the value is not quoted: it may be meant to be sealed
		return notPair("--var", name)
	}
	return f.put("--var", name, jsonOrText(value))
}

// put adds a value that a flag gives. A dotted name is a path: a variable with a
// dot in its name would not be found by the policy that classes the field of that
// path.
func (f fields) put(flag, name string, value json.RawMessage) error {
	path := strings.Split(name, ".")
	if slices.Contains(path, "") {
		return notPair(flag, name)
	}
	last := len(path) - 1
	for _, step := range path[:last] {
		inner, isFields := f[step].(fields)
		if !isFields && f[step] != nil {
			return conflicting(flag, name)
		}
		if inner == nil {
			inner = fields{}
			f[step] = inner
		}
		f = inner
	}
	if f[path[last]] != nil {
		return conflicting(flag, name)
	}
	f[path[last]] = value
	return nil
}

func notPair(flag, name string) error {
	value := map[string]string{"--var": "VALUE", "--file": "FILE"}[flag]
	return &usage{text: fmt.Sprintf("%s %q is not NAME=%s", flag, name, value)}
}

func conflicting(flag, name string) error {
	return &usage{text: fmt.Sprintf("%s %s does not go with another %s: both set the same field", flag, name, flag)}
}

// mergeInto puts the fields into the object at path, "a.b.", of --data.
func (f fields) mergeInto(object map[string]json.RawMessage, path string) error {
	for name, value := range f {
		inner, nested := value.(fields)
		if !nested {
			object[name] = value.(json.RawMessage)
			continue
		}
		below := map[string]json.RawMessage{}
		if there, ok := object[name]; ok && (json.Unmarshal(there, &below) != nil || below == nil) {
			return &usage{text: fmt.Sprintf("a flag sets a field of %s%s, which is no object in --data", path, name)}
		}
		if err := inner.mergeInto(below, path+name+"."); err != nil {
			return err
		}
		object[name] = encoded(below)
	}
	return nil
}

// jsonOrText takes 12.50, true, null, {"a":1} and "text" as JSON, anything else
// as a string.
func jsonOrText(value string) json.RawMessage {
	if raw := bytes.TrimSpace([]byte(value)); json.Valid(raw) {
		return raw
	}
	return encoded(value)
}

// encoded is v, a string or an object of JSON, as JSON.
func encoded(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		panic("underseal: strings and JSON can always be written as JSON: " + err.Error())
	}
	return text
}
