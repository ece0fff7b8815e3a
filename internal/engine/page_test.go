package engine_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/engine"
)

// Whatever is not for the reader of a list: every page is full but the last one, which
// nothing follows, no cursor is that of a row they do not see, and they get what they see.
func TestAPageDoesNotTellWhatIsLeftOut(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n, limit := rapid.IntRange(0, 60).Draw(t, "rows"), rapid.IntRange(1, 7).Draw(t, "limit")
		hidden := rapid.SliceOfN(rapid.Bool(), n+1, n+1).Draw(t, "hidden")
		seen := func(row int) bool { return !hidden[row] }
		var want, got []int
		for row := 1; row <= n; row++ {
			if seen(row) {
				want = append(want, row)
			}
		}
		for after, more := 0, true; more; {
			items, next, _, err := engine.FillPage(n, after, limit, seen)
			if err != nil {
				t.Fatal(err)
			}
			got, more = append(got, items...), next != ""
			if !more {
				break
			}
			if after, err = strconv.Atoi(next); err != nil || len(items) != limit || !seen(after) || len(got) >= len(want) {
				t.Fatalf("a page %v with the next one after %s, %v: of %v", items, next, err, want)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("listed are %v, want %v", got, want)
		}
	})
}

// A reader who may see nearly nothing costs no more than a page and a thousand rows at a
// time.
func TestAPageLooksAtABoundedNumberOfRows(t *testing.T) {
	t.Parallel()
	items, next, looked, err := engine.FillPage(1_000_000, 0, 50, func(row int) bool { return row == 7 })
	if err != nil || !slices.Equal(items, []int{7}) || next != strconv.Itoa(looked) || looked > 50+1000+51 {
		t.Errorf("%v, the next after %s, %d rows, %v", items, next, looked, err)
	}
}

// What a policy hides from somebody makes no page of theirs shorter.
func TestHiddenRowsMakeNoPageShorter(t *testing.T) {
	t.Parallel()
	w := newCare(t)
	ids := []string{w.instance}
	for range 4 {
		ids = append(ids, w.Start("care", `{}`))
	}
	var text strings.Builder
	for i, id := range []string{ids[0], ids[1], ids[3]} {
		fmt.Fprintf(&text, `@id("hide-%d") forbid (principal == user::"vic", action == Action::"instance:read", resource == instance::%q);`, i, id)
	}
	text.WriteString(`@id("look") forbid (principal == user::"vic", action == Action::"task:read", resource) when { resource.element == "look" };`)
	text.WriteString(`@id("fails") forbid (principal == user::"vic", action == Action::"incident:read", resource);`)
	if _, err := w.Engine.SetPolicies(t.Context(), w.Ann, api.PoliciesRequest{Text: text.String()}, ""); err != nil {
		t.Fatal(err)
	}
	vic := w.person(t, "vic", "Viewer")
	pages := func(list func(engine.Page) ([]string, string, error)) (all []string) {
		t.Helper()
		for p := pageOf(1); ; {
			items, next, err := list(p)
			if err != nil || next != "" && len(items) != 1 || len(all) > 10 {
				t.Fatalf("%v and the next after %q, %v", items, next, err)
			}
			if all = append(all, items...); next == "" {
				return all
			}
			p.After = next
		}
	}
	instances := pages(func(p engine.Page) (ids []string, next string, err error) {
		list, err := w.Engine.Instances(t.Context(), vic, engine.InstanceFilter{}, p)
		for _, i := range list.Items {
			ids = append(ids, i.ID)
		}
		return ids, list.Next, err
	})
	if !slices.Equal(instances, []string{ids[4], ids[2]}) {
		t.Errorf("instances are %v, want the last and the third of %v", instances, ids)
	}
	tasks := pages(func(p engine.Page) (elements []string, next string, err error) {
		list, err := w.Engine.Tasks(t.Context(), vic, engine.TaskFilter{}, p)
		for _, i := range list.Items {
			elements = append(elements, i.Element)
		}
		return elements, list.Next, err
	})
	if len(tasks) != 5 || slices.Contains(tasks, "look") {
		t.Errorf("tasks are %v, want those of pay", tasks)
	}
	incidents, err := w.Engine.Incidents(t.Context(), vic, "", pageOf(1))
	if err != nil || len(incidents.Items) != 0 || incidents.Next != "" {
		t.Errorf("incidents are %+v, %v", incidents, err)
	}
}
