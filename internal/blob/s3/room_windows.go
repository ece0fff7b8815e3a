package s3

// rooms lends memory for parts.
type rooms struct {
	size int // of each, in bytes
}

func (r *rooms) lend() ([]byte, error) { return make([]byte, r.size), nil }

func (r *rooms) takeBack([]byte) {}
