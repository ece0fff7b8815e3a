package bpmn

const (
	noScreens = "is not read: screens and scripts stay in ProcessMaker's database; deploy a JSON Schema file and name it in zeebe:formDefinition or camunda:formKey"
	noPMUsers = "is not read: it names users and groups by their numbers in ProcessMaker's database; use zeebe:assignmentDefinition or camunda:candidateGroups"
	noPMCode  = "is not executed: the script stays in ProcessMaker's database; use a FEEL script or a service task with a job type"
)

// pmVocabulary is that of ProcessMaker 4 (processmaker-bpmn-moddle).
var pmVocabulary = vocabulary{
	prefix: "pm",
	attrs: map[string]rule{
		"color":                 idle,
		"customIcon":            idle,
		"screenVersion":         idle,
		"scriptVersion":         idle,
		"implementationVersion": idle,
		"elementDestination":    idle, // which screen is shown next is the console's business
		"allowInterstitial":     only("false", noScreens),
		"interstitialScreenRef": no(noScreens),
		"screenRef":             no(noScreens),
		"scriptRef":             no(noPMCode),
		"errorHandling":         no("is not executed: write retries in zeebe:taskDefinition and catch errors with boundary events"),
		"config":                no(noPMCode),
		"configEmail":           no("is not executed: no mail is sent"),
		"isActionsByEmail":      only("false", "is not executed: no mail is sent"),
		"notifyAfterRouting":    only("false", "is not executed: nobody is notified"),
		"notifyRequestCreator":  only("false", "is not executed: nobody is notified"),
		"dueIn":                 no("is not executed: write a due date in zeebe:taskSchedule or camunda:dueDate"),
		"dueInVariable":         no("is not executed: write a due date in zeebe:taskSchedule or camunda:dueDate"),
		"isDueInVariable":       only("false", "is not executed: write a due date in zeebe:taskSchedule or camunda:dueDate"),
		"assignment":            no(noPMUsers),
		"assignedUsers":         no(noPMUsers),
		"assignedGroups":        no(noPMUsers),
		"assignmentRules":       no(noPMUsers),
		"assignmentLock":        only("false", noPMUsers),
		"allowReassignment":     only("false", "is not executed: who may give a task to whom is decided by grants"),
		"allowedUsers":          no(noPMUsers),
		"allowedGroups":         no(noPMUsers),
		"whitelist":             no(noPMUsers),
		"validations":           no("is not executed: what a form must hold is in its JSON Schema"),
		"payload":               no(laterVersion),
		"variableName":          no(laterVersion),
		"detail":                idle,
	},
}
