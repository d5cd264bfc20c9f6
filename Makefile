# Two commands do everything on a fresh machine with Python 3.11 or newer: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
SEED ?= 0
PLANNER ?= oracle
INSTRUCTION ?=
WORKERS ?= 2
export INSTRUCTION

.PHONY: demo test setup lint types tests wheel clean

demo: $(VENV)/.installed $(if $(filter openai,$(PLANNER)),$(VENV)/.llm)
	$(BIN)/palaestra demo --seed $(SEED) --planner "$(PLANNER)" --instruction "$$INSTRUCTION" $(ARGS)

test: lint types tests wheel

setup: $(VENV)/.installed

lint: $(VENV)/.tested
	$(BIN)/ruff check palaestra tests examples
	$(BIN)/ruff format --check palaestra tests examples

types: $(VENV)/.tested
	$(BIN)/mypy

# A worker takes whole files, whose tests share what is compiled; workers and later runs share it (tests/conftest.py).
tests: $(VENV)/.tested
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(PYTEST)

# The wheel is built from the sdist, installed elsewhere with nothing but its own dependencies, and used.
wheel: $(VENV)/.tested
	rm -rf dist build/smoke
	$(BIN)/python -m build --outdir dist .
	$(PYTHON) -m venv build/smoke
	build/smoke/bin/python -m pip --disable-pip-version-check install -q -c constraints.txt dist/*.whl
	cd build && smoke/bin/python ../tests/smoke.py

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "palaestra needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install -q -c constraints.txt -e .
	touch $@

$(VENV)/.llm: $(VENV)/.installed
	$(PIP) install -q -c constraints.txt -e '.[llm]'
	touch $@

$(VENV)/.tested: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install -q -c constraints.txt -e '.[dev,llm,interop]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) dist build runs
