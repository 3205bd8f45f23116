# make demo        a real sweep on this machine: scikit-learn's digits, a few minutes on two CPU cores
# make test-fast   the tests that need neither Ray nor another process
# make test        the default test suite, those included; make test-slow: the long journeys
# make test-lowest the fast tests with the lowest versions of direct dependencies that setup.cfg allows; test-newest: the newest
# make mutants     how many changes of what decides the tests notice; about an hour, by hand
# make docs        the site, into docs/_build/html; make docs-links: whether what it links to on the web is there
# make lint        ruff (lint and format), mypy and hadolint
# Any of them creates .venv and installs into it first. PYTHON=python3.12 chooses the interpreter.

PYTHON ?= python3
BIN := .venv/bin
RUN := runs/digits
SIDE_BY_SIDE := --numprocesses 2 --dist loadfile --no-loadscope-reorder
FAST := $(SIDE_BY_SIDE) -m "not slow and not ray and not long"

.PHONY: demo test-fast test test-slow test-lowest test-newest mutants docs docs-links lint format install clean

demo: install
	$(BIN)/mixem sweep sweeps/digits.yaml --run $(RUN)

test-fast: install
	$(BIN)/python -m pytest $(FAST)

test: install
	$(BIN)/python -m pytest $(SIDE_BY_SIDE)

test-slow: install
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test,onnx,docs,wandb]'
	$(BIN)/python -m pytest -m slow

# in an environment of its own, without the constraints; what releases of others say of each other does not matter
test-lowest: RESOLUTION = lowest-direct
test-newest: RESOLUTION = highest
test-lowest test-newest: VENV = .venv-$(@:test-%=%)
test-lowest test-newest:
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/python -m pip install --quiet uv
	$(VENV)/bin/uv pip install --quiet --python $(VENV) --resolution $(RESOLUTION) 'setuptools>=77' --editable '.[test]'
	$(VENV)/bin/uv pip list --python $(VENV)
	$(VENV)/bin/python -m pytest $(FAST) -W ignore::DeprecationWarning

mutants: install
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[mutants]'
	$(BIN)/mutmut run --max-children 1
	$(BIN)/mutmut results

docs: BUILDER = html
docs-links: BUILDER = linkcheck
docs docs-links: install
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	$(BIN)/python -m sphinx --builder $(BUILDER) --fail-on-warning --quiet docs docs/_build/$(BUILDER)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint docker/Dockerfile

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: .venv/installed

.venv/installed: setup.cfg constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed, such as Debian's or Ubuntu's packages python3.11 and python3.11-venv; then: make PYTHON=python3.11 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "Python's venv module is missing: install the package python3-venv (of another interpreter: python3.11-venv, ...)"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $@

clean:
	rm -rf .venv build docs/_build *.egg-info
