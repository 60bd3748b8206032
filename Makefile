# Every target works on a fresh machine with git, make and Go; as root it installs the rest (Debian, SUSE), and as anybody where
# that is installed.
GO      ?= go
BIN     := bin/lpbuild
LINT    := bin/golangci-lint
LINTVER := v2.15.0

# What the demonstration needs beyond Go, and what the tests and benchmarks need beyond that. SUSE has no gpg1: what needs it
# there does without and says so. rpm2cpio and rpmsign come with its rpm and rpm-build.
DEMO_DEBIAN := gcc libc6-dev binutils rpm createrepo-c gnupg gnupg1 xz-utils zstd bzip2 elfutils cpio
TEST_DEBIAN := $(DEMO_DEBIAN) zlib1g libssl3 rpm2cpio gdb rpmlint mandoc osc g++ shellcheck strace systemd zypper iproute2 bash-completion \
               gcc-powerpc64le-linux-gnu libc6-dev-ppc64el-cross gcc-aarch64-linux-gnu libc6-dev-arm64-cross
GLIBC_DEBIAN := $(DEMO_DEBIAN) rpm2cpio make bison gawk python3 dpkg-dev patch linux-libc-dev
# Real programs that the engine is tried on, and gcc for the live patch.
REAL_DEBIAN  := gcc libc6-dev util-linux nginx-light redis-server postgresql mariadb-server default-jdk-headless nodejs python3 bubblewrap
CHROMIUM_DEBIAN := gcc libc6-dev util-linux chromium
DEMO_SUSE   := gcc glibc-devel binutils rpm-build createrepo_c gpg2 xz zstd bzip2 elfutils cpio tar findutils util-linux
TEST_SUSE   := $(DEMO_SUSE) iproute2 bash-completion gdb strace rpmlint mandoc osc gcc-c++ ShellCheck systemd cross-ppc64le-gcc14 cross-aarch64-gcc14

.PHONY: build deps deps-demo deps-glibc deps-real deps-chromium demo package test test-capless test-pidns test-kill test-cycles test-glibc test-real test-chromium test-overcommit test-decode reach race bench bench-once fuzz lint clean

build: $(BIN)

$(BIN): $(shell find cmd pkg internal templates rpm-helper -type f 2>/dev/null) go.mod
	CGO_ENABLED=0 $(GO) build -trimpath -o $@ ./cmd/lpbuild

deps: PACKAGES_DEBIAN = $(TEST_DEBIAN)
deps: PACKAGES_SUSE   = $(TEST_SUSE)
deps-demo: PACKAGES_DEBIAN = $(DEMO_DEBIAN)
deps-demo: PACKAGES_SUSE   = $(DEMO_SUSE)
deps-glibc: PACKAGES_DEBIAN = $(GLIBC_DEBIAN)
deps-glibc: PACKAGES_SUSE   = $(DEMO_SUSE)
deps-real: PACKAGES_DEBIAN = $(REAL_DEBIAN)
deps-real: PACKAGES_SUSE   = $(DEMO_SUSE)
deps-chromium: PACKAGES_DEBIAN = $(CHROMIUM_DEBIAN)
deps-chromium: PACKAGES_SUSE   = $(DEMO_SUSE)
# RUNLEVEL=1: what is a service is not started. Who is not root can go on where everything is installed, and is told what is not.
deps deps-demo deps-glibc deps-real deps-chromium:
	@missing=; \
	if command -v apt-get >/dev/null; then \
	  for p in $(PACKAGES_DEBIAN); do dpkg -s $$p >/dev/null 2>&1 || missing="$$missing $$p"; done; \
	elif command -v zypper >/dev/null; then \
	  for p in $(PACKAGES_SUSE); do rpm -q $$p >/dev/null || missing="$$missing $$p"; done; \
	else echo "neither apt-get nor zypper here: install what the Makefile names for them" >&2; exit 1; fi; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ]; then echo "missing packages:$$missing: run \"make $@\" as root" >&2; exit 1; fi; \
	echo "installing packages (once):$$missing"; \
	if command -v apt-get >/dev/null; then apt-get update -qq && \
	  RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing </dev/null >/dev/null; \
	else zypper --non-interactive install --no-recommends $$missing; fi

# The main job, on a small distributor of its own: repository, download, build, dist, rpmbuild.
demo: deps-demo build
	./$(BIN) demo --dir demo-out

# lpbuild's own RPMs, in package-out/.
package: deps
	GO=$(GO) packaging/build package-out

# STRICT=1: a skipped test is a failure unless internal/testrun/permitted.go has the reason.
STRICT ?=
test: deps
	CGO_ENABLED=0 $(GO) vet ./...
	CGO_ENABLED=0 $(GO) run ./internal/testrun $(if $(STRICT),-strict) -- ./...

# The tests that ask for privileges, or that look at the processes of the machine: packages that
# start, examine and patch processes, and those that call rpmbuild and unshare. Others do neither.
# Left out is what takes minutes and is about what a killed engine leaves, not about privileges.
ISOLATED := ./pkg/engine/process ./pkg/engine/tracer ./pkg/engine/libpulp ./pkg/engine/native ./pkg/engine ./pkg/engine/internal/procfs \
            ./pkg/hook ./pkg/spec ./cmd/lpbuild ./internal/targettest ./internal/buildservice
