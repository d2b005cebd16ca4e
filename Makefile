# The two set-up commands (run, test) and the daily ones.
.DEFAULT_GOAL := help
.PHONY: help run test test-edge fuzz lint format check clean tables docs wheel try-wheel compat arm64 bare nightly peers

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PEERS := .peers
PIP := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt
PREFLIGHT := tests/platforms/preflight.py
# Where PyTorch comes from, if not from pip's own index: make test TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
export TORCH_INDEX
# Debian releases for `make bare`; after a colon the only targets to make there: BARE="bookworm trixie:run,test-edge"
BARE ?= bookworm trixie

help:  ## List the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.base  ## Install the base package and run the built-in clip: out/demo.mp4, out/demo.jsonl
	@mkdir -p out
	$(BIN)/edge-run --source demo --save out/demo.mp4 --events out/demo.jsonl --overwrite

test: $(VENV)/.dev  ## Install the dev extras (0.5 GB; TORCH_INDEX=... chooses PyTorch's build) and run all tests
	$(BIN)/python -m pytest

test-edge: $(VENV)/.edge  ## Install what the tests of the device need (0.1 GB, no PyTorch) and run these
	$(BIN)/python -m pytest tests/edge tests/e2e

lint: $(VENV)/.dev  ## Style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev  ## Put the code in style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

check: lint test  ## Lint and test

wheel: | $(VENV)/bin/python  ## Build the wheel that a device installs: dist/maskedge-*.whl
	@mkdir -p dist && rm -f dist/maskedge-*.whl
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	@ls dist/*.whl

try-wheel:  ## The wheel alone on the oldest and the newest Python found here
	$(PYTHON) tests/platforms/wheel.py

fuzz: $(VENV)/.dev  ## Damaged and odd inputs of every kind: FUZZ='--kind models --count 100' for a part
	cd tests && ../$(BIN)/python -m fuzz --keep ../out/fuzz $(FUZZ)

compat: $(VENV)/.base  ## The bundled models on the oldest and the newest onnxruntime
	$(BIN)/python tests/platforms/compat.py

arm64: $(VENV)/.base  ## The bundled models on emulated aarch64 (needs qemu-user-static and debootstrap)
	$(BIN)/python tests/platforms/arm64.py

bare:  ## The two commands on bare Debian systems, as an ordinary user (needs root and debootstrap)
	$(PYTHON) tests/platforms/bare.py $(BARE)

nightly: peers check fuzz try-wheel compat arm64 bare  ## Everything

tables: $(VENV)/.base  ## Write the README's tables from benchmarks/results
	$(BIN)/edge-bench tables

docs: $(VENV)/.base  ## Write the tables of docs/configuration.md from the code
	$(BIN)/python -m maskedge.cli.config_reference docs/configuration.md

peers: $(PEERS)/.done  ## Build the environment of another package to measure beside ours: .peers (1.8 GB)
	@echo "Now: $(BIN)/edge-bench speed --quick --peer-python $(PEERS)/bin/python"

clean:  ## Remove what the targets made
	rm -rf $(VENV) $(PEERS) out build dist .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python $(PEERS)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "Python 3.10 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) $(PREFLIGHT)
	@$(PYTHON) -m venv $(@D:/bin=) || { rm -rf $(@D:/bin=); exit 1; }

$(VENV)/.base: pyproject.toml constraints.txt | $(VENV)/bin/python
	@$(BIN)/python $(PREFLIGHT) base
	$(PIP) -e .
	@touch $@

$(VENV)/.edge: pyproject.toml constraints.txt | $(VENV)/bin/python
	@$(BIN)/python $(PREFLIGHT) edge
	$(PIP) -e '.[test]'
	@touch $@ $(VENV)/.base

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@$(BIN)/python $(PREFLIGHT) dev
	$(PIP) $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -e '.[dev]'
	@touch $@ $(VENV)/.edge $(VENV)/.base

# The last line proves that the package's model loads: the driver says with what, and ends with its input.
$(PEERS)/.done: $(wildcard benchmarks/peers/*) | $(PEERS)/bin/python
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/peers/requirements.txt
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r benchmarks/peers/requirements-alone.txt
	$(PEERS)/bin/python -I benchmarks/peers/package_peer.py 1 </dev/null 2>$(PEERS)/start.log || { tail -1 $(PEERS)/start.log; exit 1; }
	@touch $@
