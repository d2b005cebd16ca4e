# `make run` and `make test` install the packages that they need; `make help` lists all targets.
.DEFAULT_GOAL := help
.PHONY: help run test test-all coverage test-edge fuzz lint format check clean tables docs wheel try-wheel compat accelerators arm64 bare nightly peers site requirements deb delivery

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PEERS := .peers
# An environment without bytecode is smaller and made sooner; Python writes what a program uses at its start.
PIP := $(BIN)/python -m pip install --disable-pip-version-check --no-compile -c constraints.txt
# Some images forbid Python to write it. Each process of the tests would then compile all that it imports, such as PyTorch.
unexport PYTHONDONTWRITEBYTECODE
PREFLIGHT := tests/platforms/preflight.py
# Another index for PyTorch: make test TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
# More options for pytest: make test PYTEST="-k mqtt"
PYTEST ?=
# Processes that run the tests: make test JOBS=1
JOBS ?= 3
MARKS = -m "not slow"
# The processes share the cores: several threads in each would wait for each other.
test test-edge: export OMP_NUM_THREADS ?= 1
IN_PARALLEL = -n $(JOBS) --dist loadfile --no-loadscope-reorder
export TORCH_INDEX
# Debian releases for `make bare`, each with its targets after a colon: BARE="bookworm trixie:run,test-edge"
BARE ?= bookworm trixie
# Debian releases for `make deb`
DEB ?= bookworm trixie

help:  ## List the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.base  ## Install the base package and process the built-in clip: out/demo.mp4, out/demo.jsonl
	@mkdir -p out
	$(BIN)/edge-run --source demo --save out/demo.mp4 --events out/demo.jsonl --overwrite

test: $(VENV)/.dev  ## Install the dev extras (0.5 GB; TORCH_INDEX=... chooses PyTorch's build) and run all tests except the slow ones
	$(BIN)/python -m pytest $(MARKS) $(IN_PARALLEL) $(COVERAGE) $(PYTEST)

test-all: $(VENV)/.dev  ## Run all tests in one run, so that what starts once per process, such as PyTorch, starts once
	$(MAKE) test MARKS=

coverage: $(VENV)/.dev  ## Run all tests and measure their coverage, which takes a quarter longer
	$(MAKE) test-all COVERAGE=--cov

test-edge: $(VENV)/.edge  ## Install the test extras (0.1 GB, no PyTorch) and run the tests of the runtime
	$(BIN)/python -m pytest $(IN_PARALLEL) tests/edge tests/e2e

lint: $(VENV)/.dev  ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev  ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

check: lint test-all  ## Run lint and all tests

wheel: | $(VENV)/bin/python  ## Build the wheels of the device (dist/maskedge-*.whl), the workstation and the server
	@mkdir -p dist && rm -f dist/maskedge*-*.whl
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist . ./workstation ./fleet
	@ls dist/*.whl

try-wheel:  ## Test the wheel alone on the oldest and newest Python found here
	$(PYTHON) tests/platforms/wheel.py

fuzz: $(VENV)/.dev  ## Run damaged and odd inputs; FUZZ='--kind models --count 100' selects a part
	cd tests && ../$(BIN)/python -m fuzz --keep ../out/fuzz $(FUZZ)

compat: $(VENV)/.base  ## Run the bundled models on the oldest and newest onnxruntime
	$(BIN)/python tests/platforms/compat.py

accelerators: $(VENV)/.base  ## Try the bundled models with the OpenVINO build of onnxruntime (x86-64)
	$(BIN)/python tests/platforms/accelerators.py

arm64: $(VENV)/.base  ## Run the bundled models on emulated aarch64 (needs root, qemu-user-static, debootstrap)
	$(BIN)/python tests/platforms/arm64.py

bare:  ## Run the README's commands on bare Debian systems, as an ordinary user (needs root, debootstrap)
	$(PYTHON) tests/platforms/bare.py $(BARE)

nightly: peers lint coverage fuzz try-wheel compat accelerators arm64 bare delivery  ## Run everything

tables: $(VENV)/.base  ## Update the tables of README.md and docs/results.md from benchmarks/results
	$(BIN)/edge-bench tables

docs: $(VENV)/.base  ## Update the tables of docs/configuration.md and docs/fleet-api.md from the code
	$(BIN)/python -m maskedge.cli.config_reference docs/configuration.md
	$(BIN)/python -m maskedge_fleet.settings_reference docs/fleet-api.md

site: $(VENV)/.dev  ## Build the documentation site: out/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo out/site/index.html

# uv (https://docs.astral.sh/uv) resolves for every platform and Python at once.
UV ?= uv
# It keeps the versions in these files: make requirements UPGRADE=--upgrade takes the newest.
UPGRADE ?=
LOCK = $(UV) pip compile $(UPGRADE) --quiet --universal --python-version 3.10 --generate-hashes --no-annotate --custom-compile-command "make requirements"
requirements:  ## Write the pinned requirements with hashes: requirements/*.txt (needs uv; UPGRADE=--upgrade takes newer versions)
	cd requirements && $(LOCK) edge.in --override edge-overrides.txt --no-emit-package maskedge -o edge.txt
	cd requirements && $(LOCK) ../pyproject.toml --extra fleet --override edge-overrides.txt edge.in --no-emit-package maskedge -o fleet.txt
	cd requirements && $(LOCK) ../pyproject.toml --extra dev -c ../constraints.txt --override ci-overrides.txt --no-emit-package maskedge -o ci.txt
	cd requirements && $(LOCK) release.in -o release.txt

deb:  ## Build the Debian package of the device: dist/maskedge_*.deb (needs root, debootstrap; DEB="bookworm trixie")
	$(PYTHON) deploy/debian/deb_package.py $(DEB)

delivery:  ## Build and install all packages and images in fresh systems (needs root, debootstrap); PARTS="deb images" selects
	$(PYTHON) tests/platforms/delivery.py $(PARTS)

peers: $(PEERS)/.done  ## Build the environment of the package that benchmarks compare with: .peers (1.8 GB)
	@echo "Now: $(BIN)/edge-bench speed --quick --peer-python $(PEERS)/bin/python"

clean:  ## Remove all build results
	rm -rf $(VENV) $(PEERS) out build dist .mypy_cache .ruff_cache .pytest_cache .coverage*
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

# The last command checks that the package's model loads. The driver ends at the end of its input.
$(PEERS)/.done: $(wildcard benchmarks/peers/*) | $(PEERS)/bin/python
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/peers/requirements.txt
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r benchmarks/peers/requirements-alone.txt
	$(PEERS)/bin/python -I benchmarks/peers/package_peer.py 1 </dev/null 2>$(PEERS)/start.log || { tail -1 $(PEERS)/start.log; exit 1; }
	@touch $@
