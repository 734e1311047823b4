# The two that matter: `make demo` shows the main job on a real Kubernetes, `make test` checks everything.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
CARGO_DENY := 0.20.2
E2E_FLAGS ?= --test-threads=6

.PHONY: help demo demo-down test test-unit test-e2e test-reproducible test-compat test-faults test-demo lint fmt bench images

help: ## what can be made
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):[^#]*## /\1\t/' | awk -F '\t' '{printf "%-17s %s\n", $$1, $$2}'

demo: ## a cluster, the chart, a policy, and a pod that reads its token; leaves it running
	e2e/demo

demo-down: ## ends the demo's cluster and removes every trace of it
	e2e/cluster/down demo

test: lint test-unit test-e2e test-reproducible test-demo bench ## everything: format, clippy, dependencies, units, and the whole on a real Kubernetes

lint: ## format, clippy, dependencies (bans, licences, sources, and known vulnerabilities where their database can be had)
	cargo fetch --locked
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	e2e/checks
	@command -v cargo-deny >/dev/null || echo "installing cargo-deny $(CARGO_DENY): usually 2 min"
	@command -v cargo-deny >/dev/null || cargo install cargo-deny --locked --version $(CARGO_DENY) --quiet
	cargo deny --log-level error check bans licenses sources
	e2e/advisories

test-unit: ## units, without a cluster
	cargo test --workspace --exclude hallpass-e2e --locked

test-e2e: ## the whole on a real Kubernetes of its own
	E2E_FLAGS="$(E2E_FLAGS)" e2e/run

test-reproducible: ## both programs, their images and the chart made a second time elsewhere: the same bytes
	e2e/reproducible

test-compat: ## the whole on Kubernetes 1.35, where the operator's webhook injects, and faults of that; not a part of `make test`
	HALLPASS_KUBERNETES=1.35 HALLPASS_E2E_ENGINE=Webhook E2E_FLAGS="$(E2E_FLAGS)" e2e/run

test-faults: ## what is promised for when something breaks, while it breaks: usually an hour
	e2e/faults

test-demo: ## the demo, on a cluster of its own that is ended afterwards
	trap 'e2e/cluster/down demo-test' EXIT; HALLPASS_CLUSTER=demo-test e2e/demo

bench: ## side by side with what a pod does without Hallpass; writes target/bench/results.json
	e2e/bench/run

images: ## the operator's and the sidecar's image as OCI archives; prints their paths
	@e2e/images

fmt: ## formats
	cargo fmt --all
