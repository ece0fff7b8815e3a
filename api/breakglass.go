package api

import "time"

// BreakGlass is sight of one process or one instance in clear, in an emergency: somebody
// asks for it with a reason, and somebody else approves. It begins with the approval.
type BreakGlass struct {
	ID       string    `json:"id"`
	By       string    `json:"by" doc:"who asked, and who it is for"`
	Reason   string    `json:"reason" doc:"sealed"`
	Process  string    `json:"process,omitempty" doc:"id; of one for an instance it is known once it is approved"`
	Instance string    `json:"instance,omitempty" doc:"none: all of the process"`
	LastsMS  int       `json:"lasts_ms" doc:"from the approval"`
	Made     time.Time `json:"made"`
	Expires  time.Time `json:"expires" doc:"pending: until when it can be approved; approved: until when it counts"`
	State    string    `json:"state" enum:"pending,approved,ended,expired"`
	Approver string    `json:"approver,omitempty"`
	Ender    string    `json:"ender,omitempty" doc:"who ended it before its time"`
}

// BreakGlasses are the break-glasses that wait, count or were over a day ago at most.
type BreakGlasses struct {
	Items []BreakGlass `json:"items"`
}

// BreakGlassRequest asks for sight of one instance or one process, for the caller.
type BreakGlassRequest struct {
	Instance string `json:"instance,omitempty" maxLength:"36" doc:"id; either this or process"`
	Process  string `json:"process,omitempty" maxLength:"255" doc:"id"`
	Reason   string `json:"reason" minLength:"1" maxLength:"255" doc:"one line, sealed; the purpose of all that is shown"`
	LastsMS  int    `json:"lasts_ms" minimum:"1" maximum:"86400000" doc:"how long it is to count, at most what the server admits"`
}
