package process_test

import "testing"

func TestServiceThenGateway(t *testing.T) {
	d := define(t, `
		start s
		service check
		xor gate
		service ship
		end yes
		end no
		s -> check
		check -> gate
		gate -> ship if amount > 10
		gate -> no default
		ship -> yes
	`)
	play(t, d, `{"amount":5}`).wantOpen("check").complete("check", `{"amount":11}`).
		wantOpen("ship").complete("ship", ``).wantDone().wantVariables(`{"amount":11}`)
	play(t, d, `{"amount":5}`).complete("check", ``).wantDone().wantVariables(`{"amount":5}`)
}
