# Everything here is a thin wrapper around the go tool; read the recipes.
GO ?= go
export CGO_ENABLED = 0

# Packages of the main module, and how long one test binary may take: much longer
# than it does, so that none fails on a busy machine.
PKGS ?= ./...
TIMEOUT ?= 20m
FUZZTIME ?= 20s

# Packages that share memory between goroutines.
RACE ?= ./client ./internal/anchor ./internal/certificate ./internal/engine ./internal/keyring ./internal/limit ./internal/node ./internal/runner \
  ./internal/sequencer ./internal/server ./internal/store ./internal/witness

# Without the tables of debuggers the binary is a third smaller. Stack traces
# and what "go version -m" shows do not come from them.
STRIP = -ldflags "-s -w"

.PHONY: build pkcs11 demo check lint test race bench bench-big bite fuzz cross clean

build:
	@echo "building bin/underseal (the first time, Go downloads and compiles the dependencies: a few minutes)"
	@$(GO) build $(STRIP) -o bin/underseal ./cmd/underseal

# The plugin for hardware security modules. It alone needs a C compiler.
pkcs11:
	@CGO_ENABLED=1 $(GO) build -C cmd/underseal-pkcs11 -o ../../bin/underseal-pkcs11 .

demo: build
	@bin/underseal demo $(ARGS)

# Fast: build, format, vet, lint, tests that need nothing but Go. Lint has vetted them.
# Tests that wait for a head of the log, of which there is one a second, wait together.
check: build lint
	$(GO) test -short -vet=off -parallel 8 -timeout 5m $(PKGS)

lint:
	@bad=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); \
	  if [ -n "$$bad" ]; then echo "gofmt wants to change:" $$bad; exit 1; fi
	$(GO) vet $(PKGS)
	@$(GO) build -C tools -o ../bin/staticcheck honnef.co/go/tools/cmd/staticcheck
	bin/staticcheck $(PKGS)

# All tests; make check vets them. test/setup installs what is missing or says how.
# UNDERSEAL_TEST_FULL=1 adds those of the nested modules.
test:
	@test/setup
	$(GO) test -vet=off -parallel 4 -timeout $(TIMEOUT) $(PKGS)
	@test/nested

# Data races, where goroutines meet. Needs a C compiler, and takes many minutes.
race:
	CGO_ENABLED=1 $(GO) test -race -short -timeout $(TIMEOUT) $(RACE)

# A table with the floors; fails when one is missed. docs/performance.md explains it.
bench: build
	@$(GO) run ./test/bench/short $(ARGS)

# The same for what takes longer: a million finished instances, memory, start.
bench-big: build
	@$(GO) run ./test/bench/big $(ARGS)

# Each patch takes one safety out; the test it names must then fail.
bite:
	$(GO) run ./test/bite

# Every fuzz target for a while; fails when a package has none of what it lists.
fuzz:
	@test/fuzz $(FUZZTIME)

cross:
	@for target in linux/amd64 linux/arm64 darwin/arm64 windows/amd64; do \
	  echo "building for $$target"; \
	  GOOS=$${target%/*} GOARCH=$${target#*/} $(GO) build $(STRIP) -o bin/cross/ ./cmd/underseal || exit 1; \
	done

clean:
	rm -rf bin
