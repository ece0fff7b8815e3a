package load

import (
	"context"
	"path/filepath"
)

var FileSystem = fileSystem

// CompileWithout compiles the packages that the measurement without a part changes.
func CompileWithout(ctx context.Context, p Part, root, dir string) error {
	var packages []string
	for _, e := range p.edits {
		packages = append(packages, "./"+filepath.Dir(e.file))
	}
	return p.run(ctx, root, dir, "build", packages...)
}
