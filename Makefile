# Everything on a fresh machine: the environment is made on first use and again when pyproject.toml changes.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed
# Every process that a test starts would compile all modules again, where the environment forbids to keep them.
unexport PYTHONDONTWRITEBYTECODE
# Half of the time a test waits for processes of its own: two workers for each core keep it busy. Each takes a part
# in one piece, then from who has most left: what a module starts is started once, and none is alone at the end.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(2 * (os.cpu_count() or 1))')

.PHONY: run test check lint types compiled bench config peer clean help

help:  ## List the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

# A pip of today looks through an index in half the time of the one that comes with Python 3.11.
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed, this is " + sys.version.split()[0] + "; set PYTHON=/path/to/python3.11") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip || true
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $(STAMP)

run: $(STAMP)  ## The daemon on the embedded sandbox with the bundled plugins
	@exec $(BIN)/ftrackd run --sandbox --plugins ./plugins

test: $(STAMP)  ## Lint, types and all tests
	@$(MAKE) --no-print-directory --jobs=2 check compiled
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

check: lint types

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

# The workers begin at the same time: without this, each of them would compile all tests. The run tells what fails.
compiled: $(STAMP)
	@$(BIN)/python -m pytest --collect-only >/dev/null || true

peer:  ## The official clients, each in an environment of its own under .peer
	$(PYTHON) bench/peer/install

bench: $(STAMP)  ## Measure beside the official client; BENCH="--only queries --rounds 3" for less
	$(BIN)/python bench/run.py $(BENCH)

config: $(STAMP)  ## Write config.example.toml from the settings model
	$(BIN)/ftrackd config init --stdout > config.example.toml

clean:
	rm -rf $(VENV) .peer build dist