LONG     := ^(TestKilled|TestLeftover|TestSwapped|TestZypper|TestRPM|TestReadme|TestReach|TestGateAgrees)
# What root of a container has by default.
CONTAINER_CAPS := chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service net_raw sys_chroot mknod audit_write setfcap
empty :=
comma := ,
CAPLESS := setpriv --inh-caps=-all --bounding-set=-all,$(subst $(empty) $(empty),$(comma),$(addprefix +,$(CONTAINER_CAPS)))
# The shell is process 1 there: who takes orphans in has to wait for them.
PIDNS   := unshare --mount --pid --fork --kill-child --mount-proc sh -c '"$$@" & wait $$!' sh

# As root of a container: without CAP_SYS_ADMIN, CAP_SYS_PTRACE and others. What needs them is skipped.
test-capless: deps
	CGO_ENABLED=0 $(CAPLESS) $(GO) run ./internal/testrun -- -skip '$(LONG)' $(ISOLATED)

# In a PID namespace, where process 1 is an ordinary program and no kernel thread is to be seen.
test-pidns: deps
	CGO_ENABLED=0 $(PIDNS) $(GO) run ./internal/testrun -- -count=1 -skip '$(LONG)' $(ISOLATED)

# The trigger engines, each killed a thousand times: no target may notice.
KILLS ?= 1000
test-kill: deps
	LPBUILD_TRACER_KILLS=$(KILLS) CGO_ENABLED=0 $(GO) test -count=1 -run TestKilled -timeout 30m ./pkg/engine/tracer
	LPBUILD_LIBPULP_KILLS=$(KILLS) CGO_ENABLED=0 $(GO) test -count=1 -run TestKilled -timeout 30m ./pkg/engine/libpulp
	LPBUILD_NATIVE_KILLS=$(KILLS) CGO_ENABLED=0 $(GO) test -count=1 -run TestKilled -timeout 30m ./pkg/engine/native

# A process under full load, patched and reverted ten thousand times: every result is right.
CYCLES ?= 10000
test-cycles: deps
	LPBUILD_NATIVE_CYCLES=$(CYCLES) CGO_ENABLED=0 $(GO) test -count=1 -run TestCycles -timeout 120m ./pkg/engine/native

# The whole way on a real glibc, compiled for live patching: minutes the first time, seconds from then on.
test-glibc: deps-glibc
	LPBUILD_TEST_GLIBC=1 CGO_ENABLED=0 $(GO) test -count=1 -v -timeout 30m ./internal/glibctest

# nginx, Redis, PostgreSQL, MariaDB, Java, Node.js, and Python with and without bubblewrap, patched and reverted under load (Debian).
test-real: deps-real
	LPBUILD_TEST_REAL=1 CGO_ENABLED=0 $(GO) test -count=1 -v -timeout 20m ./internal/realtest

# Chromium with its sandboxed renderers, patched and reverted while it loads pages (Debian). It is 124 MB to download.
test-chromium: deps-chromium
	LPBUILD_TEST_REAL=1 LPBUILD_TEST_CHROMIUM=1 CGO_ENABLED=0 $(GO) test -count=1 -v -run TestChromium -timeout 20m ./internal/realtest

# Patching where the kernel promises no memory that it does not have. That is a setting of the whole machine, so nothing else runs.
test-overcommit: deps
	LPBUILD_TEST_OVERCOMMIT=1 CGO_ENABLED=0 $(GO) test -count=1 -v -run TestOvercommit ./pkg/engine/native

# The decoder of instructions against objdump: generated encodings, and the code of all libraries of the machine.
test-decode: deps
	LPBUILD_TEST_DECODE=1 CGO_ENABLED=0 $(GO) test -count=1 -v -run TestDecode -timeout 30m ./internal/hotpatch

# How many functions that stock libraries export the native engine can replace, by library, and why not the others.
reach: deps
	CGO_ENABLED=0 $(GO) test -count=1 -v -run TestReach ./pkg/ulp

race: deps
	CGO_ENABLED=1 $(GO) test -race ./...

bench: deps deps-real
	CGO_ENABLED=0 $(GO) test -run '^$$' -bench . -benchtime 1x -timeout 60m ./...

# Every benchmark once and small: whether it still works, not how fast.
bench-once: deps deps-real
	CGO_ENABLED=0 $(GO) test -run '^$$' -bench . -benchtime 1x -short -timeout 15m ./...

# Every fuzz target, for a while each.
FUZZTIME ?= 20s
fuzz:
	@for pkg in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
	  for f in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]+' $$pkg/*_test.go | cut -c6-); do \
	    echo "$$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5x $$pkg || exit 1; done; done

$(LINT):
	GOBIN=$(CURDIR)/bin CGO_ENABLED=0 $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINTVER)

# Where not everything works yet, but everything compiles.
OTHER_ARCHS := arm64 ppc64le

lint: $(LINT)
	$(LINT) run
	for arch in $(OTHER_ARCHS); do GOARCH=$$arch CGO_ENABLED=0 $(GO) vet ./... || exit 1; done
	@test -z "$$(gofmt -l cmd pkg internal templates rpm-helper)" || { gofmt -l cmd pkg internal templates rpm-helper; exit 1; }

clean:
	rm -rf bin demo-out package-out
