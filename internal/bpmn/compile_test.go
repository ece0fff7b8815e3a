package bpmn_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/bpmn"
	"github.com/underseal/underseal/internal/process"
)

func TestLoanCompiles(t *testing.T) {
	definitions, err := bpmn.Compile(parseFile(t, "../../examples/loan/loan.bpmn"))
	if err != nil {
		t.Fatal(err)
	}
	d := definitions[0]
	element := func(id string) process.Element {
		i, ok := d.Element(id)
		if !ok {
			t.Fatalf("no element %q", id)
		}
		return d.Elements[i]
	}
	t.Run("the process is confidential, with its policy", func(t *testing.T) {
		if d.ID != "loan" || d.Policy.Mode != process.Confidential || d.Policy.Default != process.Internal || d.Policy.Retention != "P7Y" {
			t.Errorf("process %q has policy %+v", d.ID, d.Policy)
		}
		want := process.FieldPolicy{Path: "applicant.ssn", Class: process.Regulated, Subject: "applicant.id", Search: "exact"}
		if got := d.Policy.Fields[4]; got != want {
			t.Errorf("fifth field is %+v, want %+v", got, want)
		}
	})
	t.Run("the credit check is a job with its own data", func(t *testing.T) {
		e := element("check_credit")
		if e.Kind != process.ServiceTask || source(e.Job.Type) != `{"credit-check"}` || source(e.Job.Retries) != "{3}" {
			t.Errorf("job is %+v", e.Job)
		}
		if len(e.Inputs) != 3 || e.Inputs[0].Target != "ssn" || source(e.Inputs[0].Source) != "{applicant.ssn}" || len(e.Outputs) != 1 {
			t.Errorf("mappings are %+v and %+v", e.Inputs, e.Outputs)
		}
	})
	t.Run("a loan officer decides with a form", func(t *testing.T) {
		e := element("decide")
		if e.Kind != process.UserTask || source(e.User.CandidateGroups) != `{["loan-officers"]}` || e.User.FormKey != "decide.schema.json" || e.User.Assignee != nil {
			t.Errorf("task is %+v", e.User)
		}
		if _, err := os.Stat(filepath.Join("../../examples/loan", e.User.FormKey)); err != nil {
			t.Error(err)
		}
	})
	t.Run("the gateway has a default and a condition", func(t *testing.T) {
		e := element("route")
		if len(e.Outgoing) != 2 || d.Flows[e.Default].ID != "to_officer" || source(d.Flows[e.Outgoing[1]].Condition) != "{amount <= 5000 and score >= 700}" {
			t.Errorf("gateway is %+v", e)
		}
	})
}

func TestCompileTakesEachExecutableProcess(t *testing.T) {
	const flow = `<startEvent id="s%"/><sequenceFlow id="f%" sourceRef="s%" targetRef="e%"/><endEvent id="e%"/>`
	numbered := func(n string) string { return strings.ReplaceAll(flow, "%", n) }
	t.Run("drawings beside executable ones are left alone", func(t *testing.T) {
		d := compileOne(t, model(`<process id="drawing"><callActivity id="c" camunda:nonsense="1"/></process><process id="p" isExecutable="true">`+numbered("")+`</process>`))
		if d.ID != "p" {
			t.Errorf("compiled %q, want p", d.ID)
		}
	})
	t.Run("all have the file's hash", func(t *testing.T) {
		m := parse(t, model(`<process id="a" isExecutable="true">`+numbered("1")+`</process><process id="b" isExecutable="1">`+numbered("2")+`</process>`))
		got, err := bpmn.Compile(m)
		if err != nil || len(got) != 2 || got[0].ID != "a" || got[1].ID != "b" || got[0].Hash != m.Hash || got[1].Hash != m.Hash {
			t.Errorf("Compile gave %+v, %v", got, err)
		}
	})
	t.Run("a file of drawings is refused", func(t *testing.T) {
		_, err := bpmn.Compile(parse(t, model(`<process id="a" isExecutable="false"/>`+"\n"+`<process id="b"/>`)))
		want := `t.bpmn:2 a: process is not executable: set isExecutable="true"` + "\n" + `t.bpmn:3 b: process is not executable: set isExecutable="true"`
		if got := details(t, err); got != want {
			t.Errorf("Compile said\n%s\nwant\n%s", got, want)
		}
	})
	t.Run("a file without a process is refused", func(t *testing.T) {
		_, err := bpmn.Compile(parse(t, model("")))
		if got := details(t, err); got != "t.bpmn:1 defs: file holds no process" {
			t.Errorf("Compile said %q", got)
		}
	})
}

