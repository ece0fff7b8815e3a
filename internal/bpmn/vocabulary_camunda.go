package bpmn

const namespaceCamunda = "http://camunda.org/schema/1.0/bpmn"

const (
	noCode      = `is not executed: there is no Java here; write camunda:type="external" with a camunda:topic and let a worker do it`
	noStarters  = "is not executed: who may start a process is decided by grants, and dropping this would let others start it"
	noDecision  = "is not executed: decisions come in a later version; write a script or use a worker"
	noCamForm   = "is not read: deploy a JSON Schema file with the model and name it in camunda:formKey"
	noElsewhere = "is not read: write the text into the model"
)

// external are the tasks that a worker can do.
var external = words("serviceTask sendTask businessRuleTask")

// camundaVocabulary is that of Camunda 7 (camunda-bpmn-moddle), with the words
// that Activiti and Flowable have in addition.
var camundaVocabulary = vocabulary{
	prefix: "camunda",
	attrs: map[string]rule{
		"assignee":        on("userTask"),
		"candidateUsers":  on("userTask"),
		"candidateGroups": on("userTask"),
		"dueDate":         on("userTask"),
		"formKey":         on("userTask"),
		"type":            {ruling: honored, on: external, only: words("external"), why: noCode},
		"topic":           on(external...),
		"resultVariable":  on("scriptTask"),

		// every wait is a commit here, whatever a model asks for
		"async": idle, "asyncBefore": idle, "asyncAfter": idle, "exclusive": idle, "asyncLeave": idle, "asyncLeaveExclusive": idle,
		"asyncBeforeExclusive": idle, "asyncAfterExclusive": idle,
		// retention is the policy's business (seal:retention)
		"historyTimeToLive":      idle,
		"versionTag":             idle,
		"isStartableInTasklist":  idle,
		"diagramRelationId":      idle,
		"modelerTemplate":        idle,
		"modelerTemplateVersion": idle,
		"modelerTemplateIcon":    idle,
		"errorMessage":           idle,
		"category":               idle,
		"formFieldValidation":    idle,

		"followUpDate":         no(noFollowUp),
		"priority":             no(noPriority),
		"jobPriority":          no(noPriority),
		"taskPriority":         no(noPriority),
		"businessCalendarName": no("is not executed: due dates count every day"),
		"formRef":              no(noCamForm),
		"formRefBinding":       no(noCamForm),
		"formRefVersion":       no(noCamForm),
		"formHandlerClass":     no(noCode),
		"class":                no(noCode),
		"delegateExpression":   no(noCode),
		"expression":           no(noCode),
		"variableMappingClass": no(noCode),

		"variableMappingDelegateExpression": no(noCode),
		"resource":                          no(noElsewhere),
		"candidateStarterUsers":             no(noStarters),
		"candidateStarterGroups":            no(noStarters),
		"initiator":                         no("is not executed: who started an instance is in its record, not in a variable"),
		"decisionRef":                       no(noDecision),
		"decisionRefBinding":                no(noDecision),
		"decisionRefVersion":                no(noDecision),
		"decisionRefVersionTag":             no(noDecision),
		"decisionRefTenantId":               no(noDecision),
		"mapDecisionResult":                 no(noDecision),
		"calledElementBinding":              no(laterVersion),
		"calledElementVersion":              no(laterVersion),
		"calledElementVersionTag":           no(laterVersion),
		"calledElementTenantId":             no(laterVersion),
		"calledElementType":                 no(laterVersion),
		"caseRef":                           no("is not executed: there are no cases"),
		"caseBinding":                       no("is not executed: there are no cases"),
		"caseVersion":                       no("is not executed: there are no cases"),
		"caseTenantId":                      no("is not executed: there are no cases"),
		"collection":                        no(laterVersion),
		"elementVariable":                   no(laterVersion),
		"elementIndexVariable":              no(laterVersion),
		"errorCodeVariable":                 no("is not executed: the code of a caught error is known from its event"),
		"errorMessageVariable":              no("is not executed: the message of a caught error is not put into a variable"),
		"escalationCodeVariable":            no(laterVersion),
		"variableName":                      no(laterVersion),
		"variableEvents":                    no(laterVersion),
		"skipExpression":                    no("is not executed: use a gateway"),
		"triggerable":                       no(laterVersion),
		"autoStoreVariables":                no("is not executed: a script writes its result variable"),

		"useLocalScopeForResultVariable": no("is not executed: use an input mapping"),
		"storeResultVariableAsTransient": no("is not executed: every variable is kept"),
		"fallbackToDefaultTenant":        no(laterVersion),
		"sameDeployment":                 no(laterVersion),
		"inheritVariables":               no(laterVersion),
		"inheritBusinessKey":             no(laterVersion),
		"businessKey":                    no(laterVersion),
		"processInstanceName":            no(laterVersion),
		"completeAsync":                  no(laterVersion),
		"idVariableName":                 no(laterVersion),
		"taskIdVariableName":             no("is not executed: a task's id is not put into a variable"),
		"parallelInSameTransaction":      no(laterVersion),
		"nonexclusive":                   idle,
		"doNotIncludeVariables":          no("is not executed: use input mappings to say what a script or worker is given"),
		"noWaitStatesAsyncLeave":         idle,
	},
	elements: map[string]element{
		"inputOutput":     {rule: on(activities...)},
		"inputParameter":  {rule: on("inputOutput"), attrs: map[string]rule{"name": yes}},
		"outputParameter": {rule: on("inputOutput"), attrs: map[string]rule{"name": yes}},
		"properties":      {rule: yes},
		"property":        {rule: on("properties"), attrs: map[string]rule{"id": idle, "name": yes, "value": yes}},

		"list":              {rule: no("is not read here: write a FEEL list")},
		"map":               {rule: no("is not read here: write a FEEL context")},
		"entry":             {rule: no("is not read here: write a FEEL context")},
		"value":             {rule: no("is not read here: write the value as an expression")},
		"script":            {rule: no("is not executed: write the value as an expression")},
		"connector":         {rule: no(noCode)},
		"connectorId":       {rule: no(noCode)},
		"field":             {rule: no(noCode)},
		"string":            {rule: no(noCode)},
		"expression":        {rule: no(noCode)},
		"executionListener": {rule: no(noListeners)},
		"taskListener":      {rule: no(noListeners)},
		"eventListener":     {rule: no(noListeners)},
		"formData":          {rule: no(noCamForm)},
		"formField":         {rule: no(noCamForm)},
		"formProperty":      {rule: no(noCamForm)},
		"formOutcome":       {rule: no(noCamForm)},
		"validation":        {rule: no(noCamForm)},
		"constraint":        {rule: no(noCamForm)},
		"potentialStarter":  {rule: no(noStarters)},
		"in":                {rule: no(laterVersion)},
		"out":               {rule: no(laterVersion)},

		"errorEventDefinition":       {rule: no("is not executed: a worker reports an error by its code")},
		"mapException":               {rule: no(noCode)},
		"failedJobRetryTimeCycle":    {rule: no("is not executed: write retries in zeebe:taskDefinition, or let the worker say how often")},
		"externalWorkerInParameter":  {rule: no("is not read: use camunda:inputOutput")},
		"externalWorkerOutParameter": {rule: no("is not read: use camunda:inputOutput")},
		"customResource":             {rule: no(notAPerformer)},
		"eventType":                  {rule: no(laterVersion)},
	},
}
