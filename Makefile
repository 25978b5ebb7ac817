# What a person types here: make demo, make test, make install.

SWIFT ?= swift
PREFIX ?= /usr/local
DESTDIR ?=
# One configuration for everything, so that each dependency is compiled once.
BUILD = $(SWIFT) build -c release
BINARY = .build/release/holdfast

BUILD_PACKAGES = libz-dev libssl-dev libzstd-dev libsqlite3-dev
TEST_PACKAGES = rsync acl attr openssl netcat-openbsd git systemd util-linux e2fsprogs btrfs-progs \
  xfsprogs postgresql-15 sqlite3 socat procps faketime etcd-server strace
SOURCES = Package.swift $(shell git ls-files '*.swift' ':!:*.pb.swift' ':!:Package.swift')

.PHONY: all build build-tests demo test lint sanitize bench night lab install clean \
  packages test-packages proto

all: build

packages:
	@scripts/need $(BUILD_PACKAGES)

test-packages: packages
	@scripts/need $(TEST_PACKAGES)

build: packages
	$(BUILD) --product holdfast

build-tests: test-packages build
	# Not --build-tests: that compiles the protobuf compiler too.
	$(BUILD) --product holdfastPackageTests

demo: build
	$(BINARY) demo

lint:
	$(SWIFT) format lint --strict $(SOURCES)

# Tests of processes run after the others: they want the machine for themselves. Hosts with systemd can be made by root alone, and
# only where Debian's packages can be had.
test: lint build-tests
	$(SWIFT) test -c release --skip-build --skip EndToEndTests --skip PortTests
	$(SWIFT) test -c release --skip-build --filter "PortTests|EndToEndTests" --no-parallel
	scripts/check-units
	[ $$(id -u) != 0 ] || scripts/lab 1 2 3 || [ $$? = 75 ]
	@[ $$(id -u) = 0 ] || echo "Not run, for want of root: foreign owners and device nodes, fanotify, real" \
	  "filesystems and full or failing disks, agents killed at each phase, changes that nobody tells of, freezing," \
	  "PostgreSQL, hosts of the lab."

# As root; figures of one machine are in docs/benchmarks.md.
bench: build
	@scripts/need rsync openssh-server openssh-client perl bc e2fsprogs xfsprogs btrfs-progs \
	  postgresql-15
	scripts/bench

# In a scratch folder of their own; what the test runner itself leaks is not looked at.
sanitize: test-packages
	$(SWIFT) build -c debug --sanitize=address --scratch-path .build-sanitize \
	  --product holdfastPackageTests
	ASAN_OPTIONS=detect_leaks=0 $(SWIFT) test -c debug --sanitize=address \
	  --scratch-path .build-sanitize --skip-build --skip EndToEndTests --skip TidyTests \
	  --skip PortTests

# Hosts with systemd of their own, moved under load and hurt; as root.
lab: build
	scripts/lab $(SCENARIOS)

night: test sanitize bench
	scripts/night-units
	scripts/lab
	scripts/night-host || [ $$? = 75 ]
	HOLDFAST_SEEDS=20000 $(SWIFT) test -c release --skip-build --filter SimulationTests
	HOLDFAST_KILLS=20 $(SWIFT) test -c release --skip-build --filter killed --no-parallel
	HOLDFAST_ROUNDS=50 HOLDFAST_SCALE=50 $(SWIFT) test -c release --skip-build --filter LiveEngineTests --no-parallel
	for seed in $$(seq 100 160); do \
	  HOLDFAST_SEED=$$seed $(SWIFT) test -c release --skip-build --filter StoreTests || exit 1; \
	done

install: build
	install -D -m 755 -s $(BINARY) $(DESTDIR)$(PREFIX)/bin/holdfast
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	for unit in agent controller witness; do \
	  sed 's|@PREFIX@|$(PREFIX)|g' systemd/holdfast-$$unit.service \
	    > $(DESTDIR)$(PREFIX)/lib/systemd/system/holdfast-$$unit.service || exit 1; \
	done
	install -D -m 644 systemd/holdfast.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/holdfast.conf
	install -D -m 644 systemd/holdfast.tmpfiles $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/holdfast.conf
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	$(BINARY) --generate-completion-script bash \
	  > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/holdfast
	install -d $(DESTDIR)$(PREFIX)/share/zsh/site-functions
	$(BINARY) --generate-completion-script zsh \
	  > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_holdfast
	install -d $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	$(BINARY) --generate-completion-script fish \
	  > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/holdfast.fish
	install -D -m 644 docs/man/holdfast.1 $(DESTDIR)$(PREFIX)/share/man/man1/holdfast.1

# Needs protoc (Debian: protobuf-compiler); the result is committed, so that no build does.
proto:
	$(BUILD) --product protoc-gen-swift
	cd Sources/HoldfastWire && protoc --plugin=protoc-gen-swift=../../.build/release/protoc-gen-swift \
	  --swift_opt=Visibility=Package --swift_opt=UseAccessLevelOnImports=true --swift_out=. \
	  holdfast.proto

clean:
	rm -rf .build
