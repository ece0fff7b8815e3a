package export

import (
	"cmp"
	"encoding/json"
	"strings"

	"github.com/underseal/underseal/api"
)

// Classes of OCSF 1.1 (schema.ocsf.io), each in the category of its first digit:
// 3 is identity and access management, 6 application activity.
const (
	classAccountChange    = 3001
	classAuthentication   = 3002
	classEntityManagement = 3004
	classUserAccess       = 3005
	classAPIActivity      = 6003
)

const ocsfVersion = "1.1.0"

// activityOther is for what a class has no number for; its name then says it.
const activityOther = 99

// event is one event of OCSF. A class demands some of its attributes: user of the
// classes 3001, 3002 and 3005, entity of 3004, actor, api and src_endpoint of 6003.
type event struct {
	CategoryUID  int             `json:"category_uid"`
	ClassUID     int             `json:"class_uid"`
	ActivityID   int             `json:"activity_id"`
	ActivityName string          `json:"activity_name"`
	TypeUID      int             `json:"type_uid"`
	SeverityID   int             `json:"severity_id"`
	StatusID     int             `json:"status_id"`
	Time         int64           `json:"time"` // milliseconds since 1970
	Message      string          `json:"message"`
	Count        int             `json:"count,omitempty"`
	Metadata     metadata        `json:"metadata"`
	Actor        *actor          `json:"actor,omitempty"`
	SrcEndpoint  *endpoint       `json:"src_endpoint,omitempty"`
	User         *user           `json:"user,omitempty"`
	Service      *named          `json:"service,omitempty"`
	Privileges   []string        `json:"privileges,omitempty"`
	Entity       *managed        `json:"entity,omitempty"`
	Comment      string          `json:"comment,omitempty"`
	API          *call           `json:"api,omitempty"`
	Resources    []resource      `json:"resources,omitempty"`
	Unmapped     json.RawMessage `json:"unmapped,omitempty"` // the entry itself
}

type metadata struct {
	Version   string `json:"version"` // of the schema
	Product   named  `json:"product"`
	UID       string `json:"uid"`        // the entry
	LogName   string `json:"log_name"`   // the log it is in
	TenantUID string `json:"tenant_uid"` // whose it is
	EventCode string `json:"event_code"` // the entry's kind
}

type named struct {
	Name       string `json:"name"`
	VendorName string `json:"vendor_name,omitempty"`
	Version    string `json:"version,omitempty"`
}

type actor struct {
	User user `json:"user"`
}

// user has a type: 1 a user, 2 an administrator, 3 the system.
type user struct {
	Name         string `json:"name"`
	UID          string `json:"uid"`
	CredentialID string `json:"credential_uid,omitempty"`
	TypeID       int    `json:"type_id"`
}

type endpoint struct {
	IP   string `json:"ip,omitempty"`
	Name string `json:"name,omitempty"`
}

type managed struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

type call struct {
	Operation string `json:"operation"`
	Service   named  `json:"service"`
}

type resource struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

func newEvent(o Origin, e api.AuditEntry) event {
	class, activity, name := classify(e)
	log, _, _ := strings.Cut(e.Entry, "/")
	v := event{
		CategoryUID: class / 1000, ClassUID: class, ActivityID: activity, ActivityName: name, TypeUID: class*100 + activity,
		SeverityID: severity(e), StatusID: 1, Time: e.At.UnixMilli(), Message: message(e), Count: e.Count, Comment: e.Reason,
		Metadata: metadata{
			Version: ocsfVersion, Product: named{Name: product, VendorName: vendor, Version: o.Version},
			UID: e.Entry, LogName: log, TenantUID: o.Tenant, EventCode: e.Kind,
		},
		Actor: &actor{userOf(e)}, SrcEndpoint: endpointOf(e),
	}
	if e.Result != api.ResultDone {
		v.StatusID = 2
	}
	if raw, err := json.Marshal(e); err == nil { // a RawMessage in it that is none would have failed before
		v.Unmapped = raw
	}
	of, _ := family(e.Kind)
	switch class {
	case classAuthentication:
		v.User, v.Service = &v.Actor.User, &named{Name: product}
	case classAccountChange:
		v.User = target(e)
	case classUserAccess:
		v.User, v.Privileges = target(e), privileges(e)
	case classEntityManagement:
		v.Entity = &managed{Type: of, UID: objectOf(o, e)}
	case classAPIActivity:
		v.API = &call{Operation: e.Kind, Service: named{Name: product}}
		for _, s := range e.Shown {
			v.Resources = append(v.Resources, resource{Type: "object", UID: s.Object})
		}
	}
	return v
}

