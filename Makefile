# `make help` lists what there is. Each target installs what it needs first (scripts/setup.sh), and says so.

TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
export KMS_BIN := $(TARGET)/debug/kms
TUTORIAL ?= hello-world

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run camera test test-cargo test-wire test-java test-deb test-browser soak lint bench bench-latency build-tests setup setup-test setup-bench

help: ## Show this list.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

run: setup ## Build, start the daemon and a tutorial (TUTORIAL=hello-world, ARGS for it), and print the address to open.
	@cargo build --release --locked --package kms --package tutorial-$(TUTORIAL)
	@scripts/run.sh $(TARGET)/release $(TUTORIAL) $(ARGS)

camera: ## Start a camera made of software (RTSP), to try players and recorders with. ARGS are passed to it.
	@scripts/setup.sh --camera
	@echo 'Play the address that follows, with kms or any player (Ctrl-C ends the camera).' >&2
	@/usr/bin/python3 scripts/camera.py $(ARGS)

test: test-cargo test-wire test-java test-deb test-browser ## Run all tests.

test-cargo: build-tests ## Unit tests, and the tests in Rust against the daemon.
	@scripts/test-cargo.sh

test-wire: build-tests ## Replay recorded traffic of a real Kurento.
	@scripts/test-wire.sh $(KMS_BIN)

test-java: build-tests ## Kurento's own Java client.
	@scripts/test-java.sh $(KMS_BIN)

test-deb: build-tests ## The Debian package: installed, used, removed, in a copy of this system.
	@scripts/test-deb.sh dev

test-browser: build-tests ## Tests with Kurento's own client and headless Chromium.
	@node tests/browser/run.mjs

# Twice: in tests, helpers outside of #[test] functions may unwrap too.
soak: build-tests ## An hour of clients that come and go, one a second.
	@KMS_SOAK_SECONDS=3600 cargo test --locked -p kms --test media -- --nocapture soak

lint: setup-test ## Formatting, clippy, crate directions, links of the docs, licences and advisories of dependencies.
	@cargo fmt --all --check
	@cargo clippy --workspace --locked -- -D warnings
	@cargo clippy --workspace --all-targets --locked -- -D warnings -A clippy::unwrap_used
	@scripts/check-crate-direction.sh
	@scripts/check-links.sh
	@scripts/check-dependencies.sh

bench: setup-bench ## Measure this machine: kms, and Janus beside it. ARGS are passed to kms-bench.
	@cargo build --release --locked --package kms --package kms-bench
	@KMS_BIN=$(TARGET)/release/kms $(TARGET)/release/kms-bench $(ARGS)

bench-latency: build-tests setup-bench ## Measure the way of a camera's picture into a browser, glass to glass.
	@cargo build --release --locked --package kms
	@KMS_BIN=$(TARGET)/release/kms node tests/browser/latency.bench.mjs

# Everything at once, so that all later steps find the programs built with the same features.
build-tests: setup-test
	@cargo build --workspace --all-targets --locked

setup:
	@scripts/setup.sh

setup-test:
	@scripts/setup.sh --test

setup-bench:
	@scripts/setup.sh --bench
