# Every target sets up its own environment on first use; later runs re-use it and start at once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN_STAMP := $(VENV)/.installed-run
STAMP := $(VENV)/.installed
BENCH_STAMP := $(VENV)/.installed-bench

.PHONY: demo test run sim check bench bench-cluster soak clean
.DEFAULT_GOAL := demo

$(RUN_STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(STAMP): $(RUN_STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,check]'
	touch $@

demo: $(RUN_STAMP)   ## five processes replay a real history, are cut in two, and heal
	$(BIN)/gossip demo

test: $(STAMP)   ## the whole test suite
	$(BIN)/python -m pytest -n auto --dist worksteal -m 'not soak'

run: $(RUN_STAMP)    ## one node in the foreground; ARGS='--join HOST:PORT'
	$(BIN)/gossip run $(ARGS)

sim: $(RUN_STAMP)    ## a simulated cluster under faults; ARGS='run chaos --seed 7', or 'list'
	$(BIN)/gossip sim $(or $(ARGS),run partition-heal)

check: $(STAMP)  ## lint, formatting and strict types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(BENCH_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	touch $@

bench: $(BENCH_STAMP)  ## measurements, compared with other libraries, printed and drawn into build/
	$(BIN)/python -m tests.bench --plot

bench-cluster: $(STAMP)  ## a cluster of 30 processes, beside serf where it is installed; ARGS='--only join,spread'
	$(BIN)/python -m tests.bench cluster $(ARGS)

soak: $(STAMP)   ## the long runs
	$(BIN)/python -m pytest -m soak

clean:
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis
