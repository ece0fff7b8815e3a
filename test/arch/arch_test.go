// Package arch_test holds the import rules of the project, each with its reason.
// A rule that applies to no package is a failure: it would check nothing.
package arch_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/underseal/underseal"

// A pkg is what "go list -json" says about one package.
type pkg struct {
	ImportPath string
	Name       string
	Dir        string
	GoFiles    []string
	Imports    []string // direct ones, without those of tests
	Deps       []string // all of them, also indirect
}

// local is the import path below the module.
func (p pkg) local() string { return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/") }

// list returns all packages of the module that have files besides tests.
func list(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Name,Dir,GoFiles,Imports,Deps", module+"/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var all []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("go list wrote something else: %v", err)
		}
		all = append(all, p)
	}
}

// A rule forbids imports to some packages. Patterns are paths below the module,
// or import paths of others; "/..." matches what lies below as well.
type rule struct {
	name     string
	because  string
	packages []string
	except   []string
	indirect bool     // also through other packages
	forbid   []string // these are forbidden
	only     []string // of ours, only these are allowed
}

var rules = []rule{{
	name:     "store never sees what could decrypt",
	because:  "the database layer cannot decrypt",
	packages: []string{"internal/store/..."},
	indirect: true,
	forbid: []string{"envelope", "internal/keyring", "internal/kms/...", "internal/process/...",
		"internal/bpmn/...", "internal/feel/..."},
}, {
	name:     "pure packages do no I/O, logging or randomness",
	because:  "replay and audit are exact",
	packages: []string{"internal/process/...", "internal/feel/...", "internal/access/..."},
	forbid: []string{"os", "os/...", "net", "net/...", "io/fs", "io/ioutil", "log", "log/...", "math/rand", "math/rand/v2",
		"crypto/rand", "syscall", "database/sql", "embed", "context", "internal/store", "internal/keyring", "internal/kms"},
	except: []string{"internal/access"}, // has a rule of its own below
}, {
	name:     "access does no I/O, logging or randomness",
	because:  "a decision can be made again and explained; its policies are embedded files",
	packages: []string{"internal/access"},
	forbid:   []string{"os", "os/...", "net", "net/http", "io/fs", "log", "log/...", "math/rand", "math/rand/v2", "crypto/rand", "syscall", "database/sql"},
}, {
	name:     "public packages import of ours only each other, canon and fault",
	because:  "an auditor can build the verifier alone",
	packages: []string{"api", "client/...", "envelope", "ledger"},
	only:     []string{"api", "client/...", "envelope", "ledger", "internal/canon", "internal/fault"},
}, {
	name:     "process knows no XML",
	because:  "bpmn imports process; the interpreter is the same for every format",
	packages: []string{"internal/process/..."},
	indirect: true,
	forbid:   []string{"internal/bpmn/...", "encoding/xml"},
}, {
	name:     "server reaches data through engine only",
	because:  "one place decides who may do what",
	packages: []string{"internal/server/..."},
	forbid: []string{"internal/store/...", "internal/keyring/...", "internal/kms/...", "internal/access/...", "internal/process/...",
		"internal/runner/...", "internal/blob/...", "envelope", "database/sql"},
}, {
	name:     "drivers and other heavy things sit at the edge",
	because:  "a small core",
	packages: []string{"..."},
	except:   []string{"internal/store/...", "internal/node/...", "internal/testenv/...", "internal/pgtest", "cmd/...", "test/..."},
	forbid:   []string{"github.com/jackc/pgx/...", "modernc.org/...", "github.com/pressly/goose/...", "go.temporal.io/..."},
}, {
	name:     "each cloud's SDK sits in the package for its key service",
	because:  "they are heavy, and nothing else needs a cloud",
	packages: []string{"..."},
	except:   []string{"internal/kms/awskms", "internal/kms/gcpkms", "internal/kms/azurekms"},
	forbid: []string{"github.com/aws/...", "google.golang.org/api/...", "cloud.google.com/...", "golang.org/x/oauth2/google/...",
		"github.com/Azure/...", "github.com/AzureAD/..."},
}, {
	name:     "OpenID Connect sits in the package for it",
	because:  "the core knows issuers by their interface; a token is looked at in one place",
	packages: []string{"..."},
	except:   []string{"internal/oidc", "internal/kms/gcpkms"},
	forbid:   []string{"github.com/coreos/go-oidc/...", "github.com/go-jose/...", "golang.org/x/oauth2/..."},
}, {
	name:     "only cmd wires the clouds' key services",
	because:  "the core knows key services by their interface",
	packages: []string{"..."},
	except:   []string{"cmd/..."},
	forbid:   []string{"internal/kms/awskms", "internal/kms/gcpkms", "internal/kms/azurekms"},
}, {
	name:     "age encrypts copies of key files and nothing else",
	because:  "FIPS mode forbids its primitives, and the server works without",
	packages: []string{"..."},
	except:   []string{"internal/kms/escrow"},
	forbid:   []string{"filippo.io/age/..."},
}, {
	name:     "only cmd reaches the plugin and the escrow",
	because:  "the core knows key services by their interface",
	packages: []string{"..."},
	except:   []string{"cmd/..."},
	forbid:   []string{"internal/kms/plugin", "internal/kms/escrow"},
}, {
	name:     "stores of blobs never see what could decrypt",
	because:  "they hold ciphertext under random names and nothing else",
	packages: []string{"internal/blob/..."},
	indirect: true,
	forbid: []string{"envelope", "internal/keyring", "internal/kms/...", "internal/process/...", "internal/engine",
		"internal/store/..."},
}, {
	name:     "the client of S3 sits in the package for its store",
	because:  "it is heavy, and nothing else needs it",
	packages: []string{"..."},
	except:   []string{"internal/blob/s3/..."},
	forbid:   []string{"github.com/minio/..."},
}, {
	name:     "only cmd wires OpenID Connect",
	because:  "the core knows issuers by their interface",
	packages: []string{"..."},
	except:   []string{"cmd/...", "internal/oidc"},
	forbid:   []string{"internal/oidc"},
}, {
	name:     "only cmd wires S3",
	because:  "the core knows stores of blobs by their interface",
	packages: []string{"..."},
	except:   []string{"cmd/...", "internal/blob/s3/..."},
	forbid:   []string{"internal/blob/s3"},
}, {
	name:     "only the store speaks SQL",
	because:  "SQL stands beside the function that runs it, in one package",
	packages: []string{"..."},
	except:   []string{"internal/store/...", "internal/node/...", "internal/testenv/...", "internal/pgtest", "cmd/...", "test/..."},
	forbid:   []string{"database/sql", "database/sql/driver"},
}, {
	name:     "what nobody may guess comes from crypto/rand",
	because:  "of math/rand one can, so it only spreads the client's pauses and makes data for tests",
	packages: []string{"..."},
	except:   []string{"client", "internal/blob/blobtest", "test/..."},
	forbid:   []string{"math/rand", "math/rand/v2"},
}, {
	name:     "the binary has no tests in it",
	because:  "it has what it needs to run, and nothing that could stand in for it",
	packages: []string{"cmd/..."},
	indirect: true,
	forbid:   []string{"internal/testenv/...", "internal/pgtest"},
}, {
	name:     "cmd is the top",
	because:  "nothing is built on the binary",
	packages: []string{"..."},
	except:   []string{"cmd/..."},
	forbid:   []string{"cmd/..."},
}, {
	name:     "examples use nothing but the public client",
	because:  "they are what a user can do",
	packages: []string{"examples/..."},
	only:     []string{"api", "client/...", "examples/..."},
}, {
	name:     "the load generator uses nothing but the public client",
	because:  "it measures what a user gets",
	packages: []string{"test/bench/load", "test/bench/onetask", "test/bench/files"},
	only:     []string{"api", "client/...", "test/bench/load", "test/bench/table"},
}}

