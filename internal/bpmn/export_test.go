package bpmn

// Word is a row of the tables of extensions.
type Word struct {
	Namespace string // prefix of the vocabulary
	Name      string // "taskDefinition type", or "@assignee" on BPMN's elements
}

// Words returns the rows with each ruling.
func Words() (does, idles, refuses []Word) {
	sort := func(namespace, name string, row rule) {
		w := Word{namespace, name}
		switch row.ruling {
		case honored:
			does = append(does, w)
		case inert:
			idles = append(idles, w)
		case refused:
			refuses = append(refuses, w)
		}
	}
	for _, v := range []*vocabulary{&zeebeVocabulary, &camundaVocabulary, &pmVocabulary, &sealVocabulary} {
		for name, row := range v.attrs {
			sort(v.prefix, "@"+name, row)
		}
		for name, e := range v.elements {
			sort(v.prefix, name, e.rule)
			for attr, row := range e.attrs {
				sort(v.prefix, name+" "+attr, row)
			}
		}
	}
	return does, idles, refuses
}

// Prefix returns the prefix of the vocabulary that a namespace has, or "".
func Prefix(space string) string {
	if v := vocabularies[space]; v != nil {
		return v.prefix
	}
	return ""
}

// Known reports whether BPMN's table has the element.
func Known(name string) bool { return bpmnElements[name].ruling != 0 }

// Reasons returns every reason for refusing that the tables hold, by row.
func Reasons() map[string]string {
	reasons := map[string]string{}
	add := func(name string, row rule) {
		if row.ruling == refused || len(row.only) > 0 {
			reasons[name] = row.why
		}
	}
	for name, e := range bpmnElements {
		add(name, e.rule)
		for attr, row := range e.attrs {
			add(name+" "+attr, row)
		}
	}
	for _, v := range []*vocabulary{&zeebeVocabulary, &camundaVocabulary, &pmVocabulary, &sealVocabulary} {
		for name, row := range v.attrs {
			add(v.prefix+":"+name, row)
		}
		for name, e := range v.elements {
			add(v.prefix+":"+name, e.rule)
			for attr, row := range e.attrs {
				add(v.prefix+":"+name+" "+attr, row)
			}
		}
	}
	return reasons
}
