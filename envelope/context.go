package envelope

import "github.com/underseal/underseal/internal/canon"

// Context is the place and time a value belongs to. It is bound to the
// ciphertext and not stored: the reader rebuilds it from where he found the
// value, so what was moved or rolled back does not open.
type Context struct {
	Deployment string // the installation
	Tenant     string
	Class      string // of the object: "instance", "principal", "key" ..
	Object     string // id within the class
	Path       string // of the field within the object
	Shard      string // origin of the log that has the step's leaf
	Seq        uint64 // number of the object's step that wrote the value
}

func (c Context) append(dst []byte) []byte {
	return canon.AppendTuple(dst, c.Deployment, c.Tenant, c.Class, c.Object, c.Path, c.Shard, canon.Uint64(c.Seq))
}
