package bpmn_test

import (
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/bpmn"
)

// TestRefusals: each row is a model with one thing wrong, in line 3 unless said,
// and the one reason that must come of it.
func TestRefusals(t *testing.T) {
	job := func(inside string) string {
		return between(`<serviceTask id="x"><extensionElements>` + inside + `</extensionElements></serviceTask>`)
	}
	condition := func(text string) string {
		return inProcess(`<exclusiveGateway id="x"/><sequenceFlow id="f1" sourceRef="start" targetRef="x"/><sequenceFlow id="f2" sourceRef="x" targetRef="end">` + text + `</sequenceFlow>`)
	}
	boundary := func(host, event string) string {
		return between(host + event + `<endEvent id="end2"/><sequenceFlow id="f3" sourceRef="b" targetRef="end2"/>`)
	}
	field := func(attrs string) string {
		return model(`<process id="p" isExecutable="true"><extensionElements><seal:policy>` + "\n<seal:field " + attrs + `/></seal:policy></extensionElements><startEvent id="s"/></process>`)
	}
	property := func(name, value string) string {
		return model(`<process id="p" isExecutable="true"><extensionElements><zeebe:properties>` + "\n" + `<zeebe:property name="` + name + `" value="` + value + `"/></zeebe:properties></extensionElements><startEvent id="s"/></process>`)
	}
	timed := func(inside string) string {
		return between(`<intermediateCatchEvent id="x"><timerEventDefinition>` + inside + `</timerEventDefinition></intermediateCatchEvent>`)
	}
	const work = `<serviceTask id="x" camunda:type="external" camunda:topic="t"/>`
	const late = `<timerEventDefinition><timeDuration>PT1S</timeDuration></timerEventDefinition>`
	juel := func(text string) string {
		return condition("<conditionExpression>" + strings.NewReplacer("&", "&amp;", "<", "&lt;").Replace(text) + "</conditionExpression>")
	}

	tests := []struct{ name, model, place, reason string }{
		// the graph
		{"a process that no path leads to", model(`<process id=".." isExecutable="true"><startEvent id="s"/></process>`), "t.bpmn:2 ..", "can be no part of an address"},
		{"no start", model("<process id=\"p\" isExecutable=\"true\">\n</process>"), "t.bpmn:2 p", "process has no start event"},
		{"two starts", inProcess(`<startEvent id="start2"/>`), "t.bpmn:3 start2", "second start event"},
		{"a subprocess without start", between(`<subProcess id="x"></subProcess>`), "t.bpmn:3 x", "subProcess has no start event"},
		{"a process without id", model(`<process isExecutable="true"><startEvent id="s"/></process>`), "t.bpmn:2 defs", "process has no id"},
		{"an element without id", inProcess(`<sequenceFlow id="f" sourceRef="start" targetRef="end"/><subProcess id="x"/><task/>`), "t.bpmn:3 p", "task has no id"},
		{"a flow without id", inProcess(`<sequenceFlow sourceRef="start" targetRef="end"/>`), "t.bpmn:3 p", `sequence flow from "start" to "end" has no id`},
		{"an id twice", inProcess("<sequenceFlow id=\"f\" sourceRef=\"start\" targetRef=\"end\"/>\n<dataObject id=\"f\"/>"), "t.bpmn:4 f", `id "f" is already used in line 3`},
		{"a flow to nothing", inProcess(`<sequenceFlow id="f" sourceRef="start" targetRef="gone"/>`), "t.bpmn:3 f", `targetRef of a sequenceFlow names "gone", which does not exist`},
		{"a flow without target", inProcess(`<sequenceFlow id="f" sourceRef="start"/>`), "t.bpmn:3 f", "has no targetRef"},
		{"a flow to what is no node", inProcess(`<dataObject id="d"/><sequenceFlow id="f" sourceRef="start" targetRef="d"/>`), "t.bpmn:3 f", `"d" is not a flow node of this process`},
		{"a flow into a subprocess", inProcess(`<subProcess id="x"><startEvent id="s"/><task id="inner"/></subProcess><sequenceFlow id="f" sourceRef="start" targetRef="inner"/>`), "t.bpmn:3 f", "crosses the border of a subprocess"},
		{"a flow into a start", inProcess(`<task id="x"/><sequenceFlow id="f1" sourceRef="start" targetRef="x"/><sequenceFlow id="f" sourceRef="x" targetRef="start"/>`), "t.bpmn:3 f", "which nothing can lead to"},
		{"a flow out of an end", inProcess(`<sequenceFlow id="f1" sourceRef="start" targetRef="end"/><task id="x"/><sequenceFlow id="f" sourceRef="end" targetRef="x"/>`), "t.bpmn:3 f", `leaves end event "end"`},
		{"what nothing leads to", inProcess(`<task id="x"/>`), "t.bpmn:3 x", "no sequence flow from the start leads here"},
		{"an island that is a circle", inProcess(`<task id="x"/><sequenceFlow id="f" sourceRef="x" targetRef="x"/>`), "t.bpmn:3 x", "no sequence flow from the start leads here"},
		{"an incoming that is not", between("<task id=\"x\">\n<incoming>f2</incoming></task>"), "t.bpmn:4 x", `incoming names "f2", which is not a sequence flow with this end`},
		{"an outgoing to nothing", between("<task id=\"x\">\n<outgoing>gone</outgoing></task>"), "t.bpmn:4 x", `outgoing names "gone", which does not exist`},
		{"a lane with a stranger", inProcess("<laneSet><lane id=\"l\">\n<flowNodeRef>gone</flowNodeRef></lane></laneSet>"), "t.bpmn:4 l", `flowNodeRef names "gone"`},
		{"a pool without process", model("<collaboration id=\"c\">\n<participant id=\"a\" processRef=\"gone\"/></collaboration>" + `<process id="p" isExecutable="true"><startEvent id="s"/></process>`), "t.bpmn:3 a", `processRef of a participant names "gone"`},

		// flows and gateways
		{"a default that leaves another", between(`<exclusiveGateway id="x" default="f1"/>`), "t.bpmn:3 x", `default flow "f1" does not leave it`},
		{"a default of a parallel gateway", between(`<parallelGateway id="x" default="f2"/>`), "t.bpmn:3 x", "attribute default is not one that BPMN gives a parallelGateway"},
		{"a choice without condition", between(`<exclusiveGateway id="x"/><sequenceFlow id="f3" sourceRef="x" targetRef="end"><conditionExpression>a</conditionExpression></sequenceFlow>`), "t.bpmn:3 f2", "has no condition and is not its default"},
		{"a condition on the default", inProcess(`<exclusiveGateway id="x" default="f2"/><sequenceFlow id="f1" sourceRef="start" targetRef="x"/><sequenceFlow id="f2" sourceRef="x" targetRef="end"><conditionExpression>a</conditionExpression></sequenceFlow>`), "t.bpmn:3 f2", "the flow is the default"},
		{"a condition after a parallel gateway", inProcess(`<parallelGateway id="x"/><sequenceFlow id="f1" sourceRef="start" targetRef="x"/><sequenceFlow id="f2" sourceRef="x" targetRef="end"><conditionExpression>a</conditionExpression></sequenceFlow>`), "t.bpmn:3 f2", "condition would never be asked"},
		{"a condition after the start", inProcess(`<sequenceFlow id="f" sourceRef="start" targetRef="end"><conditionExpression>a</conditionExpression></sequenceFlow>`), "t.bpmn:3 f", "condition would never be asked"},
		{"two conditions", condition("<conditionExpression>a</conditionExpression>\n<conditionExpression>b</conditionExpression>"), "t.bpmn:4 f2", "conditionExpression is written twice"},
		{"an empty condition", condition("<conditionExpression> </conditionExpression>"), "t.bpmn:3 f2", "condition is empty"},
		{"a condition in Groovy", condition(`<conditionExpression language="groovy">a</conditionExpression>`), "t.bpmn:3 f2", `condition is written in "groovy": FEEL and JUEL are executed`},
		{"a condition in the file's XPath", strings.Replace(condition(`<conditionExpression>a</conditionExpression>`), `id="defs"`, `id="defs" expressionLanguage="http://www.w3.org/1999/XPath"`, 1), "t.bpmn:3 f2", "condition is written in"},
		{"a condition that is no FEEL", condition(`<conditionExpression id="c">a ></conditionExpression>`), "t.bpmn:3 c", `condition "a >": 1:`},
		{"a function nobody has", condition(`<conditionExpression>=a = fancy(b)</conditionExpression>`), "t.bpmn:3 f2", "1:5: function fancy is not built in"},

		// JUEL
		{"a call in JUEL", juel("${execution.getVariable('a')}"), "t.bpmn:3 f2", "1:24: calls are not translated"},
		{"a function in JUEL", juel("${now()}"), "t.bpmn:3 f2", "1:6: calls are not translated"},
		{"a remainder in JUEL", juel("${a % 2 == 0}"), "t.bpmn:3 f2", `1:5: expected } but found "%"`},
		{"a computed index in JUEL", juel("${a[b]}"), "t.bpmn:3 f2", "1:5: only a number or a name in quotes"},
		{"a word of FEEL in JUEL", juel("${for}"), "t.bpmn:3 f2", `1:3: "for" is not translated here`},
		{"an end too early in JUEL", juel("${a &&}"), "t.bpmn:3 f2", `1:7: "}" is not expected here`},
		{"a stray character in JUEL", juel("${a ~ b}"), "t.bpmn:3 f2", `1:5: '~' is not expected here`},
		{"nesting without end in JUEL", juel("${" + strings.Repeat("(", 200) + "a" + strings.Repeat(")", 200) + "}"), "t.bpmn:3 f2", "nested more than 100 deep"},
		{"a text without end in JUEL", juel("${" + strings.Repeat("a||", 5000) + "a}"), "t.bpmn:3 f2", "are more than the 10000 allowed"},

		{"a default beside what is always taken", inProcess(`<task id="x" default="f2"/><sequenceFlow id="f1" sourceRef="start" targetRef="x"/><sequenceFlow id="f2" sourceRef="x" targetRef="end"/><sequenceFlow id="f3" sourceRef="x" targetRef="end"/>`), "t.bpmn:3 f3", "flow is always taken, so the default flow"},

		// elements that are not executed
		{"a call activity", between(`<callActivity id="x" calledElement="q"/>`), "t.bpmn:3 x", "a callActivity is not executed in this version"},
		{"a receive task", between(`<receiveTask id="x"/>`), "t.bpmn:3 x", "a receiveTask is not executed"},
		{"a transaction", between(`<transaction id="x"/>`), "t.bpmn:3 x", "a transaction is not executed"},
		{"an ad-hoc subprocess", between(`<adHocSubProcess id="x"/>`), "t.bpmn:3 x", "an adHocSubProcess is not executed"},
		{"an event subprocess", inProcess(`<sequenceFlow id="f" sourceRef="start" targetRef="end"/><subProcess id="x" triggeredByEvent="true"/>`), "t.bpmn:3 x", `triggeredByEvent="true" is not executed`},
		{"a complex gateway", between(`<complexGateway id="x"/>`), "t.bpmn:3 x", "a complexGateway is not executed"},
		{"an event-based gateway", between(`<eventBasedGateway id="x"/>`), "t.bpmn:3 x", "an eventBasedGateway is not executed"},
		{"a throw event", between(`<intermediateThrowEvent id="x"/>`), "t.bpmn:3 x", "an intermediateThrowEvent is not executed"},
		{"a loop", between(`<task id="x"><standardLoopCharacteristics/></task>`), "t.bpmn:3 x", "a standardLoopCharacteristics is not executed"},
		{"several instances", between(`<task id="x"><multiInstanceLoopCharacteristics id="m"/></task>`), "t.bpmn:3 m", "a multiInstanceLoopCharacteristics is not executed"},
		{"a compensation handler", inProcess(`<sequenceFlow id="f" sourceRef="start" targetRef="end"/><task id="x" isForCompensation="true"/>`), "t.bpmn:3 x", `isForCompensation="true" is not executed`},
		{"two tokens to start", between(`<task id="x" startQuantity="2"/>`), "t.bpmn:3 x", `startQuantity="2" is not executed`},
		{"a performer", between(`<userTask id="x"><potentialOwner/></userTask>`), "t.bpmn:3 x", "say who may do the task with zeebe:assignmentDefinition"},
		{"an assignment in a data association", between(`<task id="x"><dataInputAssociation id="d"><assignment/></dataInputAssociation></task>`), "t.bpmn:3 d", "an assignment is not executed"},
		{"an element that BPMN has not", between(`<taask id="y"/><task id="x"/>`), "t.bpmn:3 y", "<taask> is not an element of BPMN 2.0"},
		{"an attribute that BPMN has not", between(`<task id="x" retries="3"/>`), "t.bpmn:3 x", "attribute retries is not one that BPMN gives a task"},
		{"an extension that must be understood", model("<extension mustUnderstand=\"true\" definition=\"q\"/>\n" + `<process id="p" isExecutable="true"><startEvent id="s"/></process>`), "t.bpmn:2 defs", `extension "q" must be understood`},

		// events
		{"a message start", strings.Replace(inProcess(`<sequenceFlow id="f" sourceRef="start" targetRef="end"/>`), `<startEvent id="start"/>`, `<startEvent id="start"><messageEventDefinition/></startEvent>`, 1), "t.bpmn:2 start", "a messageEventDefinition is not executed"},
		{"a timer start", strings.Replace(inProcess(`<sequenceFlow id="f" sourceRef="start" targetRef="end"/>`), `<startEvent id="start"/>`, `<startEvent id="start">`+late+`</startEvent>`, 1), "t.bpmn:2 start", "start event with a timerEventDefinition is not executed"},
		{"a signal to wait for", between(`<intermediateCatchEvent id="x"><signalEventDefinition/></intermediateCatchEvent>`), "t.bpmn:3 x", "a signalEventDefinition is not executed"},
		{"a catch of nothing", between(`<intermediateCatchEvent id="x"/>`), "t.bpmn:3 x", "waits for nothing"},
		{"two things to wait for", between(`<intermediateCatchEvent id="x">` + late + late + `</intermediateCatchEvent>`), "t.bpmn:3 x", "has 2 event definitions"},
		{"a definition elsewhere that is none", between(`<intermediateCatchEvent id="x"><eventDefinitionRef>start</eventDefinitionRef></intermediateCatchEvent>`), "t.bpmn:3 x", "which is a startEvent"},
		{"an end that throws nothing in particular", between(`<task id="x"/><sequenceFlow id="f3" sourceRef="x" targetRef="e"/><endEvent id="e"><errorEventDefinition/></endEvent>`), "t.bpmn:3 e", "names no error"},
		{"an error without code", model(`<error id="err"/><process id="p" isExecutable="true"><startEvent id="s"/>` + "\n" + `<endEvent id="e"><errorEventDefinition errorRef="err"/></endEvent><sequenceFlow id="f" sourceRef="s" targetRef="e"/></process>`), "t.bpmn:3 e", `error "err" has no errorCode`},
		{"an error code to compute", model(`<error id="err" errorCode="=a"/><process id="p" isExecutable="true"><startEvent id="s"/>` + "\n" + `<endEvent id="e"><errorEventDefinition errorRef="err"/></endEvent><sequenceFlow id="f" sourceRef="s" targetRef="e"/></process>`), "t.bpmn:3 e", "is an expression; only a constant"},
		{"an error that is a task", boundary(work, `<boundaryEvent id="b" attachedToRef="x"><errorEventDefinition errorRef="x"/></boundaryEvent>`), "t.bpmn:3 b", `errorRef names "x", which is a serviceTask`},
		{"a boundary event on nothing", boundary(work, `<boundaryEvent id="b">`+late+`</boundaryEvent>`), "t.bpmn:3 b", "attached to nothing"},
		{"a boundary event on a gateway", boundary(`<parallelGateway id="x"/>`, `<boundaryEvent id="b" attachedToRef="x">`+late+`</boundaryEvent>`), "t.bpmn:3 b", "which is a parallelGateway and no activity"},
		{"a boundary event in another scope", boundary(`<subProcess id="x"><startEvent id="s"/><userTask id="u"/><sequenceFlow id="f9" sourceRef="s" targetRef="u"/></subProcess>`, `<boundaryEvent id="b" attachedToRef="u">`+late+`</boundaryEvent>`), "t.bpmn:3 b", "which is in another scope"},
		{"a timer on what is done at once", boundary(`<manualTask id="x"/>`, `<boundaryEvent id="b" attachedToRef="x">`+late+`</boundaryEvent>`), "t.bpmn:3 b", "event can never happen"},
		{"an error on a user task", boundary(`<userTask id="x"/>`, `<boundaryEvent id="b" attachedToRef="x"><errorEventDefinition/></boundaryEvent>`), "t.bpmn:3 b", "people report no error codes"},
		{"an error that does not interrupt", boundary(work, `<boundaryEvent id="b" attachedToRef="x" cancelActivity="false"><errorEventDefinition/></boundaryEvent>`), "t.bpmn:3 b", "cannot leave its activity running"},
		{"a boundary event that waits for nothing", boundary(work, `<boundaryEvent id="b" attachedToRef="x"/>`), "t.bpmn:3 b", "waits for nothing"},
		{"a cycle that interrupts", boundary(work, `<boundaryEvent id="b" attachedToRef="x"><timerEventDefinition><timeCycle>R3/PT1S</timeCycle></timerEventDefinition></boundaryEvent>`), "t.bpmn:3 b", "an interrupting event happens once"},
		{"a cycle without interval", boundary(work, `<boundaryEvent id="b" attachedToRef="x" cancelActivity="false"><timerEventDefinition><timeCycle>R3</timeCycle></timerEventDefinition></boundaryEvent>`), "t.bpmn:3 b", "want the form R3/PT1H"},
		{"a cycle that stands still", boundary(work, `<boundaryEvent id="b" attachedToRef="x" cancelActivity="false"><timerEventDefinition><timeCycle>R/PT0S</timeCycle></timerEventDefinition></boundaryEvent>`), "t.bpmn:3 b", "not longer than nothing"},
		{"a cron expression", boundary(work, `<boundaryEvent id="b" attachedToRef="x" cancelActivity="false"><timerEventDefinition><timeCycle>0 0 * * * *</timeCycle></timerEventDefinition></boundaryEvent>`), "t.bpmn:3 b", "want the form R3/PT1H"},
		{"a cycle to wait for", timed(`<timeCycle>R3/PT1S</timeCycle>`), "t.bpmn:3 x", "cycle is not executed here"},
		{"a timer without time", timed(``), "t.bpmn:3 x", "timer says no time"},
		{"a timer with two times", timed(`<timeDuration>PT1S</timeDuration><timeDate>2030-01-01T00:00:00Z</timeDate>`), "t.bpmn:3 x", "more than one of"},
		{"a duration that is none", timed(`<timeDuration>1 day</timeDuration>`), "t.bpmn:3 x", `timeDuration "1 day"`},
		{"a date that is none", timed(`<timeDate>tomorrow</timeDate>`), "t.bpmn:3 x", `timeDate "tomorrow"`},

		// tasks
		{"a service task that says nothing", between(`<serviceTask id="x"/>`), "t.bpmn:3 x", "names no job type for a worker: add <zeebe:taskDefinition"},
		{"a job without type", job(`<zeebe:taskDefinition/>`), "t.bpmn:3 x", "zeebe:taskDefinition has no type"},
		{"two job types", between(`<serviceTask id="x" camunda:type="external" camunda:topic="t"><extensionElements><zeebe:taskDefinition type="q"/></extensionElements></serviceTask>`), "t.bpmn:3 x", "keep one"},
		{"a topic without type", between(`<serviceTask id="x" camunda:topic="t"/>`), "t.bpmn:3 x", `camunda:topic needs camunda:type="external"`},
		{"Java", between(`<serviceTask id="x" camunda:class="com.example.Do"/>`), "t.bpmn:3 x", "there is no Java here"},
		{"another type of task", between(`<serviceTask id="x" camunda:type="mail"/>`), "t.bpmn:3 x", `camunda:type="mail" is not executed`},
		{"retries that are none", job(`<zeebe:taskDefinition type="q" retries="often"/>`), "t.bpmn:3 x", `retries "often" is not a whole number`},
		{"a mapping without target", job(`<zeebe:taskDefinition type="q"/><zeebe:ioMapping><zeebe:input source="=a"/></zeebe:ioMapping>`), "t.bpmn:3 x", `target "" is not a path`},
		{"a mapping without source", job(`<zeebe:taskDefinition type="q"/><zeebe:ioMapping><zeebe:input target="a"/></zeebe:ioMapping>`), "t.bpmn:3 x", "zeebe:input has no source"},
		{"a mapping to a strange place", job(`<zeebe:taskDefinition type="q"/><zeebe:ioMapping><zeebe:output source="=a" target="a[1]"/></zeebe:ioMapping>`), "t.bpmn:3 x", `target "a[1]" is not a path`},
		{"a list in a parameter", between(`<task id="x"><extensionElements><camunda:inputOutput><camunda:inputParameter name="a"><camunda:list/></camunda:inputParameter></camunda:inputOutput></extensionElements></task>`), "t.bpmn:3 x", "camunda:list is not read here"},
		{"a script without result", between(`<scriptTask id="x"><script>1 + 1</script></scriptTask>`), "t.bpmn:3 x", "script's result goes nowhere"},
		{"no script", between(`<scriptTask id="x" camunda:resultVariable="r"/>`), "t.bpmn:3 x", "script task has no script"},
		{"a script in JavaScript", between(`<scriptTask id="x" scriptFormat="javascript" camunda:resultVariable="r"><script>1</script></scriptTask>`), "t.bpmn:3 x", `script is written in "javascript"`},
		{"two scripts", between(`<scriptTask id="x"><extensionElements><zeebe:script expression="=1" resultVariable="r"/></extensionElements><script>1</script></scriptTask>`), "t.bpmn:3 x", "keep one"},
		{"two assignees", between(`<userTask id="x" camunda:assignee="a"><extensionElements><zeebe:assignmentDefinition assignee="b"/></extensionElements></userTask>`), "t.bpmn:3 x", "assignee is said by zeebe and by camunda"},
		{"two forms", between(`<userTask id="x" camunda:formKey="a"><extensionElements><zeebe:formDefinition formKey="b"/></extensionElements></userTask>`), "t.bpmn:3 x", `two forms, "b" and "a"`},
		{"a due date that is none", between(`<userTask id="x" camunda:dueDate="soon"/>`), "t.bpmn:3 x", `dueDate "soon"`},
		{"FEEL in a camunda text", between(`<userTask id="x" camunda:assignee="=owner"/>`), "t.bpmn:3 x", "an expression in ${...} only"},

		{"a type without topic", between(`<serviceTask id="x" camunda:type="external"/>`), "t.bpmn:3 x", "needs a camunda:topic"},
		{"a script and a worker", between(`<scriptTask id="x"><extensionElements><zeebe:taskDefinition type="q"/></extensionElements><script>1</script></scriptTask>`), "t.bpmn:3 x", "task has a job type and a script; keep one"},
		{"headers for nobody", between(`<scriptTask id="x"><extensionElements><zeebe:script expression="=1" resultVariable="r"/><zeebe:taskHeaders/></extensionElements></scriptTask>`), "t.bpmn:3 x", "headers are for workers"},
		{"a timer in a task", between(`<task id="x"><timerEventDefinition/></task>`), "t.bpmn:3 x", "a timerEventDefinition does nothing in a task"},
		{"a task in a lane", inProcess(`<sequenceFlow id="f" sourceRef="start" targetRef="end"/><laneSet><lane id="l"><userTask id="x"/></lane></laneSet>`), "t.bpmn:3 x", "a userTask does nothing in a lane"},

		// vocabularies
		{"a zeebe element nobody knows", job(`<zeebe:taskDefinition type="q"/><zeebe:magic/>`), "t.bpmn:3 x", "zeebe:magic is not known here"},
		{"a zeebe attribute nobody knows", job(`<zeebe:taskDefinition type="q" magic="1"/>`), "t.bpmn:3 x", "zeebe:taskDefinition magic is not known here"},
		{"a camunda attribute nobody knows", between(`<task id="x" camunda:magic="1"/>`), "t.bpmn:3 x", "camunda:magic is not known here"},
		{"a pm attribute nobody knows", between(`<task id="x" pm:magic="1"/>`), "t.bpmn:3 x", "pm:magic is not known here"},
		{"a seal attribute nobody knows", between(`<task id="x" seal:magic="1"/>`), "t.bpmn:3 x", "seal:magic is not known here"},
		{"an honored word in the wrong place", between(`<userTask id="x"><extensionElements><zeebe:taskDefinition type="q"/></extensionElements></userTask>`), "t.bpmn:3 x", "zeebe:taskDefinition does nothing on a userTask"},
		{"an honored attribute in the wrong place", between(`<task id="x" camunda:assignee="a"/>`), "t.bpmn:3 x", "camunda:assignee does nothing on a task"},
		{"an honored word twice", job("<zeebe:taskDefinition type=\"q\"/>\n<zeebe:taskDefinition type=\"r\"/>"), "t.bpmn:4 x", "zeebe:taskDefinition is written twice, first in line 3"},
		{"an attribute with a prefix it has not", job(`<zeebe:taskDefinition type="q" zeebe:retries="3"/>`), "t.bpmn:3 x", "is not read with a prefix"},
		{"a listener", between(`<task id="x"><extensionElements><camunda:executionListener class="q"/></extensionElements></task>`), "t.bpmn:3 x", "listeners run code that is not here"},
		{"who may start", model("<process id=\"p\" isExecutable=\"true\" camunda:candidateStarterGroups=\"g\">\n<startEvent id=\"s\"/></process>"), "t.bpmn:2 p", "would let others start it"},
		{"a screen of ProcessMaker", between(`<task id="x" pm:screenRef="3"/>`), "t.bpmn:3 x", "pm:screenRef is not read"},
		{"users of ProcessMaker", between(`<task id="x" pm:assignedUsers="3"/>`), "t.bpmn:3 x", "by their numbers in ProcessMaker's database"},
		{"a mapping on an event", strings.Replace(inProcess(`<sequenceFlow id="f" sourceRef="start" targetRef="end"/>`), `<startEvent id="start"/>`, `<startEvent id="start"><extensionElements><zeebe:ioMapping/></extensionElements></startEvent>`, 1), "t.bpmn:2 start", "zeebe:ioMapping does nothing on a startEvent"},

		// the policy
		{"a mode that is none", model("<process id=\"p\" isExecutable=\"true\" seal:mode=\"secret\">\n<startEvent id=\"s\"/></process>"), "t.bpmn:2 p", `seal:mode="secret" is not a mode`},
		{"a mode on a task", between(`<task id="x" seal:mode="confidential"/>`), "t.bpmn:3 x", "seal:mode does nothing on a task"},
		{"a signature that is optional", between(`<serviceTask id="x" seal:signed="optional"><extensionElements><zeebe:taskDefinition type="q"/></extensionElements></serviceTask>`), "t.bpmn:3 x", `seal:signed="optional" is not known: write required`},
		{"a signature of nobody", between(`<manualTask id="x" seal:signed="required"/>`), "t.bpmn:3 x", "seal:signed does nothing on a manualTask"},
		{"a signature of a script", between(`<scriptTask id="x" seal:signed="required"><extensionElements><zeebe:script expression="=1" resultVariable="r"/></extensionElements></scriptTask>`), "t.bpmn:3 x", "seal:signed is for results of workers"},
		{"a class that is none", field(`path="a" class="secret"`), "t.bpmn:3 p", `class="secret" is not a class`},
		{"a field without class", field(`path="a"`), "t.bpmn:3 p", "field has no class"},
		{"a field without path", field(`class="public"`), "t.bpmn:3 p", `path "" is not a path`},
		{"a path that is none", field(`path="a[1].b" class="public"`), "t.bpmn:3 p", `path "a[1].b" is not a path`},
		{"a subject that is none", field(`path="a" class="public" subject="b."`), "t.bpmn:3 p", `subject "b." of "a" is not a path`},
		{"a subject in more lists than the field", field(`path="a" class="public" subject="b[].id"`), "t.bpmn:2 p", "inside more lists than the field"},
		{"a search that is none", field(`path="a" class="public" search="fuzzy"`), "t.bpmn:3 p", `search="fuzzy" is not a kind of search`},
		{"an assignee from a sealed field", model("<process id=\"p\" isExecutable=\"true\"><extensionElements><seal:policy><seal:field path=\"a.b\" class=\"regulated\"/></seal:policy></extensionElements><startEvent id=\"s\"/><sequenceFlow id=\"f\" sourceRef=\"s\" targetRef=\"x\"/>\n<userTask id=\"x\" camunda:assignee=\"${a.b}\"/></process>"), "t.bpmn:3 x", "assignee: expression a.b reads a.b, which is sealed"},
		{"a field twice", field(`path="a" class="public"/>` + "\n" + `<seal:field path="a" class="regulated"`), "t.bpmn:4 p", "field a is declared twice, first in line 3"},
		{"a retention that is none", model("<process id=\"p\" isExecutable=\"true\" seal:retention=\"7 years\">\n<startEvent id=\"s\"/></process>"), "t.bpmn:2 p", `retention "7 years" is not a period`},
		{"a retention twice", model("<process id=\"p\" isExecutable=\"true\" seal:retention=\"P1Y\"><extensionElements>\n<seal:policy retention=\"P2Y\"/></extensionElements><startEvent id=\"s\"/></process>"), "t.bpmn:3 p", "retention is declared twice"},
		{"a property nobody knows", property("seal:magic", "1"), "t.bpmn:3 p", "property seal:magic is not known"},
		{"a property on a task", between(`<task id="x"><extensionElements><zeebe:properties><zeebe:property name="seal:field" value="a class=public"/></zeebe:properties></extensionElements></task>`), "t.bpmn:3 x", "property seal:field does nothing on a task"},
		{"a property's mode that is none", property("seal:mode", "secret"), "t.bpmn:3 p", `mode "secret" is not a mode`},
		{"a property's class that is none", property("seal:field", "a class=secret"), "t.bpmn:3 p", `class "secret" is not a class`},
		{"a property's search that is none", property("seal:field", "a class=public search=fuzzy"), "t.bpmn:3 p", `search="fuzzy" is not a kind of search`},
		{"a property's word nobody knows", property("seal:field", "a class=public magic=1"), "t.bpmn:3 p", `has "magic=1"`},
		{"an empty property", property("seal:field", ""), "t.bpmn:3 p", "property seal:field is empty"},
		{"a mode on a data object", inProcess(`<sequenceFlow id="f" sourceRef="start" targetRef="end"/><dataObject id="d"><extensionElements><zeebe:properties><zeebe:property name="seal:mode" value="confidential"/></zeebe:properties></extensionElements></dataObject>`), "t.bpmn:3 d", "property seal:mode does nothing on a dataObject"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := bpmn.Compile(parse(t, test.model))
			if err == nil {
				t.Fatal("model compiled, want a refusal")
			}
			got := details(t, err)
			found := false
			for line := range strings.SplitSeq(got, "\n") {
				found = found || strings.HasPrefix(line, test.place+": ") && strings.Contains(line, test.reason)
			}
			if !found {
				t.Errorf("Compile said\n%s\nwant %s: .. %s", got, test.place, test.reason)
			}
			if n := strings.Count(got, "\n") + 1; n > 1 {
				t.Logf("%d reasons:\n%s", n, got)
			}
		})
	}
}

