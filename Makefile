# Every target works on a fresh machine with git, make and Go; "deps" installs the rest as root (Debian, SUSE).
GO      ?= go
BIN     := bin/lpbuild
LINT    := bin/golangci-lint
LINTVER := v2.15.0
COMMIT_TIME = $(shell git log -1 --format=%ct 2>/dev/null || echo 0)

# What the tests, the demonstration and the benchmarks need beyond Go: a program and the packages that bring them all.
PROGRAMS := gcc rpmbuild createrepo_c gpg gpg1 xz zstd bzip2 eu-elflint gdb cpio rpmlint debugedit powerpc64le-linux-gnu-gcc aarch64-linux-gnu-gcc
DEBIAN   := gcc libc6-dev binutils rpm rpm2cpio createrepo-c gnupg gnupg1 xz-utils zstd bzip2 elfutils gdb cpio rpmlint debugedit \
            gcc-powerpc64le-linux-gnu gcc-aarch64-linux-gnu shellcheck
SUSE     := gcc binutils rpm-build createrepo_c gpg2 xz zstd bzip2 elfutils gdb cpio rpmlint debugedit cross-ppc64le-gcc14 cross-aarch64-gcc14

.PHONY: build deps demo test race bench fuzz lint clean

build: $(BIN)

$(BIN): $(shell find cmd pkg internal templates rpm-helper -type f 2>/dev/null) go.mod
	CGO_ENABLED=0 $(GO) build -trimpath -o $@ ./cmd/lpbuild

deps:
	@for p in $(PROGRAMS); do command -v $$p >/dev/null || { missing="$$missing $$p"; }; done; \
	test -z "$$missing" && exit 0; echo "installing what is missing:$$missing"; \
	if command -v apt-get >/dev/null; then apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(DEBIAN) </dev/null; \
	elif command -v zypper >/dev/null; then zypper --non-interactive install --no-recommends $(SUSE); \
	else echo "neither apt-get nor zypper here: install$$missing" >&2; exit 1; fi

# The main job, on a small distributor of its own: repository, download, build, dist, rpmbuild.
demo: deps build
	./$(BIN) demo --dir demo-out

test: deps
	CGO_ENABLED=0 $(GO) vet ./...
	CGO_ENABLED=0 $(GO) test ./...

race: deps
	CGO_ENABLED=1 $(GO) test -race ./...

bench: deps
	CGO_ENABLED=0 $(GO) test -run '^$$' -bench . -benchtime 1x -timeout 60m ./...

# Every fuzz target, for a while each.
FUZZTIME ?= 20s
fuzz:
	@for pkg in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
	  for f in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]+' $$pkg/*_test.go | cut -c6-); do \
	    echo "$$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5x $$pkg || exit 1; done; done

$(LINT):
	GOBIN=$(CURDIR)/bin CGO_ENABLED=0 $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINTVER)

lint: $(LINT)
	$(LINT) run
	@test -z "$$(gofmt -l cmd pkg internal templates)" || { gofmt -l cmd pkg internal templates; exit 1; }

clean:
	rm -rf bin demo-out
