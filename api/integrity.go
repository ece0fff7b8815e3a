package api

import "time"

// Integrity says what of the database was compared with the log, and when.
type Integrity struct {
	Rate    int             `json:"rate" doc:"rows a second that the server compares by itself; 0: none"`
	Current *IntegrityCheck `json:"current,omitempty" doc:"the server's own round that is under way"`
	Last    *IntegrityCheck `json:"last,omitempty" doc:"the last one that is over"`
	Ordered *IntegrityCheck `json:"ordered,omitempty" doc:"the check that was ordered last"`
}

// CheckRequest orders a check of everything.
type CheckRequest struct {
	Files bool `json:"files,omitempty" doc:"read all files too and compare what they hold; that takes as long as reading them"`
}

// IntegrityCheck is one check of everything.
type IntegrityCheck struct {
	State    string             `json:"state" enum:"running,done,failed"`
	Began    time.Time          `json:"began"`
	Ended    *time.Time         `json:"ended,omitempty"`
	Phase    string             `json:"phase,omitempty" doc:"what is looked at now"`
	Rows     uint64             `json:"rows" doc:"leaves, objects, tokens and files looked at so far"`
	Files    bool               `json:"files,omitempty" doc:"all files are read too"`
	Bytes    uint64             `json:"bytes,omitempty" doc:"of files, read so far"`
	Waiting  string             `json:"waiting,omitempty" doc:"the outage that it waits out, and then goes on where it is"`
	Error    string             `json:"error,omitempty" doc:"why it could not go on"`
	Findings []IntegrityFinding `json:"findings" doc:"the first thousand"`
	// Uncovered is no finding: see docs/design/sequencer.md.
	Uncovered uint64 `json:"uncovered,omitempty" doc:"leaves without proof: of logs that a restore has ended, behind their last signed heads"`
}

// IntegrityFinding is one thing in the database that is not as the log says.
type IntegrityFinding struct {
	Kind   string  `json:"kind" doc:"leaf, tree, checkpoint, behind, shard, object, stray, token, keys or file"`
	Tenant string  `json:"tenant" doc:"whose rows it is about"`
	Object string  `json:"object,omitempty"`
	Step   uint64  `json:"step,omitempty"`
	Shard  string  `json:"shard,omitempty" doc:"origin of a log"`
	Index  *uint64 `json:"index,omitempty" doc:"place in it"`
	Where  string  `json:"where" doc:"table"`
	What   string  `json:"what"`
	Do     string  `json:"do"`
}
