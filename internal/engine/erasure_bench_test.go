package engine_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/testenv"
)

// BenchmarkEraseSubject erases a person with 10,000 fields in 1,000 running
// instances, which are open in memory.
func BenchmarkEraseSubject(b *testing.B) {
	const instances, fields = 1000, 10
	var policy, variables strings.Builder
	for i := range fields - 1 {
		fmt.Fprintf(&policy, `<seal:field path="v%d" class="internal" subject="person.id" search="exact"/>`, i)
		fmt.Fprintf(&variables, `"v%d": "%s", `, i, strings.Repeat("x", 64))
	}
	env := testenv.New(b, nil)
	env.Deploy("many.bpmn", strings.Replace(strings.ReplaceAll(classified, "classified", "many"), `<seal:field path="shoe" class="internal" subject="person.id"/>`, policy.String(), 1))
	for round := 0; b.Loop(); round++ {
		b.StopTimer()
		person := fmt.Sprintf("p-%d", round)
		var group sync.WaitGroup
		for range 16 {
			group.Go(func() {
				for range instances / 16 {
					env.Start("many", fmt.Sprintf(`{%s"salary": 1, "person": {"id": "%s", "diagnosis": "x"}}`, variables.String(), person))
				}
			})
		}
		group.Wait()
		for range instances % 16 {
			env.Start("many", fmt.Sprintf(`{%s"salary": 1, "person": {"id": "%s", "diagnosis": "x"}}`, variables.String(), person))
		}
		b.StartTimer()
		began, now := time.Now(), 0
		e, err := env.Engine.OrderErasure(b.Context(), env.Ann, api.ErasureRequest{Kind: "subject", ID: person, DelayMS: &now}, "")
		if err != nil || e.State != "done" {
			b.Fatalf("%+v, %v", e, err)
		}
		b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms/person")
	}
}
