# The commands of this repository. `make help` lists them.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# Only what needs root asks for it.
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
CARGO ?= cargo
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
TEMBLOR := $(TARGET_DIR)/release/temblor

EXPERIMENTS := db-death network-partition oom-kill cpu-throttle disk-io conn-pool redis nginx \
	latency cascade flamegraph

.PHONY: help setup build demo test test-kernels torture audit-runs fuzz lint fmt bench chaos-all chaos-check chaos-logs \
	profile-cpu profile-cpu-long profile-block profile-mutex profile-goroutine profile-heap \
	profile-allocs profile-all profile-view profile-serve profile-analyze profile-clean profile-help \
	$(EXPERIMENTS:%=chaos-%)

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install what building, testing and the demo need (Debian, Ubuntu)
	@scripts/setup.sh

build: ## Build the programs, optimised
	$(CARGO) build --release --bins

demo: setup build ## Start the lab, take its database's network away, write the report, take the lab down
	@SUDO="$(SUDO)" TEMBLOR="$(TEMBLOR)" scripts/demo.sh

$(EXPERIMENTS:%=chaos-%): chaos-%: setup build
	@SUDO="$(SUDO)" TEMBLOR="$(TEMBLOR)" scripts/chaos.sh $*

chaos-all: setup build ## Run the eleven experiments one after the other, with a summary (make chaos-NAME runs one)
	@SUDO="$(SUDO)" TEMBLOR="$(TEMBLOR)" scripts/chaos.sh $(EXPERIMENTS)

chaos-check: build ## Check the experiments, the machine, and that nothing is left of a run that died
	@$(TEMBLOR) check $(EXPERIMENTS)
	@$(SUDO) $(TEMBLOR) doctor
	@$(SUDO) $(TEMBLOR) heal --check

chaos-logs: ## Show the end of each lab service's log, and where the runs are
	@SUDO="$(SUDO)" TEMBLOR="$(TEMBLOR)" scripts/chaos-logs.sh

PROFILE = SUDO="$(SUDO)" TEMBLOR="$(TEMBLOR)" scripts/profile.sh

profile-cpu: setup build ## Profile the lab's services for 30 s each: profiles, flamegraphs and tables in profiles/
	@$(PROFILE) 30 cpu

profile-cpu-long: setup build ## The same for 60 s each
	@$(PROFILE) 60 cpu

profile-block: setup build ## Where their threads wait
	@$(PROFILE) 30 off-cpu

profile-mutex: setup build ## Where they wait for locks
	@$(PROFILE) 30 lock

profile-goroutine: setup build ## What their threads are at
	@$(PROFILE) 0 threads

profile-heap: setup build ## What memory they allocate and keep
	@$(PROFILE) 30 heap

profile-allocs: setup build ## What memory they allocate
	@$(PROFILE) 30 allocs

profile-all: setup build ## All of these, 10 s each
	@$(PROFILE) 10 cpu off-cpu lock threads heap allocs

# The latest directory of profiles.
LATEST_PROFILES = dir=$$(ls -d profiles/*/ 2>/dev/null | sort | tail -n 1); \
	if [ -z "$$dir" ]; then echo 'there are none yet: make profile-cpu' >&2; exit 2; fi

profile-serve: profile-view ## The same as profile-view
profile-view: build ## Look around in the latest of them with a browser, until Ctrl-C
	@$(LATEST_PROFILES); $(TEMBLOR) profile view "$$dir"*.pb.gz

profile-analyze: build ## Say what the latest of them mean
	@$(LATEST_PROFILES); for profile in "$$dir"*.pb.gz; do \
		echo "$$profile"; $(TEMBLOR) profile analyze "$$profile" || [ $$? = 3 ] || exit 1; echo; \
	done

profile-clean: ## Delete what the targets above have written
	rm -rf profiles

profile-help: build ## What can be profiled, and how profiles are shown
	@$(TEMBLOR) profile --help
	@$(TEMBLOR) profile cpu --help

# The programs are built as the user and tested as root: what needs root is most of what there is.
test: setup ## Run every test, those that need root and real servers included
	$(CARGO) build --bins
	$(CARGO) nextest run --workspace --no-run
	$(if $(SUDO),$(SUDO) -E env "PATH=$$PATH",) $(CARGO) nextest run --workspace

# Every guest is emulated: it needs neither root nor KVM, only patience.
test-kernels: ## Test probes and faults on Debian's kernels 5.10, 6.1 and 6.12 in QEMU; writes docs/kernels.md
	@scripts/setup.sh kernels
	@CARGO="$(CARGO)" scripts/test-kernels.sh

torture: ## Kill it at random moments and compare the whole state: TORTURE_ROUNDS (1000), TORTURE_SEED
	$(CARGO) build --bins
	$(CARGO) test -p temblor-tests --test torture --no-run
	$(if $(SUDO),$(SUDO) -E env "PATH=$$PATH",) env TORTURE_ROUNDS=$${TORTURE_ROUNDS:-1000} \
		$(CARGO) test -p temblor-tests --test torture -- --nocapture --exact no_way_of_dying_leaves_a_fault_behind

audit-runs: ## Kill, stop and freeze the exchange and its database under load, and audit it: AUDIT_RUNS (50), AUDIT_ORDERS (20000), AUDIT_SEED
	$(CARGO) test -p exchange-services --test it --no-run
	AUDIT_RUNS=$${AUDIT_RUNS:-50} AUDIT_ORDERS=$${AUDIT_ORDERS:-20000} \
		$(CARGO) test -p exchange-services --test it -- --nocapture --exact many_runs::no_run_loses_or_doubles_an_order

fuzz: ## Give every parser wrong bytes, FUZZ_SECONDS (20) each, led by coverage
	@CARGO="$(CARGO)" scripts/fuzz.sh

lint: ## Formatting and lints, as strict as can be
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

fmt: ## Format the sources
	$(CARGO) fmt --all

bench: setup build ## Measure what putting each fault in place and undoing it costs, what watching costs, how fast the books are
	$(CARGO) build --release -p temblor-faults --example bench_faults --example bench_shape
	$(CARGO) build --release -p temblor-runner --example bench_probes
	$(CARGO) build --release -p temblor-profile --example bench_flamegraph
	$(CARGO) build --release -p temblor-profiler --example bench_profiler
	$(CARGO) build --release -p exchange-matching --example bench_matching
	@missed=0; for bench in bench_faults bench_shape bench_flamegraph bench_profiler bench_matching; do \
		$(SUDO) $(TARGET_DIR)/release/examples/$$bench || missed=1; \
	done; SUDO="$(SUDO)" TEMBLOR="$(TEMBLOR)" scripts/bench-probes.sh || missed=1; exit $$missed
