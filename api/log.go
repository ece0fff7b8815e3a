package api

import "time"

// LogReaderRequest makes a path for somebody who may read the log.
type LogReaderRequest struct {
	Name string `json:"name" doc:"whom the path is for" minLength:"1" maxLength:"255"`
}

// LogReader is somebody who was given a path.
type LogReader struct {
	ID      string     `json:"id"`
	Name    string     `json:"name"`
	By      string     `json:"by" doc:"principal who made it"`
	Made    time.Time  `json:"made"`
	Revoked *time.Time `json:"revoked,omitempty"`
}

// NewLogReader is a reader with its path, which is told this once.
type NewLogReader struct {
	LogReader
	Path string `json:"path" doc:"PATH/SHARD/ is the prefix of a log (C2SP tlog-tiles), PATH/shards lists the shards; whoever has it may read the log"`
}

// LogReaders is a page of readers, oldest first.
type LogReaders struct {
	Items []LogReader `json:"items"`
	Next  string      `json:"next,omitempty"`
}

// LogShard is one log of the tenant: that of a year, or since a restore.
type LogShard struct {
	Name       string `json:"name" doc:"the last part of the origin"`
	Origin     string `json:"origin"`
	Open       bool   `json:"open" doc:"takes new entries"`
	Size       uint64 `json:"size" doc:"entries under the newest checkpoint"`
	Checkpoint string `json:"checkpoint,omitempty" doc:"the newest one (C2SP tlog-checkpoint), a signed note; none was signed yet if it is empty"`
}

// LogShards lists the logs, oldest first.
type LogShards struct {
	Items []LogShard `json:"items"`
}

// LogProofQuery selects a leaf by the step of the instance that it is of; 0 is the
// newest.
type LogProofQuery struct {
	Instance string `query:"instance" maxLength:"255"`
	Step     int    `query:"step" minimum:"0"`
}

// LogProof proves that a leaf is in a log.
type LogProof struct {
	Leaf  []byte `json:"leaf" doc:"the entry of the log, base64"`
	Proof string `json:"proof" doc:"C2SP tlog-proof, with the newest checkpoint"`
}

// ConsistencyQuery selects two sizes of a log; to 0 is that of the newest checkpoint.
type ConsistencyQuery struct {
	Shard string `query:"shard" maxLength:"255"`
	From  int    `query:"from" minimum:"0"`
	To    int    `query:"to" minimum:"0"`
}

// LogConsistency proves that a log at one size continues itself at another.
type LogConsistency struct {
	Origin     string   `json:"origin"`
	From       uint64   `json:"from"`
	To         uint64   `json:"to"`
	Hashes     []string `json:"hashes" doc:"RFC 9162, section 2.1.4; base64"`
	Checkpoint string   `json:"checkpoint" doc:"the newest one, a signed note"`
}

// LogPolicy says whom a verifier of the tenant's evidence may believe.
type LogPolicy struct {
	Policy string `json:"policy" doc:"a file of C2SP tlog-policy, with lines platform and tsa"`
}

// LogAnchoring says who is to see the heads of the logs, and when that happens next.
type LogAnchoring struct {
	Configured bool       `json:"configured" doc:"there is an anchor log"`
	Witnesses  []string   `json:"witnesses"`
	Quorum     int        `json:"quorum" doc:"how many of them must have cosigned"`
	Timestamp  bool       `json:"timestamp" doc:"an authority (RFC 3161) is asked too"`
	Next       *time.Time `json:"next,omitempty" doc:"when heads are shown next, which then cover what was done a second before"`
	Delayed    string     `json:"delayed,omitempty" doc:"what the newest one lacks, and why"`
}
