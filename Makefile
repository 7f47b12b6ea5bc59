# `make` alone prints what there is. Needs cargo, a C compiler (for ring) and make.

CARGO ?= cargo
CONFIG ?= examples/minimal.yaml
DEMO ?=
FUZZ_SECONDS ?= 60
# What a program pays for embedding the library: 2.5 MB.
EMBED_BYTES_MAX := 2500000
EMBED_PROFILE ?= release
EMBED_BUILD = $(CARGO) build --locked --profile $(EMBED_PROFILE) --manifest-path tests/embed/Cargo.toml --target-dir target/embed
CARGO_DENY_VERSION := 0.20.2
CARGO_FUZZ_VERSION := 0.13.2
# Each is linted alone; `e2e` is `daemon` for tests.
FEATURES := cli compress daemon exec export gzip metrics sim state tls12
# libFuzzer's instrumentation needs a switch that only this variable opens on a stable compiler.
FUZZ := RUSTC_BOOTSTRAP=1 $(CARGO) fuzz

.DEFAULT_GOAL := help
.PHONY: help demo build build-dev run test test-unit test-integration soak test-embed test-features size test-e2e e2e chaos load check fmt bench long-life fuzz clean tools

help: ## Show all available targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Show Faro at work on a simulated cluster, live: no cluster needed
	$(CARGO) run --locked -- demo $(DEMO)

build: ## Build the release binary: target/release/faro
	$(CARGO) build --release --locked

build-dev: ## Build for debugging: target/debug/faro
	$(CARGO) build --locked

run: ## Run against your cluster: make run CONFIG=examples/minimal.yaml
	$(CARGO) run --release --locked -- --config $(CONFIG)

test: test-unit test-integration ## Run all tests that need no cluster

test-unit: ## Run unit tests and the examples in the documentation
	$(CARGO) test --locked --lib --bins
	$(CARGO) test --locked --doc

test-integration: ## Run the real binary and library against recorded and misbehaving servers
	$(CARGO) build --locked --examples
	$(CARGO) test --locked --test it -- --test-threads=8 # they wait more than they compute

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

load: ## List 20,000 pods from a real API server; print memory and CPU
	$(CARGO) build --release --locked
	$(CARGO) test --locked --features e2e --test e2e -- load

check: tools ## Check format, lints, documentation, licences and bans
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --all-targets --all-features -- -D warnings
	$(CARGO) clippy --locked --no-default-features --lib --tests -- -D warnings
	for feature in $(FEATURES); do \
		$(CARGO) clippy --locked --no-default-features --features $$feature --lib --bins --tests -- -D warnings || exit 1; \
	done
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items --all-features
	$(CARGO) deny --log-level error check bans licenses sources

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

tools:
	@command -v cargo-deny >/dev/null || $(CARGO) install --locked --quiet cargo-deny@$(CARGO_DENY_VERSION)

clean: ## Remove what was built
	$(CARGO) clean
