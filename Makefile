# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
REPORT := results/demo/report.html

.PHONY: setup demo explain test test-all mutants lint bench docs lock clean

setup: $(READY)

demo: $(READY)
	$(BIN)/snakemake
	@echo "Report: $(CURDIR)/$(REPORT)"

# What the next run would do, and why: make explain ARGS="--configfile config/paper.yaml"
# First brings tables, images and splits up to date (which trains nothing): what follows goes by their content.
explain: $(READY)
	$(BIN)/snakemake $(ARGS) --quiet all -- data
	$(BIN)/snakemake $(ARGS) --dry-run 2>&1 | $(BIN)/python workflow/explain.py

# Two files of tests at a time: most tests keep one core busy.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --numprocesses 2 --dist loadfile

test: $(READY)
	$(PYTEST) -m "not long" --durations=10

test-all: $(READY)
	$(PYTEST) --durations=20

# Wrong changes, one at a time, in copies: do the tests notice? One list: make mutants ARGS="scores --jobs 1"
mutants: $(READY)
	$(BIN)/python tests/mutants/run.py $(ARGS)

lint: $(READY)
	$(BIN)/ruff check workflow tests benchmarks
	$(BIN)/ruff format --check workflow tests benchmarks
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint

bench: $(READY)
	PYTHONPATH=workflow $(BIN)/python benchmarks/table.py

# Generated documents: config/README.md and config/schema.json, from workflow/cxr/settings.py.
docs: $(READY)
	PYTHONPATH=workflow $(BIN)/python -m cxr.reference config

# The environment holds exactly what the lock pins; no package's dependencies are looked up again.
$(READY): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@touch $@

# Only for maintainers: resolves pyproject.toml anew (needs uv).
lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --extra dev --no-header \
		pyproject.toml -o requirements.lock

clean:
	rm -rf results/demo .snakemake .pytest_cache .ruff_cache
