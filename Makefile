# Each target makes .venv first if it is missing or its requirements changed. Packages are installed from locks/dev.txt, and
# a file with another SHA-256 than the lock's is refused. torch alone is taken by its version: tools/lock.py says why.
PYTHON ?= python3
# Folder of the unpacked data sets, one sub-folder each, for bench.
SETS ?= data/sets
# Index that torch is taken from, where it isn't pip's own: https://download.pytorch.org/whl/cpu has it without CUDA.
TORCH_INDEX ?=
VENV := .venv
PY := $(VENV)/bin/python
INSTALL := -m pip install --disable-pip-version-check --quiet
# The lock is complete, so pip need not look for what packages require. A wheel runs no code when it is installed.
LOCKED := --no-deps --only-binary :all: --require-hashes
STAMP := $(VENV)/.installed
TOOLS := build/tools
TOOLS_STAMP := $(TOOLS)/.installed

.PHONY: demo test browser soak gpu lint docs bench lock audit licences release clean
.DEFAULT_GOAL := demo

demo: $(STAMP)  ## the main jobs on the starter files; prints each file it wrote
	$(PY) -m musicae.demo

test: $(STAMP)  ## the whole test suite
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2

browser:  ## Debian's Chromium, for the tests of the studio's page, which are skipped without one
	@for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null && exit 0; done; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null

soak: $(STAMP)  ## the long checks: kills, fuzzing, several hosts, data beyond memory (about two hours)
	OMP_NUM_THREADS=1 $(PY) -m pytest --soak -m soak -n 2

gpu: $(STAMP)  ## tests and benchmark on the GPU that torch sees, into build/gpu.json; without one it says so
	$(PY) -m pytest -m gpu
	$(PY) experiments/device.py

lint: $(STAMP)  ## style, format and types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

docs: $(STAMP)  ## the documentation, into build/site; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --quiet
	@echo build/site/index.html

bench: $(STAMP)  ## trains and scores every quoted model (many hours): make bench SETS=FOLDER
	$(PY) experiments/run.py --sets $(SETS) all

lock: $(TOOLS_STAMP)  ## constraints.txt and locks/, after a change of pyproject.toml; make lock UPGRADE=numpy: its newest version
	$(TOOLS)/bin/python tools/lock.py --uv $(TOOLS)/bin/uv $(if $(UPGRADE),--upgrade $(UPGRADE))

audit: $(TOOLS_STAMP)  ## asks PyPI whether a locked version has a known vulnerability; a package it can't tell of is an error
	$(TOOLS)/bin/python tools/audit.py

licences: $(STAMP)  ## docs/licences.md, from what is installed
	$(PY) tools/licences.py

release: $(TOOLS_STAMP)  ## builds and checks sdist and wheel in dist/; uploads nothing. REHEARSE=1: before all is ready
	$(TOOLS)/bin/python tools/release.py $(if $(REHEARSE),--rehearse)

clean:  ## everything that was made, but neither data nor trained models
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt locks/dev.txt musicae/studio/page/package-lock.json
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "musicae needs Python 3.11 or newer; say which with: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PY) $(INSTALL) $(LOCKED) -r locks/dev.txt
	$(PY) $(INSTALL) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) -c constraints.txt torch
	$(PY) $(INSTALL) --no-deps --no-build-isolation -e .
	$(PY) -m pip check
	@touch $@

$(TOOLS_STAMP): locks/release.txt
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python $(INSTALL) $(LOCKED) -r locks/release.txt
	@touch $@
