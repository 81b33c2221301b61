# Needs only Python 3.11 to 3.13 with pip and venv. `make` shows what there is.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
# Python 3.11 brings pip 23, which takes twice as long to install the pins.
PIP_RELEASE := 26.3
# pip compiles on one core, which takes much of its time: all cores do it instead. What does
# not compile (templates of other Pythons) is not imported, hardly any test of a library is.
PIP := $(PY) -m pip install -qq --no-compile
COMPILE := $(PY) -m compileall -qq -j 0 -x '/tests?/' $(VENV)/lib || true
PINS := .ci/requirements-cpu.txt
# Tests start hundreds of processes: where bytecode may not be kept, each compiles all that it imports.
export PYTHONDONTWRITEBYTECODE :=
DOCS_PINS := .ci/requirements-docs.txt

.DEFAULT_GOAL := help
.PHONY: help env demo test check types style tests-compiled docs house bench gpu clean

help: ## what each target does
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 8

env: $(VENV)/.ready ## the pinned CPU environment in .venv (made once)

# The order matters: the head of the file of pins says why.
$(VENV)/.ready: $(PINS) pyproject.toml setup.py recsys_mtl/native/hidden.c
	@$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info < (3, 14) or \
	    sys.exit("Python 3.11 to 3.13 is needed, this is " + sys.version.split()[0])'
	@echo "Making $(VENV): a few minutes, once"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) pip==$(PIP_RELEASE)
	@$(PIP) -c $(PINS) torch==2.13.0
	@$(PIP) --no-deps -r $(PINS)
	@$(PIP) --no-deps --no-build-isolation -e .
	@$(COMPILE)
	@touch $@

demo: env ## train on generated data, ablate sharing, show the tables and how to open MLflow
	@$(BIN)/recsys-mtl demo

test: env ## check, then the unit tests, then the slow ones
	@$(MAKE) -j 2 --no-print-directory types style tests-compiled
	$(PY) -m pytest -n auto --maxprocesses 4 --dist worksteal
	$(PY) -m pytest -m slow -n 2 --dist loadfile

check: env ## format, lint, types, import contracts
	@$(MAKE) -j 2 --no-print-directory types style

types:
	$(BIN)/mypy

# Beside mypy, which uses one core; what is wrong with a test, the tests say.
tests-compiled:
	@$(PY) -m pytest --collect-only -qq >/dev/null 2>&1 || true

style:
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

docs: $(VENV)/.docs ## the documentation site, in build/docs; warnings are errors
	@$(BIN)/sphinx-build -EW --keep-going -q docs build/docs
	@echo build/docs/index.html

$(VENV)/.docs: $(VENV)/.ready $(DOCS_PINS)
	@$(PIP) --no-deps -r $(DOCS_PINS)
	@$(COMPILE)
	@touch $@

house: ## counts of the code: lines, long files, circles, copies; ROOTS compares checkouts
	@$(PYTHON) tests/house/house.py $(ROOTS)

bench: env ## throughput beside a peer, memory, the generator
	$(PY) tests/bench/run.py

gpu: ## on a machine with CUDA: is a step right, does it wait, how fast is it, a training; on a CPU in small
	PYTHON=$$([ -x $(PY) ] && echo $(PY) || echo $(PYTHON)) bash tests/gpu/run.sh

clean: ## remove builds, caches, the demo and the bench; keeps .venv and runs
	rm -rf build dist *.egg-info .demo .bench
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
