# make demo     sets everything up and restores a photograph          make test      everything that takes minutes
# make lint     ruff and mypy, as CI runs them                        make test-all  the long tests too
# make docs     tables and pages that are made from the code          make clean     forgets the environment
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -ec
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
JOBS ?= 2
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
PYTEST := $(ONE_THREAD) $(BIN)/python -m pytest -n $(JOBS)

# One line for every large download, so that a slow one is seen; pip's errors go to the screen, its warnings do not.
PIP_INSTALL = $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off
SHOW = 2> >(grep -v ^WARNING: >&2) | sed -un -e '/^ *Downloading .*[0-9] MB)/p' -e 's/^Installing collected packages.*/  Installing .../p'

.PHONY: help demo test test-all lint docs wheel clean

help:
	@grep -E '^# make' Makefile | sed 's/^# //'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "pellucid needs Python 3.11 or newer; say which: make PYTHON=python3.11 ..." >&2; exit 1; }
	@echo "Making $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@echo "Installing pellucid into $(VENV), PyTorch included: one to three minutes ..."
	@$(PIP_INSTALL) -e . $(SHOW)
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	@echo "Installing pellucid and its test tools into $(VENV), PyTorch included: one to four minutes ..."
	@$(PIP_INSTALL) -e '.[dev]' $(SHOW)
	@touch $@ $(VENV)/.installed

demo: $(VENV)/.installed
	@$(BIN)/pellucid demo

test: lint
	@$(PYTEST) -m "not slow"

test-all: lint
	@$(PYTEST)

lint: $(VENV)/.installed-dev
	@echo "ruff, mypy ..."
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --check --quiet . && $(BIN)/mypy --no-error-summary

docs: $(VENV)/.installed-dev
	@$(BIN)/python docs/build.py

wheel: $(VENV)/.installed-dev
	@rm -rf dist && $(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist . ./zoo
	@ls -l dist/*.whl | awk '{ printf "%s: %.1f MB\n", $$NF, $$5 / 1e6; most = /pellucid_zoo/ ? 95e6 : 20e6; bad += $$5 > most } END { exit bad > 0 }'

clean:
	@rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache
