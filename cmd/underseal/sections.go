package main

import (
	"fmt"
	"maps"
	"slices"

	"github.com/underseal/underseal/internal/fault"
)

// takeSection takes a setting with settings below it out of the file's values;
// nil when it is not there. shape says what it must hold, for the error.
func takeSection(path, name, shape string, values map[string]any) (serviceOptions, error) {
	raw, ok := values[name]
	delete(values, name)
	if !ok || raw == nil {
		return nil, nil
	}
	options, ok := raw.(map[string]any)
	if !ok {
		return nil, fault.New(fault.Invalid, "%s in %s must hold %s", name, path, shape).WithCode("config_invalid")
	}
	return options, nil
}

// sectionLines are the settings of a section as config check shows them. What may
// be a secret is a reference, which is shown and not followed.
func sectionLines(name, meaning string, options serviceOptions) (lines []settingLine) {
	for _, option := range slices.Sorted(maps.Keys(options)) {
		lines = append(lines, settingLine{Name: name + "." + option, Value: fmt.Sprint(options[option]), From: "file", Meaning: meaning})
	}
	return lines
}
