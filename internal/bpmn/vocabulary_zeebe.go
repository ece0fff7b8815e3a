package bpmn

const namespaceZeebe = "http://camunda.org/schema/zeebe/1.0"

// on is an honored row for the given elements.
func on(elements ...string) rule { return rule{ruling: honored, on: elements} }

const (
	noListeners = "is not executed: listeners run code that is not here; use a service task"
	noPriority  = "is not executed: tasks and jobs have no priorities"
	noFollowUp  = "is not executed: tasks have a due date only"
	useFormFile = "is not read: deploy a JSON Schema file with the model and name it in the form key"
)

// zeebeVocabulary is that of Camunda 8 (zeebe-bpmn-moddle).
var zeebeVocabulary = vocabulary{
	prefix: "zeebe",
	attrs: map[string]rule{
		"modelerTemplate":        idle,
		"modelerTemplateVersion": idle,
		"modelerTemplateIcon":    idle,
		"retryCounter":           no("is not read: write retries in zeebe:taskDefinition"),
	},
	elements: map[string]element{
		"taskDefinition": {rule: on(work...), attrs: map[string]rule{"type": yes, "retries": yes}},
		"taskHeaders":    {rule: on(work...)},
		"header":         {rule: on("taskHeaders"), attrs: map[string]rule{"key": yes, "value": yes, "id": idle}},
		"ioMapping":      {rule: on(activities...)},
		"input":          {rule: on("ioMapping"), attrs: zeebeMapping},
		"output":         {rule: on("ioMapping"), attrs: zeebeMapping},
		"script":         {rule: on("scriptTask"), attrs: map[string]rule{"expression": yes, "resultVariable": yes}},
		"userTask":       {rule: rule{ruling: inert, on: words("userTask")}},
		"assignmentDefinition": {rule: on("userTask"), attrs: map[string]rule{
			"assignee": yes, "candidateGroups": yes, "candidateUsers": yes}},
		"formDefinition": {rule: on("userTask"), attrs: map[string]rule{
			"formKey":           yes,
			"formId":            yes,
			"bindingType":       only("deployment", "is not executed: a task uses the form that was deployed with its model; write deployment or leave it out"),
			"externalReference": no(useFormFile),
			"versionTag":        no("is not executed: a task uses the form that was deployed with its model"),
		}},
		"taskSchedule": {rule: on("userTask"), attrs: map[string]rule{"dueDate": yes, "followUpDate": no(noFollowUp)}},
		"properties":   {rule: yes},
		"property": {rule: on("properties"), attrs: map[string]rule{
			"name": yes, "value": yes, "id": idle, "modelerConfigurationTemplate": idle, "modelerConfigurationName": idle}},
		"versionTag": {rule: idle, attrs: map[string]rule{"value": idle}},

		"userTaskForm":          {rule: no(useFormFile)},
		"executionListeners":    {rule: no(noListeners)},
		"executionListener":     {rule: no(noListeners)},
		"taskListeners":         {rule: no(noListeners)},
		"taskListener":          {rule: no(noListeners)},
		"priorityDefinition":    {rule: no(noPriority)},
		"jobPriorityDefinition": {rule: no(noPriority)},
		"calledDecision":        {rule: no("is not executed: decisions come in a later version; write a script or use a worker")},
		"calledElement":         {rule: no(laterVersion)},
		"loopCharacteristics":   {rule: no(laterVersion)},
		"subscription":          {rule: no(laterVersion)},
		"publishMessage":        {rule: no(laterVersion)},
		"adHoc":                 {rule: no(laterVersion)},
		"conditionalFilter":     {rule: no(laterVersion)},
		"linkedResources":       {rule: no(laterVersion)},
		"linkedResource":        {rule: no(laterVersion)},
		"agentDefinition":       {rule: no(laterVersion)},
	},
}

var zeebeMapping = map[string]rule{
	"source": yes, "target": yes, "modelerConfigurationTemplate": idle, "modelerConfigurationName": idle,
}
