module github.com/underseal/underseal/test/wycheproof

go 1.26.4

replace github.com/underseal/underseal => ../..

require github.com/underseal/underseal v0.0.0

require (
	github.com/c2sp/wycheproof v0.0.0-20260902155932-3fa63dd0344a
	github.com/cockroachdb/apd/v3 v3.2.3 // indirect
)
