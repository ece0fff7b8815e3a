package api

// Page asks for one page of a list.
type Page struct {
	After string `query:"after" doc:"the cursor that came with the page before" maxLength:"4096"`
	Limit int    `query:"limit" doc:"how many, default 50" minimum:"0" maximum:"1000"`
}

// VersionQuery names a version of a process.
type VersionQuery struct {
	Version int `query:"version" doc:"0 or absent: the newest" minimum:"0"`
}

// InstanceFilter narrows a list of instances; empty fields do not.
type InstanceFilter struct {
	Process     string `query:"process" doc:"id of the process" maxLength:"255"`
	Status      string `query:"status" enum:"active,completed,canceled,erased"`
	BusinessKey string `query:"business_key" doc:"exact" maxLength:"1024"`
	Field       string `query:"field" doc:"path of a field that the model makes searchable" maxLength:"1024"`
	Value       string `query:"value" doc:"what that field holds, exact" maxLength:"1024"`
}

// InstancesQuery are the query parameters of the list of instances.
type InstancesQuery struct {
	InstanceFilter
	Page
}

// TaskFilter narrows a list of tasks; empty fields do not.
type TaskFilter struct {
	Process    string `query:"process" doc:"id of the process" maxLength:"255"`
	Assignee   string `query:"assignee" maxLength:"255"`
	Group      string `query:"group" doc:"a candidate group" maxLength:"255"`
	User       string `query:"user" doc:"a candidate user" maxLength:"255"`
	Unassigned bool   `query:"unassigned" doc:"only tasks that nobody has claimed"`
}

// TasksQuery are the query parameters of the list of tasks.
type TasksQuery struct {
	TaskFilter
	Page
}

// FileQuery describes a file that is uploaded; its type is the Content-Type.
type FileQuery struct {
	Name string `query:"name" doc:"name of the file, without directories; required" maxLength:"255"`
}

// IncidentsQuery are the query parameters of the list of incidents.
type IncidentsQuery struct {
	Process string `query:"process" doc:"id of the process" maxLength:"255"`
	Page
}

// GrantsQuery selects grants: of a user, of a group, or all.
type GrantsQuery struct {
	Page
	User  string `query:"user" doc:"to whom they are given" maxLength:"64"`
	Group string `query:"group" doc:"to whose members they are given" maxLength:"64"`
}

// SessionsQuery selects sessions.
type SessionsQuery struct {
	User string `query:"user" maxLength:"64" doc:"of this user; none: of anybody"`
	Page
}

// APIKeysQuery selects API keys: of a user, or all.
type APIKeysQuery struct {
	Page
	User string `query:"user" doc:"whose they are" maxLength:"64"`
}
