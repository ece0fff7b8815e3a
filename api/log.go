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