// TestAllReasonsComeAtOnce: a deployment that fails ten times for one reason each
// is how models come to be deployed with listeners torn out.
func TestAllReasonsComeAtOnce(t *testing.T) {
	_, err := bpmn.Compile(parse(t, inProcess(`<callActivity id="a"/>
<serviceTask id="b"/>
<userTask id="c" camunda:magic="1"/>
<sequenceFlow id="d" sourceRef="start" targetRef="gone"/>
<sequenceFlow id="e" sourceRef="start" targetRef="c"><conditionExpression>x</conditionExpression></sequenceFlow>
<sequenceFlow id="f" sourceRef="a" targetRef="c"><conditionExpression>=(</conditionExpression></sequenceFlow>
<sequenceFlow id="g" sourceRef="c" targetRef="gone"><conditionExpression>=nosuch(1)</conditionExpression></sequenceFlow>`)))
	got := details(t, err)
	for _, want := range []string{"t.bpmn:3 a: ", "t.bpmn:4 b: ", "t.bpmn:5 c: ", "t.bpmn:6 d: ", "t.bpmn:7 e: ",
		`t.bpmn:8 f: condition "("`, `t.bpmn:9 g: condition "nosuch(1)"`} {
		if !strings.Contains(got, want) {
			t.Errorf("no reason at %q in\n%s", want, got)
		}
	}
}
