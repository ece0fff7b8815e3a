package engine_test

import (
	"testing"

	"github.com/underseal/underseal/api"
	"github.com/underseal/underseal/internal/fault"
	"github.com/underseal/underseal/internal/testenv"
)

// A reason that nobody can read is refused, wherever one can be given, and nothing is done.
func TestAReasonCanBeRead(t *testing.T) {
	t.Parallel()
	env := testenv.New(t, nil)
	env.Deploy("c.bpmn", classified)
	id, e, ctx := env.Start("classified", `{}`), env.Engine, t.Context()
	env.PersonsKey("zoe", "Viewer")
	for _, test := range []struct {
		name, code string
		do         func(reason string) error
	}{
		{"a hold", "invalid_reason", func(reason string) error {
			_, err := e.PlaceHold(ctx, env.Ann, api.HoldRequest{Kind: "instance", ID: id, Reason: reason}, "")
			return err
		}},
		{"an erasure", "invalid_reason", func(reason string) error {
			_, err := e.OrderErasure(ctx, env.Ann, api.ErasureRequest{Kind: "instance", ID: id, Reason: reason}, "")
			return err
		}},
		{"a break-glass", "reason_missing", func(reason string) error {
			_, err := e.RequestBreakGlass(ctx, env.Ann, api.BreakGlassRequest{Instance: id, Reason: reason, LastsMS: 1000}, "")
			return err
		}},
		{"a change of a person", "invalid_reason", func(reason string) error {
			_, err := e.DisableUser(ctx, env.Ann, "zoe", api.ReasonRequest{Reason: reason}, "")
			return err
		}},
		{"a key of a signer", "invalid_reason", func(reason string) error {
			_, err := e.RevokeSigner(ctx, env.Ann, "platform", api.RevokeSignerRequest{Reason: reason}, "")
			return err
		}},
		{"a deployment", "invalid_reason", func(reason string) error {
			_, err := e.ApproveDeployment(ctx, env.Ann, "1.2", api.ReasonRequest{Reason: reason})
			return err
		}},
	} {
		if err := test.do("\u200b\u00a0\u3164"); !fault.Is(err, fault.Invalid) || fault.CodeOf(err) != test.code {
			t.Errorf("%s: %v, want %s", test.name, err, test.code)
		}
	}
	if holds, err := e.Holds(ctx, env.Ann, pageOf(10)); err != nil || len(holds.Items) != 0 {
		t.Errorf("then there are the holds %+v, %v", holds.Items, err)
	}
	if _, err := e.PlaceHold(ctx, env.Ann, api.HoldRequest{Kind: "instance", ID: id}, ""); err != nil {
		t.Errorf("without a reason: %v", err)
	}
}
