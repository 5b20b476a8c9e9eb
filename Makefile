# make bench: a fresh machine to a table.   make test: lint, types, layers, tests.
#   make test WORKERS=9: the tests by nine processes, on a machine of eight cores.
# make docs: the parts of docs/ that attnbench itself prints, written again.
# make fuzz: ten times the fuzzed inputs of make test.
# make test-html: the tests that open pages in Chromium alone; make test holds them too.
# make contracts VLLM=0.25.1: what we ask of that vLLM, in an environment of its own (9 GB), without a GPU,
#   on four generations of GPUs. make registry VLLM=0.25.1: stores how far its backends are driven.
# Editable installs are in compat mode, whose types mypy finds.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# One more than the cores of a small machine: tests that start processes also wait.
WORKERS ?= 3
# Containers often set it, and every process that a test starts would compile attnbench again.
unexport PYTHONDONTWRITEBYTECODE
.PHONY: bench test test-html faults fuzz setup contracts registry docs

bench: $(VENV)/.bench
	$(BIN)/attnbench attn --wait

test: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n $(WORKERS) --dist worksteal

test-html: $(VENV)/.test
	$(BIN)/pytest -m html

faults: $(VENV)/.test
	$(BIN)/pytest tests/faults

fuzz: $(VENV)/.test
	ATTNBENCH_FUZZ=10 $(BIN)/pytest -n $(WORKERS) --timeout 3600 tests/fuzz

setup: $(VENV)/.test

docs: $(VENV)/.test
	$(BIN)/python -m scripts.cli_reference
	$(BIN)/python -m scripts.examples
	$(BIN)/python -m scripts.registry_tables

$(VENV)/.bench: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --constraint constraints.txt --config-settings editable_mode=compat --editable '.[cpu]'
	touch $@

# All cores compile, which pip does on one; some packages have files for a newer Python than ours.
$(VENV)/.test: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-compile --constraint constraints.txt --config-settings editable_mode=compat --editable '.[cpu,test,html,plots,data,postgresql,cluster]'
	$(BIN)/python -m compileall -qq -j 0 -x '/tests?/' $(VENV)/lib || true
	touch $@ $(VENV)/.bench

CONTRACTS := .contracts/$(VLLM)
contracts: $(CONTRACTS)/.ready
	for gpu in SM80 SM90 SM100 SM120; do \
		CONTRACTS_GPU=$$gpu LD_LIBRARY_PATH=$(CONTRACTS)/driver $(CONTRACTS)/bin/python -m pytest -q \
			-p no:cacheprovider -W default tests/contracts || exit 1; \
	done

# After a change on purpose, and for a new release: what make contracts holds and make docs shows.
registry: $(CONTRACTS)/.ready
	for gpu in SM80 SM90 SM100 SM120; do \
		CONTRACTS_GPU=$$gpu LD_LIBRARY_PATH=$(CONTRACTS)/driver \
			$(CONTRACTS)/bin/python -m tests.contracts.survey || exit 1; \
	done

# Without our constraints: vLLM pins the torch that it was built for. It imports only beside a CUDA driver.
$(CONTRACTS)/.ready:
	@test -n "$(VLLM)" || { echo "make contracts needs a release of vLLM, e.g. make contracts VLLM=0.25.1"; exit 2; }
	$(PYTHON) -m venv $(CONTRACTS)
	$(CONTRACTS)/bin/pip install --quiet vllm==$(VLLM) pytest pytest-timeout hypothesis --editable .
	$(CONTRACTS)/bin/python -m tests.contracts.stub_driver $(CONTRACTS)/driver
	touch $@
