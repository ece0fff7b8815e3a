package bpmn

const noClass = "is not a class: write public, internal, confidential or regulated"

// sealVocabulary is ours. The same can be said with properties of zeebe or
// camunda named seal:mode, seal:default, seal:retention and seal:field.
var sealVocabulary = vocabulary{
	prefix: "seal",
	attrs: map[string]rule{
		"mode":      {ruling: honored, on: words("process"), only: words("standard confidential"), why: "is not a mode: write standard or confidential"},
		"retention": on("process"),
		"signed":    {ruling: honored, on: words("serviceTask sendTask businessRuleTask scriptTask userTask"), only: words("required"), why: "is not known: write required"},
	},
	elements: map[string]element{
		"policy": {rule: on("process"), attrs: map[string]rule{
			"default":   {ruling: honored, only: words(classNames), why: noClass},
			"retention": yes,
		}},
		"field": {rule: on(append(words("policy"), carriers...)...), attrs: map[string]rule{
			"path":    yes,
			"class":   {ruling: honored, only: words(classNames), why: noClass},
			"subject": yes,
			"search":  {ruling: honored, only: words("exact"), why: "is not a kind of search: write exact"},
		}},
	},
}

const classNames = "public internal confidential regulated"