// classify returns the class of an entry, and its activity with its name.
func classify(e api.AuditEntry) (class, activity int, name string) {
	of, done := family(e.Kind)
	switch of {
	case "sign_in", "session", "sign_out":
		if of == "sign_out" || done == "ended" || done == "revoked" || done == "signed_out" {
			return classAuthentication, 2, "Logoff"
		}
		return classAuthentication, 1, "Logon"
	case "principal":
		return accountActivity(done)
	case "role", "grant":
		if done == "taken" || done == "revoked" {
			return classUserAccess, 2, "Revoke Privileges"
		}
		return classUserAccess, 1, "Assign Privileges"
	case "data", "access", "audit":
		return classAPIActivity, 2, "Read"
	}
	return entityActivity(done)
}

func accountActivity(done string) (class, activity int, name string) {
	switch done {
	case "invited", "created":
		return classAccountChange, 1, "Create"
	case "activated", "enabled":
		return classAccountChange, 2, "Enable"
	case "disabled":
		return classAccountChange, 5, "Disable"
	case "deleted":
		return classAccountChange, 6, "Delete"
	}
	return classAccountChange, activityOther, done
}

// entityActivity is about whatever has a past: an instance is made when it starts.
func entityActivity(done string) (class, activity int, name string) {
	switch done {
	case "created", "started", "deployed", "registered", "placed", "ordered", "made", "opened":
		return classEntityManagement, 1, "Create"
	case "deleted", "destroyed", "revoked", "released", "retired":
		return classEntityManagement, 4, "Delete"
	}
	return classEntityManagement, 3, "Update"
}

// severity is 1 for what informs, 3 for what was refused or failed, 4 for an alarm and for
// sight in an emergency, which others are to look at.
func severity(e api.AuditEntry) int {
	switch {
	case strings.HasSuffix(e.Kind, ".alarm"), strings.HasPrefix(e.Kind, "breakglass."), detail(e, "break_glass") != "":
		return 4
	case e.Result != api.ResultDone:
		return 3
	}
	return 1
}

func userOf(e api.AuditEntry) user {
	u := user{Name: e.Principal, UID: whoOf(e), CredentialID: e.Key, TypeID: 1}
	switch {
	case e.Act == "engine":
		u.TypeID = 3
	case e.Act == "admin":
		u.TypeID = 2
	}
	if u.Name == "" {
		u.Name, u.UID = "unknown", "unknown"
	}
	return u
}

func endpointOf(e api.AuditEntry) *endpoint {
	if e.Address == "" {
		return &endpoint{Name: "unknown"}
	}
	return &endpoint{IP: e.Address}
}

// target is the principal whose account or rights were changed.
func target(e api.AuditEntry) *user {
	return &user{Name: cmp.Or(e.Name, e.Object), UID: e.Object, TypeID: 1}
}

// privileges are the rights that were given or taken.
func privileges(e api.AuditEntry) []string {
	if name := detail(e, "role", "grant"); name != "" {
		return []string{name}
	}
	of, _ := family(e.Kind)
	return []string{of}
}

// objectOf returns the id of what was done something to.
func objectOf(o Origin, e api.AuditEntry) string {
	if e.Object != "" {
		return e.Object
	}
	return o.Tenant
}

// detail returns the first of some texts that an entry's details have.
func detail(e api.AuditEntry, names ...string) string {
	var all map[string]json.RawMessage
	if json.Unmarshal(e.Details, &all) != nil {
		return ""
	}
	for _, name := range names {
		var text string
		if json.Unmarshal(all[name], &text) == nil && text != "" {
			return text
		}
	}
	return ""
}

// message says in words what happened.
func message(e api.AuditEntry) string {
	who := whoOf(e)
	if who == "" {
		who = "somebody"
	}
	text := who + ": " + e.Kind
	if e.Object != "" {
		text += " of " + cmp.Or(e.Name, e.Object)
	}
	return text
}
