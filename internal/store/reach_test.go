package store_test

import (
	"fmt"
	"testing"

	"github.com/underseal/underseal/internal/store"
)

// searched gives the instances 1 to 11 of filled a search token each: of which value it
// is by its number. Instance 1 has the same one twice, since two steps wrote it.
func searched(t *testing.T, d dialect) *store.DB {
	t.Helper()
	db := filled(t, d)
	for i := range 11 {
		id := store.ID{byte(i + 1)}
		if i%6 == 5 {
			continue // of another tenant
		}
		set := minimal(id, 1)
		set.Tokens = []store.Token{{Kind: store.SearchToken, Token: [32]byte{byte(i % 4)}}}
		ok(t, db.Commit(t.Context(), main, set))
		if i == 0 {
			set = minimal(id, 2)
			set.Tokens = []store.Token{{Kind: store.SearchToken, Token: [32]byte{0}}}
			ok(t, db.Commit(t.Context(), main, set))
		}
	}
	return db
}

func where(process string, values ...byte) []store.InstancesOf {
	of := store.InstancesOf{Process: process}
	for _, v := range values {
		of.Tokens = append(of.Tokens, [32]byte{v})
	}
	return []store.InstancesOf{of}
}

// TestListsWithinReach walks through pages of every size, so that the end of each page
// is once within a part that another one reaches beyond.
func TestListsWithinReach(t *testing.T) {
	cases := map[string]struct {
		reach                       store.Reach
		tasks, instances, incidents string
	}{
		"nothing":          {store.Reach{}, "", "", ""},
		"a process":        {store.Reach{Processes: []string{"p1"}}, "2.1 2.2 4.1 4.2 8.1 8.2 10.1 10.2", "10 8 4 2", "2 4 8 10"},
		"two":              {store.Reach{Processes: []string{"p1", "p0", "p2"}}, "1.1 1.2 2.1 2.2 3.1 3.2 4.1 4.2 5.1 5.2 7.1 7.2 8.1 8.2 9.1 9.2 10.1 10.2 11.1 11.2", "11 10 9 8 7 5 4 3 2 1", "1 2 3 4 5 7 8 9 10 11"},
		"a value":          {store.Reach{Where: where("p0", 0)}, "1.1 1.2 5.1 5.2 9.1 9.2", "9 5 1", "1 5 9"},
		"two values":       {store.Reach{Where: where("p0", 0, 2)}, "1.1 1.2 3.1 3.2 5.1 5.2 7.1 7.2 9.1 9.2 11.1 11.2", "11 9 7 5 3 1", "1 3 5 7 9 11"},
		"a value nowhere":  {store.Reach{Where: where("p0", 77)}, "", "", ""},
		"an element":       {store.Reach{Tasks: []store.TasksOf{{Process: "p1", Element: "f"}}}, "2.2 4.2 8.2 10.2", "", ""},
		"a user":           {store.Reach{User: "ann"}, "2.1 4.1 8.1 10.1", "", ""},
		"a user of nobody": {store.Reach{User: "bob"}, "", "", ""},
		"a group":          {store.Reach{Groups: []string{"g1"}}, "2.1 5.1 8.1 11.1", "", ""},
		"an instance":      {store.Reach{Instances: []store.ID{{4}}}, "4.1 4.2", "4", "4"},
		"some and a process": {store.Reach{Instances: []store.ID{{1}, {9}, {9}, {77}}, Processes: []string{"p1"}},
			"1.1 1.2 2.1 2.2 4.1 4.2 8.1 8.2 9.1 9.2 10.1 10.2", "10 9 8 4 2 1", "1 2 4 8 9 10"},
		"another company's": {store.Reach{Instances: []store.ID{{6}}}, "", "", ""},
		"a group and more": {store.Reach{User: "ann", Groups: []string{"g1", "g2"}, Processes: []string{"p1"}, Where: where("p0", 0)},
			"1.1 1.2 2.1 2.2 3.1 4.1 4.2 5.1 5.2 8.1 8.2 9.1 9.2 10.1 10.2 11.1", "10 9 8 5 4 2 1", "1 2 4 5 8 9 10"},
	}
	eachDialect(t, func(t *testing.T, d dialect) {
		db := searched(t, d)
		for name, c := range cases {
			for _, limit := range []int{1, 2, 3, 100} {
				checkReach(t, db, fmt.Sprintf("%s by %d", name, limit), limit, c.reach, c.tasks, c.instances, c.incidents)
			}
		}
	})
}

