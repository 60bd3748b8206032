# Every target works on a fresh machine with git, make and Go. As root it installs the rest (Debian,
# SUSE); other users need the packages installed.
GO      ?= go
BINS    := bin/lpbuild bin/lpbuild-engine
LINT    := bin/golangci-lint
LINTVER := v2.15.0

# Packages for the demonstration beyond Go, and for the tests and benchmarks beyond that. SUSE has no
# gpg1: tests that need it report that. rpm2cpio and rpmsign are in SUSE's rpm and rpm-build.
DEMO_DEBIAN := gcc libc6-dev binutils rpm createrepo-c gnupg gnupg1 xz-utils zstd bzip2 elfutils cpio
TEST_DEBIAN := $(DEMO_DEBIAN) zlib1g libssl3 rpm2cpio gdb rpmlint mandoc osc g++ shellcheck strace systemd zypper iproute2 bash-completion dwz libc6-dbg \
               gcc-powerpc64le-linux-gnu libc6-dev-ppc64el-cross gcc-aarch64-linux-gnu libc6-dev-arm64-cross
GLIBC_DEBIAN := $(DEMO_DEBIAN) rpm2cpio make bison gawk python3 dpkg-dev patch linux-libc-dev
# Real programs to test the engine on, and gcc for the live patch.
REAL_DEBIAN  := gcc libc6-dev util-linux nginx-light redis-server postgresql mariadb-server default-jdk-headless nodejs python3 bubblewrap
CHROMIUM_DEBIAN := gcc libc6-dev util-linux chromium
DEMO_SUSE   := gcc glibc-devel binutils rpm-build createrepo_c gpg2 xz zstd bzip2 elfutils cpio tar findutils util-linux
TEST_SUSE   := $(DEMO_SUSE) dwz iproute2 bash-completion gdb strace rpmlint mandoc osc gcc-c++ ShellCheck systemd cross-ppc64le-gcc14 cross-aarch64-gcc14

.PHONY: build deps deps-demo deps-glibc deps-real deps-chromium demo package test test-capless test-pidns test-kill test-cycles test-glibc test-real test-chromium test-overcommit test-decode reach race bench bench-once fuzz lint clean

build: $(BINS)

$(BINS): bin/%: $(shell find cmd pkg internal templates rpm-helper -type f 2>/dev/null) go.mod
	CGO_ENABLED=0 $(GO) build -trimpath -o $@ ./cmd/$*

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
# RUNLEVEL=1 keeps services from being started. Users other than root can continue if everything is
# installed, and are told what is missing.
deps deps-demo deps-glibc deps-real deps-chromium:
	@missing=; \
	if command -v apt-get >/dev/null; then \
	  for p in $(PACKAGES_DEBIAN); do dpkg -s $$p >/dev/null 2>&1 || missing="$$missing $$p"; done; \
	elif command -v zypper >/dev/null; then \
	  for p in $(PACKAGES_SUSE); do rpm -q $$p >/dev/null || missing="$$missing $$p"; done; \
	else echo "neither apt-get nor zypper found: install the packages listed in the Makefile" >&2; exit 1; fi; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ]; then echo "missing packages:$$missing: run \"make $@\" as root" >&2; exit 1; fi; \
	echo "installing packages (once):$$missing"; \
	if command -v apt-get >/dev/null; then apt-get update -qq && \
	  RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing </dev/null >/dev/null; \
	else zypper --non-interactive install --no-recommends $$missing; fi

# All steps with a small distributor: repository, download, build, dist, rpmbuild.
demo: deps-demo build
	./bin/lpbuild demo --dir demo-out

# lpbuild's own RPMs, in package-out/.
package: deps
	GO=$(GO) packaging/build package-out

# STRICT=1: a skipped test is a failure unless internal/testrun/permitted.go lists the reason.
STRICT ?=
test: deps
	CGO_ENABLED=0 $(GO) vet ./...
	CGO_ENABLED=0 $(GO) run ./internal/testrun $(if $(STRICT),-strict) -- ./...

# The tests that need privileges, or that examine the machine's processes: packages that start,
# examine and patch processes, and those that call rpmbuild and unshare. Tests in LONG take minutes
# and do not depend on privileges, so they are left out.
ISOLATED := ./pkg/engine/process ./pkg/engine/tracer ./pkg/engine/libpulp ./pkg/engine/native ./pkg/engine ./pkg/engine/internal/procfs \
            ./pkg/hook ./pkg/spec ./cmd/lpbuild ./internal/targettest ./internal/buildservice
