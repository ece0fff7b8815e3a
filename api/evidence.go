package api

// EvidenceRequest asks for evidence of one step of an instance, or of one entry of a
// log. Of an instance's step, task and job one may be given; with none it is the newest
// step.
type EvidenceRequest struct {
	Instance  string   `json:"instance,omitempty" maxLength:"255"`
	Entry     string   `json:"entry,omitempty" doc:"LOG/NUMBER, as the list of entries has it" maxLength:"255"`
	Step      int      `json:"step,omitempty" doc:"number of the step" minimum:"1"`
	Task      string   `json:"task,omitempty" doc:"the step that completed this task" maxLength:"255"`
	Job       string   `json:"job,omitempty" doc:"the step that ended this job" maxLength:"255"`
	Fields    []string `json:"fields,omitempty" doc:"paths of the values to disclose, of those that the step wrote; $actor is who acted" maxItems:"1000"`
	AllFields bool     `json:"all_fields,omitempty" doc:"disclose every value that the step wrote and the caller may see in clear, but not those that begin with $"`
	NoModel   bool     `json:"no_model,omitempty" doc:"leave the process model out"`
	Anchored  bool     `json:"anchored,omitempty" doc:"refuse (not_anchored) unless the log's head over it is anchored: cosigned by witnesses, timestamped"`
}

// StepQuery selects a step of an instance; 0 is the newest.
type StepQuery struct {
	Step int `query:"step" minimum:"0"`
}

// SignedReceipt is the platform's signed word that it has a step's leaf. It is there
// at once; evidence takes a second or two longer and proves more.
type SignedReceipt struct {
	Step    int    `json:"step"`
	Leaf    string `json:"leaf" doc:"hash of the leaf, hex"`
	Receipt string `json:"receipt" doc:"a signed note (C2SP signed-note) whose text is the leaf"`
}
