# Each target makes .venv first if it is missing or its requirements changed.
PYTHON ?= python3
# Folder of the unpacked data sets, one sub-folder each, for bench.
SETS ?= data/sets
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --disable-pip-version-check --quiet -c constraints.txt
STAMP := $(VENV)/.installed
DOCS_STAMP := $(VENV)/.installed-docs

.PHONY: demo test soak lint docs bench clean
.DEFAULT_GOAL := demo

demo: $(STAMP)  ## the main jobs on the starter files; prints each file it wrote
	$(PY) -m musicae.demo

test: $(STAMP)  ## the whole test suite
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2

soak: $(STAMP)  ## the long checks: kills, fuzzing, several hosts, data beyond memory (about two hours)
	OMP_NUM_THREADS=1 $(PY) -m pytest --soak -m soak -n 2

lint: $(STAMP)  ## style, format and types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

docs: $(DOCS_STAMP)  ## the documentation, into build/site; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --quiet
	@echo build/site/index.html

bench: $(STAMP)  ## trains and scores every quoted model (many hours): make bench SETS=FOLDER
	$(PY) experiments/run.py --sets $(SETS) all

clean:  ## everything that was made, but neither data nor trained models
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "musicae needs Python 3.11 or newer; say which with: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e '.[dev]'
	@touch $@

$(DOCS_STAMP): $(STAMP)
	$(PIP) -e '.[docs]'
	@touch $@
