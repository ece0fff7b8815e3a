package engine_test

import "github.com/underseal/underseal/internal/engine"

func pageOf(limit int) engine.Page { return engine.Page{Limit: limit} }
