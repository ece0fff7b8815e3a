package bpmn

import "strings"

// Rows are written with these.

func words(s string) []string { return strings.Fields(s) }

func no(why string) rule { return rule{ruling: refused, why: why} }

func only(value, why string) rule { return rule{ruling: inert, only: words(value), why: why} }

var (
	yes  = rule{ruling: honored}
	idle = rule{ruling: inert}
)

// scopes are the elements with a flow of their own; what is in a refused one is
// looked at all the same.
var scopes = map[string]bool{"process": true, "subProcess": true, "adHocSubProcess": true, "transaction": true}

// flowNodes are what sequence flows connect, whether executed or not.
var flowNodes = map[string]bool{
	"startEvent": true, "endEvent": true, "intermediateCatchEvent": true, "intermediateThrowEvent": true, "implicitThrowEvent": true,
	"boundaryEvent": true, "task": true, "manualTask": true, "userTask": true, "scriptTask": true, "serviceTask": true, "sendTask": true,
	"receiveTask": true, "businessRuleTask": true, "callActivity": true, "subProcess": true, "adHocSubProcess": true, "transaction": true,
	"exclusiveGateway": true, "parallelGateway": true, "inclusiveGateway": true, "complexGateway": true, "eventBasedGateway": true,
	"choreographyTask": true, "subChoreography": true, "callChoreography": true,
}

var (
	work       = words("serviceTask sendTask businessRuleTask scriptTask")
	activities = append(words("task manualTask userTask subProcess"), work...)
	carriers   = words("itemDefinition dataObject property message") // of seal: fields
)

const (
	scopeNames = "process subProcess adHocSubProcess transaction"
	eventNames = "startEvent endEvent intermediateCatchEvent boundaryEvent"
)

const laterVersion = "is not executed in this version"

// activity is the row of an activity: what BPMN gives all, and its own.
func activity(own map[string]rule, refs ...string) element {
	attrs := map[string]rule{
		"startQuantity":      only("1", "is not executed: activities start with one token each"),
		"completionQuantity": only("1", "is not executed: activities complete with one token each"),
		"isForCompensation":  only("false", laterVersion),
		"default":            yes,
	}
	for name, row := range own {
		attrs[name] = row
	}
	return executed(scopeNames, attrs, append(refs, "default")...)
}

// executed is the row of an element that is executed inside the given ones.
func executed(inside string, attrs map[string]rule, refs ...string) element {
	return element{rule: on(words(inside)...), attrs: attrs, refs: refs}
}

func later(refs ...string) element {
	return element{rule: no(laterVersion), refs: refs}
}

func without(refs ...string) element { return element{rule: idle, refs: refs} }

var (
	singleEvent = only("false", "is not executed: an event waits for one thing")
	expression  = map[string]rule{"language": yes, "evaluatesToTypeRef": idle}
)