func TestEveryImportRuleHolds(t *testing.T) {
	all := list(t)
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) { checkRule(t, r, all) })
	}
}

func checkRule(t *testing.T, r rule, all []pkg) {
	applies := 0
	for _, p := range all {
		if !matchesAny(r.packages, p.ImportPath) || matchesAny(r.except, p.ImportPath) {
			continue
		}
		applies++
		for _, imported := range importsOf(p, r.indirect) {
			if forbidden(r, imported) {
				t.Errorf("%s imports %s, but %s", p.local(), imported, r.because)
			}
		}
	}
	if applies == 0 {
		t.Errorf("applies to no package: %v", r.packages)
	}
}

func importsOf(p pkg, indirect bool) []string {
	if indirect {
		return p.Deps
	}
	return p.Imports
}

func forbidden(r rule, imported string) bool {
	if matchesAny(r.forbid, imported) {
		return true
	}
	ours := imported == module || strings.HasPrefix(imported, module+"/")
	return r.only != nil && ours && !matchesAny(r.only, imported)
}

// matchesAny reports whether a pattern matches the import path, taken as a path
// below the module or as it is.
func matchesAny(patterns []string, importPath string) bool {
	local, ours := strings.CutPrefix(importPath, module)
	local = strings.TrimPrefix(local, "/")
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		if ours {
			return matches(pattern, local)
		}
		return pattern != "..." && matches(pattern, importPath)
	})
}

func matches(pattern, importPath string) bool {
	base, below := strings.CutSuffix(pattern, "...")
	if !below {
		return pattern == importPath
	}
	base = strings.TrimSuffix(base, "/")
	return base == "" || importPath == base || strings.HasPrefix(importPath, base+"/")
}

func TestNoPackageIsNamedAfterNothing(t *testing.T) {
	all := list(t)
	for _, p := range all {
		for _, bad := range []string{"util", "utils", "common", "types", "helpers", "misc"} {
			if p.Name == bad || path.Base(p.ImportPath) == bad {
				t.Errorf("package %s: a name that says nothing; name the idea", p.local())
			}
		}
	}
	if len(all) < 10 {
		t.Errorf("only %d packages were looked at", len(all))
	}
}
