# Everything starts from nothing but Python 3.11 or newer and make: each target makes .venv first, once.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# The first interpreter that is new enough (a name may exist and still not run, so each one is tried).
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11 python; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$name; break; }; done)
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help demo test test-slow lint bench tables clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /  make \1\t/' | expand -t 20

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "anyorder needs Python 3.11 or newer; name one with PYTHON=..." >&2; exit 2; }
	$(PYTHON) -m venv .venv

.venv/runtime.stamp: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing anyorder into .venv (once; a few minutes)"
	$(INSTALL) -e .
	@touch $@

.venv/dev.stamp: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing anyorder and its development tools into .venv (once; a few minutes)"
	$(INSTALL) -e '.[dev]'
	@touch $@ .venv/runtime.stamp

demo: .venv/runtime.stamp ## solve unseen puzzles with the shipped model: table, plot and page in demo/
	$(BIN)/anyorder demo --out demo

lint: .venv/dev.stamp ## ruff, pyright and the import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

test: .venv/dev.stamp ## the quick tests (a wheel imported from outside the tree among them), then everything lint does
	$(BIN)/python -m pytest -m "not slow" -n auto --dist loadscope
	@$(MAKE) --no-print-directory lint

test-slow: .venv/dev.stamp ## the tests that take minutes
	$(BIN)/python -m pytest -m slow

bench: .venv/dev.stamp ## every benchmark, each beside its baseline, into results/
	@for name in decode statistics data zebra train; do \
		$(BIN)/anyorder bench $$name --json results/bench-$$name.json || exit $$?; done

tables: .venv/runtime.stamp ## write the README's tables from results/, and its tree from the files
	$(BIN)/python -m anyorder.experiments.tables --write
	$(BIN)/python scripts/readme_tree.py --write

clean: ## remove what the tools leave behind; .venv, results and checkpoints stay
	rm -rf build dist demo .pytest_cache .ruff_cache .hypothesis .import_linter_cache src/*.egg-info
	find src tests -name __pycache__ -type d -exec rm -rf {} +
