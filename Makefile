# make bench: a fresh machine to a table.   make test: lint, types, layers, tests.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
.PHONY: bench test setup

bench: $(VENV)/.bench
	$(BIN)/attnbench attn

test: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest

setup: $(VENV)/.test

$(VENV)/.bench: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.test: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test,html,plots]'
	touch $@ $(VENV)/.bench
