# `make` alone lists the targets. Needs python3 (3.11 or later) with pip; everything else goes into .venv.
#
# On a machine whose package index gives a CUDA build of torch and you want another, install with pip's own options:
#   make search PIP_TORCH="--index-url <an index of CPU builds>"

PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PIP_TORCH ?=
SOURCES := pyproject.toml constraints.txt
CONFIG ?= search_spaces/lion/quick.yaml
PYTEST_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup search test slow bench check clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: $(VENV)/.search ## make .venv and install what a search needs

search: $(VENV)/.search ## search for an optimizer: under 5 minutes, ends with a leaderboard and an importable module
	$(BIN)/evo run $(CONFIG)

test: $(VENV)/.dev ## run the tests, all but the slow ones
	$(BIN)/python -m pytest -m "not slow" $(PYTEST_ARGS)

slow: $(VENV)/.dev ## run the slow tests: kills, clusters, long runs
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

check: $(VENV)/.dev ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.bench ## engine overhead beside Optuna, DEAP, Ray Tune and PyGlove; inline against Ray
	$(BIN)/python -m benchmarks.overhead
	$(BIN)/python -m benchmarks.executor

clean: ## remove .venv and the tools' caches (runs are kept)
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info

# A Python without ensurepip (Debian's, without python3-venv) still makes an environment: its own pip fills it.
$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or later was found: install one, or say make PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV) && $(PYTHON) -m venv --without-pip $(VENV) && \
		$(PYTHON) -m pip --python $(BIN)/python install pip; }

# torch first, alone: the one package whose build matters. A stamp is newer than what it was made from, or it is remade.
$(VENV)/.torch: constraints.txt | $(BIN)/python
	$(PIP) install -q $(PIP_TORCH) "$$(grep '^torch==' constraints.txt)"
	@touch $@

$(VENV)/.search: $(SOURCES) $(VENV)/.torch
	$(PIP) install -q -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: $(SOURCES) $(VENV)/.torch
	$(PIP) install -q -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.search

$(VENV)/.bench: $(SOURCES) $(VENV)/.torch
	$(PIP) install -q -c constraints.txt -e '.[dev,bench]'
	@touch $@ $(VENV)/.search $(VENV)/.dev
