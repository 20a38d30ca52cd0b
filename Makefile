# Two commands do everything on a fresh machine: `make demo` and `make test`. `make` alone lists the targets: the words after
# `## ` behind a target are its line there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
REPORT := results/demo/report.html

.DEFAULT_GOAL := help
.PHONY: help setup demo explain test test-all check mutants lint bench docs lock clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## create .venv with the packages of requirements.lock, checked by hash

demo: $(READY) ## run the whole study on generated phantoms and print the path of the report
	$(BIN)/snakemake
	@echo "Report: $(CURDIR)/$(REPORT)"

# What the next run would do, and why: make explain ARGS="--configfile config/paper.yaml"
# First brings tables, images and splits up to date (which trains nothing): what follows goes by their content.
explain: $(READY) ## say what the next run would do, and why (ARGS="--configfile ...")
	$(BIN)/snakemake $(ARGS) --quiet all -- data
	$(BIN)/snakemake $(ARGS) --dry-run 2>&1 | $(BIN)/python workflow/runner/explain.py

# Two files of tests at a time: most tests keep one core busy.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --numprocesses 2 --dist loadfile

test: $(READY) ## run the tests, but for those that take minutes
	$(PYTEST) -m "not long" --durations=10

test-all: $(READY) ## run all tests
	$(PYTEST) --durations=20

# Everything that a change must pass: the checks of form first, since they take seconds.
check: ## check everything: lint, then test
	$(MAKE) lint
	$(MAKE) test

# Wrong changes, one at a time, in copies: do the tests notice? One list: make mutants ARGS="scores --jobs 1"
mutants: $(READY) ## apply wrong changes to copies of the code: do the tests notice? (ARGS="scores --jobs 1")
	$(BIN)/python tests/support/run_mutants.py $(ARGS)

lint: $(READY) ## check the form of Python and Snakemake code
	$(BIN)/ruff check workflow tests benchmarks
	$(BIN)/ruff format --check workflow tests benchmarks
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint

bench: $(READY) ## time each part beside what a user would write, and print one table
	PYTHONPATH=workflow $(BIN)/python benchmarks/table.py

# Generated documents: config/README.md and config/schema.json, from workflow/cxr/settings.py.
docs: $(READY) ## generate config/README.md and config/schema.json
	PYTHONPATH=workflow $(BIN)/python -m cxr.settings_reference config

# The environment holds exactly what the lock pins; no package's dependencies are looked up again.
$(READY): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@touch $@

# Only for maintainers: resolves pyproject.toml anew (needs uv).
lock: ## resolve pyproject.toml anew into requirements.lock (for maintainers; needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --extra dev --no-header \
		pyproject.toml -o requirements.lock

clean: ## remove the results of the demo and all caches
	rm -rf results/demo .snakemake .pytest_cache .ruff_cache
