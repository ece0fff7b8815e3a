package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/underseal/underseal/internal/store"
)

// filled returns a database with 12 instances of two processes and two tenants,
// each with a task, a job, a timer and an incident.
func filled(t *testing.T, d dialect) *store.DB {
	t.Helper()
	db := d.open(t)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i := range 12 {
		scope := main
		if i%6 == 5 {
			scope = store.NewScope("other")
		}
		id := store.ID{byte(i + 1)}
		process := fmt.Sprintf("p%d", i%2)
		set := minimal(id, 0)
		set.Instance = &store.InstanceRow{Process: process, Version: 1, Status: "active", Started: at, Key: id}
		if i%3 == 0 {
			set.Instance.Status, set.Instance.Ended = "completed", at.Add(time.Hour)
		}
		task := store.TaskRow{ID: 1, Element: "e", Process: process, Created: at, Groups: []string{fmt.Sprintf("g%d", i%3), "all"}}
		if i%2 == 1 {
			task.Assignee, task.Users = "ann", []string{"ann"}
		}
		set.Tasks = []store.TaskRow{task, {ID: 2, Element: "f", Process: process, Created: at}}
		set.Jobs = []store.JobRow{{ID: 3, Type: "t", Created: at}}
		set.Timers = []store.TimerRow{{ID: 4, Element: "t", Due: at.Add(time.Duration(12-i) * time.Minute)}}
		set.Incidents = []store.IncidentRow{{ID: 5, Process: process, Code: "expression", Created: at}}
		set.Tokens = []store.Token{{Kind: store.BusinessKeyToken, Token: [32]byte{byte(i % 2)}}}
		ok(t, db.Commit(t.Context(), scope, set))
	}
	return db
}

// pages calls next until a page is not full, and fails when it does not end.
func pages[T any](t *testing.T, limit int, next func(last *T) []T) (all []T) {
	t.Helper()
	var last *T
	for range 50 {
		page := next(last)
		all = append(all, page...)
		if len(page) < limit {
			return all
		}
		last = &page[len(page)-1]
	}
	t.Fatal("the pages do not end")
	return nil
}

func TestInstancesAreListedNewestFirst(t *testing.T) {
	cases := map[string]struct {
		filter store.InstanceFilter
		want   string
	}{
		"all":                {store.InstanceFilter{}, "11 10 9 8 7 5 4 3 2 1"},
		"by process":         {store.InstanceFilter{Process: "p1"}, "10 8 4 2"},
		"active":             {store.InstanceFilter{Status: "active"}, "11 9 8 5 3 2"},
		"completed":          {store.InstanceFilter{Status: "completed"}, "10 7 4 1"},
		"by token":           {store.InstanceFilter{Tokens: []store.Token{{Kind: store.BusinessKeyToken, Token: [32]byte{1}}}}, "10 8 4 2"},
		"by all of it":       {store.InstanceFilter{Process: "p1", Status: "active", Tokens: []store.Token{{Kind: store.BusinessKeyToken, Token: [32]byte{1}}}}, "8 2"},
		"by a token unknown": {store.InstanceFilter{Tokens: []store.Token{{Kind: store.SearchToken, Token: [32]byte{1}}}}, ""},
		"by status unknown":  {store.InstanceFilter{Status: "failed"}, ""},
	}
	eachDialect(t, func(t *testing.T, d dialect) {
		db := filled(t, d)
		for name, c := range cases {
			for _, limit := range []int{1, 2, 100} {
				c.filter.Limit = limit
				got := pages(t, limit, func(last *store.ListedInstance) []store.ListedInstance {
					filter := c.filter
					if last != nil {
						filter.After = last.ID
					}
					return must[[]store.ListedInstance](t)(db.Instances(t.Context(), main, filter))
				})
				text := ""
				for _, i := range got {
					text += fmt.Sprintf(" %d", i.ID[0])
				}
				same(t, fmt.Sprintf("%s by %d", name, limit), text, prefixed(c.want))
			}
		}
	})
}

func prefixed(text string) string {
	if text == "" {
		return ""
	}
	return " " + text
}

func TestTasksAreListedOldestFirst(t *testing.T) {
	cases := map[string]struct {
		filter store.TaskFilter
		want   string
	}{
		"all":             {store.TaskFilter{}, "1.1 1.2 2.1 2.2 3.1 3.2 4.1 4.2 5.1 5.2 7.1 7.2 8.1 8.2 9.1 9.2 10.1 10.2 11.1 11.2"},
		"by process":      {store.TaskFilter{Process: "p1"}, "2.1 2.2 4.1 4.2 8.1 8.2 10.1 10.2"},
		"by assignee":     {store.TaskFilter{Assignee: "ann"}, "2.1 4.1 8.1 10.1"},
		"by group":        {store.TaskFilter{Group: "g1"}, "2.1 5.1 8.1 11.1"},
		"by user":         {store.TaskFilter{User: "ann"}, "2.1 4.1 8.1 10.1"},
		"group and user":  {store.TaskFilter{Group: "g1", User: "ann"}, "2.1 8.1"},
		"unassigned":      {store.TaskFilter{Unassigned: true, Group: "all"}, "1.1 3.1 5.1 7.1 9.1 11.1"},
		"of nobody":       {store.TaskFilter{Assignee: "bob"}, ""},
		"a group as user": {store.TaskFilter{User: "g1"}, ""},
	}
	eachDialect(t, func(t *testing.T, d dialect) {
		db := filled(t, d)
		for name, c := range cases {
			for _, limit := range []int{1, 3, 100} {
				c.filter.Limit = limit
				got := pages(t, limit, func(last *store.ListedTask) []store.ListedTask {
					filter := c.filter
					if last != nil {
						filter.After = store.QueueCursor{Instance: last.Instance, ID: last.ID}
					}
					return must[[]store.ListedTask](t)(db.Tasks(t.Context(), main, filter))
				})
				text := ""
				for _, task := range got {
					text += fmt.Sprintf(" %d.%d", task.Instance[0], task.ID)
				}
				same(t, fmt.Sprintf("%s by %d", name, limit), text, prefixed(c.want))
			}
		}
	})
}

func TestIncidentsAreListedOldestFirst(t *testing.T) {
	eachDialect(t, func(t *testing.T, d dialect) {
		db := filled(t, d)
		list := func(f store.IncidentFilter) (text string) {
			f.Limit = 2
			got := pages(t, 2, func(last *store.ListedIncident) []store.ListedIncident {
				if last != nil {
					f.After = store.QueueCursor{Instance: last.Instance, ID: last.ID}
				}
				return must[[]store.ListedIncident](t)(db.Incidents(t.Context(), main, f))
			})
			for _, i := range got {
				text += fmt.Sprintf(" %d", i.Instance[0])
			}
			return text
		}
		same(t, "all", list(store.IncidentFilter{}), " 1 2 3 4 5 7 8 9 10 11")
		same(t, "by process", list(store.IncidentFilter{Process: "p0"}), " 1 3 5 7 9 11")
		same(t, "by instance", list(store.IncidentFilter{Instance: store.ID{4}}), " 4")
	})
}

func TestScansGoThroughAllTenants(t *testing.T) {
	eachDialect(t, func(t *testing.T, d dialect) {
		db := filled(t, d)
		for _, limit := range []int{1, 5, 100} {
			text := ""
			for _, j := range pages(t, limit, func(last *store.ScannedJob) []store.ScannedJob {
				var after store.JobCursor
				if last != nil {
					after = last.Cursor()
				}
				return must[[]store.ScannedJob](t)(db.ScanJobs(t.Context(), after, limit))
			}) {
				text += fmt.Sprintf(" %s/%d.%d", j.Tenant, j.Instance[0], j.ID)
			}
			same(t, "ScanJobs", text, " main/1.3 main/2.3 main/3.3 main/4.3 main/5.3 main/7.3 main/8.3 main/9.3 main/10.3 main/11.3 other/6.3 other/12.3")

			text = ""
			before := time.Date(2026, 1, 2, 3, 10, 5, 0, time.UTC) // not those of instances 1 to 7
			for _, timer := range pages(t, limit, func(last *store.ScannedTimer) []store.ScannedTimer {
				var after store.TimerCursor
				if last != nil {
					after = last.Cursor()
				}
				return must[[]store.ScannedTimer](t)(db.ScanTimers(t.Context(), before, after, limit))
			}) {
				text += fmt.Sprintf(" %s/%d", timer.Tenant, timer.Instance[0])
			}
			same(t, "ScanTimers", text, " other/12 main/11 main/10 main/9 main/8")
		}
	})
}

func TestDefinitionsHaveVersions(t *testing.T) {
	eachDialect(t, func(t *testing.T, d dialect) {
		db := d.open(t)
		at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		for i, process := range []string{"a", "b", "a", "a", "B"} {
			set := minimal(store.ID{byte(i + 1)}, 0)
			set.Kind = store.Definition
			set.Definition = &store.DefinitionRow{Process: process, Version: i + 1, Name: "n", Resource: [32]byte{byte(i)}, Deployed: at}
			ok(t, db.Commit(t.Context(), main, set))
		}
		get := must[store.StoredDefinition](t)
		same(t, "newest", get(db.Definition(t.Context(), main, "a", 0)), store.StoredDefinition{ID: store.ID{4},
			DefinitionRow: store.DefinitionRow{Process: "a", Version: 4, Name: "n", Resource: [32]byte{3}, Deployed: at}})
		same(t, "version 3", get(db.Definition(t.Context(), main, "a", 3)).ID, store.ID{3})
		for _, limit := range []int{1, 2, 9} {
			text := ""
			for _, d := range pages(t, limit, func(last *store.StoredDefinition) []store.StoredDefinition {
				after := ""
				if last != nil {
					after = last.Process
				}
				return must[[]store.StoredDefinition](t)(db.Newest(t.Context(), main, after, limit))
			}) {
				text += fmt.Sprintf(" %s%d", d.Process, d.Version)
			}
			same(t, "Newest", text, " B5 a4 b2")
		}
	})
}
