package engine_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/testenv"
)

// scoped is a process with a person of its own in an inner scope, which OUTPUT maps
// to the outer one.
const scoped = `<?xml version="1.0"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:seal="urn:underseal:bpmn:1" xmlns:zeebe="http://camunda.org/schema/zeebe/1.0" targetNamespace="x">
<process id="scoped" isExecutable="true">
<extensionElements><seal:policy default="internal">
<seal:field path="person.id" class="internal"/>
<seal:field path="person.note" class="regulated" subject="person.id"/>
<seal:field path="person.scan" class="internal" subject="person.id"/>
</seal:policy></extensionElements>
<startEvent id="start"/><sequenceFlow id="a" sourceRef="start" targetRef="box"/>
<subProcess id="box"><extensionElements><zeebe:ioMapping><zeebe:input source="={}" target="person"/>OUTPUT</zeebe:ioMapping></extensionElements>
<startEvent id="s"/><sequenceFlow id="b" sourceRef="s" targetRef="first"/><userTask id="first"/>
<sequenceFlow id="c" sourceRef="first" targetRef="second"/><userTask id="second"/>
</subProcess>
<sequenceFlow id="d" sourceRef="box" targetRef="after"/><userTask id="after"/>
</process></definitions>`

// TestAPersonOfAnInnerScopeIsErased claims a file about a person without a name in an
// inner scope. However the name is known then, an erasure of the person reaches the
// file and all that was written before.
func TestAPersonOfAnInnerScopeIsErased(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("every way of meeting a person")
	}
	const (
		whole   = `<zeebe:output source="=person" target="person"/>`
		scan    = `<zeebe:output source="=person.scan" target="person.scan"/>`
		nothing = `<zeebe:output source="=1" target="done"/>`
	)
	tests := []struct {
		name, output     string
		second, variable string // what the second task enters, what is set afterwards; FILE is the file
		start            string
	}{
		{"the scope ends with the name, and all goes out", whole, `{"person": {"id": "p-1", "note": "n", "scan": FILE}}`, "", `{}`},
		{"the scope ends with the name, and nothing goes out", nothing, `{"person": {"id": "p-1"}}`, "", `{}`},
		{"the name comes when the scope has ended", whole, `{}`, `{"person": {"id": "p-1", "note": "m", "scan": FILE}}`, `{}`},
		{"the outer scope had a name", scan, `{}`, "", `{"person": {"id": "p-1"}}`},
		{"the outer scope had somebody without a name", scan, `{}`, `{"person": {"id": "p-1", "scan": FILE}}`, `{"person": {"note": "m"}}`},
	}
	for _, test := range tests {
		for _, known := range []bool{false, true} {
			name := test.name
			if known {
				name += ", of somebody who is known"
			}
			t.Run(name, func(t *testing.T) {
				onBoth(t, func(t *testing.T, env *testenv.Env) {
					env.Deploy("s.bpmn", strings.Replace(scoped, "OUTPUT", test.output, 1))
					if known {
						env.Complete(env.Start("scoped", `{}`), `{"person": {"id": "p-1", "note": "before"}}`)
					}
					id := env.Start("scoped", test.start)
					data := content(1000)
					upload := put(t, env, env.Ann, data).File
					filled := func(text string) string { return strings.Replace(text, "FILE", named(upload), 1) }
					env.Complete(id, filled(`{"person": {"note": "first", "scan": FILE}}`))
					env.Complete(id, filled(test.second))
					if test.variable != "" {
						if _, err := env.Engine.SetVariables(t.Context(), env.Ann, id, []byte(filled(test.variable)), ""); err != nil {
							t.Fatal(err)
						}
					}
					env.Restart(nil)
					hasFile(t, env, id, upload, data, true)
					copied := env.Blobs.Get(env.Ann.Scope.Tenant(), blobID(t, upload))
					erased := erase(t, env, "subject", "p-1")
					isGone(t, env, id, upload, copied)
					verified(t, env, erased.ID)
					env.Restart(nil)
					isGone(t, env, id, upload, copied)
				})
			})
		}
	}
}

// isGone requires that a file does not open, also not with its blob from a backup, and
// that no step shows what was entered about the person.
func isGone(t *testing.T, env *testenv.Env, id, file string, copied []byte) {
	t.Helper()
	hasFile(t, env, id, file, nil, false)
	env.Blobs.Put(env.Ann.Scope.Tenant(), blobID(t, file), copied)
	if _, err := get(t, env, id, file); !fault.Is(err, fault.Sealed) {
		t.Errorf("with the blob from a backup: %v; want it to be erased", err)
	}
	if err := env.Blobs.Delete(t.Context(), env.Ann.Scope.Tenant(), blobID(t, file)); err != nil {
		t.Fatal(err)
	}
	export, err := env.Engine.Export(t.Context(), env.Ann, id)
	if err != nil {
		t.Fatal(err)
	}
	if text := string(export.Instance.Variables); strings.Contains(text, `"n"`) || strings.Contains(text, `"m"`) {
		t.Errorf("the variables are %s", text)
	}
	for _, step := range stepsOf(t, env, id) {
		for _, f := range step.Fields {
			if (strings.HasSuffix(f, "person.note") || strings.HasSuffix(f, "person.scan")) && !slices.Contains(step.Erased, f) {
				t.Errorf("step %d shows %s", step.Seq, f)
			}
		}
	}
}