// bpmnElements has every element of BPMN 2.0 (formal/2011-01-03 and 2.0.2).
// Attributes have rows where the element is executed; all have id and name.
var bpmnElements = map[string]element{
	// executed
	"definitions": executed("", map[string]rule{"targetNamespace": yes, "expressionLanguage": yes, "typeLanguage": idle, "exporter": idle, "exporterVersion": idle}),
	"process": executed("definitions", map[string]rule{"isExecutable": yes, "processType": idle, "isClosed": idle, "definitionalCollaborationRef": idle},
		"definitionalCollaborationRef"),
	"startEvent":               executed(scopeNames, map[string]rule{"isInterrupting": idle, "parallelMultiple": singleEvent}),
	"endEvent":                 executed(scopeNames, nil),
	"intermediateCatchEvent":   executed(scopeNames, map[string]rule{"parallelMultiple": singleEvent}),
	"boundaryEvent":            executed(scopeNames, map[string]rule{"attachedToRef": yes, "cancelActivity": yes, "parallelMultiple": singleEvent}, "attachedToRef"),
	"task":                     activity(nil),
	"manualTask":               activity(nil),
	"userTask":                 activity(map[string]rule{"implementation": idle}),
	"scriptTask":               activity(map[string]rule{"scriptFormat": yes}),
	"serviceTask":              activity(map[string]rule{"implementation": idle, "operationRef": idle}, "operationRef"),
	"sendTask":                 activity(map[string]rule{"implementation": idle, "operationRef": idle, "messageRef": idle}, "operationRef", "messageRef"),
	"businessRuleTask":         activity(map[string]rule{"implementation": idle}),
	"subProcess":               activity(map[string]rule{"triggeredByEvent": only("false", "is not executed: event subprocesses come in a later version")}),
	"exclusiveGateway":         executed(scopeNames, map[string]rule{"gatewayDirection": idle, "default": yes}, "default"),
	"inclusiveGateway":         executed(scopeNames, map[string]rule{"gatewayDirection": idle, "default": yes}, "default"),
	"parallelGateway":          executed(scopeNames, map[string]rule{"gatewayDirection": idle}),
	"sequenceFlow":             executed(scopeNames, map[string]rule{"sourceRef": yes, "targetRef": yes, "isImmediate": idle}, "sourceRef", "targetRef"),
	"conditionExpression":      executed("sequenceFlow", expression),
	"script":                   executed("scriptTask", nil),
	"timerEventDefinition":     executed(eventNames+" definitions", nil),
	"timeDate":                 executed("timerEventDefinition", expression),
	"timeDuration":             executed("timerEventDefinition", expression),
	"timeCycle":                executed("timerEventDefinition", expression),
	"errorEventDefinition":     executed(eventNames+" definitions", map[string]rule{"errorRef": yes}, "errorRef"),
	"terminateEventDefinition": executed(eventNames+" definitions", nil),
	"eventDefinitionRef":       executed(eventNames, nil, "."),
	"error":                    executed("definitions", map[string]rule{"errorCode": yes, "structureRef": idle}, "structureRef"),
	"incoming":                 executed("", nil, "."),
	"outgoing":                 executed("", nil, "."),

	// not executed
	"callActivity":                     later(),
	"receiveTask":                      later("messageRef", "operationRef", "default"),
	"adHocSubProcess":                  later("default"),
	"transaction":                      later("default"),
	"intermediateThrowEvent":           later(),
	"implicitThrowEvent":               later(),
	"complexGateway":                   later("default"),
	"eventBasedGateway":                later(),
	"messageEventDefinition":           later("messageRef", "operationRef"),
	"signalEventDefinition":            later("signalRef"),
	"escalationEventDefinition":        later("escalationRef"),
	"compensateEventDefinition":        later("activityRef"),
	"conditionalEventDefinition":       later(),
	"cancelEventDefinition":            later(),
	"linkEventDefinition":              later(),
	"condition":                        later(),
	"standardLoopCharacteristics":      later(),
	"multiInstanceLoopCharacteristics": later("oneBehaviorEventRef", "noneBehaviorEventRef"),
	"loopCardinality":                  later(),
	"loopCondition":                    later(),
	"loopDataInputRef":                 later("."),
	"loopDataOutputRef":                later("."),
	"inputDataItem":                    later("itemSubjectRef"),
	"outputDataItem":                   later("itemSubjectRef"),
	"complexBehaviorDefinition":        later(),
	"event":                            later(),
	"completionCondition":              later(),
	"activationCondition":              later(),
	"correlationSubscription":          later("correlationKeyRef"),
	"correlationPropertyBinding":       later("correlationPropertyRef"),
	"dataPath":                         later(),
	"choreographyTask":                 later("initiatingParticipantRef"),
	"subChoreography":                  later("initiatingParticipantRef"),
	"callChoreography":                 later("calledChoreographyRef", "initiatingParticipantRef"),
	"participantRef":                   without("."),
	"messageFlowRef":                   without("."),
	"participantAssociation":           without(),
	"innerParticipantRef":              without("."),
	"outerParticipantRef":              without("."),
	"transformation":                   {rule: no("is not executed: write what is to be computed as an input or output mapping")},
	"assignment":                       {rule: no("is not executed: write what is to be computed as an input or output mapping")},
	"from":                             later(),
	"to":                               later(),
	"performer":                        {rule: no(notAPerformer)},
	"humanPerformer":                   {rule: no(notAPerformer)},
	"potentialOwner":                   {rule: no(notAPerformer)},
	"resourceRole":                     {rule: no(notAPerformer)},
	"resourceRef":                      later("."),
	"resourceAssignmentExpression":     later(),
	"resourceParameterBinding":         later("parameterRef"),
	"expression":                       later(),
	"formalExpression":                 later(),

	// without effect: what describes, and what only callers and other tools need
	"documentation":                          without(),
	"extensionElements":                      without(),
	"extension":                              without(),
	"laneSet":                                without(),
	"childLaneSet":                           without(),
	"lane":                                   without("partitionElementRef"),
	"partitionElement":                       without(),
	"flowNodeRef":                            without("."),
	"textAnnotation":                         without(),
	"text":                                   without(),
	"association":                            without("sourceRef", "targetRef"),
	"group":                                  without("categoryValueRef"),
	"category":                               without(),
	"categoryValue":                          without(),
	"categoryValueRef":                       without("."),
	"auditing":                               without(),
	"monitoring":                             without(),
	"rendering":                              without(),
	"supports":                               without("."),
	"dataObject":                             without("itemSubjectRef"),
	"dataObjectReference":                    without("dataObjectRef", "itemSubjectRef"),
	"dataStore":                              without("itemSubjectRef"),
	"dataStoreReference":                     without("dataStoreRef", "itemSubjectRef"),
	"dataState":                              without(),
	"property":                               without("itemSubjectRef"),
	"ioSpecification":                        without(),
	"ioBinding":                              without("operationRef", "inputDataRef", "outputDataRef"),
	"dataInput":                              without("itemSubjectRef"),
	"dataOutput":                             without("itemSubjectRef"),
	"inputSet":                               without(),
	"outputSet":                              without(),
	"dataInputRefs":                          without("."),
	"dataOutputRefs":                         without("."),
	"optionalInputRefs":                      without("."),
	"optionalOutputRefs":                     without("."),
	"whileExecutingInputRefs":                without("."),
	"whileExecutingOutputRefs":               without("."),
	"inputSetRefs":                           without("."),
	"outputSetRefs":                          without("."),
	"dataInputAssociation":                   without(),
	"dataOutputAssociation":                  without(),
	"sourceRef":                              without("."),
	"targetRef":                              without("."),
	"collaboration":                          without("choreographyRef"),
	"choreographyRef":                        without("."),
	"participant":                            without("processRef"),
	"participantMultiplicity":                without(),
	"interfaceRef":                           without("."),
	"supportedInterfaceRef":                  without("."),
	"endPointRef":                            without("."),
	"partnerEntityRef":                       without("."),
	"partnerRoleRef":                         without("."),
	"messageFlow":                            without("sourceRef", "targetRef", "messageRef"),
	"messageFlowAssociation":                 without("innerMessageFlowRef", "outerMessageFlowRef"),
	"conversation":                           without(),
	"subConversation":                        without(),
	"callConversation":                       without("calledCollaborationRef"),
	"globalConversation":                     without(),
	"conversationLink":                       without("sourceRef", "targetRef"),
	"conversationAssociation":                without("innerConversationNodeRef", "outerConversationNodeRef"),
	"conversationNode":                       without(),
	"choreography":                           without(),
	"globalChoreographyTask":                 without("initiatingParticipantRef"),
	"message":                                without("itemRef"),
	"signal":                                 without("structureRef"),
	"escalation":                             without("structureRef"),
	"itemDefinition":                         without(),
	"correlationKey":                         without(),
	"correlationProperty":                    without(),
	"correlationPropertyRef":                 without("."),
	"correlationPropertyRetrievalExpression": without("messageRef"),
	"messagePath":                            without(),
	"import":                                 without(),
	"interface":                              without(),
	"operation":                              without(),
	"inMessageRef":                           without("."),
	"outMessageRef":                          without("."),
	"errorRef":                               without("."),
	"operationRef":                           without("."),
	"resource":                               without(),
	"resourceParameter":                      without(),
	"partnerEntity":                          without(),
	"partnerRole":                            without(),
	"endPoint":                               without(),
	"relationship":                           without(),
	"source":                                 without(),
	"target":                                 without(),
	"globalTask":                             without(),
	"globalUserTask":                         without(),
	"globalManualTask":                       without(),
	"globalScriptTask":                       without(),
	"globalBusinessRuleTask":                 without(),
}

const notAPerformer = "is not executed: say who may do the task with zeebe:assignmentDefinition or camunda:assignee and camunda:candidateGroups"
