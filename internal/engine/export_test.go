package engine

// FailErasures lets what an erasure makes durable fail with the error that fault
// returns for it; nil ends that.
func FailErasures(e *Engine, fault func(point string) error) { e.testingOnlyFault = fault }
