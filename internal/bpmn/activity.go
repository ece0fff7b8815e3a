package bpmn

import (
	"github.com/underseal/underseal/internal/process"
)

// compile fills the element of a flow node. What is not executed has been
// refused by the tables and keeps kind 0.
func (g *graph) compile(n *Node, e *process.Element) {
	switch n.Name {
	case "startEvent":
		g.startEvent(n, e)
	case "endEvent":
		g.endEvent(n, e)
	case "intermediateCatchEvent":
		g.catchEvent(n, e)
	case "boundaryEvent":
		g.boundaryEvent(n, e)
	case "exclusiveGateway", "inclusiveGateway", "parallelGateway":
		g.gateway(n, e)
	case "task", "manualTask", "userTask", "scriptTask", "serviceTask", "sendTask", "businessRuleTask", "subProcess":
		g.activity(n, e)
	}
}

func (g *graph) activity(n *Node, e *process.Element) {
	e.Inputs, e.Outputs = g.mappings(n)
	g.leave(n, e)
	switch n.Name {
	case "task", "manualTask":
		e.Kind = process.Task
	case "subProcess":
		e.Kind = process.SubProcess
		if isTrue(n.Attr("triggeredByEvent")) {
			e.Kind = 0
		}
	case "userTask":
		e.Kind, e.User = process.UserTask, g.userTask(n)
	case "scriptTask":
		if zeebeVocabulary.child(n, "taskDefinition") != nil {
			g.scriptJob(n, e)
			return
		}
		e.Kind, e.Script = process.ScriptTask, g.scriptTask(n)
		if _, ok := sealVocabulary.attr(n, "signed"); ok {
			g.add(n, "seal:signed is for results of workers; this script runs here")
		}
	default:
		g.serviceTask(n, e)
	}
}

const howToJob = `names no job type for a worker: add <zeebe:taskDefinition type="..."/> to its extensionElements, or camunda:type="external" with camunda:topic="..."`

// serviceTask compiles a task that a worker does. Camunda 7's ways of naming code
// have been refused by the tables; they need no second reason.
func (g *graph) serviceTask(n *Node, e *process.Element) {
	e.Kind, e.Job = process.ServiceTask, &process.JobSpec{Headers: headers(n)}
	_, e.Job.Signed = sealVocabulary.attr(n, "signed")
	definition := zeebeVocabulary.child(n, "taskDefinition")
	topic, hasTopic := camundaVocabulary.attr(n, "topic")
	kind, _ := camundaVocabulary.attr(n, "type")
	switch {
	case definition != nil && hasTopic:
		g.add(definition, "task has a job type and a topic; keep one")
	case definition != nil && definition.Attr("type") == "":
		g.add(definition, "zeebe:taskDefinition has no type")
	case definition != nil:
		e.Job.Type = g.zeebeText(definition, "type", definition.Attr("type"))
		e.Job.Retries = g.retries(definition)
	case kind == "external" && topic == "":
		g.add(n, `camunda:type="external" needs a camunda:topic`)
	case kind == "external":
		e.Job.Type = g.camundaText(n, "topic", topic)
	case hasTopic && kind == "":
		g.add(n, `camunda:topic needs camunda:type="external"`)
	case !namesCode(n):
		g.add(n, "%s %s", n.Name, howToJob)
	}
}

// namesCode reports whether the task says by words that are refused what it is to do.
func namesCode(n *Node) bool {
	for _, name := range []string{"class", "delegateExpression", "expression", "type", "decisionRef"} {
		if _, ok := camundaVocabulary.attr(n, name); ok {
			return true
		}
	}
	return camundaVocabulary.child(n, "connector") != nil || zeebeVocabulary.child(n, "calledDecision") != nil
}

func headers(n *Node) []process.Header {
	list := zeebeVocabulary.child(n, "taskHeaders")
	if list == nil {
		return nil
	}
	var found []process.Header
	for _, h := range zeebeVocabulary.children(list, "header") {
		found = append(found, process.Header{Name: h.Attr("key"), Value: h.Attr("value")})
	}
	return found
}

func (g *graph) userTask(n *Node) *process.UserSpec {
	spec := &process.UserSpec{FormKey: g.formKey(n)}
	_, spec.Signed = sealVocabulary.attr(n, "signed")
	if a := zeebeVocabulary.child(n, "assignmentDefinition"); a != nil {
		spec.Assignee = g.zeebeText(a, "assignee", a.Attr("assignee"))
		spec.CandidateGroups = g.zeebeList(a, "candidateGroups", a.Attr("candidateGroups"))
		spec.CandidateUsers = g.zeebeList(a, "candidateUsers", a.Attr("candidateUsers"))
	}
	if s := zeebeVocabulary.child(n, "taskSchedule"); s != nil {
		spec.DueDate = g.zeebeDate(s, "dueDate", s.Attr("dueDate"))
	}
	if text, ok := g.camundaOnce(n, "assignee", spec.Assignee != nil); ok {
		spec.Assignee = g.camundaText(n, "assignee", text)
	}
	if text, ok := g.camundaOnce(n, "candidateGroups", spec.CandidateGroups != nil); ok {
		spec.CandidateGroups = g.camundaList(n, "candidateGroups", text)
	}
	if text, ok := g.camundaOnce(n, "candidateUsers", spec.CandidateUsers != nil); ok {
		spec.CandidateUsers = g.camundaList(n, "candidateUsers", text)
	}
	if text, ok := g.camundaOnce(n, "dueDate", spec.DueDate != nil); ok {
		spec.DueDate = g.camundaDate(n, "dueDate", text)
	}
	return spec
}

