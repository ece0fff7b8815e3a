package ledger_test

import "github.com/underseal/underseal/ledger"

const object = "0192f0c1-0000-7000-8000-000000000002"

func sample() ledger.Leaf {
	return ledger.Leaf{
		Kind: "instance.completed", Log: "example.org/main/2026", Object: object, Seq: 7, Prev: ledger.Hash{1},
		Def: ledger.Hash{2}.String(), Elem: "decide", At: "2026-11-21T12:30:00.000000Z", Act: "worker",
		Data: ledger.Hash{3}, N: 4, Rows: ledger.Hash{5},
	}
}
