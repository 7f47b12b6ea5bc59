# `make` alone prints what there is. Needs cargo, a C compiler (for ring) and make.

CARGO ?= cargo
CONFIG ?= examples/minimal.yaml
DEMO ?=
FUZZ_SECONDS ?= 60
# What a program pays for embedding the library: 2.5 MB.
EMBED_BYTES_MAX := 2500000
# The operator's image: here is its one name.
IMAGE ?= ghcr.io/t0masd/faro-operator
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
TAG ?= v$(VERSION)
# Whichever engine answers; looked for only where it is needed.
ENGINE ?= $(shell for engine in docker podman; do $$engine info >/dev/null 2>&1 && echo $$engine && break; done)
COMMIT ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
# When the release binary says that it was built, in seconds since 1970: at any other time the same bytes come out.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null)
CLUSTER ?=
# The static program, as it is in the image: without the simulator, and for this machine's processor.
STATIC_TARGET ?= $(shell uname -m)-unknown-linux-gnu
STATIC_FEATURES ?= daemon
STATIC := target/$(STATIC_TARGET)/release/faro
# In which folders it was built does not show in it, neither in what rustc makes nor in ring's C.
CARGO_FOLDER := $(or $(CARGO_HOME),$(HOME)/.cargo)
STATIC_RUSTFLAGS := -C target-feature=+crt-static --remap-path-prefix=$(CURDIR)=. --remap-path-prefix=$(CARGO_FOLDER)=cargo
STATIC_CFLAGS := -ffile-prefix-map=$(CURDIR)=. -ffile-prefix-map=$(CARGO_FOLDER)=cargo
PREFIX ?= /usr/local
DESTDIR ?=
SYSTEMD_UNITS := $(wildcard deploy/systemd/*.service)
OVERLAYS ?=
# Which Kubernetes `make kind-cluster` creates; kind's own choice when empty.
KIND_NODE_IMAGE ?=
DIST_NAME := faro-v$(VERSION)-linux-$(if $(filter aarch64,$(shell uname -m)),arm64,amd64)
DIST := $(DIST_NAME).tar.gz
KIND_KUBECONFIG := $(CURDIR)/target/kind.kubeconfig
EMBED_PROFILE ?= release
EMBED_BUILD = $(CARGO) build --locked --profile $(EMBED_PROFILE) --manifest-path tests/embed/Cargo.toml --target-dir target/embed
CARGO_CYCLONEDX_VERSION := 0.5.9
CARGO_DENY_VERSION := 0.20.2
CARGO_FUZZ_VERSION := 0.13.2
# Each is linted alone; `e2e` is `daemon` for tests.
FEATURES := cli compress daemon every-key exec export gzip metrics sim state tls12
# libFuzzer's instrumentation needs a switch that only this variable opens on a stable compiler.
FUZZ := RUSTC_BOOTSTRAP=1 $(CARGO) fuzz

# Where `make promtool` puts it.
export PATH := $(CURDIR)/target/tools:$(PATH)

.DEFAULT_GOAL := help
.PHONY: deploy undeploy test-operator test-operator-kind helm-check kind-cluster kind-logs dist publish release-version release-image release-image-tags github-release
.PHONY: advisories reproducible sbom static test-static prove-static print-static image operator-image image-push operator-image-load engine install uninstall
.PHONY: help demo build build-dev run test test-unit test-integration soak test-embed test-features size test-e2e e2e chaos load check metrics-check rules-check fmt bench long-life fuzz systemd-check promtool clean tools

help: ## Show all available targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Show Faro at work on a simulated cluster, live: no cluster needed
	$(CARGO) run --locked -- demo $(DEMO)

build: ## Build the release binary: target/release/faro
	$(CARGO) build --release --locked

build-dev: ## Build for debugging: target/debug/faro
	$(CARGO) build --locked

static: ## Build the static release binary, without the simulator: target/TARGET/release/faro
	RUSTFLAGS='$(STATIC_RUSTFLAGS)' CFLAGS='$(STATIC_CFLAGS)' SOURCE_DATE_EPOCH='$(SOURCE_DATE_EPOCH)' \
		$(CARGO) build --release --locked --target $(STATIC_TARGET) --no-default-features --features $(STATIC_FEATURES)

test-static: static prove-static ## Prove that it is static, and run it in an empty root: as root, or in a user namespace
	$(CARGO) build --locked
	tests/static/chroot.sh $(STATIC) target/debug/faro

prove-static:
	tests/static/prove.sh $(STATIC)

print-static:
	@echo $(STATIC)

image: engine ## Build the operator's image with docker or podman: IMAGE=… TAG=… ENGINE=…
	$(ENGINE) build --tag $(IMAGE):$(TAG) --build-arg VERSION=$(VERSION) --build-arg COMMIT=$(COMMIT) \
		$(if $(SOURCE_DATE_EPOCH),--build-arg SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH)) .

operator-image: image ## The same as image

operator-image-load: engine ## Bring the image to a local cluster: CLUSTER=kind, kinc or k3s
	deploy/image/load.sh "$(CLUSTER)" $(ENGINE) $(IMAGE):$(TAG)

image-push: engine ## Push the image to its registry
	$(ENGINE) push $(IMAGE):$(TAG)

engine:
	@test -n "$(ENGINE)" || { echo "neither docker nor podman answers: start one, or name another with ENGINE=…" >&2; exit 1; }

install: build ## Install the binary, and the systemd units where there are any: PREFIX=/usr/local DESTDIR=
	install -D -m 0755 target/release/faro $(DESTDIR)$(PREFIX)/bin/faro
	$(if $(SYSTEMD_UNITS),install -D -m 0644 -t $(DESTDIR)$(PREFIX)/lib/systemd/system $(SYSTEMD_UNITS))

uninstall: ## Remove what install has installed; events, state and configuration stay
	rm -f $(DESTDIR)$(PREFIX)/bin/faro $(patsubst deploy/systemd/%,$(DESTDIR)$(PREFIX)/lib/systemd/system/%,$(SYSTEMD_UNITS))

run: ## Run against your cluster: make run CONFIG=examples/minimal.yaml
	$(CARGO) run --release --locked -- --config $(CONFIG)

test: test-unit test-integration ## Run all tests that need no cluster

test-unit: ## Run unit tests and the examples in the documentation
	$(CARGO) test --locked --lib --bins
	$(CARGO) test --locked --doc

test-integration: ## Run the real binary and library against recorded and misbehaving servers
	$(CARGO) build --locked --examples
	$(CARGO) test --locked --test it -- --test-threads=8 # they wait more than they compute
	$(CARGO) test --locked --test kills

soak: ## Run simulated worlds until stopped or one fails; SEED=n says where to start
	SIM_SOAK=$(SEED) $(CARGO) test --locked --test it sim::whatever -- --nocapture

test-embed: ## Build and run another program that embeds the library without its default features
	$(CARGO) run --locked --quiet --manifest-path tests/embed/Cargo.toml --target-dir target --features check

test-features: ## Run the unit tests without features, and with each alone
	$(CARGO) test --locked --no-default-features --lib
	for feature in $(FEATURES); do \
		$(CARGO) test --locked --no-default-features --features $$feature --lib || exit 1; \
	done

size: ## Print what embedding the library adds to a stripped program; fail above EMBED_BYTES_MAX; EMBED_PROFILE=fast prints only
	$(EMBED_BUILD) --no-default-features
	cp target/embed/$(EMBED_PROFILE)/faro-embed target/embed/without-faro
	$(EMBED_BUILD)
	@with=$$(wc -c <target/embed/$(EMBED_PROFILE)/faro-embed) && without=$$(wc -c <target/embed/without-faro) && \
		echo "profile $(EMBED_PROFILE) of tests/embed/Cargo.toml, faro without default features:" && \
		echo "with Faro $$with bytes, without $$without: Faro adds $$((with - without))" && \
		test "$(EMBED_PROFILE)" != release -o $$((with - without)) -lt $(EMBED_BYTES_MAX)

test-e2e: ## Run against a real API server: $$KUBEBUILDER_ASSETS or $$KUBECONFIG
	$(CARGO) build --release --locked
	$(CARGO) build --locked --examples
	$(CARGO) test --locked --features e2e --test e2e

e2e: test-e2e ## The same as test-e2e

chaos: ## Kill Faro, cut it off, fill its disk; show that nothing is lost or doubled, and what that costs; CHAOS_SEED=n
	$(CARGO) build --release --locked
	$(CARGO) test --locked --features e2e --test e2e -- chaos
	KILLS=100 STUCK_SECONDS=600 $(CARGO) test --locked --test kills

load: ## List 20,000 pods from a real API server; print memory and CPU
	$(CARGO) build --release --locked
	$(CARGO) test --locked --features e2e --test e2e -- load

deploy: ## Install the operator on your cluster: make deploy IMAGE=… TAG=… OVERLAYS="emptydir networkpolicy"
	deploy/operator/overlay.sh $(IMAGE):$(TAG) $(OVERLAYS)
	kubectl apply -k target/operator

undeploy: ## Remove the operator from your cluster, with its events and its state
	kubectl delete -k deploy/operator --ignore-not-found

test-operator: ## Test manifests, rights and the pod's command line on a real API server: $$KUBEBUILDER_ASSETS or $$KUBECONFIG
	$(CARGO) build --release --locked
	$(CARGO) test --locked --features e2e --test e2e -- operator

test-operator-kind: operator-image operator-image-load deploy ## Test the operator's pod on a cluster with kubelets: $$KUBECONFIG
	tests/operator/kind.sh

helm-check: ## Lint the Helm chart and compare what it renders with deploy/operator; needs helm and kubectl
	@command -v helm >/dev/null || { echo "make helm-check needs helm on PATH" >&2; exit 1; }
	@command -v kubectl >/dev/null || { echo "make helm-check needs kubectl on PATH" >&2; exit 1; }
	helm lint --strict deploy/helm/faro
	$(CARGO) test --locked --features e2e --test helm

kind-cluster: ## Create a cluster with kind for tests: KIND_NODE_IMAGE=kindest/node:v…; its kubeconfig is target/kind.kubeconfig
	mkdir -p target
	kind create cluster $(if $(KIND_NODE_IMAGE),--image $(KIND_NODE_IMAGE)) --wait 180s --kubeconfig $(KIND_KUBECONFIG)

kind-logs: ## Keep the logs of that cluster in target/kind-logs
	kind export logs target/kind-logs

check: tools ## Check format, lints, documentation, licences and bans
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --all-targets --all-features -- -D warnings
	$(CARGO) clippy --locked --no-default-features --lib --tests -- -D warnings
	for feature in $(FEATURES); do \
		$(CARGO) clippy --locked --no-default-features --features $$feature --lib --bins --tests -- -D warnings || exit 1; \
	done
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items --all-features
	$(CARGO) deny --log-level error check bans licenses sources

advisories: tools ## Look the crates of Cargo.lock up among the advisories of RustSec, which are fetched from GitHub
	$(CARGO) deny --log-level error check advisories

metrics-check: ## Have promtool judge the metrics of a running Faro
	FARO_NEEDS_PROMTOOL=1 $(CARGO) test --locked --test it promtool_finds_nothing_wrong_with_the_metrics

rules-check: ## Have promtool judge and test the alerts, and read the queries of dashboard and documentation
	promtool check rules deploy/prometheus/rules.yaml
	cd deploy/prometheus && promtool test rules rules_test.yaml
	FARO_NEEDS_PROMTOOL=1 $(CARGO) test --locked --test it promtool_reads_the_queries

fmt: ## Format the code
	$(CARGO) fmt --all

bench: ## Measure, as ratios to something measured in the same run
	$(CARGO) bench --locked

long-life: ## Show that memory does not grow over 5 million events and 2,000 reconnects
	$(CARGO) bench --locked --bench long_life

fuzz: ## Run each fuzz target for FUZZ_SECONDS (60)
	@command -v cargo-fuzz >/dev/null || $(CARGO) install --locked --quiet cargo-fuzz@$(CARGO_FUZZ_VERSION)
	for target in $$($(FUZZ) list); do \
		$(FUZZ) run --sanitizer none $$target -- -max_total_time=$(FUZZ_SECONDS) || exit 1; \
	done

release-version: ## Fail unless RELEASE (v1.2.3) is the version in Cargo.toml
	@test "$(RELEASE)" = "v$(VERSION)" || { echo "the release is $(RELEASE), Cargo.toml says $(VERSION)" >&2; exit 1; }

dist: static ## Pack the static binary of this machine's processor, with a checksum, into target/dist
	mkdir -p target/dist
	tar --create --format=ustar --mtime=@$(or $(SOURCE_DATE_EPOCH),0) --owner=0 --group=0 --numeric-owner --mode=0755 \
		--use-compress-program='gzip --no-name --best' --file target/dist/$(DIST) --directory $$(dirname $(STATIC)) faro
	cd target/dist && sha256sum $(DIST) >$(DIST).sha256

sbom: ## Write what the static binary is made of, as CycloneDX, beside what `make dist` packs; prove that it is all of it; needs jq
	@command -v cargo-cyclonedx >/dev/null || $(CARGO) install --locked --quiet cargo-cyclonedx@$(CARGO_CYCLONEDX_VERSION)
	mkdir -p target/dist
	SOURCE_DATE_EPOCH='$(SOURCE_DATE_EPOCH)' $(CARGO) cyclonedx --quiet --format json --spec-version 1.5 --no-build-deps \
		--target $(STATIC_TARGET) --no-default-features --features $(STATIC_FEATURES) --override-filename $(DIST_NAME).cdx
	mv $(DIST_NAME).cdx.json target/dist
	tests/static/sbom.sh target/dist/$(DIST_NAME).cdx.json $(STATIC_TARGET) $(STATIC_FEATURES)

reproducible: ## Build and pack the static binary in two folders, and prove that the bytes are the same
	tests/static/reproducible.sh

github-release: ## Make the GitHub release RELEASE (v1.2.3) of what is in target/dist, with its part of CHANGELOG.md
	awk '/^## / { is_part = index($$2, "[$(RELEASE:v%=%)]") } is_part && !/^## /' CHANGELOG.md >target/notes.md
	test -s target/notes.md || { echo "CHANGELOG.md has no part [$(RELEASE:v%=%)]" >&2; exit 1; }
	gh release create $(RELEASE) --verify-tag --title $(RELEASE) --notes-file target/notes.md target/dist/*

publish: ## Publish the crate; PUBLISH_FLAGS=--dry-run does everything but that
	$(CARGO) publish --locked $(PUBLISH_FLAGS)

release-image: ## Build and push IMAGE of RELEASE (v1.2.3) for this machine's processor
	deploy/image/release.sh push $(IMAGE) $(RELEASE)

release-image-tags: ## Join what was pushed for RELEASE under its tags: v1.2.3, v1.2, v1, latest
	deploy/image/release.sh tag $(IMAGE) $(RELEASE)

promtool: ## Fetch promtool from Debian's or Ubuntu's packages into target/tools, where none is installed
	@# Installed whole, the package starts a server.
	@command -v promtool >/dev/null || { \
		mkdir -p target/tools && cd target/tools && apt-get download -qq prometheus && \
		dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x --strip-components=3 ./usr/bin/promtool && rm prometheus_*.deb; }

tools:
	@command -v cargo-deny >/dev/null || $(CARGO) install --locked --quiet cargo-deny@$(CARGO_DENY_VERSION)

systemd-check: ## Check the units of deploy/systemd: that systemd reads them, and how much they are exposed
	@command -v systemd-analyze >/dev/null || { echo "no systemd-analyze here (Debian: apt-get install systemd)"; exit 1; }
	@units=$$(mktemp -d) && trap 'rm -r '$$units EXIT && \
	sed 's#/usr/local/bin/faro#/bin/true#' deploy/systemd/faro.service >$$units/faro.service && \
	sed 's#/usr/local/bin/faro#/bin/true#' deploy/systemd/faro@.service >$$units/faro@cluster.service && \
	systemd-analyze verify --man=no $$units/faro.service $$units/faro@cluster.service
	@for unit in deploy/systemd/*.service; do \
		table=$$(systemd-analyze security --offline=true --threshold=20 --no-pager $$unit) || { echo "$$table"; exit 1; }; \
		echo "$$table" | tail -n 1; \
	done

clean: ## Remove what was built
	$(CARGO) clean
