package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/testenv"
)

const oneTask = `<?xml version="1.0"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:seal="urn:underseal:bpmn:1" xmlns:zeebe="http://camunda.org/schema/zeebe/1.0" targetNamespace="x">
<process id="one_task" isExecutable="true" seal:mode="THE_MODE">
<startEvent id="start"/><sequenceFlow id="a" sourceRef="start" targetRef="work"/>
<serviceTask id="work"><extensionElements><zeebe:taskDefinition type="work"/></extensionElements></serviceTask>
<sequenceFlow id="b" sourceRef="work" targetRef="end"/><endEvent id="end"/>
</process></definitions>`

// BenchmarkOneTask runs whole instances (start, one job, end) with 8 variables
// of 128 bytes, from 32 callers, without the network.
func BenchmarkOneTask(b *testing.B) {
	for _, mode := range []string{"confidential", "standard"} {
		b.Run(mode, func(b *testing.B) { benchOneTask(b, mode) })
	}
}

func benchOneTask(b *testing.B, mode string) {
	env := testenv.New(b, nil)
	env.Deploy("one.bpmn", strings.Replace(oneTask, "THE_MODE", mode, 1))
	variables := map[string]string{}
	for i := range 8 {
		variables[fmt.Sprintf("v%d", i)] = strings.Repeat("x", 128)
	}
	start, _ := json.Marshal(variables)
	result, _ := json.Marshal(map[string]string{"v0": strings.Repeat("y", 128), "v1": strings.Repeat("y", 128)})
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	var done sync.WaitGroup
	var left, finished atomic.Int64
	left.Store(int64(b.N))
	all := make(chan struct{})
	b.ResetTimer()
	for range 32 {
		done.Go(func() {
			for left.Add(-1) >= 0 {
				if _, err := env.Engine.Start(ctx, env.Ann, api.StartRequest{Process: "one_task", Variables: start}, ""); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for range 4 {
		done.Go(func() {
			for {
				jobs, err := env.Engine.ActivateJobs(ctx, env.Ann, api.ActivateRequest{Type: "work", Worker: "w", Max: 32, WaitMS: 1000})
				if err != nil || ctx.Err() != nil {
					return
				}
				var batch sync.WaitGroup
				for _, job := range jobs.Items {
					batch.Go(func() {
						if _, err := env.Engine.CompleteJob(ctx, env.Ann, job.ID, api.CompleteJobRequest{Lease: job.Lease, Variables: result}, ""); err != nil {
							b.Error(err)
						}
						if finished.Add(1) == int64(b.N) {
							close(all)
						}
					})
				}
				batch.Wait()
			}
		})
	}
	<-all
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "instances/s")
	cancel()
	done.Wait()
}
