package feel

import "slices"

// definition is a signature and the code for it. The lists of definitions stand
// in the files of their subjects; together they are the committed list of
// built-ins (DMN 1.5, 10.3.4).
type definition struct {
	signature string
	run       func(c *call) value
}

// builtins are found by name when a text is parsed; builtinNames by the parser
// when a name begins. Nothing changes them after init.
var (
	builtins     map[string]*builtin
	builtinNames nameTable
	signatures   []string
)

// init fills them, because a built-in itself parses (range).
func init() {
	builtins, builtinNames, signatures = define(
		conversionFunctions, temporalFunctions, booleanFunctions, numberFunctions, stringFunctions, patternFunctions,
		listFunctions, statisticFunctions, contextFunctions, rangeFunctions,
	)
}

func define(lists ...[]definition) (byName map[string]*builtin, table nameTable, signatures []string) {
	byName = map[string]*builtin{}
	var names []string
	for _, list := range lists {
		for _, d := range list {
			name, f := newForm(d.signature, d.run)
			if byName[name] == nil {
				byName[name] = &builtin{name: name}
				names = append(names, name)
			}
			byName[name].forms = append(byName[name].forms, f)
			signatures = append(signatures, d.signature)
		}
	}
	slices.Sort(signatures)
	return byName, newNameTable(names), signatures
}

// Builtins returns the signatures of the built-in functions, sorted. A "?" after
// a name marks what may be left out, after a type what may be null; "..." takes
// one list or any number of arguments.
func Builtins() []string { return slices.Clone(signatures) }