func TestPrefixesMeanNothing(t *testing.T) {
	files := map[string]string{
		"camunda": "http://camunda.org/schema/1.0/bpmn", "activiti": "http://activiti.org/bpmn",
		"flowable": "http://flowable.org/bpmn", "fox": "http://www.camunda.com/fox",
	}
	for name, space := range files {
		t.Run(name, func(t *testing.T) {
			d := compileOne(t, between(`<userTask id="x" xmlns:q="`+space+`" q:assignee="ann" q:candidateGroups="a, b"/>`))
			i, _ := d.Element("x")
			if u := d.Elements[i].User; source(u.Assignee) != `{"ann"}` || source(u.CandidateGroups) != `{["a", "b"]}` {
				t.Errorf("task is for %s and %s", source(u.Assignee), source(u.CandidateGroups))
			}
		})
	}
}

func TestEventDefinitionsCanStandApart(t *testing.T) {
	d := compileOne(t, model(`<timerEventDefinition id="pause"><timeDuration>PT5S</timeDuration></timerEventDefinition>
<signalEventDefinition id="unused"/>
<process id="p" isExecutable="true"><startEvent id="start"/><endEvent id="end"/>
<intermediateCatchEvent id="x"><eventDefinitionRef>pause</eventDefinitionRef></intermediateCatchEvent>
<sequenceFlow id="f1" sourceRef="start" targetRef="x"/><sequenceFlow id="f2" sourceRef="x" targetRef="end"/></process>`))
	i, _ := d.Element("x")
	if timer := d.Elements[i].Timer; timer == nil || source(timer.Expression) != `{duration("PT5S")}` {
		t.Errorf("timer is %+v", timer)
	}
}

func TestConditionsAreTranslated(t *testing.T) {
	tests := []struct{ name, condition, want string }{
		{"FEEL", "amount > 5", "amount > 5"},
		{"FEEL after an equals sign", "= amount > 5", "amount > 5"},
		{"JUEL with a dollar", "${amount > 5}", "amount > 5"},
		{"JUEL with a hash", "#{amount >= 5 }", "amount >= 5"},
		{"a path", "${a.b.c == 'x'}", `a.b.c = "x"`},
		{"a name in brackets", `${a['b'].c != "x"}`, `a.b.c != "x"`},
		{"an index counts from one", "${a[0].b le 2}", "a[1].b <= 2"},
		{"symbols of logic", "${a && b || c}", "(a and b) or c"},
		{"words of logic", "${a and (b or c)}", "a and (b or c)"},
		{"not takes null for false", "${!approved}", "approved != true"},
		{"not of a comparison", "${not (a lt b)}", "(a < b) != true"},
		{"empty", "${empty list}", `list contains([null, "", [], {}], list)`},
		{"not empty", "${not empty list}", `list contains([null, "", [], {}], list) != true`},
		{"words of comparison", "${a eq 1 and b ne 2 and c gt 3 and d ge 4}", "(((a = 1) and (b != 2)) and (c > 3)) and (d >= 4)"},
		{"the conditional operator", "${a ? b : c ? d : e}", "if a then b else (if c then d else e)"},
		{"null and booleans", "${a == null || b == true}", "(a = null) or (b = true)"},
		{"quotes inside quotes", `${a == 'it\'s "x"'}`, `a = "it's \"x\""`},
		{"arithmetic", "${a * 2 + b / -3.5 - c > 0}", "(((a * 2) + (b / (-3.5))) - c) > 0"},
		{"a brace in quotes", "${a == '}'}", `a = "}"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var escaped strings.Builder
			escaped.WriteString(strings.NewReplacer("&", "&amp;", "<", "&lt;").Replace(test.condition))
			d := compileOne(t, inProcess(`<exclusiveGateway id="x"/><sequenceFlow id="f1" sourceRef="start" targetRef="x"/>`+
				`<sequenceFlow id="f2" sourceRef="x" targetRef="end"><conditionExpression>`+escaped.String()+`</conditionExpression></sequenceFlow>`))
			if got := source(d.Flows[1].Condition); got != "{"+test.want+"}" {
				t.Errorf("condition %s is %s, want {%s}", test.condition, got, test.want)
			}
		})
	}
}

func TestTextsWithExpressionsBecomeStrings(t *testing.T) {
	tests := []struct{ text, want string }{
		{"Dear ${name}, you owe ${amount + 1}", `{"Dear " + string(name) + ", you owe " + string(amount + 1)}`},
		{"${name}", "{name}"},
		{"plain", `{"plain"}`},
		{`a "quoted" \ text`, `{"a \"quoted\" \\ text"}`},
	}
	for _, test := range tests {
		t.Run(test.text, func(t *testing.T) {
			d := compileOne(t, between(`<task id="x"><extensionElements><camunda:inputOutput><camunda:inputParameter name="v">`+
				test.text+`</camunda:inputParameter></camunda:inputOutput></extensionElements></task>`))
			i, _ := d.Element("x")
			if got := source(d.Elements[i].Inputs[0].Source); got != test.want {
				t.Errorf("%s became %s, want %s", test.text, got, test.want)
			}
		})
	}
}
