# Each target makes .venv first if it is missing or its requirements changed.
PYTHON ?= python3
# Folder of the unpacked data sets, one sub-folder each, for bench.
SETS ?= data/sets
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed

.PHONY: demo test lint bench clean
.DEFAULT_GOAL := demo

demo: $(STAMP)  ## the main jobs on the starter files; prints each file it wrote
	$(PY) -m musicae.demo

test: $(STAMP)  ## the whole test suite
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2

lint: $(STAMP)  ## style, format and types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

bench: $(STAMP)  ## trains and scores what the README quotes (about eight hours on one core): make bench SETS=FOLDER
	$(PY) experiments/figures.py --sets $(SETS)

clean:  ## everything that was made, but neither data nor trained models
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "musicae needs Python 3.11 or newer; say which with: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --disable-pip-version-check --quiet -c constraints.txt -e '.[dev]'
	@touch $@
