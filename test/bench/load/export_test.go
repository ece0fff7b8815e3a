package load

import (
	"context"
	"path/filepath"
)

var FileSystem = fileSystem

// CompileWithoutLog compiles the packages that the measurement without the log changes.
func CompileWithoutLog(ctx context.Context, root, dir string) error {
	var packages []string
	for _, e := range edits {
		packages = append(packages, "./"+filepath.Dir(e.file))
	}
	return goWithoutLog(ctx, root, dir, "build", packages...)
}