LONG     := ^(TestKilled|TestLeftover|TestSwapped|TestZypper|TestRPM|TestReadme|TestTutorial|TestWalkthrough|TestReach|TestGateAgrees)
# The default capabilities of root in a container.
CONTAINER_CAPS := chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service net_raw sys_chroot mknod audit_write setfcap
empty :=
comma := ,
CAPLESS := setpriv --inh-caps=-all --bounding-set=-all,$(subst $(empty) $(empty),$(comma),$(addprefix +,$(CONTAINER_CAPS)))
# The shell is process 1 there, and has to wait for orphans.
PIDNS   := unshare --mount --pid --fork --kill-child --mount-proc sh -c '"$$@" & wait $$!' sh

# As root of a container: without CAP_SYS_ADMIN, CAP_SYS_PTRACE and others. Tests that need these are
# skipped.
test-capless: deps
	CGO_ENABLED=0 $(CAPLESS) $(GO) run ./internal/testrun -- -skip '$(LONG)' $(ISOLATED)

# In a PID namespace, where process 1 is an ordinary program and there are no kernel threads.
test-pidns: deps
	CGO_ENABLED=0 $(PIDNS) $(GO) run ./internal/testrun -- -count=1 -skip '$(LONG)' $(ISOLATED)

# The tracer and both engines, each killed a thousand times: no target may notice.
KILLS ?= 1000
test-kill: deps
	LPBUILD_TRACER_KILLS=$(KILLS) CGO_ENABLED=0 $(GO) test -count=1 -run TestKilled -timeout 30m ./pkg/engine/tracer
	LPBUILD_LIBPULP_KILLS=$(KILLS) CGO_ENABLED=0 $(GO) test -count=1 -run TestKilled -timeout 30m ./pkg/engine/libpulp
	LPBUILD_NATIVE_KILLS=$(KILLS) CGO_ENABLED=0 $(GO) test -count=1 -run TestKilled -timeout 30m ./pkg/engine/native

# A process under full load, patched and reverted ten thousand times: every result is right.
CYCLES ?= 10000
test-cycles: deps
	LPBUILD_NATIVE_CYCLES=$(CYCLES) CGO_ENABLED=0 $(GO) test -count=1 -run TestCycles -timeout 120m ./pkg/engine/native

# Everything from download to revert on a real glibc, compiled for live patching: this takes minutes
# the first time, and seconds later on.
test-glibc: deps-glibc
	LPBUILD_TEST_GLIBC=1 CGO_ENABLED=0 $(GO) test -count=1 -v -timeout 30m ./internal/glibctest

# nginx, Redis, PostgreSQL, MariaDB, Java, Node.js, and Python with and without bubblewrap, patched
# and reverted under load (Debian).
test-real: deps-real
	LPBUILD_TEST_REAL=1 CGO_ENABLED=0 $(GO) test -count=1 -v -timeout 20m ./internal/realtest

# Chromium with its sandboxed renderers, patched and reverted while it loads pages (Debian; a download
# of 124 MB).
test-chromium: deps-chromium
	LPBUILD_TEST_REAL=1 LPBUILD_TEST_CHROMIUM=1 CGO_ENABLED=0 $(GO) test -count=1 -v -run TestChromium -timeout 20m ./internal/realtest

# Patching under strict overcommit (vm.overcommit_memory=2). The setting affects the whole machine, so
# no other test runs meanwhile.
test-overcommit: deps
	LPBUILD_TEST_OVERCOMMIT=1 CGO_ENABLED=0 $(GO) test -count=1 -v -run TestOvercommit ./pkg/engine/native

# The instruction decoder against objdump: generated encodings, and the code of all libraries on the
# machine.
test-decode: deps
	LPBUILD_TEST_DECODE=1 CGO_ENABLED=0 $(GO) test -count=1 -v -run 'TestDecode|TestProven' -timeout 30m ./internal/hotpatch

# For each stock library: how many exported functions the native engine can replace, and why not the
# others.
reach: deps
	CGO_ENABLED=0 $(GO) test -count=1 -v -run TestReach ./pkg/ulp

race: deps
	CGO_ENABLED=1 $(GO) test -race ./...

bench: deps deps-real
	CGO_ENABLED=0 $(GO) test -run '^$$' -bench . -benchtime 1x -timeout 60m ./...

# Every benchmark once, with small inputs: does it still work?
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

# Architectures on which everything compiles, but not everything works yet.
OTHER_ARCHS := arm64 ppc64le

lint: $(LINT)
	$(LINT) run
	for arch in $(OTHER_ARCHS); do GOARCH=$$arch CGO_ENABLED=0 $(GO) vet ./... || exit 1; done
	@test -z "$$(gofmt -l cmd pkg internal templates rpm-helper)" || { gofmt -l cmd pkg internal templates rpm-helper; exit 1; }

clean:
	rm -rf bin demo-out package-out
