# The commands of this repository. `make help` lists them.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# Only what needs root asks for it.
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
CARGO ?= cargo
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
TEMBLOR := $(TARGET_DIR)/release/temblor

.PHONY: help setup build demo test lint fmt bench

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install what building, testing and the demo need (Debian, Ubuntu)
	@scripts/setup.sh

build: ## Build the programs, optimised
	$(CARGO) build --release --bins

demo: setup build ## Start the lab, take its database's network away, write the report, take the lab down
	@SUDO="$(SUDO)" TEMBLOR="$(TEMBLOR)" scripts/demo.sh

# The programs are built as the user and tested as root: what needs root is most of what there is.
test: setup ## Run every test, those that need root and real servers included
	$(CARGO) build --bins
	$(CARGO) nextest run --workspace --no-run
	$(if $(SUDO),$(SUDO) -E env "PATH=$$PATH",) $(CARGO) nextest run --workspace

lint: ## Formatting and lints, as strict as can be
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

fmt: ## Format the sources
	$(CARGO) fmt --all

bench: ## Measure what putting a fault in place and undoing it costs
	$(CARGO) build --release -p temblor-faults --example bench_partition
	$(SUDO) $(TARGET_DIR)/release/examples/bench_partition
