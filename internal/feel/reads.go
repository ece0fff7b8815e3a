package feel

// Path names data that an expression reads: a variable, then entries after
// dots; "[]" stands for the items of a list: "people[].phone".
type Path string

func readsOf(node) []Path { return nil }