// camundaOnce returns a camunda attribute that is present and not empty, unless
// zeebe's words said the same already, which is reported.
func (g *graph) camundaOnce(n *Node, name string, said bool) (string, bool) {
	text, ok := camundaVocabulary.attr(n, name)
	if ok && said {
		g.add(n, "%s is said by zeebe and by camunda; keep one", name)
	}
	return text, ok && text != "" && !said
}

// formKey returns the name of the form's file. Whether the deployment has such a
// file is seen when it is deployed.
func (g *graph) formKey(n *Node) string {
	var keys []string
	if f := zeebeVocabulary.child(n, "formDefinition"); f != nil {
		keys = append(keys, f.Attr("formKey"), f.Attr("formId"))
	}
	if key, ok := camundaVocabulary.attr(n, "formKey"); ok {
		keys = append(keys, key)
	}
	found := ""
	for _, key := range keys {
		if key != "" && found != "" && key != found {
			g.add(n, "task has two forms, %q and %q; keep one", found, key)
		}
		if key != "" {
			found = key
		}
	}
	return found
}

// scriptJob compiles a script task that a worker does, as Camunda 8 has it.
func (g *graph) scriptJob(n *Node, e *process.Element) {
	_, result := camundaVocabulary.attr(n, "resultVariable")
	if n.First("script") != nil || zeebeVocabulary.child(n, "script") != nil || result {
		g.add(n, "task has a job type and a script; keep one")
	}
	g.serviceTask(n, e)
}

func (g *graph) scriptTask(n *Node) *process.ScriptSpec {
	spec := &process.ScriptSpec{}
	script := n.First("script")
	if s := zeebeVocabulary.child(n, "script"); s != nil {
		spec.Expression = g.zeebeExpression(s, "script", s.Attr("expression"))
		spec.Result = s.Attr("resultVariable")
		if script != nil || languageOf(n.Attr("scriptFormat")) == foreign {
			g.add(n, "task has a zeebe:script and a script in another format; keep one")
		}
	} else if script != nil {
		spec.Expression = g.bpmnExpression(script, "script", script.Text, n.Attr("scriptFormat"))
	} else {
		g.add(n, "script task has no script")
	}
	if result, ok := camundaVocabulary.attr(n, "resultVariable"); ok {
		spec.Result = result
	}
	if h := zeebeVocabulary.child(n, "taskHeaders"); h != nil {
		g.add(h, "headers are for workers, and no worker does this task")
	}
	if spec.Result == "" {
		g.add(n, `script's result goes nowhere: add camunda:resultVariable="..." or use zeebe:script with resultVariable`)
	} else if !isPath(spec.Result) {
		g.add(n, "resultVariable %q is not a name", spec.Result)
	}
	return spec
}

// mappings reads zeebe:ioMapping and camunda:inputOutput.
func (g *graph) mappings(n *Node) (inputs, outputs []process.Mapping) {
	if m := zeebeVocabulary.child(n, "ioMapping"); m != nil {
		inputs = g.zeebeMappings(m, "input")
		outputs = g.zeebeMappings(m, "output")
	}
	if m := camundaVocabulary.child(n, "inputOutput"); m != nil {
		inputs = append(inputs, g.camundaMappings(m, "inputParameter")...)
		outputs = append(outputs, g.camundaMappings(m, "outputParameter")...)
	}
	return inputs, outputs
}

func (g *graph) zeebeMappings(m *Node, name string) []process.Mapping {
	var found []process.Mapping
	for _, p := range zeebeVocabulary.children(m, name) {
		found = append(found, process.Mapping{Source: g.zeebeText(p, "source", p.Attr("source")), Target: g.target(p, "target")})
		if p.Attr("source") == "" {
			g.add(p, "zeebe:%s has no source", name)
		}
	}
	return found
}

func (g *graph) camundaMappings(m *Node, name string) []process.Mapping {
	var found []process.Mapping
	for _, p := range camundaVocabulary.children(m, name) {
		found = append(found, process.Mapping{Source: g.camundaText(p, name, p.Text), Target: g.target(p, "name")})
		if p.Text == "" && len(p.Children) == 0 {
			g.add(p, "camunda:%s %q has no value", name, p.Attr("name"))
		}
	}
	return found
}

// target returns where a mapping writes to, a variable or a path inside one.
func (g *graph) target(n *Node, name string) string {
	target := n.Attr(name)
	if !isPath(target) {
		g.add(n, "%s %q is not a path like amount or applicant.name", name, target)
	}
	return target
}
