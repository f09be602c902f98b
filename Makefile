# `make help` lists the targets. Every target sets up first what is missing or stale.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CYCLES := 50

.PHONY: help setup demo serve test chaos check lint types architecture dependencies containers \
	format openapi clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## Make .venv with all that the other targets need

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[local,demo,dev]'
	@touch $@

demo: $(READY) ## Train, push, evaluate, gate, approve, resolve and pull a real prefix
	@$(BIN)/python -m demo

serve: $(READY) ## Run a whole registry on this machine, kept in ./data, until Ctrl-C
	@$(BIN)/prefix-registry local --data data --port 8080

test: $(READY) ## Run the tests
	$(BIN)/pytest --numprocesses 2 --dist loadgroup --cov --cov-report term:skip-covered

chaos: $(READY) ## Kill PostgreSQL, S3 and the API at work, CYCLES=50 times, and check everything
	$(BIN)/python -m tests.chaos $(CYCLES)

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

containers: $(READY) ## Build the image, start docker-compose.yml and use it (needs Docker)
	$(BIN)/python -m docker.check

openapi: $(READY) ## Write tests/api/openapi.json and docs/access.md anew; read the difference
	$(BIN)/python -m tests.api.openapi_snapshot
	$(BIN)/python -m tests.api.access

clean: ## Remove what setup and runs have made, but not ./data
	rm -rf $(VENV) .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