func checkReach(t *testing.T, db *store.DB, name string, limit int, reach store.Reach, tasks, instances, incidents string) {
	t.Helper()
	text := ""
	for _, r := range pages(t, limit, func(last *store.ListedTask) []store.ListedTask {
		f := store.TaskFilter{Reach: &reach, Limit: limit}
		if last != nil {
			f.After = store.QueueCursor{Instance: last.Instance, ID: last.ID}
		}
		return must[[]store.ListedTask](t)(db.Tasks(t.Context(), main, f))
	}) {
		text += fmt.Sprintf(" %d.%d", r.Instance[0], r.ID)
		if r.Process != fmt.Sprintf("p%d", (r.Instance[0]+1)%2) || r.ID == 1 && len(r.Groups) != 2 {
			t.Errorf("%s: a task is read as %+v", name, r)
		}
	}
	same(t, name+": tasks", text, prefixed(tasks))
	text = ""
	for _, r := range pages(t, limit, func(last *store.ListedInstance) []store.ListedInstance {
		f := store.InstanceFilter{Reach: &reach, Limit: limit}
		if last != nil {
			f.After = last.ID
		}
		return must[[]store.ListedInstance](t)(db.Instances(t.Context(), main, f))
	}) {
		text += fmt.Sprintf(" %d", r.ID[0])
	}
	same(t, name+": instances", text, prefixed(instances))
	text = ""
	for _, r := range pages(t, limit, func(last *store.ListedIncident) []store.ListedIncident {
		f := store.IncidentFilter{Reach: &reach, Limit: limit}
		if last != nil {
			f.After = store.QueueCursor{Instance: last.Instance, ID: last.ID}
		}
		return must[[]store.ListedIncident](t)(db.Incidents(t.Context(), main, f))
	}) {
		text += fmt.Sprintf(" %d", r.Instance[0])
	}
	same(t, name+": incidents", text, prefixed(incidents))
}

func TestFiltersNarrowTheReach(t *testing.T) {
	eachDialect(t, func(t *testing.T, d dialect) {
		db := searched(t, d)
		reach := &store.Reach{User: "ann", Groups: []string{"g1"}, Processes: []string{"p0"}, Where: where("p1", 1)}
		for name, c := range map[string]struct {
			filter store.TaskFilter
			want   string
		}{
			"process":    {store.TaskFilter{Process: "p1"}, "2.1 2.2 4.1 8.1 10.1 10.2"},
			"assignee":   {store.TaskFilter{Assignee: "ann"}, "2.1 4.1 8.1 10.1"},
			"unassigned": {store.TaskFilter{Unassigned: true, Process: "p1"}, "2.2 10.2"},
			"group":      {store.TaskFilter{Group: "g0"}, "1.1 4.1 7.1 10.1"},
			"user":       {store.TaskFilter{User: "ann"}, "2.1 4.1 8.1 10.1"},
		} {
			c.filter.Reach, c.filter.Limit = reach, 100
			text := ""
			for _, r := range must[[]store.ListedTask](t)(db.Tasks(t.Context(), main, c.filter)) {
				text += fmt.Sprintf(" %d.%d", r.Instance[0], r.ID)
			}
			same(t, name, text, prefixed(c.want))
		}
		text := ""
		for _, r := range must[[]store.ListedInstance](t)(db.Instances(t.Context(), main, store.InstanceFilter{Reach: reach, Status: "active", Limit: 100})) {
			text += fmt.Sprintf(" %d", r.ID[0])
		}
		same(t, "status", text, " 11 9 5 3 2")
	})
}

// What is done or closed between the finding of a page's places and the reading of its rows
// makes the page no shorter: a short one is taken for the last.
func TestARowThatGoesMakesNoPageShorter(t *testing.T) {
	reach := &store.Reach{Processes: []string{"p0", "p1"}}
	gone := func(t *testing.T, db *store.DB) func() {
		return func() {
			set := minimal(store.ID{2}, 2)
			set.ClosedTasks, set.ClosedIncidents = []uint64{1, 2}, []uint64{5}
			ok(t, db.Commit(t.Context(), main, set))
		}
	}
	eachDialect(t, func(t *testing.T, d dialect) {
		t.Run("tasks", func(t *testing.T) {
			db, text := searched(t, d), ""
			db.AfterRead(gone(t, db))
			for _, r := range must[[]store.ListedTask](t)(db.Tasks(t.Context(), main, store.TaskFilter{Reach: reach, Limit: 5})) {
				text += fmt.Sprintf(" %d.%d", r.Instance[0], r.ID)
			}
			same(t, "tasks", text, " 1.1 1.2 3.1 3.2 4.1")
		})
		t.Run("incidents", func(t *testing.T) {
			db, text := searched(t, d), ""
			db.AfterRead(gone(t, db))
			for _, r := range must[[]store.ListedIncident](t)(db.Incidents(t.Context(), main, store.IncidentFilter{Reach: reach, Limit: 3})) {
				text += fmt.Sprintf(" %d", r.Instance[0])
			}
			same(t, "incidents", text, " 1 3 4")
		})
	})
}
